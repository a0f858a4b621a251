// Records as JavaScript has them, and as they lie in memory.
//
// A decoder is one function, written for its table and compiled once: an object of 15 fields takes about a tenth of
// the time that a loop over the fields takes, since V8 sees one shape and constant offsets.
//
// A packed record is a Buffer: the C struct of the schema, with the null bitmap behind it or, where nothing is null,
// without.
'use strict';

const { DiamondError, Status } = require('./errors.js');

const INT64 = ['number', 'bigint'];
const FLOAT_MAX = 3.4028234663852886e38;

class Codec {
  /** Of the table's layout, as diamond_table_layout says it. int64: what 64-bit fields become. */
  constructor(table, layout, int64 = 'number') {
    if (!INT64.includes(int64)) throw new TypeError(`int64 is 'number' or 'bigint', not ${show(int64)}`);
    this.table = table;
    this.recordSize = layout.record_size;
    this.nullsSize = layout.nulls_size;
    this.size = this.recordSize + this.nullsSize;
    this.fields = layout.fields.map((field, index) => ({ ...field, index, write: writerOf(field) }));
    /** decode(view, bytes, at, nullsAt): the record at `at`. bytes and view are of the same memory. */
    this.decode = decoderOf(this.fields, int64);
  }

  /** Lays a record, an object or packed, down at `at`, its null bitmap at nullsAt. */
  encode(record, view, bytes, at, nullsAt) {
    if (record instanceof Uint8Array) this.#copy(record, bytes, at, nullsAt);
    else if (typeof record === 'object' && record !== null) this.#encode(record, view, bytes, at, nullsAt);
    else throw this.#invalid(`a record is an object or a Buffer, not ${show(record)}`);
  }

  #copy(packed, bytes, at, nullsAt) {
    const { recordSize, nullsSize, size } = this;
    if (packed.length !== recordSize && packed.length !== size) {
      throw this.#invalid(`a packed record has ${recordSize} bytes, or ${size} with its null bitmap of ${nullsSize}, ` +
        `not ${packed.length}`);
    }
    const hasNulls = packed.length === size;
    bytes.set(hasNulls ? packed.subarray(0, recordSize) : packed, at);
    if (hasNulls) bytes.set(packed.subarray(recordSize), nullsAt);
    else bytes.fill(0, nullsAt, nullsAt + nullsSize);
  }

  #encode(record, view, bytes, at, nullsAt) {
    bytes.fill(0, at, at + this.recordSize);
    bytes.fill(0, nullsAt, nullsAt + this.nullsSize);
    let given = 0;
    for (const field of this.fields) {
      const value = record[field.name];
      if (value !== undefined) given += 1;
      if (value === undefined || value === null) {
        bytes[nullsAt + (field.index >> 3)] |= 1 << (field.index & 7);
        continue;
      }
      const wrong = field.write(view, bytes, at + field.offset, value, field);
      if (wrong !== undefined) throw this.#invalid(`field ${show(field.name)}: ${wrong}`);
    }
    if (Object.keys(record).length !== given) this.#refuseUnknown(record);
  }

  #refuseUnknown(record) {
    const names = this.fields.map(({ name }) => name);
    const unknown = Object.keys(record).find((key) => !names.includes(key));
    if (unknown === undefined) return;
    throw this.#invalid(`there is no field ${show(unknown)}; the fields are ${names.join(', ')}`);
  }

  #invalid(what) {
    return new DiamondError(Status.INVALID, `Table ${show(this.table)}: ${what}.`);
  }
}

/** Where the bytes of a field come from. */
const READERS = {
  i8: (at) => `view.getInt8(${at})`,
  u8: (at) => `bytes[${at}]`,
  i16: (at) => `view.getInt16(${at}, true)`,
  u16: (at) => `view.getUint16(${at}, true)`,
  i32: (at) => `view.getInt32(${at}, true)`,
  u32: (at) => `view.getUint32(${at}, true)`,
  f32: (at) => `view.getFloat32(${at}, true)`,
  f64: (at) => `view.getFloat64(${at}, true)`,
  number: (at) => `view.getFloat64(${at}, true)`,
  bool: (at) => `bytes[${at}] !== 0`,
  string: (at, { size }) => `text(bytes, ${at}, ${size})`,
  bytes: (at, { size }) => `copy(bytes, ${at}, ${size})`,
};
const READERS_64 = {
  bigint: {
    i64: (at) => `view.getBigInt64(${at}, true)`,
    u64: (at) => `view.getBigUint64(${at}, true)`,
    timestamp: (at) => `view.getBigInt64(${at}, true)`,
  },
  number: {
    i64: (at, { name }) => `int64(view, ${at}, ${JSON.stringify(name)})`,
    u64: (at, { name }) => `uint64(view, ${at}, ${JSON.stringify(name)})`,
    timestamp: (at, { name }) => `int64(view, ${at}, ${JSON.stringify(name)})`,
  },
};

function decoderOf(fields, int64) {
  const readers = { ...READERS, ...READERS_64[int64] };
  const lines = fields.map((field) => {
    const value = readers[field.type](`at + ${field.offset}`, field);
    const isNull = `bytes[nulls + ${field.index >> 3}] & ${1 << (field.index & 7)}`;
    return `${keyOf(field.name)}: ${field.required ? value : `${isNull} ? null : ${value}`},`;
  });
  const body = `return function decode(view, bytes, at, nulls) { return {\n${lines.join('\n')}\n}; };`;
  return compiled(body);
}

/** Decoders by their text, so that a table which is opened again and again is compiled once. */
const decoders = new Map();
const DECODERS_MAX = 1000;

function compiled(body) {
  if (decoders.size === DECODERS_MAX) decoders.clear();
  if (!decoders.has(body)) {
    const decoder = new Function('text', 'copy', 'int64', 'uint64', body)(text, copy, toInt64, toUint64);
    decoders.set(body, decoder);
  }
  return decoders.get(body);
}

/** A key of an object literal; this one name would set the prototype. */
function keyOf(name) {
  return name === '__proto__' ? '["__proto__"]' : JSON.stringify(name);
}

/** Text up to its first NUL. */
function text(bytes, at, size) {
  const limit = at + size;
  let [end, seen] = [at, 0];
  while (end < limit && bytes[end] !== 0) seen |= bytes[end++];
  return seen < 128 ? bytes.latin1Slice(at, end) : bytes.utf8Slice(at, end);
}

function copy(bytes, at, size) {
  return Buffer.from(bytes.subarray(at, at + size));
}

function toInt64(view, at, name) {
  const value = view.getInt32(at + 4, true) * 4294967296 + view.getUint32(at, true);
  return Number.isSafeInteger(value) ? value : refuseRounding(view.getBigInt64(at, true), name);
}

function toUint64(view, at, name) {
  const value = view.getUint32(at + 4, true) * 4294967296 + view.getUint32(at, true);
  return Number.isSafeInteger(value) ? value : refuseRounding(view.getBigUint64(at, true), name);
}

function refuseRounding(value, name) {
  throw new RangeError(`Field ${show(name)}: ${value} does not fit a number; open the table with {int64: 'bigint'}.`);
}

/** write(view, bytes, at, value, field): lays a value down, or says what is wrong with it. */
const WRITERS = {
  i8: whole(-128, 127, (view, at, value) => view.setInt8(at, value)),
  u8: whole(0, 255, (view, at, value) => view.setUint8(at, value)),
  i16: whole(-32768, 32767, (view, at, value) => view.setInt16(at, value, true)),
  u16: whole(0, 65535, (view, at, value) => view.setUint16(at, value, true)),
  i32: whole(-(2 ** 31), 2 ** 31 - 1, (view, at, value) => view.setInt32(at, value, true)),
  u32: whole(0, 2 ** 32 - 1, (view, at, value) => view.setUint32(at, value, true)),
  i64: whole64(-(2n ** 63n), 2n ** 63n - 1n, (view, at, value) => view.setBigInt64(at, value, true)),
  u64: whole64(0n, 2n ** 64n - 1n, (view, at, value) => view.setBigUint64(at, value, true)),
  f32: real(FLOAT_MAX, (view, at, value) => view.setFloat32(at, value, true)),
  f64: real(Number.MAX_VALUE, (view, at, value) => view.setFloat64(at, value, true)),
  number: real(Number.MAX_VALUE, (view, at, value) => view.setFloat64(at, value, true)),
  bool: writeBool,
  string: writeText,
  bytes: writeBytes,
};
WRITERS.timestamp = (view, bytes, at, value) =>
  WRITERS.i64(view, bytes, at, value instanceof Date ? value.getTime() * 1000 : value);

function writerOf({ type }) {
  return WRITERS[type];
}

function whole(min, max, set) {
  return (view, bytes, at, value) => {
    if (!Number.isInteger(value) || value < min || value > max) return notWhole(value, min, max);
    set(view, at, value);
  };
}

function whole64(min, max, set) {
  return (view, bytes, at, value) => {
    const given = Number.isSafeInteger(value) ? BigInt(value) : value;
    if (typeof given !== 'bigint' || given < min || given > max) {
      return `${notWhole(value, min, max)}, as a bigint beyond 2^53 - 1`;
    }
    set(view, at, given);
  };
}

function notWhole(value, min, max) {
  return `${show(value)} is not a whole number from ${min} to ${max}`;
}

function real(max, set) {
  return (view, bytes, at, value) => {
    if (typeof value !== 'number' || !(Math.abs(value) <= max)) return `${show(value)} is not a finite number`;
    set(view, at, value);
  };
}

function writeBool(view, bytes, at, value) {
  if (typeof value !== 'boolean') return `${show(value)} is not true or false`;
  bytes[at] = value ? 1 : 0;
}

function writeText(view, bytes, at, value, { size, width, characters }) {
  if (typeof value !== 'string') return `${show(value)} is not a string`;
  if (characters && value.length > width) return `${show(value)} has ${value.length} UTF-16 units, over ${width}`;
  if (value.length <= size && writeAscii(bytes, at, value)) return;
  const length = Buffer.byteLength(value);
  if (length > size) return `${show(value)} has ${length} bytes of UTF-8, over ${size}`;
  if (value.includes('\0')) return `${show(value)} has a NUL inside`;
  if (!value.isWellFormed()) return `${show(value)} has half of a surrogate pair`;
  bytes.utf8Write(value, at, length);
}

/** Writes a short text of letters below 128; false where it is none. */
function writeAscii(bytes, at, value) {
  if (value.length > 64) return false;
  for (let i = 0; i < value.length; i++) {
    const letter = value.charCodeAt(i);
    if (letter === 0 || letter > 127) return false;
    bytes[at + i] = letter;
  }
  return true;
}

function writeBytes(view, bytes, at, value, { size }) {
  if (!(value instanceof Uint8Array)) return `${show(value)} is not a Buffer or Uint8Array`;
  if (value.length !== size) return `there are ${value.length} bytes, not ${size}`;
  bytes.set(value, at);
}

/** A value as a sentence names it. */
function show(value) {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  return typeof value === 'object' && value !== null ? (value.constructor?.name ?? 'an object') : String(value);
}

module.exports = { Codec, show };
