// The other back end, for those who already use ffi-napi: 5 to 20 µs a call. What it has to do is in koffi.js.
//
// Addresses go as numbers and not as pointers: ref-napi makes a Buffer with a finalizer of each pointer, and takes
// milliseconds for one that it has seen before. A u64 beyond 2^53 comes as text.
'use strict';

const ffi = required('ffi-napi');
const ref = required('ref-napi');

/** The kinds of native.js as ffi-napi calls them. */
const TYPES = {
  void: 'void', i32: 'int32', u32: 'uint32', u64: 'uint64', size: 'uint64', address: 'uint64', text: 'string',
  buffer: 'pointer',
};

/** Keeps callbacks: one that is collected while C has its address ends the process. */
const kept = [];

function required(name) {
  try {
    return require(require.resolve(name, { paths: [__dirname, process.cwd()] }));
  } catch (cause) {
    throw new Error(`The back end ffi-napi needs ${name}: npm install --ignore-scripts ffi-napi ref-napi`, { cause });
  }
}

function load(path) {
  const library = new ffi.DynamicLibrary(path, ffi.DynamicLibrary.FLAGS.RTLD_NOW);
  return { bind: (name, result, parameters) => bind(library.get(name), result, parameters) };
}

function bind(symbol, result, parameters) {
  return ffi.ForeignFunction(symbol, TYPES[result], parameters.map(typeOf));
}

function addressOf(buffer) {
  return ref.address(buffer);
}

function view(address, size) {
  const pointer = Buffer.alloc(8);
  pointer.writeBigUInt64LE(BigInt(address));
  return ref.readPointer(pointer, 0, size);
}

function callback(result, parameters, act) {
  const pointer = new ffi.Callback(TYPES[result], parameters.map(typeOf), act);
  kept.push(pointer);
  return ref.address(pointer);
}

function u64(value) {
  return typeof value === 'bigint' ? String(value) : value;
}

function typeOf(kind) {
  return TYPES[kind];
}

module.exports = { name: 'ffi-napi', load, addressOf, view, callback, u64 };
