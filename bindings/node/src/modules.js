// Stores and caches written in JavaScript: objects with the methods of the contract, as structs of C functions.
//
// 1. They run on the thread that opened the database, and only inside of calls of that database: it is opened with
//    DIAMOND_MODULE_OPENING_THREAD. So no other thread ever waits for the event loop, nor the loop for another thread.
// 2. C has the same few functions for all modules, made once a thread and kept; which module is meant is their
//    context, a number. So nothing that C calls can be collected, however many databases come and go.
// 3. What a module is given is a copy. It may keep it.
// 4. Whatever a method throws ends the call of the database, with its text; nothing is thrown through C.
'use strict';

const { constants, structs } = require('../native.js');
const { Ambiguous, Status, DiamondError, failure } = require('./errors.js');
const { Memory, callWith, copyOf, textOf } = require('./memory.js');
const { takeText } = require('./session.js');

const { DIAMOND_MODULE_OK: OK, DIAMOND_MODULE_MISS: MISS, DIAMOND_MODULE_AMBIGUOUS: AMBIGUOUS } = constants;
const FAILED = 0;
const STAMP_SIZE = structs.diamond_stamp.size;

/** What a module has to have; by the names of the header, whose functions they are. */
const METHODS = {
  diamond_store_module: {
    initialize: 'initialize', make_table: 'makeTable', update_meta: 'updateMeta', store: 'store', fetch: 'fetch',
    persist_all: 'persistAll',
  },
  diamond_cache_module: { store: 'store', fetch: 'fetch', clear: 'clear' },
};

/** Modules that C has, by their context. */
const placed = new Map();
let lastContext = 0;

/** A module of JavaScript's, as a struct that diamond_open takes. */
class Module {
  /** type: diamond_store_module or diamond_cache_module. */
  constructor(native, type, object) {
    this.native = native;
    this.object = object;
    this.type = type;
    this.methods = METHODS[type];
    this.name = String(object?.name ?? object?.constructor?.name ?? 'module');
    this.session = null;
    this.error = undefined;
    const missing = Object.values(this.methods).find((name) => typeof object?.[name] !== 'function');
    if (missing !== undefined) throw new TypeError(`${this.name} has no method ${missing}, which a module must have.`);
    this.#place();
  }

  #place() {
    const { native, type } = this;
    this.context = lastContext += 1;
    placed.set(this.context, this);
    const text = Memory.ofText(native, `${this.name}\0`);
    const functions = functionsOf(native, type);
    const fields = { flags: this.#flags(), context: this.context, name: text, ...functions };
    this.struct = Memory.ofStruct(native, type, fields);
  }

  #flags() {
    const { atomic, immediate } = this.object;
    return constants.DIAMOND_MODULE_OPENING_THREAD | constants.DIAMOND_MODULE_ONE_AT_A_TIME |
      (this.type === 'diamond_store_module' && atomic ? constants.DIAMOND_MODULE_ATOMIC : 0) |
      (this.type === 'diamond_store_module' && immediate ? constants.DIAMOND_MODULE_IMMEDIATE : 0);
  }

  /** Lets it go where C has not taken it. */
  forget() {
    placed.delete(this.context);
  }

  /** Answers a call of C's. */
  answer(field, values, reply) {
    const { session } = this;
    const outer = session?.refusal;
    if (session !== null) session.refusal = 'inside';
    try {
      return ANSWERS[this.type][field](this, ...values, reply);
    } catch (error) {
      return this.fail(error, reply);
    } finally {
      if (session !== null) session.refusal = outer;
    }
  }

  /** Calls the object's method. A promise comes too late for an answer. */
  ask(field, ...values) {
    const name = this.methods[field];
    const answer = this.object[name](...values);
    if (typeof answer?.then !== 'function') return answer;
    // Nobody will wait for it.
    answer.then(undefined, () => {});
    throw new TypeError(`${this.name}.${name} returned a promise; a module answers at once`);
  }

  fail(error, reply) {
    this.#note(error);
    const text = Memory.ofText(this.native, String(error?.message ?? error));
    callWith(this.native, 'diamond_reply_error', [reply, text, text.size]);
    return error instanceof Ambiguous ? AMBIGUOUS : FAILED;
  }

  /** Keeps a failure, to be the cause of what the call of the database ends with. */
  #note(error) {
    this.error = error;
    if (this.session !== null) this.session.moduleError = error;
  }

  /** Gives a record to the reply. */
  give(reply, index, found) {
    const [stamp, record, nulls] = ['stamp', 'record', 'nulls'].map((part) => {
      if (found[part] instanceof Uint8Array) return Memory.ofBytes(this.native, found[part]);
      throw new TypeError(`${this.name}.fetch gave a record whose ${part} is not the Buffer that it was given`);
    });
    if (stamp.size !== STAMP_SIZE) throw new TypeError(`${this.name}.fetch gave a stamp that is not of 16 bytes`);
    this.tell('diamond_reply_record', reply, index, stamp, record, record.size, nulls, nulls.size);
  }

  /** Calls a function that tells something to the reply. */
  tell(name, ...values) {
    const status = callWith(this.native, name, values);
    if (status !== 0) throw failure(this.native, status);
  }

  /** Says of each item that is an Error that it failed; items are numbers of C's. */
  setItems(items, answers, count) {
    for (let index = 0; index < count; index++) {
      if (!(answers[index] instanceof Error)) continue;
      const status = answers[index] instanceof Ambiguous ? AMBIGUOUS : FAILED;
      this.#note(answers[index]);
      this.native.write_memory(items + 4 * index, Buffer.from(Int32Array.of(status).buffer), 4);
    }
  }
}

/** What the functions of C do. They have the arguments of the header, the reply last; the rest is the module's. */
const ANSWERS = {
  diamond_store_module: {
    initialize(module, reply) {
      const { tables, stored = [] } = module.ask('initialize') ?? {};
      if (tables !== undefined && tables !== null) {
        const text = Memory.ofText(module.native, tables);
        module.tell('diamond_reply_meta', reply, text, text.size);
      }
      for (const { table, id, version } of stored) {
        const { u64 } = module.native.backend;
        module.tell('diamond_reply_stored', reply, table, u64(exact(id)), u64(exact(version)));
      }
      return OK;
    },
    make_table(module, table, meta, size) {
      module.ask('make_table', table, JSON.parse(textOf(module.native, meta, size)));
      return OK;
    },
    update_meta(module, tables, size) {
      module.ask('update_meta', textOf(module.native, tables, size));
      return OK;
    },
    store(module, changes, count, items) {
      const { size } = structs.diamond_change;
      const all = Array.from({ length: count }, (_, index) => changeAt(module.native, changes + index * size));
      module.setItems(items, arrayOf(module, 'store', module.ask('store', all)), count);
      return OK;
    },
    fetch(module, table, ids, count, items, reply) {
      const bytes = copyOf(module.native, ids, 8 * count);
      const wanted = Array.from({ length: count }, (_, index) => exact(bytes.readBigUInt64LE(8 * index)));
      const found = arrayOf(module, 'fetch', module.ask('fetch', table, wanted));
      module.setItems(items, found, count);
      for (let index = 0; index < count; index++) {
        if (isFound(found[index])) module.give(reply, index, found[index]);
      }
      return OK;
    },
    persist_all(module) {
      module.ask('persist_all');
      return OK;
    },
  },
  diamond_cache_module: {
    store(module, change) {
      module.ask('store', changeAt(module.native, change));
      return OK;
    },
    fetch(module, table, id, reply) {
      const found = module.ask('fetch', table, exact(id));
      if (!isFound(found)) return MISS;
      module.give(reply, 0, found);
      return OK;
    },
    clear(module) {
      module.ask('clear');
      return OK;
    },
  },
};

function arrayOf(module, name, answer) {
  if (answer === undefined || answer === null) return [];
  if (Array.isArray(answer)) return answer;
  throw new TypeError(`${module.name}.${name} gives an array, one element for each that it was asked for`);
}

function isFound(found) {
  return found !== undefined && found !== null && !(found instanceof Error);
}

const FIELDS = structs.diamond_change.fields;

/** A copy of a change: {table, kind, id, version, stamp, record, nulls}. */
function changeAt(native, address) {
  const bytes = copyOf(native, address, structs.diamond_change.size);
  const number = (field) => Number(bytes.readBigUInt64LE(FIELDS[field].offset));
  const stamp = bytes.subarray(FIELDS.stamp.offset, FIELDS.stamp.offset + STAMP_SIZE);
  const isDelete = bytes.readInt32LE(FIELDS.kind.offset) === constants.DIAMOND_CHANGE_DELETE;
  return {
    table: bytes.readUInt32LE(FIELDS.table.offset),
    kind: isDelete ? 'delete' : 'store',
    id: exact(bytes.readBigUInt64LE(FIELDS.id.offset)),
    version: stamp.readBigUInt64LE(0),
    stamp: Buffer.from(stamp),
    record: copyOf(native, number('record'), number('record_size')),
    nulls: copyOf(native, number('nulls'), number('nulls_size')),
  };
}

/** An id of C's, which a back end may give as a number, a bigint or text: a number, if it is one. */
function exact(value) {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : BigInt(value);
}

/** The C functions of a kind of module, by the fields of its struct; made once for a back end. */
const made = new Map();

function functionsOf({ backend }, type) {
  const key = `${backend.name} ${type}`;
  if (!made.has(key)) {
    const fields = Object.entries(structs[type].fields).filter(([, { signature }]) => signature !== undefined);
    const functions = fields.map(([field, { signature }]) => [field, makeFunction(backend, field, signature)]);
    made.set(key, Object.fromEntries(functions));
  }
  return made.get(key);
}

function makeFunction(backend, field, { result, parameters }) {
  return backend.callback(result, parameters, (context, ...values) => {
    const module = placed.get(Number(context));
    if (field === 'destroy') return destroy(module);
    // A thread that has ended took its modules with it.
    return module === undefined ? FAILED : module.answer(field, values.slice(0, -1), values.at(-1));
  });
}

/** The last call. Nothing may be thrown, and nobody is there to hear of it. */
function destroy(module) {
  if (module === undefined) return;
  module.forget();
  try {
    module.object.destroy?.();
  } catch (error) {
    process.emitWarning(`${module.name}.destroy failed: ${error?.message ?? error}`);
  }
}

/** Tries modules with the contract suite of the library; gives its report. */
function check(native, type, name, objects) {
  const modules = objects.map((object) => object && new Module(native, type, object));
  const out = new Memory(native, 16);
  const given = modules.map((module) => module?.struct ?? 0);
  const status = callWith(native, name, [...given, out, out.address + 8]);
  const error = status === 0 ? undefined : failure(native, status);
  for (const module of modules) module?.forget();
  if (error !== undefined && error.status !== Status.MODULE) throw error;
  const report = JSON.parse(takeText(native, out));
  if (error === undefined) return report;
  throw Object.assign(new DiamondError(error.status, error.message), { report });
}

function checkStore(native, store, again) {
  return check(native, 'diamond_store_module', 'diamond_check_store_module', [store, again]);
}

function checkCache(native, cache) {
  return check(native, 'diamond_cache_module', 'diamond_check_cache_module', [cache]);
}

module.exports = { Module, checkStore, checkCache };
