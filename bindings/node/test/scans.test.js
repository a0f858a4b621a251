// Scans and snapshots.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { openPeople, failing } = require('./support.js');

function withPeople(count) {
  const all = openPeople({ durability: 'os' });
  all.people.saveManySync(Array.from({ length: count }, (_, index) => ({ name: `N${index}`, age: index % 100 })));
  return all;
}

const idsOf = (scan) => [...scan].map(([id]) => id);

test('a scan walks by id, over any range, both ways', () => {
  const { db, people } = withPeople(5000);
  people.deleteManySync([0, 17, 4999]);
  const all = Array.from({ length: 5000 }, (_, id) => id).filter((id) => ![0, 17, 4999].includes(id));
  assert.deepEqual(idsOf(people.scan()), all);
  assert.deepEqual(idsOf(people.scan({ reverse: true })), all.toReversed());
  assert.deepEqual(idsOf(people.scan({ first: 15, end: 19 })), [15, 16, 18]);
  assert.deepEqual(idsOf(people.scan({ first: 15, end: 19, reverse: true })), [18, 16, 15]);
  assert.deepEqual(idsOf(people.scan({ first: 1, end: 1 })), []);
  assert.deepEqual(idsOf(people.scan({ end: 0 })), []);
  assert.throws(() => people.scan({ first: -1 }), RangeError);
  const [[id, record]] = people.scan({ first: 4000 });
  assert.deepEqual([id, record], [4000, { name: 'N4000', age: 0 }]);
  db.closeSync();
});

test('a scan sees what was there when it began', () => {
  const { db, people } = withPeople(3000);
  const seen = [];
  for (const [id, { name }] of people) {
    if (id === 0) people.replaceSync(2999, { name: 'later' });
    if (id < 2000) people.saveSync({ name: 'new' });
    seen.push(name);
  }
  assert.equal(seen.length, 3000);
  assert.equal(seen.at(-1), 'N2999');
  db.closeSync();
});

test('a loop that is left lets its scan go', () => {
  const { db, people } = withPeople(100);
  for (const [id] of people.scan()) if (id === 3) break;
  assert.equal(db.stats().snapshots, 0);
  const scan = people.scan();
  scan.close();
  assert.deepEqual(idsOf(scan), []);
  db.closeSync();
});

test('a scan that nobody holds any more is let go', { skip: !globalThis.gc }, async () => {
  const { db, people } = withPeople(100);
  (() => { people.scan()[Symbol.iterator]().next(); })();
  const open = () => db.stats().snapshots;
  for (let round = 0; round < 50 && open() > 0; round++) {
    globalThis.gc();
    await new Promise(setImmediate);
  }
  assert.equal(open(), 0);
  db.closeSync();
});

test('a snapshot shows all tables as they were', () => {
  const { db, people } = withPeople(10);
  const snapshot = db.snapshot();
  people.replaceSync(3, { name: 'later' });
  people.saveSync({ name: 'new' });
  const then = snapshot.openTable('people');
  assert.equal(then.fetch(3).name, 'N3');
  assert.equal(then.count(), 10);
  assert.equal(then.nextId(), 10);
  assert.equal([...then].length, 10);
  assert.throws(() => then.saveSync({}), failing('UNSUPPORTED'));
  snapshot.close();
  assert.equal(then.fetch(3).name, 'N3');
  assert.throws(() => snapshot.openTable('people'), failing('CLOSED'));
  then.close();
  db.closeSync();
});
