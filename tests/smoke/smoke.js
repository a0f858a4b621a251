// First calls from Node, by koffi: DIAMOND_LIB=.../libdiamonddb.so node smoke.js folder
'use strict';

const assert = require('node:assert');
const koffi = require('koffi');

const lib = koffi.load(process.env.DIAMOND_LIB);

koffi.opaque('diamond_db');
koffi.opaque('diamond_table');
koffi.alias('diamond_status', 'int32_t');
koffi.struct('diamond_options', {
  struct_size: 'size_t', flags: 'uint64_t', durability: 'int32_t', interval_ms: 'uint32_t', dirty_soft: 'uint64_t',
  dirty_hard: 'uint64_t', store: 'const void *', cache: 'const void *', error: 'char *', error_size: 'size_t',
});

const native = {};
for (const declaration of [
  'int32_t diamond_abi_version(void)',
  'const char *diamond_error_message(void)',
  'void diamond_free(void *text)',
  'diamond_status diamond_open(const char *path, size_t path_size, const diamond_options *options, ' +
    '_Out_ diamond_db **db)',
  'diamond_status diamond_close(diamond_db *db)',
  'diamond_status diamond_table_make(diamond_db *db, const char *name, size_t name_size, const char *schema, ' +
    'size_t schema_size, _Out_ diamond_table **table)',
  'diamond_status diamond_table_close(diamond_table *table)',
  'diamond_status diamond_table_save(diamond_table *table, const void *record, size_t record_size, ' +
    'const uint8_t *nulls, _Out_ uint64_t *id)',
  'diamond_status diamond_table_fetch(diamond_table *table, uint64_t id, void *record, size_t record_size, ' +
    'uint8_t *nulls)',
  'diamond_status diamond_table_fetch_json(diamond_table *table, uint64_t id, uint32_t flags, _Out_ void **json, ' +
    '_Out_ size_t *size)',
]) {
  native[/diamond_\w+(?=\()/.exec(declaration)[0]] = lib.func(declaration);
}

function ok(status) {
  if (status !== 0) throw new Error(`${status}: ${native.diamond_error_message()}`);
}

assert.strictEqual(native.diamond_abi_version(), 1, 'this program was written for another interface');
const [db, people, id, text, size] = [[null], [null], [0], [null], [0]];
const folder = process.argv[2];
const schema = '{"name": ["string", 15], "age": ["number", 3]}';
const options = { struct_size: koffi.sizeof('diamond_options') };
ok(native.diamond_open(folder, Buffer.byteLength(folder), options, db));
ok(native.diamond_table_make(db[0], 'people', 6, schema, Buffer.byteLength(schema), people));

const abby = Buffer.alloc(24); // char[15], then a double at 16.
abby.write('Abby');
abby.writeDoubleLE(29, 16);
ok(native.diamond_table_save(people[0], abby, abby.length, null, id));
const found = Buffer.alloc(24);
ok(native.diamond_table_fetch(people[0], id[0], found, found.length, null));
assert.deepStrictEqual(found, abby);

ok(native.diamond_table_fetch_json(people[0], id[0], 0, text, size));
assert.deepStrictEqual(JSON.parse(koffi.decode(text[0], 'char', size[0])), { name: 'Abby', age: 29 });
native.diamond_free(text[0]);

assert.strictEqual(native.diamond_table_fetch(people[0], id[0] + 1, found, found.length, null), 201);
assert.match(native.diamond_error_message(), /people/);
ok(native.diamond_table_close(people[0]));
ok(native.diamond_close(db[0]));
console.log('node: ok');
