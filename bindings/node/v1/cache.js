// The cache of the first version: so many records a table, those that were used last. They lie packed in a database in
// memory, a table each, and are found by a map from their id to their slot there.
'use strict';

const { randomUUID } = require('node:crypto');
const { openSync } = require('../index.js');
const { operations, failureOf } = require('./operations.js');
const { faultOf, toEngine, show } = require('./schemas.js');

const { STORE_RECORD, FETCH_RECORD, success, failure } = operations;

const SIZE = 1024;

class Cache {
  #size;
  #database = null;
  #tables = new Map();

  /** size: how many records of each table. */
  constructor({ size = SIZE } = {}) {
    if (!Number.isSafeInteger(size) || size < 1) {
      throw new RangeError(`The size of a Cache is a whole number of records from 1 on, not ${show(size)}.`);
    }
    this.#size = size;
  }

  /** Answers a message. What goes wrong is a FAILURE. */
  async message(message) {
    try {
      return this.#answer(message?.operation, message?.data);
    } catch (error) {
      return failureOf(error);
    }
  }

  /** Forgets everything, and gives its memory back. */
  close() {
    this.#tables.clear();
    this.#database?.closeSync();
    this.#database = null;
  }

  #answer(operation, data) {
    switch (operation) {
      case STORE_RECORD:
        this.#slotsOf(data.table)?.store(data.id, data.record);
        return success();
      case FETCH_RECORD:
        return success(this.#slotsOf(data.table)?.fetch(data.id) ?? null);
      default:
        return failure(`ERROR: a cache has no operation ${show(operation)}.`);
    }
  }

  /** undefined where the schema is one that only the caller's own store can know. */
  #slotsOf({ name, schema }) {
    const there = this.#tables.get(name);
    if (there?.schema === schema) return there.slots;
    // Another table by this name: what is remembered of the former is of no use.
    there?.slots?.drop();
    const slots = faultOf(schema) === undefined ? new Slots(this.#use(), toEngine(schema), this.#size) : undefined;
    this.#tables.set(name, { schema, slots });
    return slots;
  }

  #use() {
    this.#database ??= openSync(`cache ${randomUUID()}`, { inMemory: true, durability: 'async' });
    return this.#database;
  }
}

/** The records of one table. */
class Slots {
  #database;
  #name = randomUUID();
  #table;
  #size;
  /** Slots by id; who was used last is last. */
  #slots = new Map();
  #free = [];

  constructor(database, schema, size) {
    this.#database = database;
    this.#table = database.makeTableSync(this.#name, schema);
    this.#size = size;
  }

  store(id, record) {
    const slot = this.#take(id);
    try {
      if (slot === undefined) this.#slots.set(id, this.#table.saveSync(record));
      else this.#table.replaceSync(slot, record);
    } catch (error) {
      // What it cannot keep as it is, the store has.
      if (slot !== undefined) this.#free.push(slot);
      if (error.code === 'INVALID') return;
      throw error;
    }
    if (slot !== undefined) this.#slots.set(id, slot);
  }

  fetch(id) {
    const slot = this.#slots.get(id);
    if (slot === undefined) return undefined;
    this.#slots.delete(id);
    this.#slots.set(id, slot);
    return this.#table.fetch(slot);
  }

  drop() {
    this.#table.close();
    this.#database.dropTableSync(this.#name);
  }

  /** The slot of this id, or of the one that was not used for longest; undefined while there is room for a new one. */
  #take(id) {
    const isThere = this.#slots.has(id);
    if (!isThere && this.#free.length > 0) return this.#free.pop();
    if (!isThere && this.#slots.size < this.#size) return undefined;
    const gone = isThere ? id : this.#slots.keys().next().value;
    const slot = this.#slots.get(gone);
    this.#slots.delete(gone);
    return slot;
  }
}

module.exports = { Cache };
