// The store of the first version: its messages, over a database of today.
//
// The database is the folder `diamonddb` in the folder given. Where that folder was written by the first version, its
// tables are imported when there is no such database yet; import.js says how.
//
// 1. Records that are stored in one turn of the event loop are one commit. Their promises resolve after it: what was
//    acknowledged is with the operating system ('os', for persist: false), or syncs within the interval ('async').
// 2. A record is stored under the id that the controller gave: ids that it gave to nothing are burned, and no record
//    is ever replaced by another.
// 3. What was committed and not flushed yet is kept in `#unflushed`. Where the engine has met a failing disk, it writes
//    nothing more: saves fail, and reads go on. The next persist opens it again, and gives it what it then lacks.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { isDeepStrictEqual } = require('node:util');
const { open, openSync, DiamondError } = require('../index.js');
const { operations, failureOf } = require('./operations.js');
const { schemaLength, toEngine, fromEngine, difference, put, show } = require('./schemas.js');
const { importOnce, sweep } = require('./import.js');

const { INITIALIZE_PERSISTANCE, MAKE_TABLE, UPDATE_META, STORE_RECORD, FETCH_RECORD, PERSIST_ALL } = operations;
const { success, failure } = operations;

const NAME = 'diamonddb';
/** The engine writes nothing more, or does not know what it wrote, until it was opened again. */
const BROKEN = ['POISONED', 'COMMIT_UNKNOWN'];
/** So many are not held in memory for who never asks for a persist. */
const UNFLUSHED_MAX = 1 << 16;
const BURNED_MAX = 1_000_000;

class Store {
  #folder;
  #options = null;
  #database = null;
  #handles = new Map();
  #queue = [];
  #committing = null;
  #unflushed = [];
  #flushing = null;
  /** What went wrong since the last persist, and the next will say. */
  #failure = null;
  /** Why nothing is written at the moment. */
  #brokenBy = null;

  /** location: the folder, made where it is missing. */
  constructor(location = './data/') {
    if (typeof location !== 'string' || location === '') {
      throw new TypeError(`The location of a Store is the path of a folder, not ${show(location)}.`);
    }
    this.#folder = location;
    /** What an import has brought, and could not read; null where there was none to make. */
    this.imported = null;
  }

  /** A controller need not keep what was not persisted yet: it is found here. */
  get immediate() {
    return true;
  }

  /** Where the database is. */
  get path() {
    return path.join(this.#folder, NAME);
  }

  /** Answers a message. What goes wrong is a FAILURE. */
  async message(message) {
    try {
      return await this.#answer(message?.operation, message?.data);
    } catch (error) {
      return failureOf(error);
    }
  }

  /** Closes the database when all was written. Throws where not all became durable. */
  async close() {
    if (this.#options === null) return;
    this.#commit();
    await this.#flushing;
    const [database, lost] = [this.#database, this.#failure];
    this.#options = this.#database = this.#failure = this.#brokenBy = null;
    this.#handles.clear();
    this.#unflushed = [];
    await database?.close();
    if (lost !== null) throw lost;
  }

  #answer(operation, data) {
    switch (operation) {
      case INITIALIZE_PERSISTANCE: return this.#initialize(data);
      case MAKE_TABLE: return this.#makeTable(data?.tableData);
      case UPDATE_META: return undefined; // The engine keeps its own.
      case STORE_RECORD: return this.#storeRecord(data);
      case FETCH_RECORD: return this.#fetchRecord(data);
      case PERSIST_ALL: return this.#persistAll();
      default: return failure(`ERROR: a store has no operation ${show(operation)}.`);
    }
  }

  async #initialize({ persist = false } = {}) {
    await this.close();
    fs.mkdirSync(this.#folder, { recursive: true });
    this.imported = await importOnce(this.#folder, this.path);
    const options = persist === false ? { durability: 'os' } : { durability: 'async', intervalMs: persist };
    this.#database = await open(this.path, options);
    this.#options = options;
    sweep(this.path);
    return success(this.#tables());
  }

  /** Those of the first version's kind. */
  #tables() {
    const tables = {};
    for (const { name, next_id: index } of this.#database.tables()) {
      const schema = fromEngine(this.#handleOf(name).schema);
      if (schema !== undefined) put(tables, name, { name, size: schemaLength(schema), schema, index });
    }
    return tables;
  }

  async #makeTable(table) {
    if (table === undefined) return failure('Create table message did not contain new table');
    const { name, schema } = table;
    const database = this.#use();
    const there = database.tables().some((one) => one.name === name) && fromEngine(this.#handleOf(name).schema);
    const differs = there && difference(there, schema);
    if (differs) return failure(`ERROR: table ${name} exists with another schema: ${differs}.`);
    if (!there) this.#handles.set(name, await database.makeTable(name, toEngine(schema)));
    return success();
  }

  async #storeRecord({ table, record, id }) {
    this.#use();
    const entry = { name: table.name, record, id, error: null };
    this.#queue.push(entry);
    // Rule 1: all that this turn still stores joins it.
    this.#committing ??= Promise.resolve().then(() => this.#commit());
    await this.#committing;
    if (entry.error !== null) throw entry.error;
  }

  async #fetchRecord({ table, id }) {
    this.#use();
    this.#commit();
    const record = this.#handleOf(table.name).fetch(id) ?? this.#findUnflushed(table.name, id);
    if (record !== undefined) return success(record);
    return failure(`ERROR: no record at index ${id} in table ${table.name}: it was not stored, or not imported`);
  }

  /** Opened again only to be read, the engine may lack these. */
  #findUnflushed(name, id) {
    if (this.#brokenBy === null) return undefined;
    return this.#unflushed.find((entry) => entry.name === name && entry.id === id)?.record;
  }

  async #persistAll() {
    this.#use();
    this.#commit();
    await this.#flushing;
    if (this.#brokenBy === null && this.#unflushed.length > 0) await this.#flush();
    if (this.#brokenBy !== null) this.#openAgain();
    const failed = this.#failure;
    this.#failure = null;
    return failed === null ? success() : failureOf(failed);
  }

  /** Makes what was committed durable. */
  async #flush() {
    const count = this.#unflushed.length;
    this.#flushing = this.#use().flush().then(nothing, itself);
    const error = await this.#flushing;
    this.#flushing = null;
    if (error === undefined) this.#unflushed.splice(0, count);
    else this.#failed(error);
    this.#failure ??= error ?? null;
  }

  /** Rule 1. */
  #commit() {
    const queue = this.#queue;
    [this.#queue, this.#committing] = [[], null];
    for (const [name, entries] of byTable(queue)) this.#commitTo(name, entries);
    const isMuch = this.#unflushed.length >= UNFLUSHED_MAX;
    if (isMuch && this.#flushing === null && this.#brokenBy === null) this.#flush();
  }

  #commitTo(name, entries) {
    try {
      this.#add(name, entries);
    } catch (error) {
      this.#failed(error);
      // It took none of them: each is tried alone, and has its own error.
      for (const entry of entries) this.#addOne(name, entry);
    }
    for (const entry of entries) if (entry.error === null) this.#unflushed.push(entry);
  }

  #addOne(name, entry) {
    try {
      this.#add(name, [entry]);
    } catch (error) {
      entry.error = error;
    }
  }

  /** Rule 2. All entries, or none. */
  #add(name, entries) {
    if (this.#brokenBy !== null) throw this.#brokenBy;
    const handle = this.#handleOf(name);
    const begin = handle.nextId();
    const [records, burned] = [[], []];
    for (const { id, record } of entries) {
      const next = begin + records.length;
      if (id < begin) expectSame(name, handle, id, record);
      else if (id < next) throw new Error(`Record ${id} of table ${name} was given twice at once.`);
      else if (id - next > BURNED_MAX) throw new Error(`Record ${id} of table ${name} is far off: ${next} is next.`);
      else {
        for (let lost = next; lost < id; lost++) burned.push(lost) && records.push({});
        records.push(record);
      }
    }
    if (records.length === 1) handle.saveSync(records[0]);
    else if (records.length > 1) handle.saveManySync(records);
    if (burned.length > 0) handle.deleteManySync(burned);
  }

  #failed(error) {
    if (!(error instanceof DiamondError && BROKEN.includes(error.code))) return;
    this.#failure ??= error;
    this.#brokenBy ??= error;
  }

  /** Rule 3. Where that fails too, what can be read is read. */
  #openAgain() {
    const error = this.#brokenBy;
    this.#brokenBy = null;
    try {
      this.#letGo();
      this.#database = openSync(this.path, this.#options);
      for (const [name, entries] of byTable(this.#unflushed)) this.#add(name, entries);
    } catch (again) {
      this.#failure ??= again;
      this.#brokenBy = error ?? again;
      this.#letGo();
      this.#database = openSync(this.path, { readOnly: true });
    }
  }

  #letGo() {
    this.#handles.clear();
    try {
      this.#database?.closeSync();
    } catch {
      // It says once more that not all became durable.
    }
    this.#database = null;
  }

  #use() {
    if (this.#options === null) throw new Error(`The store in ${this.#folder} was not initialized.`);
    if (this.#database === null) this.#openAgain();
    return this.#database;
  }

  #handleOf(name) {
    if (!this.#handles.has(name)) this.#handles.set(name, this.#use().openTable(name));
    return this.#handles.get(name);
  }
}

function expectSame(name, handle, id, record) {
  const there = handle.fetch(id);
  if (isDeepStrictEqual(there, handle.decode(handle.encode(record)))) return;
  throw new Error(`Record ${id} of table ${name} is there, and is another. ` +
    'One Database at a time saves into a folder.');
}

function byTable(entries) {
  const tables = new Map();
  for (const entry of entries) {
    const those = tables.get(entry.name);
    if (those === undefined) tables.set(entry.name, [entry]);
    else those.push(entry);
  }
  return tables;
}

function nothing() {}

function itself(error) {
  return error;
}

module.exports = { Store };
