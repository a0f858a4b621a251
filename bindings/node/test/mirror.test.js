// native.js is the header, as a C compiler sees it: names, arguments, structs, constants, and the ABI version.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { test } = require('node:test');
const { constants, structs, functions, load } = require('../native.js');
const { diamonddb, folder } = require('./support.js');

const INCLUDE = path.join(__dirname, '..', '..', '..', 'include');

/** Compiles a C source, with what comes before the file's name. */
function compile(source, ...options) {
  const file = `${folder()}.c`;
  fs.writeFileSync(file, source);
  return execFileSync('cc', ['-std=c11', '-Wall', '-Werror', `-I${INCLUDE}`, ...options, file], { encoding: 'utf8' });
}

/** What a C program prints. */
function printed(lines) {
  const program = folder();
  const main = `int main(void) {\n${lines.join('\n')}\nreturn 0;\n}\n`;
  compile(`#include <diamonddb.h>\n#include <stdio.h>\n${main}`, '-o', program);
  return execFileSync(program, { encoding: 'utf8' }).split('\n').filter(Boolean);
}

/** The header as the preprocessor leaves it, without what it includes. */
function preprocessed() {
  const text = compile('#include <diamonddb.h>\n', '-E');
  const parts = text.split(/^# \d+ "(.*?)".*$/m);
  const mine = parts.filter((_, index) => index % 2 === 0 && index > 0 && parts[index - 1].endsWith('diamonddb.h'));
  return mine.join('\n').replace(/\s+/g, ' ');
}

test('it has every function of the header, and no other', () => {
  const text = preprocessed();
  const names = [...text.matchAll(/\b(diamond_\w+)\(/g)].map(([, name]) => name);
  assert.ok(names.length > 60);
  assert.deepEqual(Object.keys(functions).sort(), [...new Set(names)].sort());
});

test('its declarations are those of the header to a C compiler, argument by argument', () => {
  const again = Object.values(functions).map(({ text }) => `${text};`).join('\n');
  compile(`#include <diamonddb.h>\n${again}\n`, '-fsyntax-only');
  const wrong = functions.diamond_table_count.text.replace('uint64_t *count', 'uint32_t *count');
  assert.throws(() => compile(`#include <diamonddb.h>\n${wrong};\n`, '-fsyntax-only'), /conflicting types/);
  const short = functions.diamond_table_count.text.replace(', uint64_t *count', '');
  assert.throws(() => compile(`#include <diamonddb.h>\n${short};\n`, '-fsyntax-only'), /conflicting types/);
});

test('it hands a back end as many arguments as C takes, each of the size of C\'s', () => {
  const sizes = { i32: 4, u32: 4, u64: 8, size: 8, address: 8 };
  const [lines, expected] = [[], []];
  for (const { name, text, parameters } of Object.values(functions)) {
    const list = /\((.*)\)/.exec(text)[1];
    assert.equal(parameters.length, list === 'void' ? 0 : list.split(',').length, name);
    if (parameters.length === 0) continue;
    const types = list.split(', ').map((one) => one.replace(/\w+$/, ''));
    lines.push(...types.map((type) => `printf("${name} %zu\\n", sizeof(${type}));`));
    expected.push(...parameters.map(({ kind }) => `${name} ${sizes[kind]}`));
  }
  assert.deepEqual(printed(lines), expected);
});

test('its structs have the fields, sizes and offsets that a C compiler gives them', () => {
  const text = preprocessed();
  const inHeader = [...text.matchAll(/typedef struct (\w+) \{(.*?)\} \w+;/g)];
  assert.deepEqual(Object.keys(structs).sort(), inHeader.map(([, name]) => name).sort());
  for (const [, name, body] of inHeader) {
    const fields = body.split(';').map((one) => one.trim()).filter(Boolean)
      .map((one) => (/\(\*(\w+)\)/.exec(one) ?? /(\w+)(?:\[\d+\])?$/.exec(one))[1]);
    assert.deepEqual(Object.keys(structs[name].fields), fields, name);
    const lines = fields.map((field) =>
      `printf("%zu %zu\\n", offsetof(${name}, ${field}), sizeof(((${name} *)0)->${field}));`);
    const [size, ...places] = printed([`printf("%zu %zu\\n", sizeof(${name}), _Alignof(${name}));`, ...lines]);
    assert.equal(size, `${structs[name].size} ${structs[name].alignment}`, name);
    const ours = Object.values(structs[name].fields).map((field) => `${field.offset} ${field.size}`);
    assert.deepEqual(ours, places, name);
  }
});

test('its callbacks are those of the header', () => {
  const lines = [];
  for (const [name, { fields }] of Object.entries(structs)) {
    for (const [field, { signature }] of Object.entries(fields)) {
      if (signature === undefined) continue;
      const types = { i32: 'int32_t', u32: 'uint32_t', u64: 'uint64_t', size: 'size_t', address: 'void *' };
      const plain = signature.parameters.map((kind) => types[kind]);
      // Pointers may be of any type; the count and all else have to fit.
      const values = plain.map((type) => (type.endsWith('*') ? 'NULL' : `(${type})0`)).join(', ');
      const result = signature.result === 'void' ? '' : 'int32_t r = ';
      lines.push(`{ ${name} s = {0}; if (s.${field}) { ${result}s.${field}(${values}); ${result && '(void)r;'} } }`);
    }
  }
  assert.ok(lines.length > 10);
  printed(lines);
});

test('it has every constant of the header, with its value', () => {
  const found = [...preprocessed().matchAll(/\b(DIAMOND_\w+) = /g)].map(([, name]) => name);
  const names = [...found, 'DIAMOND_ABI_VERSION'];
  assert.deepEqual(Object.keys(constants).sort(), names.sort());
  const values = printed(names.map((name) => `printf("%lld\\n", (long long)${name});`)).map(Number);
  assert.deepEqual(names.map((name) => constants[name]), values);
});

test('a library of another ABI version is refused with a sentence', () => {
  const library = `${folder()}.so`;
  compile('int diamond_abi_version(void) { return 7; }\n', '-shared', '-fPIC', '-o', library);
  for (const backend of ['koffi', 'ffi-napi']) {
    assert.throws(() => load(require(`../backends/${backend}.js`), library),
      { message: /version 7 of the C interface.*version 1: install/ }, backend);
  }
});

test('the versions of library and package are one', () => {
  assert.equal(diamonddb.version(), require('../package.json').version);
  assert.equal(diamonddb.ABI_VERSION, constants.DIAMOND_ABI_VERSION);
});

test('import gives what require gives', async () => {
  const module = await import('../index.mjs');
  assert.deepEqual(Object.keys(module).filter((name) => name !== 'default').sort(), Object.keys(diamonddb).sort());
  assert.equal(module.default, diamonddb);
  assert.equal(module.open, diamonddb.open);
});
