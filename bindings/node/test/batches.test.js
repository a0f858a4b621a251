// Batches, by the calls that do not return before they are done.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { openPeople, failing } = require('./support.js');

test('a batch over two tables is done wholly, and tells its ids', () => {
  const { db, people } = openPeople();
  const pets = db.makeTableSync('pets', { name: ['string', 8] });
  const gone = people.saveSync({ name: 'Zoe' });
  const ids = db.batch().save(people, { name: 'Abby' }).save(pets, { name: 'Rex' }).save(people, { name: 'Bob' })
    .delete(people, gone).commitSync();
  assert.deepEqual(ids, [1, 0, 2]);
  assert.deepEqual([...people].map(([id, { name }]) => [id, name]), [[1, 'Abby'], [2, 'Bob']]);
  db.closeSync();
});

test('an expectation that does not hold changes nothing, and the batch stays as it was', () => {
  const { db, people } = openPeople();
  const id = people.saveSync({ name: 'Abby', age: 29 });
  const batch = db.batch().expect(people, id, { name: 'Abby', age: 30 }).replace(people, id, { name: 'Abby', age: 31 });
  assert.throws(() => batch.commitSync(), failing('CONFLICT', /people/));
  people.replaceSync(id, { name: 'Abby', age: 30 });
  assert.deepEqual(batch.commitSync(), []);
  assert.equal(people.fetch(id).age, 31);
  assert.deepEqual(batch.save(people, {}).commitSync(), [1]);
  db.closeSync();
});

test('what a batch refuses it does not hold', () => {
  const { db, people } = openPeople();
  const batch = db.batch().save(people, { name: 'Abby' });
  assert.throws(() => batch.save(people, { name: 'x'.repeat(16) }), failing('INVALID'));
  assert.throws(() => batch.save({}, {}), TypeError);
  const other = openPeople();
  assert.throws(() => batch.save(other.people, {}), failing('MISUSE', /another database/));
  assert.deepEqual(batch.commitSync(), [0]);
  batch.close();
  assert.throws(() => batch.commitSync(), failing('CLOSED', /batch/));
  other.db.closeSync();
  db.closeSync();
});
