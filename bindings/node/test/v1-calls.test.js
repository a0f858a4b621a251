// diamonddb/v1 has the calls, replies and messages of the first version.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { test } = require('node:test');
const { v1, operations, PEOPLE, openPeople, failing, folder, program, QueueStore } = require('./v1-support.js');

const { schemaUtils, recordUtils, promisify } = v1.utilities;

test('it exports what the first version exported, and nothing else', () => {
  assert.deepEqual(Object.keys(v1), ['Database', 'Store', 'Cache', 'utilities', 'server']);
  assert.deepEqual(Object.keys(v1.utilities), ['schemaUtils', 'recordUtils', 'operations', 'promisify']);
  assert.deepEqual(Object.keys(schemaUtils), ['schemaLength', 'validate']);
  assert.deepEqual(Object.keys(recordUtils), ['makeRecordString', 'parseRecord']);
});

test('a module of ES imports its parts by name', async () => {
  const { Database, Store, Cache, utilities, server } = await import('../v1/index.js');
  for (const part of [Database, Store, Cache, server]) assert.equal(typeof part, 'function');
  assert.equal(utilities, v1.utilities);
});

test('init sets the tables, and a table says its name, size, schema and next id', async () => {
  const { db, place } = await openPeople();
  assert.deepEqual(db.tables, { people: { name: 'people', size: 18, schema: PEOPLE, index: 0 } });
  await db.saveRecord('people', { name: 'Abby', age: 29 });
  assert.equal(db.tables.people.index, 1);
  await db.close();
  const again = new v1.Database({ store: new v1.Store(place) });
  assert.equal(again.isReady(), false);
  assert.deepEqual(await again.init({ persist: false }), { operation: 'SUCCESS' });
  assert.equal(again.isReady(), true);
  assert.deepEqual(again.tables, { people: { name: 'people', size: 18, schema: PEOPLE, index: 1 } });
  await again.close();
});

test('makeTable succeeds, and the database is not ready meanwhile', async () => {
  const db = new v1.Database({ store: new v1.Store(folder()), cache: new v1.Cache({ size: 8 }) });
  await db.init({ persist: false });
  const making = db.makeTable('people', PEOPLE);
  assert.equal(db.isReady(), false);
  assert.deepEqual(await making, { operation: 'SUCCESS' });
  assert.equal(db.isReady(), true);
  await db.close();
});

test('a saved record comes back with its id, dense from 0, and is fetched by it', async () => {
  const { db } = await openPeople({ cache: new v1.Cache({ size: 2 }) });
  for (const _id of [0, 1, 2, 3]) {
    const saved = await db.saveRecord('people', { name: `N${_id}`, age: _id });
    assert.deepEqual(saved, { operation: 'SUCCESS', data: { _id, name: `N${_id}`, age: _id } });
  }
  // The first two have left the cache: what comes from the disk has its id as well.
  for (const _id of [3, 0, 1, 2, 2]) {
    const found = await db.fetchRecord('people', _id);
    assert.deepEqual(found, { operation: 'SUCCESS', data: { _id, name: `N${_id}`, age: _id } });
  }
  assert.deepEqual(await db.writeToDisk(), { operation: 'SUCCESS' });
  await db.close();
});

test('a record that the schema does not take resolves with its old message, and takes no id', async () => {
  const { db } = await openPeople();
  await db.makeTable('short', { p: ['string', 8] });
  const wrong = [
    ['people', { agg: 29 }, 'No key "agg" in schema.'],
    ['short', { p: '030719861' }, 'Value "030719861" too large for property "p".'],
    ['people', { age: 1000 }, 'Value "1000" too large for property "age".'],
    ['people', { age: '29a' }, 'Value "29a" is not a number for property "age".'],
    ['people', { age: NaN }, 'Value "NaN" is not a number for property "age".'],
    ['people', { name: 'a\0b' }, 'Value "a\0b" has a NUL character in property "name".'],
    ['people', { name: '\ud83d' }, 'Value "\ud83d" has half of a surrogate pair in property "name".'],
    ['people', null, 'A record is an object, not null.'],
    ['people', 'Abby', "A record is an object, not 'Abby'."],
  ];
  for (const [table, record, data] of wrong) {
    assert.deepEqual(await db.saveRecord(table, record), { operation: 'FAILURE', data });
  }
  assert.equal((await db.saveRecord('people', {})).data._id, 0);
  assert.equal((await db.saveRecord('short', {})).data._id, 0);
  await db.close();
});

test('an id that was never given rejects with the old message', async () => {
  const { db } = await openPeople();
  for (let index = 0; index < 6; index++) await db.saveRecord('people', { name: 'Abby' });
  for (const id of [6, -1, 1.5, 'six', null, undefined, {}, Infinity, 2 ** 60]) {
    await assert.rejects(db.fetchRecord('people', id), (thrown) => {
      assert.deepEqual(thrown, { operation: 'FAILURE', data: `ERROR: no record at index ${id} in table people` });
      return true;
    });
  }
  assert.equal((await db.fetchRecord('people', '5')).data._id, 5);
  await db.close();
});

test('schemaLength is the sum of the lengths, and validate rejects with the messages', async () => {
  const schema = { name: ['string', 20], age: ['number', 5], dob: ['string', 8] };
  assert.equal(schemaUtils.schemaLength(schema), 33);
  assert.equal(await schemaUtils.validate(schema, { name: 'John', age: 12 }), undefined);
  const said = (record) => schemaUtils.validate(schema, record).catch((thrown) => thrown);
  assert.equal(await said({ agg: 1 }), 'No key "agg" in schema.');
  assert.equal(await said({ dob: '030719861' }), 'Value "030719861" too large for property "dob".');
});

test('a record string is what it was, and parses back', () => {
  const schema = { name: ['string', 20], age: ['number', 5], dob: ['string', 8] };
  const record = { name: 'John', age: 12, dob: '03071986' };
  const text = 'John                12   03071986';
  assert.equal(recordUtils.makeRecordString({ schema, size: 33 }, record), text);
  assert.equal(recordUtils.makeRecordString({ schema, size: 33 }, { dob: '03071986', age: 12, name: 'John' }), text);
  assert.deepEqual(recordUtils.parseRecord(text, schema), record);
  const partial = { name: 'Ål', age: 1.5, dob: '' };
  const again = recordUtils.makeRecordString({ schema, size: 33 }, partial);
  assert.deepEqual(recordUtils.parseRecord(again, schema), partial);
  const blank = recordUtils.makeRecordString({ schema, size: 33 }, { age: null });
  assert.equal(blank, ' '.repeat(33));
  assert.equal(recordUtils.parseRecord(blank, schema).age, null);
});

test('operations has the names and the makers of all messages', () => {
  const names = ['STORE_RECORD', 'FETCH_RECORD', 'MAKE_TABLE', 'UPDATE_META', 'INITIALIZE_PERSISTANCE', 'PERSIST_ALL',
    'SUCCESS', 'FAILURE'];
  for (const name of names) assert.equal(operations[name], name);
  const table = { name: 'people', size: 18, schema: PEOPLE, index: 1 };
  const record = { name: 'Abby' };
  const messages = [
    [operations.storeRecord(table, record, 0), { operation: 'STORE_RECORD', data: { table, record, id: 0 } }],
    [operations.fetchRecord(table, 0), { operation: 'FETCH_RECORD', data: { table, id: 0 } }],
    [operations.makeTable(table), { operation: 'MAKE_TABLE', data: { tableData: table } }],
    [operations.updateMeta({ people: table }), { operation: 'UPDATE_META', data: { tables: { people: table } } }],
    [operations.initialize(), { operation: 'INITIALIZE_PERSISTANCE' }],
    [operations.writeToDisk(), { operation: 'PERSIST_ALL' }],
    [operations.success(record), { operation: 'SUCCESS', data: record }],
    [operations.success(), { operation: 'SUCCESS' }],
    [operations.failure('it rains'), { operation: 'FAILURE', data: 'it rains' }],
  ];
  for (const [made, expected] of messages) assert.deepEqual(made, expected);
});

test('promisify gives a promise of what a callback is given', async () => {
  const place = folder();
  fs.writeFileSync(place, 'text');
  assert.equal(await promisify(fs.readFile)(place, 'utf8'), 'text');
  await assert.rejects(promisify(fs.readFile)(`${place}/no`), { code: 'ENOTDIR' });
});

test('a Database wants a store with messages, and says so', () => {
  assert.throws(() => new v1.Database({}), { name: 'TypeError', message: /store of a Database/ });
  assert.throws(() => new v1.Database(), { name: 'TypeError' });
  assert.throws(() => new v1.Database({ store: new QueueStore(), cache: {} }), { message: /cache of a Database/ });
  assert.throws(() => new v1.Store(7), { message: /path of a folder/ });
  assert.throws(() => new v1.Cache({ size: 0 }), { message: /whole number of records/ });
});

test('before init, after close, and where persist is no interval, each call is a FAILURE', async () => {
  const db = new v1.Database({ store: new v1.Store(folder()) });
  const calls = () => [db.makeTable('people', PEOPLE), db.saveRecord('people', {}), db.fetchRecord('people', 0),
    db.writeToDisk()];
  for (const call of calls()) assert.match(await failing(call), /call init first/);
  for (const persist of [0, -1, 1.5, 'often', true, 2 ** 31]) assert.match(await failing(db.init({ persist })), /1 to/);
  assert.equal(db.isReady(), false);
  await db.init();
  assert.match(await failing(db.init()), /init was called already/);
  await db.close();
  for (const call of calls()) assert.match(await failing(call), /was closed/);
  assert.deepEqual(await db.close(), { operation: 'SUCCESS' });
  assert.deepEqual(await db.init({ persist: 50 }), { operation: 'SUCCESS' });
  const closing = [db.makeTable('people', PEOPLE), db.close(), db.close()];
  for (const reply of await Promise.all(closing)) assert.deepEqual(reply, { operation: 'SUCCESS' });
});

test('what is called while init or makeTable is under way is done after it, in the order of the calls', async () => {
  const store = new QueueStore();
  const db = new v1.Database({ store });
  const calls = [db.init({ persist: false }), db.makeTable('people', PEOPLE), db.saveRecord('people', { name: 'Abby' }),
    db.makeTable('towns', PEOPLE), db.saveRecord('towns', { name: 'Ulm' }), db.fetchRecord('people', 0),
    db.saveRecord('people', { name: 'Bob' }), db.writeToDisk()];
  const replies = await Promise.all(calls);
  assert.ok(replies.every(({ operation }) => operation === 'SUCCESS'), JSON.stringify(replies));
  assert.deepEqual(replies.map(({ data }) => data?._id), [undefined, undefined, 0, undefined, 0, 0, 1, undefined]);
  assert.deepEqual(store.heard, ['INITIALIZE_PERSISTANCE', 'MAKE_TABLE', 'STORE_RECORD', 'MAKE_TABLE', 'STORE_RECORD',
    'STORE_RECORD', 'UPDATE_META', 'PERSIST_ALL']);
  await db.close();
});

test('close stops the timer, so that the process ends', async () => {
  const source = `
    const v1 = require(${JSON.stringify(require.resolve('../v1/index.js'))});
    (async () => {
      const db = new v1.Database({ store: new v1.Store(place), cache: new v1.Cache({ size: 8 }) });
      await db.init({ persist: 10 });
      await db.makeTable('people', PEOPLE);
      console.log(JSON.stringify([await db.saveRecord('people', { name: 'Abby' }), await db.close()]));
    })();`;
  const { code, out, err } = await program(source);
  assert.deepEqual([code, err], [0, '']);
  const saved = { operation: 'SUCCESS', data: { _id: 0, name: 'Abby' } };
  assert.equal(out, `${JSON.stringify([saved, { operation: 'SUCCESS' }])}\n`);
});
