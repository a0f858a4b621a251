// Stores and caches of the user's own, and what becomes of their failures.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { v1, operations, PEOPLE, openPeople, failing, folder, QueueStore, MapCache } = require('./v1-support.js');

/** Ways in which a module can fail, and what is said then. */
const failures = [
  [() => { throw new Error('it rains'); }, 'it rains'],
  [() => Promise.reject(new Error('it rains')), 'it rains'],
  [() => Promise.reject('it rains'), 'it rains'],
  [() => Promise.reject(operations.failure('it rains')), 'it rains'],
  [() => operations.failure('it rains'), 'it rains'],
  [async () => operations.failure(new Error('it rains')), 'it rains'],
  [() => { throw undefined; }, 'undefined'],
  [() => { throw { rain: true }; }, '{ rain: true }'],
];

/** Has a module fail at one operation, while told to. */
function failAt(module, operation, fail) {
  const { message } = module;
  const state = { fails: true };
  module.message = (given) =>
    (state.fails && given.operation === operation ? fail() : message.call(module, given));
  return state;
}

test('a store is told of the whole table, and of all tables before each persist', async () => {
  const heard = [];
  const store = new QueueStore();
  const { message } = store;
  store.message = (given) => { heard.push(structuredClone(given)); return message.call(store, given); };
  const { db } = await openPeople({ store });
  await db.saveRecord('people', { name: 'Abby' });
  await db.writeToDisk();
  const table = { name: 'people', size: 18, schema: PEOPLE, index: 0 };
  const [first, ...rest] = heard;
  assert.equal(first.operation, 'INITIALIZE_PERSISTANCE');
  assert.deepEqual(rest, [
    { operation: 'MAKE_TABLE', data: { tableData: table } },
    { operation: 'STORE_RECORD', data: { table: { ...table, index: 1 }, record: { name: 'Abby' }, id: 0 } },
    { operation: 'UPDATE_META', data: { tables: { people: { ...table, index: 1 } } } },
    { operation: 'PERSIST_ALL' },
  ]);
  await db.close();
});

test('a module replies with a value or a promise, and need not reply where nothing is asked', async () => {
  for (const wrap of [(value) => value, async (value) => value, (value) => ({ then: (act) => act(value) })]) {
    const records = [];
    const store = {
      message({ operation, data }) {
        if (operation === 'STORE_RECORD') records[data.id] = data.record;
        return wrap(operation === 'FETCH_RECORD' ? operations.success(records[data.id]) : undefined);
      },
    };
    const cache = { message: () => wrap(undefined) };
    const { db } = await openPeople({ store, cache });
    assert.deepEqual(await db.saveRecord('people', { age: 1 }), { operation: 'SUCCESS', data: { _id: 0, age: 1 } });
    assert.deepEqual(await db.writeToDisk(), { operation: 'SUCCESS' });
    assert.deepEqual((await db.fetchRecord('people', 0)).data, { _id: 0, name: null, age: 1 });
    assert.deepEqual(await db.close(), { operation: 'SUCCESS' });
  }
});

test('a store that fails is a FAILURE message of the call that needed it, with its words', async () => {
  for (const [fail, said] of failures) {
    const store = new QueueStore();
    const { db } = await openPeople({ store });
    await db.saveRecord('people', { name: 'Abby' });
    await db.writeToDisk();
    const verbs = {
      MAKE_TABLE: () => db.makeTable('towns', PEOPLE), STORE_RECORD: () => db.saveRecord('people', {}),
      FETCH_RECORD: () => db.fetchRecord('people', 0), UPDATE_META: () => db.writeToDisk(),
      PERSIST_ALL: () => db.writeToDisk(),
    };
    for (const [operation, verb] of Object.entries(verbs)) {
      const state = failAt(store, operation, fail);
      assert.equal(await failing(verb()), said, operation);
      assert.equal(db.isReady(), true);
      state.fails = false;
      assert.equal((await verb()).operation, 'SUCCESS', operation);
    }
    assert.deepEqual(Object.keys(db.tables), ['people', 'towns']);
    await db.close();
  }
});

test('a store that cannot be initialized is said so, and the database starts without tables', async () => {
  const { error } = console;
  for (const [fail, said] of failures) {
    const logged = [];
    console.error = (text) => logged.push(text);
    const store = new QueueStore();
    failAt(store, 'INITIALIZE_PERSISTANCE', fail);
    const db = new v1.Database({ store });
    const data = await failing(db.init({ persist: false }));
    console.error = error;
    assert.equal(data, said);
    assert.deepEqual(logged, [`DiamondDB: the store could not be initialized: ${said}`]);
    assert.deepEqual([db.tables, db.isReady()], [{}, true]);
    assert.deepEqual(await db.makeTable('people', PEOPLE), { operation: 'SUCCESS' });
    await db.close();
  }
});

test('what a store must not answer is a FAILURE that shows it', async () => {
  const { error } = console;
  console.error = () => {};
  for (const tables of [{ people: null }, { people: { index: 0 } }, { people: { schema: PEOPLE, index: '7' } }]) {
    const db = new v1.Database({ store: { message: () => operations.success(tables) } });
    assert.match(await failing(db.init({ persist: false })), /table people .* is due/);
    assert.deepEqual(db.tables, {});
    await db.close();
  }
  console.error = error;
  for (const answer of [undefined, null, 7, 'text', {}, { operation: 'PERHAPS' }]) {
    const store = new QueueStore();
    const { db } = await openPeople({ store });
    await db.saveRecord('people', {});
    await db.writeToDisk();
    failAt(store, 'FETCH_RECORD', () => answer);
    assert.match(await failing(db.fetchRecord('people', 0)), /answered FETCH_RECORD with/);
    await db.close();
  }
});

test('an id is given to nothing else when its save has failed', async () => {
  for (const store of [new QueueStore(), new v1.Store(folder())]) {
    const { db } = await openPeople({ store });
    const state = failAt(store, 'STORE_RECORD', () => operations.failure('it rains'));
    assert.equal(await failing(db.saveRecord('people', { name: 'Abby' })), 'it rains');
    state.fails = false;
    assert.equal((await db.saveRecord('people', { name: 'Bob' })).data._id, 1);
    await db.writeToDisk();
    assert.equal((await db.fetchRecord('people', 1)).data.name, 'Bob');
    const lost = await db.fetchRecord('people', 0);
    assert.ok(lost.operation === 'FAILURE' || lost.data === null);
    assert.equal((await db.saveRecord('people', {})).data._id, 2);
    await db.close();
  }
});

test('a cache that fails costs the way to the store, and a warning', async () => {
  const warnings = [];
  const hear = (warning) => warnings.push(warning.message);
  process.on('warning', hear);
  for (const [fail] of failures) {
    const cache = new MapCache();
    const { db } = await openPeople({ cache });
    failAt(cache, 'STORE_RECORD', fail);
    failAt(cache, 'FETCH_RECORD', fail);
    for (const _id of [0, 1]) {
      assert.equal((await db.saveRecord('people', { name: 'Abby' })).data._id, _id);
      assert.deepEqual((await db.fetchRecord('people', _id)).data, { _id, name: 'Abby', age: null });
    }
    await db.close();
  }
  await new Promise(setImmediate);
  process.off('warning', hear);
  assert.equal(warnings.length, failures.length);
  assert.match(warnings[0], /cache failed.*it rains/);
});

test('a record that the cache lacks is fetched from the store once, and then from the cache', async () => {
  const store = new QueueStore();
  const first = await openPeople({ store });
  await first.db.saveRecord('people', { name: 'Abby', age: 29 });
  await first.db.close();
  for (const cache of [new MapCache(), new v1.Cache({ size: 8 })]) {
    const { db } = await openPeople({ store, cache });
    store.heard = [];
    for (let times = 0; times < 3; times++) {
      assert.deepEqual((await db.fetchRecord('people', 0)).data, { _id: 0, name: 'Abby', age: 29 });
    }
    assert.deepEqual(store.heard, ['FETCH_RECORD']);
    await db.close();
  }
});

test('a persist that failed loses nothing: the store is told again of all it had not persisted', async () => {
  const store = new QueueStore();
  const { db } = await openPeople({ store });
  await db.saveRecord('people', { name: 'Abby' });
  const { persist } = store;
  store.persist = () => { store.queue = []; throw new Error('the disk is full'); }; // And loses its queue.
  assert.equal(await failing(db.writeToDisk()), 'the disk is full');
  await db.saveRecord('people', { name: 'Bob' });
  assert.equal(await failing(db.writeToDisk()), 'the disk is full');
  for (const id of [0, 1]) assert.equal((await db.fetchRecord('people', id)).operation, 'SUCCESS');
  store.persist = persist;
  assert.deepEqual(await db.writeToDisk(), { operation: 'SUCCESS' });
  assert.deepEqual([...store.persisted.values()].map(({ name }) => name), ['Abby', 'Bob']);
  // Nothing is told a third time.
  store.heard = [];
  await db.writeToDisk();
  assert.deepEqual(store.heard, ['UPDATE_META', 'PERSIST_ALL']);
  await db.close();
});

test('a persist of the timer that failed is reported by the next that somebody asks for', async () => {
  const store = new QueueStore();
  let failed;
  const hasFailed = new Promise((resolve) => { failed = resolve; });
  const { persist } = store;
  const { db } = await openPeople({ store, persist: 5 });
  store.persist = () => { failed(); throw new Error('the disk is full'); };
  await db.saveRecord('people', { name: 'Abby' });
  await hasFailed;
  store.persist = persist;
  const reported = await failing(db.writeToDisk());
  assert.match(reported, /before this one failed: the disk is full/);
  assert.deepEqual(await db.writeToDisk(), { operation: 'SUCCESS' });
  assert.equal(store.persisted.size, 1);
  await db.close();
});

test('the timer persists on its interval, and each persist begins when the last has ended', async () => {
  const store = new QueueStore();
  let [running, most, count] = [0, 0, 0];
  const enough = new Promise((resolve) => {
    const { persist } = store;
    store.persist = async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((act) => setTimeout(act, 20));
      running -= 1;
      count += 1;
      if (count === 3) resolve();
      return persist.call(store);
    };
  });
  const { db } = await openPeople({ store, persist: 1 });
  await db.saveRecord('people', { name: 'Abby' });
  await enough;
  await db.close();
  assert.equal(most, 1);
  assert.equal(store.persisted.size, 1);
});

test('what nobody asks to persist is persisted before it fills the memory', async () => {
  const store = new QueueStore();
  const { db } = await openPeople({ store });
  for (let age = 0; age < 100; age++) {
    await Promise.all(Array.from({ length: 1100 }, () => db.saveRecord('people', { age })));
  }
  const persists = store.heard.filter((operation) => operation === 'PERSIST_ALL').length;
  assert.ok(persists >= 1 && persists < 20, `${persists} persists`);
  assert.ok(store.persisted.size >= 100_000);
  await db.close();
});

test('close persists, closes modules that can be closed, and tells of their failures', async () => {
  const closed = [];
  const store = Object.assign(new QueueStore(), { close: async () => closed.push('store') });
  const cache = Object.assign(new MapCache(), { close: () => closed.push('cache') });
  const { db } = await openPeople({ store, cache });
  const saving = db.saveRecord('people', { name: 'Abby' });
  assert.deepEqual(await db.close(), { operation: 'SUCCESS' });
  assert.equal((await saving).data._id, 0);
  assert.equal(store.persisted.size, 1);
  assert.deepEqual(closed, ['store', 'cache']);
  const other = await openPeople({ store: Object.assign(new QueueStore(), { close() { throw new Error('stuck'); } }) });
  assert.equal(await failing(other.db.close()), 'stuck');
});

test('our store and cache answer messages that they do not know, or cannot read, with a FAILURE', async () => {
  const store = new v1.Store(folder());
  assert.match(await failing(store.message(operations.writeToDisk())), /was not initialized/);
  await store.message(operations.initialize());
  for (const module of [store, new v1.Cache()]) {
    for (const message of [undefined, null, {}, { operation: 'DELETE' }, { operation: 'FETCH_RECORD' },
      { operation: 'STORE_RECORD' }, { operation: 'FETCH_RECORD', data: { table: null, id: 0 } }]) {
      await failing(module.message(message));
    }
  }
  const said = await failing(store.message({ operation: 'MAKE_TABLE' }));
  assert.equal(said, 'Create table message did not contain new table');
  await store.close();
});
