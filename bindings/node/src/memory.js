// Memory that C may read and write while a call lasts: bytes with an address that stays.
//
// An ArrayBuffer made as such lies outside the collector's heap, so it does not move. It is freed when nobody holds it,
// and an address does not hold it, nor does a local variable that is not used any more. So:
//
// 1. Calls are given Memory, not addresses. It becomes an address at the last moment, and is used after the call.
// 2. A struct holds the Memory that it points to.
'use strict';

const { structs } = require('../native.js');

const HIGH = 2 ** 32;

class Memory {
  constructor(native, size) {
    this.bytes = Buffer.from(new ArrayBuffer(Math.max(size, 8)));
    this.view = new DataView(this.bytes.buffer);
    this.address = native.backend.addressOf(this.bytes);
  }

  /** The bytes of a text. */
  static ofText(native, text) {
    return Memory.ofBytes(native, Buffer.from(text));
  }

  static ofBytes(native, bytes) {
    const memory = new Memory(native, bytes.length);
    memory.size = bytes.length;
    memory.bytes.set(bytes);
    return memory;
  }

  /**
   * A struct of the header, its struct_size and the given fields set, the rest zeros. Values are numbers, or Memory for
   * its address.
   */
  static ofStruct(native, name, values) {
    const { size, fields } = structs[name];
    const memory = new Memory(native, size);
    memory.fields = fields;
    memory.pointsTo = values;
    if (fields.struct_size !== undefined) memory.set('struct_size', size);
    for (const [field, value] of Object.entries(values)) memory.set(field, value);
    return memory;
  }

  /** Sets a field of the struct. */
  set(field, value) {
    const { offset, size } = this.fields[field];
    if (size === 4) this.view.setInt32(offset, value, true);
    else this.setNumber(offset, addressOf(value));
  }

  /** The value of a field of 8 bytes. */
  get(field) {
    return this.number(this.fields[field].offset);
  }

  /** A u64 as a number. RangeError where it would round. */
  number(at) {
    const value = this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * HIGH;
    if (value > Number.MAX_SAFE_INTEGER) {
      throw new RangeError(`${this.view.getBigUint64(at, true)} does not fit a number: it is over 2^53 - 1`);
    }
    return value;
  }

  setNumber(at, value) {
    this.view.setUint32(at, value % HIGH, true);
    this.view.setUint32(at + 4, value / HIGH, true);
  }
}

/** What C is given for an argument. */
function addressOf(value) {
  return value instanceof Memory ? value.address : value;
}

let used;

/** Calls a function of the library by name, and gives its status. */
function callWith(native, name, values) {
  const status = native[name](...values.map(addressOf));
  // Rule 1: until here they are held.
  used = values;
  return status;
}

/** A copy of size bytes of C's. */
function copyOf(native, address, size) {
  const bytes = Buffer.allocUnsafeSlow(size);
  if (size > 0) native.read_memory(bytes, address, size);
  return bytes;
}

/** A copy of a text of C's. */
function textOf(native, address, size) {
  return copyOf(native, address, size).toString();
}

module.exports = { Memory, addressOf, callWith, copyOf, textOf };
