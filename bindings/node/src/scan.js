// A walk through a table in the order of its ids, as it was when it began.
//
// Records come in pieces, small at first, for who looks only at a few. `for` takes all in one go; `for await` lets the
// event loop turn between two pieces, so that a long walk keeps nobody waiting.
'use strict';

const { constants } = require('../native.js');
const { Status } = require('./errors.js');
const { Memory } = require('./memory.js');
const { idOf } = require('./ids.js');

/** A piece has at most so many records, and bytes. */
const [FIRST, MOST, BYTES_MAX] = [16, 1024, 1 << 18];

class Scan {
  #handle = null;
  #codec;
  #memory;
  #piece;

  constructor(session, table, codec, { first = 0, end, reverse = false }) {
    this.#codec = codec;
    const most = Math.max(1, Math.min(MOST, Math.floor(BYTES_MAX / codec.size)));
    this.#piece = { size: Math.min(FIRST, most), most };
    const options = Memory.ofStruct(session.native, 'diamond_scan_options', {
      flags: reverse ? constants.DIAMOND_SCAN_REVERSE : 0, first_id: idOf(first), end_id: idOf(end ?? 0),
    });
    // To the library an end of 0 is none.
    if (end === 0) return;
    this.#memory = new Room(session.native, codec, most);
    this.#handle = session.open(this, 'diamond_cursor_close', 'diamond_table_scan', table, options);
  }

  *[Symbol.iterator]() {
    try {
      for (let count = this.#next(); count > 0; count = this.#next()) yield* this.#records(count);
    } finally {
      this.close();
    }
  }

  async *[Symbol.asyncIterator]() {
    try {
      for (let count = this.#next(); count > 0; count = this.#next()) {
        yield* this.#records(count);
        await new Promise(setImmediate);
      }
    } finally {
      this.close();
    }
  }

  /** Ends the walk. At its end, or when a loop is left, it does so by itself. */
  close() {
    this.#handle?.close();
  }

  #next() {
    if (this.#handle === null || this.#handle.address === 0) return 0;
    const { native } = this.#handle.use('The scan');
    const { size, most } = this.#piece;
    this.#piece.size = Math.min(size * 4, most);
    const room = this.#memory;
    const status = native.diamond_cursor_next_many(
      this.#handle.address, room.address, size, room.struct.address, room.countAddress);
    if (status === Status.END) return 0;
    if (status !== Status.OK) throw this.#handle.session.failed(status);
    return room.count;
  }

  *#records(count) {
    const { recordsAt, nullsAt, view, bytes } = this.#memory;
    const { recordSize, nullsSize, decode } = this.#codec;
    for (let index = 0; index < count; index++) {
      const record = decode(view, bytes, recordsAt + index * recordSize, nullsAt + index * nullsSize);
      yield [this.#memory.number(8 * index), record];
    }
  }
}

/** Room for a piece: ids, then records, then their nulls, then how many there are. */
class Room extends Memory {
  constructor(native, { recordSize, nullsSize }, capacity) {
    const recordsAt = 8 * capacity;
    const nullsAt = recordsAt + capacity * recordSize;
    const countAt = Math.ceil((nullsAt + capacity * nullsSize) / 8) * 8;
    super(native, countAt + 8);
    Object.assign(this, { recordsAt, nullsAt, countAt, countAddress: this.address + countAt });
    // It lies as long as this, which has it.
    const [records, nulls] = [this.address + recordsAt, this.address + nullsAt];
    this.struct = Memory.ofStruct(native, 'diamond_records', { records, nulls });
  }

  get count() {
    return this.number(this.countAt);
  }
}

module.exports = { Scan };
