// What was a scar of the first version holds, over our store and cache as over anybody's.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { v1, PEOPLE, openPeople, failing, folder, QueueStore, MapCache } = require('./v1-support.js');

/** Each pair of a store and a cache of ours and of the user's. */
const pairs = [
  ['our store alone', () => ({ store: new v1.Store(folder()) })],
  ['our store, our cache', () => ({ store: new v1.Store(folder()), cache: new v1.Cache({ size: 2 }) })],
  ['our store, their cache', () => ({ store: new v1.Store(folder()), cache: new MapCache() })],
  ['their store alone', () => ({ store: new QueueStore() })],
  ['their store, our cache', () => ({ store: new QueueStore(), cache: new v1.Cache({ size: 2 }) })],
  ['their store, their cache', () => ({ store: new QueueStore(), cache: new MapCache() })],
];

for (const [pair, modules] of pairs) {
  test(`${pair}: any order of keys, fields left out, fractions and null come back, persisted or not`, async () => {
    const { db } = await openPeople(modules());
    const schema = { text: ['string', 6], wide: ['number', 30], number: ['number', 5], more: ['string', 2] };
    await db.makeTable('all', schema);
    const given = [
      [{ more: 'm', number: 1.25, text: 'Çelik' }, { text: 'Çelik', wide: null, number: 1.25, more: 'm' }],
      [{}, { text: null, wide: null, number: null, more: null }],
      [{ text: null, number: null }, { text: null, wide: null, number: null, more: null }],
      [{ wide: -1.2345678901234567e-6, more: '' },
        { text: null, wide: -1.2345678901234567e-6, number: null, more: '' }],
      [{ text: '🙂🙂🙂', number: -0.5 }, { text: '🙂🙂🙂', wide: null, number: -0.5, more: null }],
      [{ text: ' a b  ', number: undefined }, { text: ' a b  ', wide: null, number: null, more: null }],
      [{ text: 42, number: '1e3' }, { text: '42', wide: null, number: 1000, more: null }],
    ];
    const replies = await Promise.all(given.map(([record]) => db.saveRecord('all', record)));
    assert.deepEqual(replies.map(({ data }) => data._id), [0, 1, 2, 3, 4, 5, 6]);
    for (const isPersisted of [false, true]) {
      if (isPersisted) assert.deepEqual(await db.writeToDisk(), { operation: 'SUCCESS' });
      for (const [_id, [, expected]] of given.entries()) {
        assert.deepEqual((await db.fetchRecord('all', _id)).data, { _id, ...expected }, `record ${_id}`);
      }
    }
    await db.close();
  });

  test(`${pair}: unknown tables and wrong ids are FAILURE messages`, async () => {
    const { db } = await openPeople(modules());
    for (const name of ['peeple', 'toString', '__proto__', '', undefined, 7]) {
      assert.match(await failing(db.saveRecord(name, {})), /^ERROR: no table .*; there are: people/);
      assert.match(await failing(db.fetchRecord(name, 0)), /^ERROR: no table/);
    }
    assert.match(await failing(db.fetchRecord('people', 0)), /^ERROR: no record at index 0 in table people/);
    await db.close();
  });

  test(`${pair}: a table made again is the same one, and with another schema a failure that says how`, async () => {
    const { db } = await openPeople(modules());
    await db.saveRecord('people', { name: 'Abby', age: 29 });
    assert.deepEqual(await db.makeTable('people', PEOPLE), { operation: 'SUCCESS' });
    const turned = { age: ['number', 3], name: ['string', 15] };
    assert.deepEqual(await db.makeTable('people', turned), { operation: 'SUCCESS' });
    const other = { name: ['string', 16], town: ['string', 3] };
    assert.equal(await failing(db.makeTable('people', other)), 'ERROR: table people exists with another schema: ' +
      'field "name" is ["string",15], not ["string",16]; it has a field "age", too; it has no field "town".');
    assert.equal((await db.saveRecord('people', { name: 'Bob' })).data._id, 1);
    assert.deepEqual((await db.fetchRecord('people', 0)).data, { _id: 0, name: 'Abby', age: 29 });
    await db.close();
  });

  test(`${pair}: names with __, . and ; are names`, async () => {
    const { db } = await openPeople(modules());
    const names = ['a__b', 'a.b', 'a;b', 'a__b.c;d__e', '../up', '__proto__', 'é x'];
    for (const name of names) {
      const schema = { 'k__.;e': ['string', 9], ['__proto__']: ['number', 3] };
      assert.deepEqual(await db.makeTable(name, schema), { operation: 'SUCCESS' });
      const record = Object.fromEntries([['k__.;e', name.slice(0, 9)], ['__proto__', 7]]);
      assert.equal((await db.saveRecord(name, record)).operation, 'SUCCESS');
    }
    for (const name of names) {
      const { data } = await db.fetchRecord(name, 0);
      assert.equal(data['k__.;e'], name.slice(0, 9));
      assert.equal(Object.getOwnPropertyDescriptor(data, '__proto__').value, 7);
    }
    await db.close();
  });
}

test('a schema that is none, and a name that is none, are FAILURE messages that say what would be right', async () => {
  const { db } = await openPeople();
  const schemas = [undefined, null, [], {}, { name: 'string' }, { name: ['text', 3] }, { name: ['string'] },
    { name: ['string', 0] }, { name: ['number', 1.5] }, { name: ['string', '3'] }, { a: ['string', 70_000] }];
  for (const schema of schemas) assert.match(await failing(db.makeTable('towns', schema)), /string|record/);
  for (const name of [undefined, '', 7, {}, 'a\nb']) await failing(db.makeTable(name, PEOPLE));
  assert.deepEqual(Object.keys(db.tables), ['people']);
  assert.equal(db.isReady(), true);
  await db.close();
});

test('record 0 comes from the cache like any other', async () => {
  const cache = new MapCache();
  const { db } = await openPeople({ cache });
  for (const name of ['Abby', 'Bob']) await db.saveRecord('people', { name });
  for (const id of [0, 1, 0]) await db.fetchRecord('people', id);
  assert.deepEqual(cache.hits, [0, 1, 0]);
  await db.close();
  const ours = new v1.Cache({ size: 2 });
  const table = { name: 'people', size: 18, schema: PEOPLE, index: 2 };
  const { storeRecord, fetchRecord } = v1.utilities.operations;
  await ours.message(storeRecord(table, { name: 'Abby', age: 29 }, 0));
  const abby = { name: 'Abby', age: 29 };
  assert.deepEqual(await ours.message(fetchRecord(table, 0)), { operation: 'SUCCESS', data: abby });
  assert.deepEqual(await ours.message(fetchRecord(table, 1)), { operation: 'SUCCESS', data: null });
  ours.close();
});

test('our cache keeps as many records of each table as its size says, those that were used last', async () => {
  const cache = new v1.Cache({ size: 3 });
  const { storeRecord, fetchRecord } = v1.utilities.operations;
  for (const name of ['people', 'towns']) {
    const table = { name, size: 18, schema: PEOPLE, index: 9 };
    const has = async (id) => (await cache.message(fetchRecord(table, id))).data?.age;
    for (const id of [0, 1, 2]) await cache.message(storeRecord(table, { age: id }, id));
    assert.equal(await has(0), 0); // Used again, so that 1 goes first.
    await cache.message(storeRecord(table, { age: 3 }, 3));
    assert.deepEqual([await has(1), await has(0)], [undefined, 0]);
    for (const id of [3, 0, 4]) await cache.message(storeRecord(table, { age: id }, id));
    assert.deepEqual(await Promise.all([0, 1, 2, 3, 4].map(has)), [0, undefined, undefined, 3, 4]);
    // What it cannot keep as it is given it forgets, and its room is used again.
    await cache.message(storeRecord(table, { age: 'old' }, 3));
    assert.equal(await has(3), undefined);
    for (const id of [5, 6, 7]) await cache.message(storeRecord(table, { age: id }, id));
    assert.deepEqual(await Promise.all([4, 5, 6, 7].map(has)), [undefined, 5, 6, 7]);
  }
  // Another table by that name.
  const other = { name: 'people', size: 3, schema: { age: ['number', 3] }, index: 9 };
  assert.equal((await cache.message(fetchRecord(other, 7))).data, null);
  cache.close();
});

test('a saved record is found though the cache has dropped it and the store has not persisted it', async () => {
  for (const store of [new v1.Store(folder()), new QueueStore()]) {
    const { db } = await openPeople({ store, cache: new v1.Cache({ size: 1 }) });
    const saves = Array.from({ length: 50 }, (_, age) => db.saveRecord('people', { name: `N${age}`, age }));
    await Promise.all(saves);
    for (let _id = 0; _id < 50; _id++) {
      assert.deepEqual((await db.fetchRecord('people', _id)).data, { _id, name: `N${_id}`, age: _id });
    }
    await db.close();
  }
});

test('a record that its owner changes after the save is the one that was saved', async () => {
  const all = [{}, { store: new QueueStore() }, { cache: new v1.Cache({ size: 4 }) }, { cache: new MapCache() }];
  for (const modules of all) {
    const { db } = await openPeople(modules);
    const record = { name: 'Abby', age: 29 };
    const saving = db.saveRecord('people', record);
    record.name = 'Bob';
    const { data } = await saving;
    data.name = 'Eve';
    const found = await db.fetchRecord('people', 0);
    found.data.name = 'Ivan';
    await db.writeToDisk();
    assert.deepEqual((await db.fetchRecord('people', 0)).data, { _id: 0, name: 'Abby', age: 29 });
    await db.close();
  }
});

test('a width counts characters, of which an umlaut has one and an emoji two', async () => {
  const { db } = await openPeople();
  await db.makeTable('words', { word: ['string', 4] });
  for (const word of ['äöüß', '漢字仮名', '🙂🙂', '']) {
    const { data: { _id } } = await db.saveRecord('words', { word });
    assert.equal((await db.fetchRecord('words', _id)).data.word, word);
  }
  assert.equal(await failing(db.saveRecord('words', { word: '🙂🙂x' })), 'Value "🙂🙂x" too large for property "word".');
  await db.close();
});

test('a missing folder is made, with those above it; one that cannot be is a FAILURE with its path', async () => {
  const place = path.join(folder(), 'a', 'b');
  const { db } = await openPeople({ place });
  await db.saveRecord('people', { name: 'Abby' });
  assert.deepEqual(await db.writeToDisk(), { operation: 'SUCCESS' });
  await db.close();
  assert.ok(fs.existsSync(path.join(place, 'diamonddb')));
  const file = folder();
  fs.writeFileSync(file, '');
  const said = [];
  const { error } = console;
  console.error = (text) => said.push(text);
  const other = new v1.Database({ store: new v1.Store(`${file}/data/`) });
  const data = await failing(other.init({ persist: false }));
  console.error = error;
  assert.ok(data.includes(`${file}/data`), data);
  assert.ok(said[0].includes(data));
  assert.deepEqual(other.tables, {});
  assert.match(await failing(other.makeTable('people', PEOPLE)), /was not initialized/);
  await other.close();
});

test('a folder that another process has open is a FAILURE that names the process', async () => {
  const { spawn } = require('node:child_process');
  const { once } = require('node:events');
  const place = folder();
  const source = `
    const v1 = require(${JSON.stringify(require.resolve('../v1/index.js'))});
    new v1.Store(${JSON.stringify(place)}).message(v1.utilities.operations.initialize())
      .then((reply) => { console.log(reply.operation); setInterval(() => {}, 1000); });`;
  const child = spawn(process.execPath, ['-e', source], { timeout: 60_000 });
  const [said] = await once(child.stdout.setEncoding('utf8'), 'data');
  assert.equal(said, 'SUCCESS\n');
  const reply = await new v1.Store(place).message(v1.utilities.operations.initialize());
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(reply.operation, 'FAILURE');
  assert.ok(reply.data.includes(String(child.pid)), reply.data);
});

test('of two databases that save into one folder none overwrites what the other saved', async () => {
  const place = folder();
  const one = await openPeople({ place });
  const two = await openPeople({ place });
  assert.equal((await one.db.saveRecord('people', { name: 'Abby' })).data._id, 0);
  assert.match(await failing(two.db.saveRecord('people', { name: 'Bob' })), /One Database at a time/);
  assert.equal((await one.db.fetchRecord('people', 0)).data.name, 'Abby');
  await one.db.close();
  await two.db.close();
});

test('tables that are none of the first version are left alone', async () => {
  const { diamonddb } = require('./v1-support.js');
  const { db, place, store } = await openPeople();
  await db.close();
  const native = diamonddb.openSync(store.path);
  native.makeTableSync('events', { at: ['timestamp'] }).saveSync({ at: 7 });
  native.closeSync();
  const again = await openPeople({ place });
  assert.deepEqual(Object.keys(again.db.tables), ['people']);
  assert.match(await failing(again.db.makeTable('events', PEOPLE)), /events/);
  await again.db.close();
  const after = diamonddb.openSync(store.path);
  assert.deepEqual(after.openTable('events').fetch(0), { at: 7 });
  after.closeSync();
});
