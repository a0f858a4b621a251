/// <reference types="node" />

import type { Server } from 'node:http';

/** A field's type, and how many characters (UTF-16 units) its value has at most as text. */
export type Field = readonly ['string' | 'number', number];

export interface Schema {
  readonly [name: string]: Field;
}

export type Value = string | number | null;

/** A record as it is given back: every field of the schema; null where it was left out. */
export interface Fields {
  [name: string]: Value;
}

/** A record as it is saved. What is of another type is made text, or a number, as its field asks. */
export interface Input {
  readonly [name: string]: unknown;
}

export type Saved<R = Fields> = R & { _id: number };

export interface Table {
  name: string;
  /** Characters of a record: the sum of the lengths. */
  size: number;
  schema: Schema;
  /** The next id. */
  index: number;
}

export interface Tables {
  [name: string]: Table;
}

export interface Success<T = undefined> {
  operation: 'SUCCESS';
  data: T;
}

/** Without data, where there is none to give. */
export interface Done {
  operation: 'SUCCESS';
  data?: undefined;
}

export interface Failure {
  operation: 'FAILURE';
  /** A sentence. */
  data: string;
}

export type StoreRecord = { operation: 'STORE_RECORD'; data: { table: Table; record: Fields; id: number } };
export type FetchRecord = { operation: 'FETCH_RECORD'; data: { table: Table; id: number } };
export type MakeTable = { operation: 'MAKE_TABLE'; data: { tableData: Table } };
export type UpdateMeta = { operation: 'UPDATE_META'; data: { tables: Tables } };
export type Initialize = { operation: 'INITIALIZE_PERSISTANCE'; data?: { persist: number | false } };
export type PersistAll = { operation: 'PERSIST_ALL'; data?: undefined };

export type CacheMessage = StoreRecord | FetchRecord;
export type StoreMessage = Initialize | MakeTable | UpdateMeta | StoreRecord | FetchRecord | PersistAll;

/** A cache of anybody's. It replies with a message, or a promise of one. */
export interface CacheModule {
  message(message: CacheMessage): unknown;
  /** Called by Database.close. */
  close?(): unknown;
}

/** A store of anybody's. */
export interface StoreModule {
  message(message: StoreMessage): unknown;
  /** It finds what it has accepted at once, and keeps it when a persist fails. */
  readonly immediate?: boolean;
  close?(): unknown;
}

export class Database {
  constructor(options: { store: StoreModule; cache?: CacheModule | null });
  /** After init: the tables by name. */
  tables: Tables;
  /** persist: milliseconds from one persist to the next; false, the default, for none. */
  init(options?: { persist?: number | false }): Promise<Done | Failure>;
  isReady(): boolean;
  makeTable(name: string, schema: Schema): Promise<Done | Failure>;
  saveRecord<R extends Input>(table: string, record: R): Promise<Success<Saved<R>> | Failure>;
  /** Rejects with a Failure where the id was never given. */
  fetchRecord<R = Fields>(table: string, id: number): Promise<Success<Saved<R> | null> | Failure>;
  writeToDisk(): Promise<Done | Failure>;
  close(): Promise<Done | Failure>;
}

/** A row, or a line of meta.txt, that an import could not read. */
export interface Finding {
  why: string;
  table?: string;
  /** From 0, of 100 rows each. */
  page?: number;
  /** Of the first row, from 0. */
  position?: number;
  /** How many rows. */
  count?: number;
  file?: string;
  line?: number;
  /** What stands there. */
  text?: string;
}

export interface ImportReport {
  tables: { name: string; count: number; next_id: number }[];
  findings: Finding[];
}

/** Records in a database in the folder `diamonddb` in the folder at location. */
export class Store implements StoreModule {
  /** Default: './data/'. */
  constructor(location?: string);
  readonly immediate: boolean;
  readonly path: string;
  /** After INITIALIZE_PERSISTANCE: what was imported then, or null. */
  readonly imported: ImportReport | null;
  message(message: StoreMessage): Promise<any>;
  close(): Promise<void>;
}

/** The records of each table that were used last. */
export class Cache implements CacheModule {
  /** size: records a table. Default: 1024. */
  constructor(options?: { size?: number });
  message(message: CacheMessage): Promise<Success<Fields | null> | Done | Failure>;
  close(): void;
}

export const utilities: {
  schemaUtils: {
    schemaLength(schema: Schema): number;
    /** Rejects with a text. */
    validate(schema: Schema, record: Input): Promise<void>;
  };
  recordUtils: {
    makeRecordString(table: Pick<Table, 'schema' | 'size'>, record: Input): string;
    parseRecord(string: string, schema: Schema): Fields;
  };
  operations: {
    readonly INITIALIZE_PERSISTANCE: 'INITIALIZE_PERSISTANCE';
    readonly MAKE_TABLE: 'MAKE_TABLE';
    readonly UPDATE_META: 'UPDATE_META';
    readonly STORE_RECORD: 'STORE_RECORD';
    readonly FETCH_RECORD: 'FETCH_RECORD';
    readonly PERSIST_ALL: 'PERSIST_ALL';
    readonly SUCCESS: 'SUCCESS';
    readonly FAILURE: 'FAILURE';
    initialize(persist?: number | false): Initialize;
    makeTable(tableData: Table): MakeTable;
    updateMeta(tables: Tables): UpdateMeta;
    storeRecord(table: Table, record: Fields, id: number): StoreRecord;
    fetchRecord(table: Table, id: number): FetchRecord;
    writeToDisk(): PersistAll;
    success(): Done;
    success<T>(data: T): Success<T>;
    failure(data: string): Failure;
  };
  promisify: typeof import('node:util').promisify;
};

/** Serves a database on 127.0.0.1. port: default PORT of the environment, or 2020. */
export function server(db: Database, options?: { port?: number | string }): Server;
