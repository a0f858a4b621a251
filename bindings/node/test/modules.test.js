// Stores and caches written in JavaScript.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { PEOPLE, diamonddb, folder, failing } = require('./support.js');
const { MapStore } = require('../examples/map-store.js');
const { MapCache } = require('../examples/map-cache.js');

/** A call back into JavaScript is milliseconds there, and grows, until the event loop turns. */
const isSlow = process.env.DIAMOND_BACKEND === 'ffi-napi';
const tooMany = isSlow && 'tens of thousands of callbacks take ffi-napi many minutes';

const keepsAll = ({ promises }) => promises.length > 0 && promises.every(({ kept }) => kept);

function openPeople(options, place = folder()) {
  const db = diamonddb.openSync(place, options);
  return { db, people: db.makeTableSync('people', PEOPLE), place };
}

test('the contract suite passes over a store and a cache in JavaScript', { skip: tooMany }, () => {
  const file = folder();
  assert.ok(keepsAll(diamonddb.checkStore(new MapStore(file), new MapStore(file))));
  assert.ok(keepsAll(diamonddb.checkCache(new MapCache())));
});

test('the suite names the promise that a module breaks', { skip: tooMany }, () => {
  class Forgetful extends MapStore {
    fetch(table, ids) { return ids.map(() => undefined); }
  }
  assert.throws(() => diamonddb.checkStore(new Forgetful(folder())),
    (error) => failing('MODULE', /breaks/)(error) && !keepsAll(error.report));
  class Stale extends MapCache {
    clear() {}
  }
  assert.throws(() => diamonddb.checkCache(new Stale()), failing('MODULE', /map cache/));
});

test('a database over a store and a cache in JavaScript answers as any other, also when opened again', () => {
  const file = folder();
  for (const before of [0, 2]) {
    const { db, people } = openPeople({ store: new MapStore(file), cache: new MapCache() }, '');
    assert.equal(people.count(), before);
    const [abby, bob] = [people.saveSync({ name: 'Abby', age: 29 }), people.saveSync({ name: 'Bob' })];
    assert.equal(abby, before + (before && 1));
    people.replaceSync(abby, { name: 'Abby', age: 30 });
    assert.deepEqual(people.fetch(abby), { name: 'Abby', age: 30 });
    assert.deepEqual(people.fetchMany([abby, bob]).map(({ name }) => name), ['Abby', 'Bob']);
    assert.deepEqual([...people].length, before + 2);
    const gone = db.batch().save(people, {}).replace(people, bob, { name: 'Bo' }).commitSync()[0];
    people.deleteSync(gone);
    assert.equal(people.fetch(gone), undefined);
    assert.equal(people.fetch(bob).name, 'Bo');
    db.closeSync();
  }
});

test('promises work over modules, on their own thread, and a thousand saves persist in one turn', async () => {
  let persisted = 0;
  class Counting extends MapStore {
    persistAll() { persisted += 1; super.persistAll(); }
  }
  const db = await diamonddb.open('', { store: new Counting(folder()), cache: new MapCache() });
  const people = await db.makeTable('people', PEOPLE);
  persisted = 0;
  const count = isSlow ? 50 : 1000;
  const ids = await Promise.all(Array.from({ length: count }, () => people.save({ name: 'Abby' })));
  assert.deepEqual(ids, Array.from({ length: count }, (_, index) => index));
  assert.ok(persisted < 10, `${persisted} persists`);
  assert.equal(await people.saveMany([{ name: 'Bob' }]), count);
  await db.flush();
  await db.verify();
  await db.close();
});

test('an exception in a module is the error of that call, with its text and itself as the cause', () => {
  const cause = new Error('the disk of the store is on fire');
  class Burning extends MapStore {
    store(changes) { if (this.isLit) throw cause; return super.store(changes); }
  }
  const store = new Burning(folder());
  const { db, people } = openPeople({ store }, '');
  store.isLit = true;
  assert.throws(() => people.saveSync({ name: 'Abby' }),
    (error) => failing('MODULE', /on fire/)(error) && error.cause === cause);
  store.isLit = false;
  people.saveSync({ name: 'Bob' });
  db.closeSync();
});

test('an exception while a database is opened is the error of open, and the module is let go', () => {
  let destroyed = 0;
  const cause = new Error('no such bucket');
  class Closed extends MapStore {
    initialize() { throw cause; }
    destroy() { destroyed += 1; super.destroy(); }
  }
  assert.throws(() => diamonddb.openSync('', { store: new Closed(folder()) }),
    (error) => failing('MODULE', /no such bucket/)(error) && error.cause === cause);
  assert.equal(destroyed, 1);
});

test('whatever is thrown is told, and nothing of it is thrown through C', () => {
  for (const thrown of ['a text', null, undefined, { message: 'an object' }, new Error('ü'.repeat(5000))]) {
    const store = new MapStore(folder());
    const { db, people } = openPeople({ store }, '');
    store.fetch = () => { throw thrown; };
    assert.throws(() => people.fetch(people.saveSync({})), failing('MODULE'));
    db.closeSync();
  }
});

test('a method that returns a promise is a failure by name', () => {
  class Late extends MapStore {
    async fetch() { throw new Error('too late'); }
  }
  const { db, people } = openPeople({ store: new Late(folder()) }, '');
  const id = people.saveSync({});
  assert.throws(() => people.fetch(id), failing('MODULE', /map store\.fetch returned a promise/));
  db.closeSync();
});

test('one change that fails is one change, and one that may have been done is unknown', () => {
  const store = new MapStore(folder());
  const { db, people } = openPeople({ store }, '');
  store.store = () => [new Error('the third is not taken')];
  assert.throws(() => people.saveSync({}), failing('MODULE'));
  store.store = () => { throw new diamonddb.Ambiguous('the line went dead'); };
  assert.throws(() => people.saveSync({}), failing('COMMIT_UNKNOWN', /line went dead/));
  delete store.store;
  store.fetch = (table, ids) => ids.map(() => new Error('the sector is bad'));
  assert.throws(() => people.fetch(people.saveSync({})), failing('MODULE'));
  db.closeSync();
});

test('a wrong answer is refused and says whose it is', () => {
  const wrong = [
    () => 'text', () => [{}], () => [{ stamp: Buffer.alloc(3), record: Buffer.alloc(24), nulls: Buffer.alloc(1) }],
    () => [{ stamp: Buffer.alloc(16), record: Buffer.alloc(2), nulls: Buffer.alloc(1) }], () => [7],
  ];
  for (const fetch of wrong) {
    const store = new MapStore(folder());
    const { db, people } = openPeople({ store }, '');
    const id = people.saveSync({});
    store.fetch = fetch;
    assert.throws(() => people.fetch(id), (error) => ['MODULE', 'CORRUPT'].includes(error.code));
    db.closeSync();
  }
});

test('a module that lacks a method is refused by its name', () => {
  const place = folder();
  assert.throws(() => diamonddb.openSync(place, { cache: { fetch() {}, clear() {} } }),
    { name: 'TypeError', message: /no method store/ });
  assert.throws(() => diamonddb.openSync(place, { store: null }), { name: 'TypeError', message: /initialize/ });
});

test('a module cannot call the database that is calling it, and another it can', () => {
  const said = [];
  const other = openPeople();
  let people;
  class Curious extends MapCache {
    fetch(table, id) {
      for (const act of [() => people.fetch(0), () => people.saveSync({ name: 'in between' })]) {
        try { act(); } catch (error) { said.push(error.code); }
      }
      said.push(other.people.saveSync({ name: 'note' }));
      return super.fetch(table, id);
    }
  }
  const mine = openPeople({ cache: new Curious() });
  people = mine.people;
  const id = people.saveSync({ name: 'Abby', age: 29 });
  assert.deepEqual(people.fetch(id), { name: 'Abby', age: 29 });
  assert.deepEqual(said.slice(0, 3), ['MISUSE', 'MISUSE', 0]);
  mine.db.closeSync();
  other.db.closeSync();
});

test('a cache that fails is bypassed and counted', () => {
  const cache = new MapCache();
  const { db, people } = openPeople({ cache });
  cache.fetch = cache.store = cache.clear = () => { throw new Error('it rains'); };
  const id = people.saveSync({ name: 'Abby' });
  assert.equal(people.fetch(id).name, 'Abby');
  assert.match(JSON.stringify(db.stats()), /"bypassed":[1-9]/);
  db.closeSync();
});

test('destroy is the last call, and its failure is only a warning', () => {
  const calls = [];
  class Told extends MapCache {
    destroy() { calls.push('destroy'); throw new Error('ignored'); }
  }
  const { db } = openPeople({ cache: new Told() });
  assert.deepEqual(calls, []);
  db.closeSync();
  assert.deepEqual(calls, ['destroy']);
});

test('in async mode the interval persists, though no thread may', async () => {
  let persisted;
  const done = new Promise((resolve) => { persisted = resolve; });
  class Told extends MapStore {
    persistAll() { super.persistAll(); if (this.isTold) persisted(); }
  }
  const store = new Told(folder());
  const { db, people } = openPeople({ store, durability: 'async', intervalMs: 20 }, '');
  store.isTold = true;
  people.saveSync({ name: 'Abby' });
  const alive = setInterval(() => {}, 1000);
  await done;
  clearInterval(alive);
  db.closeSync();
});

test('a thousand databases with modules come and go', () => {
  for (let round = 0; round < (isSlow ? 20 : 1000); round++) {
    const { db, people } = openPeople({ inMemory: true, cache: new MapCache() }, `round ${round}`);
    assert.equal(people.fetch(people.saveSync({ name: 'Abby' })).name, 'Abby');
    db.closeSync();
  }
});
