// A pinned table: all its slots in one piece of memory, as they were at one moment, and views to read them in place.
//
// The memory is a map of the table's file. Reading it when it is gone, or writing to it, would end the process, and no
// back end can take an ArrayBuffer back on every version of Node. So the ArrayBuffer is never given out:
//
// 1. A View has methods that read, and none that writes.
// 2. A released View throws a sentence. A Pin does not close before its views are released, or out of reach.
'use strict';

const { DiamondError, Status, failure } = require('./errors.js');
const { Memory, copyOf } = require('./memory.js');
const { idOf } = require('./ids.js');

/** Closes pins that nobody can reach any more; their views keep them in reach. */
const forgotten = new FinalizationRegistry(({ native, address }) => native.diamond_pin_close(address));

class Pin {
  #native;
  #address;
  #what;
  #codec;
  #slots;
  #views = 0;

  /** What diamond_pin_open takes, and where it puts its answer. */
  static request({ native }, table) {
    const [slots, pin] = [Memory.ofStruct(native, 'diamond_slots', {}), new Memory(native, 8)];
    return { values: [table, slots, pin], slots, pin };
  }

  constructor({ native }, what, codec, { slots, pin }) {
    this.#native = native;
    this.#what = what;
    this.#codec = codec;
    this.#address = pin.number(0);
    const names = { base: 'base', stride: 'stride', state: 'state_offset', nulls: 'nulls_offset', count: 'count' };
    this.#slots = Object.fromEntries(Object.entries(names).map(([name, field]) => [name, slots.get(field)]));
    forgotten.register(this, { native, address: this.#address }, this);
  }

  /** How many slots there are: one for each id that was ever given. */
  get count() {
    return this.#slots.count;
  }

  /** Bytes from one slot to the next. */
  get stride() {
    return this.#slots.stride;
  }

  /** A copy of the slots from `first` to before `end`, which is yours. */
  copy(first = 0, end = this.count) {
    const { at, size } = this.#range(first, end);
    return copyOf(this.#native, at, size);
  }

  /** A View of the slots from `first` to before `end`, in place. Release it before the pin is closed. */
  view(first = 0, end = this.count) {
    const { at, size } = this.#range(first, end);
    const memory = size === 0 ? Buffer.alloc(0) : this.#native.backend.view(at, size);
    this.#views += 1;
    const release = () => { this.#views -= 1; };
    return new View(this, release, memory, { ...this.#slots, first, end, what: this.#what, codec: this.#codec });
  }

  /** Gives the memory back. BUSY while a view is not released. */
  close() {
    if (this.#address === 0) return;
    if (this.#views > 0) {
      throw new DiamondError(Status.BUSY, `${this.#what} has ${this.#views} of its pin's views in use: release them, ` +
        'then close the pin.');
    }
    const address = this.#address;
    this.#address = 0;
    forgotten.unregister(this);
    const status = this.#native.diamond_pin_close(address);
    if (status !== 0) throw failure(this.#native, status);
  }

  #range(first, end) {
    if (this.#address === 0) throw new DiamondError(Status.CLOSED, `${this.#what}: the pin was closed.`);
    const { base, stride, count } = this.#slots;
    if (idOf(first) > idOf(end) || end > count) {
      throw new RangeError(`${this.#what}: the pin has slots from 0 to before ${count}, not from ${first} to ${end}.`);
    }
    return { at: base + first * stride, size: (end - first) * stride };
  }
}

/** Slots read where they lie. All numbers are little-endian; every place is in bytes from the view's begin. */
class View {
  #pin;
  #release;
  #view;
  #bytes;
  #slots;
  #stride;
  #state;
  #first;

  constructor(pin, release, memory, slots) {
    this.#pin = pin;
    this.#release = release;
    this.#view = new DataView(memory.buffer, memory.byteOffset, memory.length);
    this.#bytes = memory;
    this.#slots = slots;
    this.#stride = slots.stride;
    this.#state = slots.state;
    this.#first = slots.first;
  }

  get pin() {
    return this.#pin;
  }

  /** The lowest id, and the id behind the highest. */
  get first() {
    return this.#first;
  }

  get end() {
    return this.#slots.end;
  }

  get stride() {
    return this.#stride;
  }

  /** Where the slot of an id begins. */
  at(id) {
    return (id - this.#first) * this.#stride;
  }

  /** Where a field lies in a slot. */
  offsetOf(name) {
    return this.#field(name).offset;
  }

  /** Whether the record is there. */
  has(id) {
    return this.#view.getUint8((id - this.#first) * this.#stride + this.#state) !== 0;
  }

  /** Whether a field of the record is null. */
  isNull(id, name) {
    const { index } = this.#field(name);
    return (this.#view.getUint8(this.at(id) + this.#slots.nulls + (index >> 3)) & (1 << (index & 7))) !== 0;
  }

  /** The record as an object, or undefined where there is none. */
  record(id) {
    if (!(id >= this.first && id < this.end) || !this.has(id)) return undefined;
    const { codec, nulls } = this.#slots;
    return codec.decode(this.#view, this.#bytes, this.at(id), this.at(id) + nulls);
  }

  getInt8(at) { return this.#view.getInt8(at); }
  getUint8(at) { return this.#view.getUint8(at); }
  getInt16(at) { return this.#view.getInt16(at, true); }
  getUint16(at) { return this.#view.getUint16(at, true); }
  getInt32(at) { return this.#view.getInt32(at, true); }
  getUint32(at) { return this.#view.getUint32(at, true); }
  getBigInt64(at) { return this.#view.getBigInt64(at, true); }
  getBigUint64(at) { return this.#view.getBigUint64(at, true); }
  getFloat32(at) { return this.#view.getFloat32(at, true); }
  getFloat64(at) { return this.#view.getFloat64(at, true); }

  /** Gives the view back: it reads nothing from now on. */
  release() {
    if (this.#bytes === null) return;
    this.#view = new Released(this.#slots.what);
    this.#bytes = null;
    this.#release();
  }

  #field(name) {
    const { codec, what } = this.#slots;
    const field = codec.fields.find((one) => one.name === name);
    if (field === undefined) throw new RangeError(`${what} has no field ${JSON.stringify(name)}.`);
    return field;
  }
}

/** What a released View reads from. */
class Released {
  constructor(what) {
    const refuse = () => {
      throw new DiamondError(Status.CLOSED, `${what}: this view of its pin was released.`);
    };
    const readers = Object.getOwnPropertyNames(DataView.prototype).filter((name) => name.startsWith('get'));
    for (const reader of readers) this[reader] = refuse;
  }
}

module.exports = { Pin, View };
