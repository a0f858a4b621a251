// An open database: what is done with all of it, and the door to its tables, batches and snapshots.
'use strict';

const { constants, structs } = require('../native.js');
const { DiamondError, Status, failure } = require('./errors.js');
const { Memory, callWith } = require('./memory.js');
const { Session, takeText } = require('./session.js');
const { Module } = require('./modules.js');
const { Table } = require('./table.js');
const { Batch } = require('./batch.js');
const { reportProgress } = require('./progress.js');
const { Snapshot } = require('./snapshot.js');
const { show } = require('./codec.js');

const DURABILITIES = {
  sync: constants.DIAMOND_DURABILITY_SYNC,
  os: constants.DIAMOND_DURABILITY_OS,
  async: constants.DIAMOND_DURABILITY_ASYNC,
};
const FLAGS = {
  mustExist: constants.DIAMOND_OPEN_MUST_EXIST,
  readOnly: constants.DIAMOND_OPEN_READ_ONLY,
  noThreads: constants.DIAMOND_OPEN_NO_THREADS,
  forceNetwork: constants.DIAMOND_OPEN_FORCE_NETWORK,
  readWithPread: constants.DIAMOND_OPEN_READ_WITH_PREAD,
  inMemory: constants.DIAMOND_OPEN_IN_MEMORY,
};
/** Options that are numbers, and the fields that they become. */
const NUMBERS = {
  intervalMs: 'interval_ms', dirtySoft: 'dirty_soft', dirtyHard: 'dirty_hard', cacheBytes: 'cache_bytes',
};
const OTHERS = ['durability', 'store', 'cache', 'backend'];

const INTERVAL_MS = 1000;
const STEP_US = 2000;

class Database {
  #session;
  #steps = null;

  /** See open in index.js. */
  static async open(native, helpers, path, options) {
    const opening = new Opening(native, helpers, path, options);
    if (opening.session.isBound) return Database.#openHere(native, opening);
    await helpers.call('diamond_open', opening.values);
    return new Database(opening);
  }

  static openSync(native, helpers, path, options) {
    return Database.#openHere(native, new Opening(native, helpers, path, options));
  }

  static #openHere(native, opening) {
    const status = callWith(native, 'diamond_open', opening.values);
    if (status !== 0) throw opening.failed(status);
    return new Database(opening);
  }

  constructor(opening) {
    this.#session = opening.opened();
    // Where a module is bound to this thread, no other persists on the interval.
    if (this.#session.isBound && opening.options.durability === 'async') this.#startSteps(opening.options.intervalMs);
  }

  /** The name by which it was opened. */
  get path() {
    return this.#session.name;
  }

  /** Opens a table that is there. options.int64: 'number' or 'bigint', what 64-bit fields become. */
  openTable(name, options) {
    const session = this.#use();
    const text = Memory.ofText(session.native, name);
    const table = session.number('diamond_table_open', session.address, text, text.size);
    return new Table(session, table, options);
  }

  /** Opens a table, and makes it where there is none by that name. */
  async makeTable(name, schema, options) {
    const session = this.#use();
    const { values, out } = this.#making(name, schema);
    await session.callAside('diamond_table_make', values);
    return new Table(session, out.number(0), options);
  }

  makeTableSync(name, schema, options) {
    const session = this.#use();
    const { values, out } = this.#making(name, schema);
    session.call('diamond_table_make', ...values);
    return new Table(session, out.number(0), options);
  }

  /** Deletes a table with all its records. */
  async dropTable(name) {
    const text = Memory.ofText(this.#use().native, name);
    await this.#session.callAside('diamond_table_drop', [this.#session.address, text, text.size]);
  }

  dropTableSync(name) {
    const text = Memory.ofText(this.#use().native, name);
    this.#session.call('diamond_table_drop', this.#session.address, text, text.size);
  }

  /** Gives a table another name. Its handles stay open. */
  async renameTable(name, newName) {
    await this.#session.callAside('diamond_table_rename', this.#renaming(name, newName));
  }

  renameTableSync(name, newName) {
    this.#session.call('diamond_table_rename', ...this.#renaming(name, newName));
  }

  /** All tables by name: [{name, next_id, count, record_size, slot_size}, ...]. */
  tables() {
    return JSON.parse(this.#use().text('diamond_table_list', this.#session.address));
  }

  /** An empty batch. */
  batch() {
    return new Batch(this.#session);
  }

  /** All tables as they are now. */
  snapshot() {
    return new Snapshot(this.#session);
  }

  /** What the database has done and holds. */
  stats() {
    return JSON.parse(this.#use().text('diamond_stats', this.#session.address));
  }

  /** Resolves when all that is visible now is on disk; in 'os', when the operating system has it. */
  async waitDurable() {
    await this.#aside('diamond_wait_durable', 0, 0xffffffff, 0, 0);
  }

  /** Makes all that was committed durable against a power cut, whatever the durability. */
  async flush() {
    await this.#aside('diamond_flush');
  }

  flushSync() {
    this.#use().call('diamond_flush', this.#session.address);
  }

  /** Writes changed pages to their files, so that the next opening is quick. */
  async checkpoint() {
    await this.#aside('diamond_checkpoint');
  }

  checkpointSync() {
    this.#use().call('diamond_checkpoint', this.#session.address);
  }

  /** Does upkeep for about so many microseconds: what noThreads asks for. True if work is left. */
  step(microseconds = STEP_US) {
    const session = this.#use();
    session.call('diamond_step', session.address, microseconds, session.out);
    return session.out.view.getInt32(0, true) !== 0;
  }

  /** Reads everything and checks it; gives the report. CORRUPT, with the report in `error.report`, if it finds any. */
  async verify() {
    const out = new Memory(this.#use().native, 16);
    const ended = this.#session.callAside('diamond_verify', verifying(this.#session, out));
    return reportOf(this.#session.native, out, await ended.then(nothing, itself));
  }

  verifySync() {
    const session = this.#use();
    const out = new Memory(session.native, 16);
    const status = callWith(session.native, 'diamond_verify', verifying(session, out));
    return reportOf(session.native, out, status === 0 ? undefined : session.failed(status));
  }

  /**
   * Copies the database, as it is now, to a folder that is empty or not there yet. progress(done, total), if given,
   * is told bytes now and then; if it gives false, or throws, the backup is called off: CANCELLED.
   */
  async backup(path, { progress } = {}) {
    if (this.#session.isBound) return this.backupSync(path, { progress });
    const { values, options } = this.#backingUp(path);
    const telling = progress && new Progress(progress, options);
    const error = await this.#session.callAside('diamond_backup', values, telling).then(nothing, itself);
    if (error !== undefined) throw telling?.because(error) ?? error;
  }

  backupSync(path, { progress } = {}) {
    const session = this.#use();
    const { values, options } = this.#backingUp(path);
    const telling = progress && new Progress(progress, options);
    const end = telling && reportProgress(session.native, options.address, (done, total) => telling.tell(done, total));
    const status = callWith(session.native, 'diamond_backup', values);
    const error = status === 0 ? undefined : session.failed(status);
    end?.();
    if (error !== undefined) throw telling?.because(error) ?? error;
  }

  /**
   * Closes it, when all that is under way has ended, with its tables, batches, scans and snapshots. Rejects if not all
   * that was committed became durable. Pins go on.
   */
  async close() {
    const session = this.#session;
    if (session.refusal === 'closed') return;
    session.use();
    // Nothing begins from here on.
    session.refusal = 'closed';
    await session.idle();
    const address = this.#closing();
    if (session.isBound) session.call('diamond_close', address);
    else await session.helpers.call('diamond_close', [address]);
  }

  /** The same, on this thread. BUSY while something is under way. */
  closeSync() {
    const session = this.#session;
    if (session.refusal === 'closed') return;
    session.use();
    if (session.underWay > 0) {
      throw new DiamondError(Status.BUSY, `The database ${session.name} has calls under way: await them, or close().`);
    }
    session.refusal = 'closed';
    session.call('diamond_close', this.#closing());
  }

  #closing() {
    const session = this.#session;
    clearInterval(this.#steps);
    session.closeHandles();
    const { address } = session;
    session.address = 0;
    return address;
  }

  #startSteps(intervalMs = INTERVAL_MS) {
    this.#steps = setInterval(() => {
      try {
        this.step();
      } catch (error) {
        process.emitWarning(error);
      }
    }, intervalMs);
    this.#steps.unref();
  }

  #use() {
    this.#session.use();
    return this.#session;
  }

  #aside(name, ...values) {
    return this.#session.callAside(name, [this.#session.address, ...values]);
  }

  #making(name, schema) {
    const { native, address } = this.#session;
    const texts = [name, typeof schema === 'string' ? schema : JSON.stringify(schema)];
    const [nameText, schemaText] = texts.map((text) => Memory.ofText(native, text));
    const out = new Memory(native, 8);
    return { values: [address, nameText, nameText.size, schemaText, schemaText.size, out], out };
  }

  #renaming(name, newName) {
    const { native, address } = this.#use();
    const texts = [name, newName].map((text) => Memory.ofText(native, text));
    return [address, ...texts.flatMap((text) => [text, text.size])];
  }

  #backingUp(path) {
    const { native, address } = this.#use();
    const text = Memory.ofText(native, path);
    const options = Memory.ofStruct(native, 'diamond_backup_options', {});
    return { values: [address, text, text.size, options], options };
  }
}

/** What diamond_open takes and gives. */
class Opening {
  #modules = [];
  #path;
  #struct;
  #out;

  constructor(native, helpers, path, options = {}) {
    refuseUnknown(options);
    this.native = native;
    this.options = options;
    const fields = this.#fields();
    this.#path = Memory.ofText(native, path);
    this.#out = new Memory(native, 8);
    this.#place('store', 'diamond_store_module');
    this.#place('cache', 'diamond_cache_module');
    for (const { name, module } of this.#modules) fields[name] = module.struct;
    this.#struct = Memory.ofStruct(native, 'diamond_options', fields);
    const { durability } = options;
    this.session = new Session(native, helpers, { name: String(path), durability, isBound: this.#modules.length > 0 });
  }

  /** The arguments of diamond_open. */
  get values() {
    return [this.#path, this.#path.size, this.#struct, this.#out];
  }

  #place(name, type) {
    const object = this.options[name];
    if (object === undefined) return;
    try {
      this.#modules.push({ name, module: new Module(this.native, type, object) });
    } catch (error) {
      this.#forget();
      throw error;
    }
  }

  #forget() {
    for (const { module } of this.#modules) module.forget();
  }

  #fields() {
    const { options } = this;
    const flags = Object.keys(FLAGS).filter((name) => options[name]).reduce((all, name) => all + FLAGS[name], 0);
    const fields = { flags, durability: DURABILITIES[options.durability ?? 'sync'] };
    if (fields.durability === undefined) {
      throw new TypeError(`durability is 'sync', 'os' or 'async', not ${show(options.durability)}.`);
    }
    for (const [name, field] of Object.entries(NUMBERS)) {
      if (options[name] !== undefined) fields[field] = wholeOf(name, options[name], field);
    }
    return fields;
  }

  /** After it went well: the session. */
  opened() {
    this.session.address = this.#out.number(0);
    for (const { module } of this.#modules) module.session = this.session;
    return this.session;
  }

  /** After it failed: why. */
  failed(status) {
    const error = failure(this.native, status);
    const cause = this.#modules.map(({ module }) => module.error).find((one) => one !== undefined);
    if (cause !== undefined) error.cause = cause;
    this.#forget();
    return error;
  }
}

function refuseUnknown(options) {
  const known = [...Object.keys(FLAGS), ...Object.keys(NUMBERS), ...OTHERS];
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined) throw new TypeError(`There is no option ${show(unknown)}; there are ${known.join(', ')}.`);
}

function wholeOf(name, value, field) {
  const { size } = structs.diamond_options.fields[field];
  const max = size === 4 ? 2 ** 32 - 1 : Number.MAX_SAFE_INTEGER;
  if (Number.isSafeInteger(value) && value >= 0 && value <= max) return value;
  throw new RangeError(`${name} is a whole number from 0 to ${max}, not ${show(value)}.`);
}

function verifying(session, out) {
  return [session.address, out, out.address + 8];
}

/** The report of a verify, though it has found damage. */
function reportOf(native, out, error) {
  const isCorrupt = error?.status === Status.CORRUPT && out.number(0) !== 0;
  if (error !== undefined && !isCorrupt) throw error;
  const report = JSON.parse(takeText(native, out));
  if (error === undefined) return report;
  throw Object.assign(error, { report });
}

/** Who hears of the progress of a backup. */
class Progress {
  #told;
  #error;
  #stop = new Int32Array(new SharedArrayBuffer(4));

  constructor(told, { address }) {
    if (typeof told !== 'function') throw new TypeError('progress is a function of the bytes done and of all.');
    this.#told = told;
    this.options = { address, stop: this.#stop.buffer };
  }

  /** Tells it; false if the backup is to end. */
  tell(done, total) {
    try {
      if (this.#told(done, total) !== false) return true;
    } catch (error) {
      this.#error = error;
    }
    Atomics.store(this.#stop, 0, 1);
    return false;
  }

  /** The failure of the backup, with what was thrown here as its cause. */
  because(error) {
    if (this.#error !== undefined) error.cause = this.#error;
    return error;
  }
}

function nothing() {}

function itself(error) {
  return error;
}

module.exports = { Database };
