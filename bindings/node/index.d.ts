/// <reference types="node" />

/** What 64-bit fields become: a number, and a RangeError where it would round, or always a bigint. */
export type Int64 = 'number' | 'bigint';

type Whole = 'i8' | 'i16' | 'i32' | 'u8' | 'u16' | 'u32';
type Whole64 = 'i64' | 'u64' | 'timestamp';
type Plain = Whole | Whole64 | 'f32' | 'f64' | 'bool';

/** The type of a field, as the header says it. */
export type Field =
  | readonly ['string' | 'bytes' | 'number', number]
  | readonly ['string' | 'bytes' | 'number', number, 'required']
  | readonly ['string', number, 'characters']
  | readonly ['string', number, 'characters', 'required']
  | readonly [Plain]
  | readonly [Plain, 'required'];

/** The fields of a table, in the order of the C struct. */
export interface Schema {
  readonly [name: string]: Field;
}

type Required_<F extends Field> = F extends readonly [...unknown[], 'required'] ? true : false;
type Value<F extends Field, I extends Int64> =
  F[0] extends 'string' ? string :
  F[0] extends 'bytes' ? Buffer :
  F[0] extends 'bool' ? boolean :
  F[0] extends Whole64 ? (I extends 'bigint' ? bigint : number) :
  number;
type Given<F extends Field> =
  F[0] extends 'bytes' ? Uint8Array :
  F[0] extends 'timestamp' ? number | bigint | Date :
  F[0] extends Whole64 ? number | bigint :
  Value<F, 'number'>;

/** What a table of this schema gives. */
export type RecordOf<S extends Schema, I extends Int64 = 'number'> = {
  [K in keyof S]: Required_<S[K]> extends true ? Value<S[K], I> : Value<S[K], I> | null;
};

/** What a table of this schema takes: fields that are not required may be null, or left out. */
export type InputOf<S extends Schema> =
  { [K in keyof S as Required_<S[K]> extends true ? K : never]: Given<S[K]> } &
  { [K in keyof S as Required_<S[K]> extends true ? never : K]?: Given<S[K]> | null };

/** A record as an object, or packed: the C struct of the schema, with its null bitmap behind it or without. */
export type Input<In> = In | Uint8Array;

export interface TableOptions<I extends Int64 = Int64> {
  /** Default: 'number'. */
  int64?: I;
}

export interface OpenOptions {
  /** What a commit waits for: a power cut, the end of the process, or nothing. Default: 'sync'. */
  durability?: 'sync' | 'os' | 'async';
  /** How often 'async' syncs by itself. Default: 1000. */
  intervalMs?: number;
  /** Bytes of changed memory that start a checkpoint, and at which writers wait for it. */
  dirtySoft?: number;
  dirtyHard?: number;
  /** Bytes for the built-in cache. Default: 0, none. */
  cacheBytes?: number;
  mustExist?: boolean;
  readOnly?: boolean;
  /** No threads of the library's own: call Database.step. */
  noThreads?: boolean;
  forceNetwork?: boolean;
  readWithPread?: boolean;
  inMemory?: boolean;
  store?: Store;
  cache?: Cache;
  /** Default: what DIAMOND_BACKEND says, or 'koffi'. */
  backend?: 'koffi' | 'ffi-napi';
}

/** Opens the database in the folder at path, and makes both where they are missing. */
export function open(path: string | Buffer, options?: OpenOptions): Promise<Database>;
/** The same, on this thread. */
export function openSync(path: string | Buffer, options?: OpenOptions): Database;

export interface TableInfo {
  name: string;
  next_id: number;
  count: number;
  record_size: number;
  slot_size: number;
}

export interface VerifyReport {
  tables: number;
  pages: number;
  records: number;
  findings: { file: string; message: string }[];
}

export interface BackupOptions {
  /** Is told bytes now and then. Where it gives false, or throws, the backup is called off: CANCELLED. */
  progress?: (done: number, total: number) => boolean | void;
}

/** What the types of a table are made of. */
type TableOf<S extends Schema, I extends Int64> = Table<RecordOf<S, I>, InputOf<S>>;

export interface Database extends AsyncDisposable, Disposable {
  readonly path: string;
  openTable<R = Record<string, unknown>, In = Partial<R>>(name: string, options?: TableOptions): Table<R, In>;
  makeTable<const S extends Schema, const I extends Int64 = 'number'>(
    name: string, schema: S, options?: TableOptions<I>): Promise<TableOf<S, I>>;
  makeTableSync<const S extends Schema, const I extends Int64 = 'number'>(
    name: string, schema: S, options?: TableOptions<I>): TableOf<S, I>;
  dropTable(name: string): Promise<void>;
  dropTableSync(name: string): void;
  renameTable(name: string, newName: string): Promise<void>;
  renameTableSync(name: string, newName: string): void;
  tables(): TableInfo[];
  batch(): Batch;
  snapshot(): Snapshot;
  stats(): Record<string, unknown>;
  waitDurable(): Promise<void>;
  flush(): Promise<void>;
  flushSync(): void;
  checkpoint(): Promise<void>;
  checkpointSync(): void;
  step(microseconds?: number): boolean;
  verify(): Promise<VerifyReport>;
  verifySync(): VerifyReport;
  backup(path: string | Buffer, options?: BackupOptions): Promise<void>;
  backupSync(path: string | Buffer, options?: BackupOptions): void;
  close(): Promise<void>;
  closeSync(): void;
}

export interface ScanOptions {
  /** The lowest id. */
  first?: number;
  /** The id behind the highest. */
  end?: number;
  /** From the highest id down. */
  reverse?: boolean;
}

export interface Layout {
  record_size: number;
  alignment: number;
  slot_size: number;
  state_offset: number;
  nulls_offset: number;
  nulls_size: number;
  fields: {
    name: string; type: string; offset: number; size: number;
    width?: number; characters?: boolean; required?: boolean;
  }[];
}

/** What a table of a snapshot does, too. */
export interface ReadTable<R> extends Disposable, Iterable<[number, R]>, AsyncIterable<[number, R]> {
  readonly name: string;
  readonly schema: Schema;
  readonly layout: Layout;
  readonly recordSize: number;
  readonly nullsSize: number;
  count(): number;
  nextId(): number;
  fetch(id: number): R | undefined;
  fetchInto(id: number, buffer: Uint8Array, at?: number): boolean;
  has(id: number): boolean;
  fetchMany(ids: Iterable<number>): (R | undefined)[];
  decode(packed: Uint8Array): R;
  scan(options?: ScanOptions): Scan<R>;
  pin(): Promise<Pin<R>>;
  pinSync(): Pin<R>;
  close(): void;
}

export interface Table<R = Record<string, unknown>, In = Partial<R>> extends ReadTable<R> {
  encode(record: Input<In>): Buffer;
  save(record: Input<In>): Promise<number>;
  saveSync(record: Input<In>): number;
  replace(id: number, record: Input<In>): Promise<void>;
  replaceSync(id: number, record: Input<In>): void;
  replaceIf(id: number, expected: Input<In>, record: Input<In>): Promise<void>;
  replaceIfSync(id: number, expected: Input<In>, record: Input<In>): void;
  delete(id: number): Promise<void>;
  deleteSync(id: number): void;
  deleteIf(id: number, expected: Input<In>): Promise<void>;
  deleteIfSync(id: number, expected: Input<In>): void;
  saveMany(records: Iterable<Input<In>> | Uint8Array): Promise<number>;
  saveManySync(records: Iterable<Input<In>> | Uint8Array): number;
  replaceMany(ids: Iterable<number>, records: Iterable<Input<In>> | Uint8Array): Promise<void>;
  replaceManySync(ids: Iterable<number>, records: Iterable<Input<In>> | Uint8Array): void;
  deleteMany(ids: Iterable<number>): Promise<void>;
  deleteManySync(ids: Iterable<number>): void;
}

export interface Scan<R> extends Disposable, Iterable<[number, R]>, AsyncIterable<[number, R]> {
  close(): void;
}

export interface Batch extends Disposable {
  save<R, In>(table: Table<R, In>, record: Input<In>): this;
  replace<R, In>(table: Table<R, In>, id: number, record: Input<In>): this;
  delete(table: ReadTable<unknown>, id: number): this;
  expect<R, In>(table: Table<R, In>, id: number, record: Input<In>): this;
  commit(): Promise<number[]>;
  commitSync(): number[];
  close(): void;
}

export interface Snapshot extends Disposable {
  openTable<R = Record<string, unknown>>(name: string, options?: TableOptions): ReadTable<R>;
  close(): void;
}

export interface Pin<R> extends Disposable {
  readonly count: number;
  readonly stride: number;
  copy(first?: number, end?: number): Buffer;
  view(first?: number, end?: number): View<R>;
  close(): void;
}

export interface View<R> extends Disposable {
  readonly pin: Pin<R>;
  readonly first: number;
  readonly end: number;
  readonly stride: number;
  at(id: number): number;
  offsetOf(name: keyof R & string): number;
  has(id: number): boolean;
  isNull(id: number, name: keyof R & string): boolean;
  record(id: number): R | undefined;
  getInt8(at: number): number;
  getUint8(at: number): number;
  getInt16(at: number): number;
  getUint16(at: number): number;
  getInt32(at: number): number;
  getUint32(at: number): number;
  getBigInt64(at: number): bigint;
  getBigUint64(at: number): bigint;
  getFloat32(at: number): number;
  getFloat64(at: number): number;
  release(): void;
}

/** What a module is told of a record. All of it is a copy, to be kept. */
export interface Change {
  table: number;
  kind: 'store' | 'delete';
  id: number;
  /** Grows with every change of the record. */
  version: bigint;
  /** 16 bytes that go with the record, and come back as they were. */
  stamp: Buffer;
  record: Buffer;
  nulls: Buffer;
}

/** A record as a module gives it back. */
export interface Found {
  stamp: Uint8Array;
  record: Uint8Array;
  nulls: Uint8Array;
}

export interface TableMeta {
  table: number;
  name: string;
  next_id: number;
  record_size: number;
  nulls_size: number;
  schema: Schema;
}

/** Where records lie. The header says what it promises; checkStore tries it. */
export interface Store {
  name?: string;
  /** store does all of a call's changes, or none. */
  atomic?: boolean;
  /** fetch finds at once what store has accepted. */
  immediate?: boolean;
  initialize(): {
    tables?: string | null;
    stored?: Iterable<{ table: number; id: number; version: number | bigint }>;
  } | void;
  makeTable(table: number, meta: TableMeta): void;
  updateMeta(tables: string): void;
  /** An Error in the place of a change says that it was not done; an Ambiguous, that it may have been. */
  store(changes: Change[]): (Error | undefined | null)[] | void;
  /** undefined where there is no such record; an Error where that cannot be told. */
  fetch(table: number, ids: number[]): (Found | Error | undefined | null)[];
  persistAll(): void;
  destroy?(): void;
}

/** What remembers some records nearer by. */
export interface Cache {
  name?: string;
  store(change: Change): void;
  fetch(table: number, id: number): Found | undefined | null;
  clear(): void;
  destroy?(): void;
}

export interface CheckReport {
  module: string;
  promises: { promise: string; kept: boolean; broken: string | null }[];
}

export function checkStore(store: Store, again?: Store): CheckReport;
export function checkCache(cache: Cache): CheckReport;

/** The library's version, "major.minor.patch". */
export function version(): string;
export const ABI_VERSION: number;
export const Status: Readonly<Record<string, number>>;

/** A call of the library failed, with its sentence. */
export class DiamondError extends Error {
  constructor(status: number, message: string, options?: ErrorOptions);
  readonly status: number;
  /** The name of the status, such as 'CONFLICT'. */
  readonly code: string;
  /** What verify, checkStore and checkCache have found. */
  report?: VerifyReport | CheckReport;
}

/** Thrown by a module: it may have been done, and nobody knows. */
export class Ambiguous extends Error {}
