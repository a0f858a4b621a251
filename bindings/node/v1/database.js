// The controller of the first version: it checks records, gives ids, and has a cache and a store do the rest.
//
// It knows both only by their message(message), which gives a reply or a promise of one. So either can be anybody's.
//
// 1. Works begin in the order of the calls. While a table is made, and while it is initialized, all others wait.
// 2. An id is given when the save begins, and to nothing else, whatever becomes of the save.
// 3. What a store has accepted and not persisted is `#pending`, and found there: a store may queue it where it cannot
//    read. After a persist that failed the store is told of it again. A store that says `immediate` needs neither.
// 4. Whatever a module throws becomes a FAILURE message. One of a cache only costs the way to the store.
'use strict';

const { operations, isSuccess, isFailure, failureOf } = require('./operations.js');
const { fit, faultOf, difference, schemaLength, put, show } = require('./schemas.js');

const { success, failure, storeRecord, fetchRecord } = operations;

const INTERVAL_MAX = 2 ** 31 - 1;
/** So many are not held back in memory for who never asks for a persist. */
const PENDING_MAX = 100_000;

class Database {
  #store;
  #cache;
  /** 'new', 'busy', 'ready' or 'closed'. */
  #state = 'new';
  #waiting = [];
  #underWay = 0;
  #whenIdle = [];
  #timer = null;
  #closing = null;
  /** By table, the records by id. */
  #pending;
  #pendingCount;
  #persisting = Promise.resolve();
  #persistCount = 0;
  #hasFailed;
  /** The failure of a persist that nobody waited for. */
  #unheard;
  #hasWarned = false;

  /** store and cache are objects with message(message); the cache may be left out. */
  constructor({ store, cache } = {}) {
    refuseOther('store', store);
    if (cache !== undefined && cache !== null) refuseOther('cache', cache);
    this.#store = store;
    this.#cache = cache ?? null;
    this.tables = {};
  }

  /** Asks the store for its tables. persist: milliseconds from one persist to the next, or false. */
  async init(options) {
    const persist = options?.persist ?? false;
    if (this.#state === 'busy' || this.#state === 'ready') return failure('ERROR: init was called already.');
    if (!isInterval(persist)) {
      return failure(`ERROR: persist is false, or milliseconds from 1 to ${INTERVAL_MAX}, not ${show(persist)}.`);
    }
    this.#state = 'busy';
    this.#closing = null;
    this.#forgetAll();
    const reply = checkTables(await ask(this.#store, operations.initialize(persist)));
    if (isFailure(reply)) console.error(`DiamondDB: the store could not be initialized: ${reply.data}`);
    this.tables = isSuccess(reply) ? { ...reply.data } : {};
    if (persist !== false) this.#timer = setInterval(() => this.#persistUnheard(), persist);
    this.#unblock();
    return isFailure(reply) ? reply : success();
  }

  /** Whether init has ended, and no table is being made. */
  isReady() {
    return this.#state === 'ready';
  }

  /** Makes a table. One that is there with this schema is that table; with another it is a FAILURE. */
  makeTable(name, schema) {
    return this.#run(() => this.#makeTable(name, schema));
  }

  /** Saves a record: {_id, ...record}. Resolves with a FAILURE where the schema, or the store, does not take it. */
  saveRecord(tableName, record) {
    return this.#run(() => this.#saveRecord(tableName, record));
  }

  /** The record. Rejects with a FAILURE where the id was never given, and resolves with one where the store fails. */
  fetchRecord(tableName, id) {
    return this.#run(() => this.#fetchRecord(tableName, id));
  }

  /** Has the store persist what it was given. A FAILURE, too, where a persist of the timer has failed before. */
  writeToDisk() {
    return this.#run(() => this.#persistHeard());
  }

  /** Stops the timer, persists, and closes the store and the cache, where they have a close(). */
  close() {
    if (this.#state === 'new') return Promise.resolve(success());
    this.#closing ??= this.#run(() => this.#close());
    return this.#closing;
  }

  #run(work) {
    if (this.#state === 'ready') return work();
    if (this.#state === 'busy') return new Promise((resolve) => this.#waiting.push(() => resolve(this.#run(work))));
    const done = this.#state === 'new' ? 'is not initialized: call init first' : 'was closed';
    return Promise.resolve(failure(`ERROR: the database ${done}.`));
  }

  #unblock() {
    this.#state = 'ready';
    // What blocks again sends those behind it to wait once more, in their order.
    for (const begin of this.#waiting.splice(0)) begin();
  }

  async #makeTable(name, schema) {
    if (typeof name !== 'string' || name === '') {
      return failure(`ERROR: the name of a table is a text, not ${show(name)}.`);
    }
    const fault = faultOf(schema);
    if (fault !== undefined) return failure(`ERROR: table ${name} cannot be made. ${fault}`);
    if (Object.hasOwn(this.tables, name)) return this.#sameTable(name, schema);
    this.#state = 'busy';
    const table = { name, size: schemaLength(schema), schema: structuredClone(schema), index: 0 };
    const reply = await ask(this.#store, operations.makeTable(table));
    if (!isFailure(reply)) put(this.tables, name, table);
    this.#unblock();
    return isFailure(reply) ? reply : success();
  }

  #sameTable(name, schema) {
    const differs = difference(this.tables[name].schema, schema);
    return differs === undefined ? success() : failure(`ERROR: table ${name} exists with another schema: ${differs}.`);
  }

  async #saveRecord(tableName, record) {
    const table = this.#tableOf(tableName);
    if (table === undefined) return this.#noTable(tableName);
    let fitted;
    try {
      fitted = fit(table.schema, record);
    } catch (error) {
      return failureOf(error);
    }
    this.#underWay += 1;
    const id = table.index++;
    this.#tellCache(table, fitted, id);
    const reply = await this.#askToStore(table, fitted, id);
    this.#end();
    return isFailure(reply) ? reply : success({ _id: id, ...fitted });
  }

  /** Rule 3. */
  async #askToStore(table, record, id) {
    if (this.#store.immediate) return ask(this.#store, storeRecord(table, record, id));
    const entry = { record, isAccepted: false };
    this.#remember(table, id, entry);
    const reply = await ask(this.#store, storeRecord(table, record, id));
    entry.isAccepted = !isFailure(reply);
    if (!entry.isAccepted) this.#forget(table, id);
    if (this.#pendingCount >= PENDING_MAX) this.#persistUnheard();
    return reply;
  }

  async #fetchRecord(tableName, id) {
    const table = this.#tableOf(tableName);
    if (table === undefined) return this.#noTable(tableName);
    const index = indexOf(id);
    if (!(index < table.index)) throw failure(`ERROR: no record at index ${String(id)} in table ${tableName}`);
    this.#underWay += 1;
    const reply = await this.#find(table, index);
    this.#end();
    if (isFailure(reply)) return reply;
    return success(isRecord(reply.data) ? complete(table, index, reply.data) : null);
  }

  async #find(table, id) {
    const message = fetchRecord(table, id);
    const cached = this.#cache === null ? undefined : await ask(this.#cache, message);
    if (isFailure(cached)) this.#warn(cached);
    if (isSuccess(cached) && isRecord(cached.data)) return cached;
    const pending = this.#pending.get(table)?.get(id);
    if (pending !== undefined) return success(pending.record);
    const reply = await ask(this.#store, message);
    if (!isSuccess(reply) && !isFailure(reply)) {
      return failure(`ERROR: the store answered FETCH_RECORD with ${show(reply)}; a SUCCESS or FAILURE is due.`);
    }
    if (isRecord(reply.data)) this.#tellCache(table, reply.data, id);
    return reply;
  }

  /** Nobody waits for it. */
  async #tellCache(table, record, id) {
    if (this.#cache === null) return;
    const reply = await ask(this.#cache, storeRecord(table, record, id));
    if (isFailure(reply)) this.#warn(reply);
  }

  /** A cache that fails is bypassed, and that is said once. */
  #warn({ data }) {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    process.emitWarning(`The cache failed, and the store is asked in its place: ${data}`, 'DiamondDB');
  }

  async #persistHeard() {
    const reply = await this.#persist();
    const unheard = this.#unheard;
    this.#unheard = undefined;
    return isFailure(reply) || unheard === undefined ? reply : unheard;
  }

  /** For who does not wait: the next who does is told of a failure. */
  async #persistUnheard() {
    if (this.#persistCount > 0 || this.#state !== 'ready') return;
    const reply = await this.#persist();
    if (isFailure(reply)) this.#unheard = failure(`A persist before this one failed: ${reply.data}`);
  }

  /** One at a time. */
  #persist() {
    this.#underWay += 1;
    this.#persistCount += 1;
    const persisted = this.#persisting.then(() => this.#persistNow());
    this.#persisting = persisted;
    return persisted;
  }

  async #persistNow() {
    const reply = this.#hasFailed ? await this.#storeAgain() : undefined;
    const ended = isFailure(reply) ? reply : await this.#persistStored();
    this.#hasFailed = isFailure(ended);
    this.#persistCount -= 1;
    this.#end();
    return isFailure(ended) ? ended : success();
  }

  async #persistStored() {
    const accepted = [...this.#entries()].filter(({ entry }) => entry.isAccepted);
    const told = await ask(this.#store, operations.updateMeta(this.tables));
    if (isFailure(told)) return told;
    const reply = await ask(this.#store, operations.writeToDisk());
    if (!isFailure(reply)) for (const { table, id } of accepted) this.#forget(table, id);
    return reply;
  }

  /** What a store has accepted, a persist that failed may have lost. */
  async #storeAgain() {
    const replies = await Promise.all([...this.#entries()].filter(({ entry }) => entry.isAccepted)
      .map(({ table, id, entry }) => ask(this.#store, storeRecord(table, entry.record, id))));
    return replies.find(isFailure);
  }

  *#entries() {
    for (const [table, records] of this.#pending) for (const [id, entry] of records) yield { table, id, entry };
  }

  #remember(table, id, entry) {
    const records = this.#pending.get(table);
    if (records === undefined) this.#pending.set(table, new Map([[id, entry]]));
    else records.set(id, entry);
    this.#pendingCount += 1;
  }

  #forget(table, id) {
    if (this.#pending.get(table).delete(id)) this.#pendingCount -= 1;
  }

  #forgetAll() {
    this.#pending = new Map();
    this.#pendingCount = 0;
    this.#hasFailed = false;
    this.#unheard = undefined;
  }

  async #close() {
    this.#state = 'closed';
    clearInterval(this.#timer);
    while (this.#underWay > 0) await new Promise((resolve) => this.#whenIdle.push(resolve));
    const replies = [await this.#persistHeard()];
    // One object may be both.
    for (const module of new Set([this.#store, this.#cache])) replies.push(await closed(module));
    return replies.find(isFailure) ?? success();
  }

  #end() {
    this.#underWay -= 1;
    if (this.#underWay === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  #tableOf(name) {
    return Object.hasOwn(this.tables, name) ? this.tables[name] : undefined;
  }

  #noTable(name) {
    const names = Object.keys(this.tables);
    const there = names.length === 0 ? 'there is none' : `there are: ${names.join(', ')}`;
    return failure(`ERROR: no table ${String(name)}; ${there}.`);
  }
}

/** A module's reply; FAILURE for whatever it throws, or rejects with. */
async function ask(module, message) {
  try {
    const reply = await module.message(message);
    return isFailure(reply) ? failureOf(reply) : reply;
  } catch (error) {
    return failureOf(error);
  }
}

async function closed(module) {
  try {
    if (typeof module?.close === 'function') await module.close();
    return success();
  } catch (error) {
    return failureOf(error);
  }
}

/** The reply to INITIALIZE_PERSISTANCE, where it gives tables that can be used, or none. */
function checkTables(reply) {
  const tables = isSuccess(reply) ? Object.entries(reply.data ?? {}) : [];
  const wrong = tables.find(([, table]) => !isRecord(table?.schema) || !Number.isSafeInteger(table.index));
  if (wrong === undefined) return reply;
  return failure(`The store gave for table ${wrong[0]} ${show(wrong[1])}; {name, size, schema, index} is due.`);
}

function refuseOther(name, module) {
  if (typeof module?.message === 'function') return;
  throw new TypeError(`The ${name} of a Database is an object with a method message(message), not ${show(module)}.`);
}

function isInterval(persist) {
  return persist === false || (Number.isInteger(persist) && persist >= 1 && persist <= INTERVAL_MAX);
}

function isRecord(data) {
  return typeof data === 'object' && data !== null;
}

/** The number that an id is, or its digits; NaN for all else. */
function indexOf(id) {
  if (typeof id === 'string' && /^\d{1,15}$/.test(id)) return Number(id);
  return Number.isSafeInteger(id) && id >= 0 ? id : NaN;
}

/** The record with its id first, and null in the place of each field that it leaves out. */
function complete({ schema }, id, record) {
  const whole = { _id: id };
  for (const name of Object.keys(schema)) put(whole, name, null);
  Object.assign(whole, record);
  if (!Object.hasOwn(schema, '_id')) whole._id = id; // A module may have put another there.
  return whole;
}

module.exports = { Database };
