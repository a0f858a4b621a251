// The default back end: koffi. A call costs some 35 ns; its binaries come with the package, nothing is compiled.
//
// A back end has a name and five functions, and both have the same:
//   load(path)                          a library; its bind(name, result, parameters) gives a function
//   addressOf(buffer)                   where its bytes lie
//   view(address, size)                 a Buffer over memory that is not ours
//   callback(result, parameters, act)   the address of a C function that calls act, for as long as the thread lives
//   u64(value)                          a number or bigint as an argument of 64 bits
'use strict';

const koffi = require('koffi');

/** The kinds of native.js as koffi calls them. */
const TYPES = {
  void: 'void', i32: 'int32_t', u32: 'uint32_t', u64: 'uint64_t', size: 'size_t', address: 'uintptr_t',
  text: 'const char *', buffer: 'void *',
};

function load(path) {
  const library = koffi.load(path);
  return { bind: (name, result, parameters) => library.func(name, TYPES[result], parameters.map(typeOf)) };
}

function addressOf(buffer) {
  return Number(koffi.address(buffer));
}

function view(address, size) {
  return Buffer.from(koffi.view(BigInt(address), size));
}

function callback(result, parameters, act) {
  const type = koffi.proto(TYPES[result], parameters.map(typeOf));
  return Number(koffi.register(act, koffi.pointer(type)));
}

function u64(value) {
  return value;
}

function typeOf(kind) {
  return TYPES[kind];
}

module.exports = { name: 'koffi', load, addressOf, view, callback, u64 };
