// A table: records of fixed width, found by a dense id.
//
// What does not wait is a plain call. What waits for the disk is a promise, and has a form that ends in Sync.
//
// Records are encoded into and decoded from one piece of memory that a table keeps: C copies what it is given before
// a call returns, so it is free again at once.
'use strict';

const { DiamondError, Status } = require('./errors.js');
const { Memory, callWith } = require('./memory.js');
const { Codec } = require('./codec.js');
const { idOf } = require('./ids.js');
const { Scan } = require('./scan.js');
const { Pin } = require('./pin.js');

const { OK, NOT_FOUND, OUT_OF_RANGE } = Status;

class Table {
  #handle;
  #what;
  #codec;
  #memory;
  #second;
  #address = 0;
  #recordAt;
  #nullsAt;
  #target = null;
  #targetAt = 0;

  /** Of an open handle; see Database.openTable. */
  constructor(session, address, { int64 } = {}) {
    this.#handle = session.hold(this, 'diamond_table_close', address);
    this.#address = address;
    const name = session.text('diamond_table_name', address);
    this.#what = `The table ${JSON.stringify(name)}`;
    this.#codec = new Codec(name, JSON.parse(session.text('diamond_table_layout', address)), int64);
    this.#memory = new Memory(session.native, this.#codec.size);
    this.#second = new Memory(session.native, this.#codec.size);
    this.#recordAt = this.#memory.address;
    this.#nullsAt = this.#memory.address + this.#codec.recordSize;
  }

  /** The name at this moment. */
  get name() {
    return this.#use().text('diamond_table_name', this.#address);
  }

  /** The schema, as makeTable takes it. */
  get schema() {
    return JSON.parse(this.#use().text('diamond_table_schema', this.#address));
  }

  /** Where everything in a packed record lies, in bytes. */
  get layout() {
    return JSON.parse(this.#use().text('diamond_table_layout', this.#address));
  }

  /** Bytes of a packed record. Behind it there is room for nullsSize bytes of nulls, or nothing. */
  get recordSize() {
    return this.#codec.recordSize;
  }

  get nullsSize() {
    return this.#codec.nullsSize;
  }

  /** How many records there are: saved and not deleted. */
  count() {
    return this.#use().number('diamond_table_count', this.#address);
  }

  /** The id that the next save will get, if no other save comes before it. */
  nextId() {
    return this.#use().number('diamond_table_next_id', this.#address);
  }

  /** The record, or undefined where there is none: never given, or deleted. */
  fetch(id) {
    const { native } = this.#use();
    const codec = this.#codec;
    const status = native.diamond_table_fetch(
      this.#address, idOf(id), this.#recordAt, codec.recordSize, this.#nullsAt);
    if (status !== OK) return this.#missing(status);
    return codec.decode(this.#memory.view, this.#memory.bytes, 0, codec.recordSize);
  }

  /**
   * Copies the packed record into the Buffer from `at` on, and its null bitmap behind it, where the Buffer has room
   * for that, too. False where there is none; the Buffer may then hold anything.
   */
  fetchInto(id, buffer, at = 0) {
    const { native } = this.#use();
    const { recordSize, size } = this.#codec;
    const room = buffer.length - at;
    if (!(at >= 0 && room >= recordSize)) throw this.#noRoom(buffer, at);
    const target = this.#addressOf(buffer) + at;
    const status = native.diamond_table_fetch(
      this.#address, idOf(id), target, recordSize, room >= size ? target + recordSize : 0);
    if (status !== OK) this.#missing(status);
    return status === OK;
  }

  /** Whether there is a record. */
  has(id) {
    const { native } = this.#use();
    const status = native.diamond_table_fetch(this.#address, idOf(id), this.#recordAt, this.#codec.recordSize, 0);
    if (status !== OK) this.#missing(status);
    return status === OK;
  }

  /** The records of these ids, in their order; undefined in the place of one that is not there. */
  fetchMany(ids) {
    const session = this.#use();
    const { native } = session;
    const all = idsIn(native, ids);
    const { recordSize, nullsSize } = this.#codec;
    const records = recordsIn(native, this.#codec, all.count);
    const statuses = new Memory(native, 4 * all.count);
    const values = [this.#address, all, all.count, records.struct, statuses];
    const status = callWith(native, 'diamond_table_fetch_many', values);
    if (status !== OK && !isMissing(status)) throw session.failed(status);
    return Array.from({ length: all.count }, (_, index) => {
      const found = statuses.view.getInt32(4 * index, true);
      // What failed otherwise is asked for again, alone, for its sentence.
      if (found !== OK) return isMissing(found) ? undefined : this.fetch(all.number(8 * index));
      const at = index * recordSize;
      return this.#codec.decode(records.view, records.bytes, at, all.count * recordSize + index * nullsSize);
    });
  }

  /** A packed record with its null bitmap. */
  encode(record) {
    const { recordSize, size } = this.#codec;
    const packed = Buffer.from(new ArrayBuffer(size));
    this.#codec.encode(record, new DataView(packed.buffer), packed, 0, recordSize);
    return packed;
  }

  /** The record in a packed one. */
  decode(packed) {
    const full = this.encode(packed);
    return this.#codec.decode(new DataView(full.buffer), full, 0, this.#codec.recordSize);
  }

  /** Saves a record, an object or packed, and resolves to its id when it is durable. */
  async save(record) {
    const session = this.#use();
    const { id, lsn } = session.commitOne(this.#adding('save', record));
    await session.commits.wait(lsn);
    return id;
  }

  saveSync(record) {
    const session = this.#use();
    return session.number('diamond_table_save', this.#address, ...this.#encoded(record));
  }

  /** Replaces the record. */
  async replace(id, record) {
    const session = this.#use();
    const { lsn } = session.commitOne(this.#adding('replace', record, idOf(id)));
    await session.commits.wait(lsn);
  }

  replaceSync(id, record) {
    this.#use().call('diamond_table_replace', this.#address, idOf(id), ...this.#encoded(record));
  }

  /** Replaces the record if it still is as expected; else DiamondError with the code CONFLICT. */
  async replaceIf(id, expected, record) {
    const session = this.#use();
    const [expect, replace] = [this.#expecting(id, expected), this.#adding('replace', record, idOf(id))];
    const { lsn } = session.commitOne((batch) => { expect(batch); replace(batch); });
    await session.commits.wait(lsn);
  }

  replaceIfSync(id, expected, record) {
    const session = this.#use();
    const values = [...this.#encoded(expected, this.#second), ...this.#encoded(record)];
    session.call('diamond_table_replace_if', this.#address, idOf(id), ...values);
  }

  /** Deletes the record. Its id is not given again. */
  async delete(id) {
    const session = this.#use();
    const { lsn } = session.commitOne((batch) => session.call('diamond_batch_delete', batch, this.#address, idOf(id)));
    await session.commits.wait(lsn);
  }

  deleteSync(id) {
    this.#use().call('diamond_table_delete', this.#address, idOf(id));
  }

  /** Deletes the record if it still is as expected; else CONFLICT. */
  async deleteIf(id, expected) {
    const session = this.#use();
    const expect = this.#expecting(id, expected);
    const { lsn } = session.commitOne((batch) => {
      expect(batch);
      session.call('diamond_batch_delete', batch, this.#address, idOf(id));
    });
    await session.commits.wait(lsn);
  }

  deleteIfSync(id, expected) {
    const values = this.#encoded(expected, this.#second);
    this.#use().call('diamond_table_delete_if', this.#address, idOf(id), ...values);
  }

  /**
   * Saves many records in one commit, all or none: an iterable of records, or one Buffer of packed ones end to end.
   * Gives the id of the first; the others follow it.
   */
  async saveMany(records) {
    const { native } = this.#use();
    const [all, first] = [this.#encodedMany(records), new Memory(native, 8)];
    await this.#handle.callAside('diamond_table_save_many', [this.#address, all.struct, all.count, first]);
    return first.number(0);
  }

  saveManySync(records) {
    const session = this.#use();
    const all = this.#encodedMany(records);
    return session.number('diamond_table_save_many', this.#address, all.struct, all.count);
  }

  /** Replaces many records in one commit, all or none. */
  async replaceMany(ids, records) {
    await this.#handle.callAside('diamond_table_replace_many', this.#replacing(ids, records));
  }

  replaceManySync(ids, records) {
    this.#use().call('diamond_table_replace_many', ...this.#replacing(ids, records));
  }

  /** Deletes many records in one commit, all or none. */
  async deleteMany(ids) {
    const all = idsIn(this.#use().native, ids);
    await this.#handle.callAside('diamond_table_delete_many', [this.#address, all, all.count]);
  }

  deleteManySync(ids) {
    const session = this.#use();
    const all = idsIn(session.native, ids);
    session.call('diamond_table_delete_many', this.#address, all, all.count);
  }

  /**
   * Walks the table in the order of its ids, as it is now, whatever is written meanwhile: [id, record] each, by
   * `for` or `for await`. first: the lowest id; end: the id behind the highest; reverse: from the highest down.
   */
  scan(options = {}) {
    return new Scan(this.#use(), this.#address, this.#codec, options);
  }

  [Symbol.iterator]() {
    return this.scan()[Symbol.iterator]();
  }

  [Symbol.asyncIterator]() {
    return this.scan()[Symbol.asyncIterator]();
  }

  /** Pins the table: all of it in one piece of memory, as it is now. Makes a checkpoint and reads all of it. */
  async pin() {
    const request = Pin.request(this.#use(), this.#address);
    await this.#handle.callAside('diamond_pin_open', request.values);
    return new Pin(this.#handle.session, this.#what, this.#codec, request);
  }

  pinSync() {
    const session = this.#use();
    const request = Pin.request(session, this.#address);
    session.call('diamond_pin_open', ...request.values);
    return new Pin(session, this.#what, this.#codec, request);
  }

  /** Closes the handle; the table stays. */
  close() {
    this.#handle.close();
  }

  /** For Batch: adds a save, a replace or an expectation of this table. */
  static addTo(table, session, verb, batch, id, record) {
    if (!(table instanceof Table)) throw new TypeError('The table of this change is no open table.');
    if (table.#use() !== session) {
      throw new DiamondError(Status.MISUSE, `${table.#what} is one of another database than the batch.`);
    }
    const ids = id === undefined ? [] : [idOf(id)];
    const values = verb === 'delete' ? [] : table.#encoded(record);
    session.call(`diamond_batch_${verb}`, batch, table.#address, ...ids, ...values);
  }

  #use() {
    return this.#handle.use(this.#what);
  }

  #missing(status) {
    if (isMissing(status)) return undefined;
    throw this.#handle.session.failed(status);
  }

  #noRoom(buffer, at) {
    return new RangeError(`${this.#what}: a record has ${this.#codec.recordSize} bytes, and the Buffer of ` +
      `${buffer.length} has not so many from ${at} on.`);
  }

  /** Lays a record down, and gives what functions of the library take for it. */
  #encoded(record, memory = this.#memory) {
    const { recordSize } = this.#codec;
    this.#codec.encode(record, memory.view, memory.bytes, 0, recordSize);
    return [memory, recordSize, memory.address + recordSize];
  }

  /** Adds a save or a replace to a batch. */
  #adding(verb, record, ...ids) {
    const values = this.#encoded(record);
    return (batch) => this.#handle.session.call(`diamond_batch_${verb}`, batch, this.#address, ...ids, ...values);
  }

  #expecting(id, expected) {
    const values = this.#encoded(expected, this.#second);
    return (batch) => this.#handle.session.call('diamond_batch_expect', batch, this.#address, idOf(id), ...values);
  }

  #encodedMany(records) {
    const { native } = this.#handle.session;
    if (records instanceof Uint8Array) return packedIn(native, this.#codec, records);
    const given = [...records];
    const all = recordsIn(native, this.#codec, given.length);
    const { recordSize, nullsSize } = this.#codec;
    const behind = given.length * recordSize;
    given.forEach((record, index) =>
      this.#codec.encode(record, all.view, all.bytes, index * recordSize, behind + index * nullsSize));
    return all;
  }

  #replacing(ids, records) {
    const [all, them] = [this.#encodedMany(records), idsIn(this.#use().native, ids)];
    if (all.count !== them.count) {
      throw new DiamondError(Status.INVALID, `${this.#what}: there are ${them.count} ids for ${all.count} records.`);
    }
    return [this.#address, them, them.count, all.struct];
  }

  /** Where a Buffer of the caller's lies. The last is remembered, since it is mostly the same. */
  #addressOf(buffer) {
    if (buffer === this.#target) return this.#targetAt;
    // Asked for its ArrayBuffer, a small array moves out of the collector's heap, and stays where it is then.
    if (!(buffer instanceof Uint8Array) || !buffer.buffer) throw new TypeError('A packed record goes into a Buffer.');
    this.#targetAt = this.#handle.session.native.backend.addressOf(buffer);
    this.#target = buffer;
    return this.#targetAt;
  }
}

function isMissing(status) {
  return status === NOT_FOUND || status === OUT_OF_RANGE;
}

/** Room for so many packed records, and their nulls behind them. */
function recordsIn(native, { recordSize, nullsSize }, count) {
  const memory = new Memory(native, count * (recordSize + nullsSize));
  const nulls = memory.address + count * recordSize;
  memory.struct = Memory.ofStruct(native, 'diamond_records', { records: memory, nulls });
  memory.count = count;
  return memory;
}

/** Packed records end to end, in which nothing is null. */
function packedIn(native, { table, recordSize }, records) {
  if (records.length % recordSize !== 0) {
    throw new DiamondError(Status.INVALID, `Table ${JSON.stringify(table)}: ${records.length} bytes are not a whole ` +
      `number of packed records of ${recordSize}.`);
  }
  const memory = Memory.ofBytes(native, records);
  memory.struct = Memory.ofStruct(native, 'diamond_records', { records: memory });
  memory.count = records.length / recordSize;
  return memory;
}

function idsIn(native, ids) {
  const given = Array.isArray(ids) ? ids : [...ids];
  const memory = new Memory(native, 8 * given.length);
  given.forEach((id, index) => memory.setNumber(8 * index, idOf(id)));
  memory.count = given.length;
  return memory;
}

module.exports = { Table };
