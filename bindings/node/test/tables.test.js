// Tables, by the calls that do not return before they are done.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { PEOPLE, diamonddb, folder, openPeople, failing } = require('./support.js');

const ALL = {
  text: ['string', 20], short: ['string', 4, 'characters'], raw: ['bytes', 3], price: ['number', 9],
  a: ['i8'], b: ['i16'], c: ['i32'], d: ['i64'], e: ['u8'], f: ['u16'], g: ['u32'], h: ['u64'],
  i: ['f32'], j: ['f64'], k: ['bool'], l: ['timestamp'],
};
const LOW = {
  text: '', short: '', raw: Buffer.from([0, 0, 0]), price: -1.5, a: -128, b: -32768, c: -(2 ** 31),
  d: Number.MIN_SAFE_INTEGER, e: 0, f: 0, g: 0, h: 0, i: -0.5, j: -Number.MAX_VALUE, k: false,
  l: -1_000_000_000_000_001,
};
const HIGH = {
  text: 'twenty bytes of text', short: '𝄞日本', raw: Buffer.from([1, 2, 255]), price: 12345.678, a: 127, b: 32767,
  c: 2 ** 31 - 1, d: Number.MAX_SAFE_INTEGER, e: 255, f: 65535, g: 2 ** 32 - 1, h: Number.MAX_SAFE_INTEGER, i: 2 ** 100,
  j: Number.MIN_VALUE, k: true, l: 1_700_000_000_123_456,
};

test('a saved record is fetched as it was, also after the database was closed', () => {
  const { db, people, place } = openPeople();
  const id = people.saveSync({ name: 'Abby', age: 29 });
  assert.deepEqual(people.fetch(id), { name: 'Abby', age: 29 });
  db.closeSync();
  const again = diamonddb.openSync(place, { mustExist: true });
  assert.deepEqual(again.openTable('people').fetch(id), { name: 'Abby', age: 29 });
  again.closeSync();
});

test('every type of field keeps its lowest and highest values, and null', () => {
  const db = diamonddb.openSync(folder());
  const table = db.makeTableSync('all', ALL);
  const nothing = Object.fromEntries(Object.keys(ALL).map((name) => [name, null]));
  const ids = [LOW, HIGH, nothing, {}].map((record) => table.saveSync(record));
  assert.deepEqual(ids.map((id) => table.fetch(id)), [LOW, HIGH, nothing, nothing]);
  assert.deepEqual(table.fetchMany(ids), [LOW, HIGH, nothing, nothing]);
  assert.deepEqual([...table].map(([, record]) => record), [LOW, HIGH, nothing, nothing]);
  db.closeSync();
});

test('a 64-bit field that a number would round is a RangeError, and a bigint by option', () => {
  const db = diamonddb.openSync(folder());
  const numbers = db.makeTableSync('big', { signed: ['i64'], unsigned: ['u64'], time: ['timestamp'] });
  const id = numbers.saveSync({ signed: -(2n ** 63n), unsigned: 2n ** 64n - 1n, time: 5 });
  assert.throws(() => numbers.fetch(id), { name: 'RangeError', message: /"signed": -9223372036854775808 .*bigint/ });
  const bigints = db.openTable('big', { int64: 'bigint' });
  assert.deepEqual(bigints.fetch(id), { signed: -(2n ** 63n), unsigned: 2n ** 64n - 1n, time: 5n });
  assert.throws(() => db.openTable('big', { int64: 'text' }), TypeError);
  db.closeSync();
});

test('a Date is a timestamp of microseconds', () => {
  const db = diamonddb.openSync(folder());
  const table = db.makeTableSync('times', { at: ['timestamp'] });
  const date = new Date('2013-01-01T05:00:00.123Z');
  assert.equal(table.fetch(table.saveSync({ at: date })).at, date.getTime() * 1000);
  assert.throws(() => table.saveSync({ at: new Date(NaN) }), failing('INVALID', /"at"/));
  db.closeSync();
});

test('text of every script comes back', () => {
  const db = diamonddb.openSync(folder());
  const table = db.makeTableSync('texts', { text: ['string', 200] });
  const texts = ['', 'a', 'x'.repeat(200), 'ÄÖÜß', '日本語', 'зд', '🎉'.repeat(50), `${'a'.repeat(63)}é`, '\u007f\u0080'];
  for (const text of texts) assert.equal(table.fetch(table.saveSync({ text })).text, text);
  db.closeSync();
});

test('a value that does not fit is refused by table, field and value, and takes no id', () => {
  const db = diamonddb.openSync(folder());
  const table = db.makeTableSync('all', { ...ALL, must: ['u8', 'required'] });
  const wrong = [
    ['text', 'twenty-one bytes text', /"text".*21 bytes.*20/], ['text', 'a\0b', /NUL/], ['text', '\ud800', /surrogate/],
    ['text', 7, /7 is not a string/], ['short', 'abcde', /5 UTF-16 units/], ['raw', Buffer.alloc(2), /2 bytes, not 3/],
    ['raw', 'AAAA', /not a Buffer/], ['a', 128, /128.*-128 to 127/], ['e', -1, /0 to 255/], ['f', 1.5, /1.5/],
    ['d', 2 ** 53, /9007199254740992/], ['h', -1n, /-1/], ['h', 2n ** 64n, /18446744073709551616/],
    ['j', NaN, /NaN/], ['j', Infinity, /Infinity/], ['i', 1e39, /1e\+39/], ['k', 1, /true or false/], ['g', '7', /"7"/],
    ['price', 0.1234567891, /price/], ['l', '2013-01-01', /2013/], ['must', null, /must/],
  ];
  for (const [name, value, sentence] of wrong) {
    const match = new RegExp(`^(?=.*"all")(?=.*"${name}").*${sentence.source}`);
    assert.throws(() => table.saveSync({ must: 1, [name]: value }), failing('INVALID', match), name);
  }
  assert.throws(() => table.saveSync({ must: 1, tetx: 'a' }), failing('INVALID', /"tetx".*text, short/));
  assert.throws(() => table.saveSync('Abby'), failing('INVALID', /an object or a Buffer/));
  assert.throws(() => table.saveSync(null), failing('INVALID', /null/));
  assert.equal(table.nextId(), 0);
  db.closeSync();
});

test('names of fields and tables may be anything', () => {
  const db = diamonddb.openSync(folder());
  const names = ['__proto__', 'constructor', 'a b', '"', 'ü', '`${1}`', "'", '\u2028'];
  const record = Object.fromEntries(names.map((name, index) => [name, index]));
  Object.defineProperty(record, '__proto__', { value: 0, enumerable: true, configurable: true, writable: true });
  const schema = `{${names.map((name) => `${JSON.stringify(name)}: ["u8"]`).join(', ')}}`;
  const table = db.makeTableSync('tables/ö "x"', schema);
  const found = table.fetch(table.saveSync(record));
  assert.deepEqual(Object.entries(found), names.map((name, index) => [name, index]));
  assert.equal(Object.getPrototypeOf(found), Object.prototype);
  assert.equal(table.name, 'tables/ö "x"');
  db.closeSync();
});

test('what is not there is undefined to who reads, and an error to who changes', () => {
  const { db, people } = openPeople();
  const id = people.saveSync({ name: 'Abby' });
  people.deleteSync(id);
  for (const missing of [id, id + 1, Number.MAX_SAFE_INTEGER]) {
    assert.equal(people.fetch(missing), undefined);
    assert.equal(people.has(missing), false);
    assert.equal(people.fetchInto(missing, Buffer.alloc(24)), false);
  }
  assert.throws(() => people.deleteSync(id), failing('NOT_FOUND', /people/));
  assert.throws(() => people.replaceSync(id + 1, {}), failing('OUT_OF_RANGE', /people/));
  db.closeSync();
});

test('an id is a safe whole number', () => {
  const { db, people } = openPeople();
  for (const id of [-1, 1.5, NaN, Infinity, 2 ** 53, '1', 1n, null, undefined, {}]) {
    assert.throws(() => people.fetch(id), { name: 'RangeError', message: /2\^53/ }, String(id));
    assert.throws(() => people.fetchMany([id]), RangeError);
    assert.throws(() => people.deleteSync(id), RangeError);
  }
  db.closeSync();
});

test('packed records go in and out as they are', () => {
  const { db, people } = openPeople();
  const packed = people.encode({ name: 'Abby', age: null });
  assert.equal(packed.length, people.recordSize + people.nullsSize);
  const id = people.saveSync(packed);
  const whole = Buffer.alloc(packed.length + 3, 7);
  assert.equal(people.fetchInto(id, whole, 3), true);
  assert.deepEqual(whole, Buffer.concat([Buffer.alloc(3, 7), packed]));
  assert.deepEqual(people.decode(whole.subarray(3)), { name: 'Abby', age: null });
  const record = new Uint8Array(people.recordSize + 1).fill(7).subarray(0, people.recordSize);
  people.fetchInto(id, record);
  assert.deepEqual(people.decode(record), { name: 'Abby', age: 0 });
  assert.throws(() => people.fetchInto(id, Buffer.alloc(23)), { name: 'RangeError', message: /24 bytes.*23/ });
  assert.throws(() => people.fetchInto(id, Buffer.alloc(30), 7), RangeError);
  assert.throws(() => people.fetchInto(id, Buffer.alloc(30), -1), RangeError);
  assert.throws(() => people.fetchInto(id, 'x'.repeat(30)), TypeError);
  assert.throws(() => people.saveSync(Buffer.alloc(10)), failing('INVALID', /24 bytes, or 25.*10/));
  db.closeSync();
});

test('a small array that is collected and moved is never written to where it was', () => {
  const { db, people } = openPeople();
  const id = people.saveSync({ name: 'Abby', age: 29 });
  const expected = people.encode({ name: 'Abby', age: 29 }).subarray(0, 24);
  for (let round = 0; round < 2000; round++) {
    const small = new Uint8Array(24);
    for (let time = 0; time < 3; time++) {
      small.fill(0);
      people.fetchInto(id, small);
      assert.equal(expected.compare(small), 0);
      if (round % 100 === 0) globalThis.gc?.();
    }
  }
  db.closeSync();
});

test('a Buffer that was given away takes nothing', () => {
  const { db, people } = openPeople();
  const id = people.saveSync({ name: 'Abby' });
  const buffer = Buffer.from(new ArrayBuffer(24));
  people.fetchInto(id, buffer);
  structuredClone(buffer.buffer, { transfer: [buffer.buffer] });
  assert.throws(() => people.fetchInto(id, buffer), RangeError);
  db.closeSync();
});

test('a record is replaced and deleted only while it is as expected', () => {
  const { db, people } = openPeople();
  const [abby, bob] = [{ name: 'Abby', age: 29 }, { name: 'Bob', age: null }];
  const id = people.saveSync(abby);
  assert.throws(() => people.replaceIfSync(id, bob, abby), failing('CONFLICT', /people/));
  people.replaceIfSync(id, abby, bob);
  assert.deepEqual(people.fetch(id), bob);
  assert.throws(() => people.deleteIfSync(id, abby), failing('CONFLICT'));
  people.deleteIfSync(id, bob);
  assert.equal(people.count(), 0);
  db.closeSync();
});

test('many records are saved, fetched, replaced and deleted at once', () => {
  const { db, people } = openPeople();
  const ageOf = (index) => (index % 7 ? index % 100 : null);
  const records = Array.from({ length: 3000 }, (_, index) => ({ name: `N${index}`, age: ageOf(index) }));
  people.saveSync({ name: 'first' });
  const first = people.saveManySync(records);
  assert.equal(first, 1);
  const ids = records.map((_, index) => first + index);
  assert.deepEqual(people.fetchMany(ids), records);
  people.deleteManySync([2, 4]);
  assert.deepEqual(people.fetchMany([1, 2, 3, 4, 99999]), [records[0], undefined, records[2], undefined, undefined]);
  people.replaceManySync([1, 3], [{ name: 'x' }, { name: 'y' }]);
  assert.deepEqual(people.fetchMany([1, 3]).map(({ name }) => name), ['x', 'y']);
  assert.throws(() => people.deleteManySync([5, 2]), failing('NOT_FOUND'));
  assert.ok(people.has(5));
  assert.throws(() => people.replaceManySync([1], []), failing('INVALID', /1 ids for 0 records/));
  assert.deepEqual(people.fetchMany([]), []);
  db.closeSync();
});

test('packed records end to end are saved at once', () => {
  const { db, people } = openPeople();
  const packed = Buffer.concat(['Abby', 'Bob'].map((name) => people.encode({ name, age: 1 }).subarray(0, 24)));
  const first = people.saveManySync(packed);
  assert.deepEqual(people.fetchMany([first, first + 1]).map(({ name }) => name), ['Abby', 'Bob']);
  assert.throws(() => people.saveManySync(packed.subarray(1)), failing('INVALID', /47 bytes.*24/));
  db.closeSync();
});

test('tables are made, listed, renamed and dropped', () => {
  const { db, people } = openPeople();
  assert.deepEqual(db.tables().map(({ name, count }) => [name, count]), [['people', 0]]);
  assert.deepEqual(people.schema, PEOPLE);
  assert.equal(people.layout.fields[1].offset, 16);
  db.renameTableSync('people', 'folk');
  assert.equal(people.name, 'folk');
  assert.throws(() => db.openTable('people'), failing('NOT_FOUND', /people/));
  assert.throws(() => db.makeTableSync('folk', { name: ['string', 3] }), failing('SCHEMA_DIFFERS', /folk/));
  assert.throws(() => db.makeTableSync('x', { name: ['text'] }), failing('INVALID', /text/));
  db.dropTableSync('folk');
  assert.throws(() => people.count(), failing('NOT_FOUND'));
  db.closeSync();
});

test('what was closed says so, and closing twice does nothing', () => {
  const { db, people } = openPeople();
  const other = db.openTable('people');
  other.close();
  other.close();
  assert.throws(() => other.count(), failing('CLOSED', /people/));
  const batch = db.batch();
  db.closeSync();
  db.closeSync();
  for (const act of [() => people.fetch(0), () => people.close() ?? people.count(), () => batch.commitSync(),
    () => db.tables(), () => db.batch(), () => db.snapshot(), () => db.flushSync()]) {
    assert.throws(act, failing('CLOSED', /closed/));
  }
});

test('a wrong option is refused by name', () => {
  const opening = (options) => () => diamonddb.openSync(folder(), options);
  assert.throws(opening({ durabilty: 'os' }), { name: 'TypeError', message: /"durabilty"/ });
  assert.throws(opening({ durability: 'none' }), { name: 'TypeError', message: /'sync', 'os' or 'async'/ });
  assert.throws(opening({ intervalMs: 2 ** 32 }), { name: 'RangeError', message: /intervalMs/ });
  assert.throws(opening({ backend: 'ffi' }), { name: 'TypeError', message: /'koffi' or 'ffi-napi'/ });
  assert.throws(opening({ mustExist: true }), failing('NOT_FOUND'));
  assert.throws(() => diamonddb.openSync('/dev/null/x'), failing('IO', /dev.null/));
});

test('a read-only database refuses to write, and one in memory leaves nothing', () => {
  const { db, place } = openPeople();
  db.closeSync();
  const reader = diamonddb.openSync(place, { readOnly: true });
  assert.throws(() => reader.openTable('people').saveSync({}), failing('UNSUPPORTED'));
  reader.closeSync();
  const memory = openPeople({ inMemory: true }, '');
  assert.equal(memory.people.saveSync({ name: 'Abby' }), 0);
  memory.db.closeSync();
});

test('upkeep by hand, statistics, flush, checkpoint, verify and backup', () => {
  const { db, people, place } = openPeople({ noThreads: true, durability: 'async' });
  people.saveManySync(Array.from({ length: 500 }, () => ({ name: 'Abby' })));
  while (db.step(1000));
  db.flushSync();
  db.checkpointSync();
  assert.deepEqual(db.verifySync().findings, []);
  assert.equal(db.verifySync().records, 500);
  assert.equal(db.stats().snapshots, 0);
  const told = [];
  db.backupSync(`${place}.copy`, { progress: (done, total) => { told.push([done, total]); } });
  assert.equal(told.at(-1)[0], told.at(-1)[1]);
  const copy = diamonddb.openSync(`${place}.copy`);
  assert.equal(copy.openTable('people').count(), 500);
  copy.closeSync();
  assert.throws(() => db.backupSync(`${place}.two`, { progress: () => false }), failing('CANCELLED'));
  const cause = new Error('no more');
  assert.throws(() => db.backupSync(`${place}.two`, { progress: () => { throw cause; } }),
    (error) => error.code === 'CANCELLED' && error.cause === cause);
  assert.throws(() => db.backupSync(place), failing('INVALID'));
  db.closeSync();
});
