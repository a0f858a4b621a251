// Pins: a table in place, and nothing that a program can do to its memory.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { openPeople, failing } = require('./support.js');

function withPeople(count) {
  const all = openPeople();
  all.people.saveManySync(Array.from({ length: count }, (_, index) => ({ name: `N${index}`, age: index % 100 })));
  return all;
}

test('a view reads slots in place, as they were when they were pinned', () => {
  const { db, people } = withPeople(5000);
  people.deleteSync(7);
  people.replaceSync(8, { name: 'null', age: null });
  const pin = people.pinSync();
  people.replaceSync(9, { name: 'later', age: 1 });
  const view = pin.view();
  const age = view.offsetOf('age');
  let sum = 0;
  for (let id = view.first; id < view.end; id++) {
    if (view.has(id) && !view.isNull(id, 'age')) sum += view.getFloat64(view.at(id) + age);
  }
  assert.equal(sum, 50 * 4950 - 7 - 8);
  assert.deepEqual(view.record(9), { name: 'N9', age: 9 });
  assert.equal(view.record(7), undefined);
  assert.equal(view.record(5000), undefined);
  assert.throws(() => view.getUint8(5000 * view.stride), RangeError);
  assert.throws(() => view.offsetOf('agee'), { name: 'RangeError', message: /agee/ });
  view.release();
  pin.close();
  db.closeSync();
});

test('a pin does not close while a view is in use, and a released view says so', () => {
  const { db, people } = withPeople(100);
  const pin = people.pinSync();
  const [one, two] = [pin.view(), pin.view(10, 20)];
  assert.deepEqual(two.record(15), { name: 'N15', age: 15 });
  assert.equal(two.record(9), undefined);
  assert.equal(two.record(20), undefined);
  assert.throws(() => pin.close(), failing('BUSY', /people.* 2 .*release/));
  one.release();
  one.release();
  assert.throws(() => pin.close(), failing('BUSY', / 1 /));
  two.release();
  pin.close();
  pin.close();
  for (const act of [() => one.getFloat64(0), () => one.has(0), () => one.record(0), () => two.isNull(15, 'age')]) {
    assert.throws(act, failing('CLOSED', /released/));
  }
  assert.throws(() => pin.view(), failing('CLOSED'));
  assert.throws(() => pin.copy(), failing('CLOSED'));
  db.closeSync();
});

test('a pin outlives its table and its database', () => {
  const { db, people } = withPeople(100);
  const pin = people.pinSync();
  db.dropTableSync('people');
  db.closeSync();
  const view = pin.view();
  assert.deepEqual(view.record(42), { name: 'N42', age: 42 });
  view.release();
  pin.close();
});

test('nothing of a view gives its memory out', () => {
  const { db, people } = withPeople(10);
  const pin = people.pinSync();
  const view = pin.view();
  assert.deepEqual(Reflect.ownKeys(view), []);
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(view));
  assert.ok(names.every((name) => !name.startsWith('set') && name !== 'buffer'));
  view.release();
  pin.close();
  db.closeSync();
});

test('a copy is the caller\'s', () => {
  const { db, people } = withPeople(100);
  const pin = people.pinSync();
  const copy = pin.copy(10, 20);
  assert.equal(copy.length, 10 * pin.stride);
  pin.close();
  copy.fill(1, 0, 4);
  assert.deepEqual(people.decode(copy.subarray(pin.stride, pin.stride + people.recordSize)), { name: 'N11', age: 11 });
  db.closeSync();
});

test('ranges outside the table are refused, and an empty table has an empty view', () => {
  const { db, people } = openPeople();
  const pin = people.pinSync();
  assert.equal(pin.count, 0);
  const view = pin.view();
  assert.equal(view.record(0), undefined);
  assert.throws(() => pin.view(0, 1), { name: 'RangeError', message: /people/ });
  assert.throws(() => pin.copy(1, 0), RangeError);
  view.release();
  pin.close();
  db.closeSync();
});

test('a table of a snapshot is pinned as of then', () => {
  const { db, people } = withPeople(10);
  const snapshot = db.snapshot();
  people.deleteSync(3);
  const then = snapshot.openTable('people');
  const pin = then.pinSync();
  const view = pin.view();
  assert.equal(view.record(3).name, 'N3');
  view.release();
  pin.close();
  db.closeSync();
});
