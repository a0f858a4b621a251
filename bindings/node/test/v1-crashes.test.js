// What our store has acknowledged survives what it promises to survive.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { test } = require('node:test');
const { diamonddb, openPeople, folder, program } = require('./v1-support.js');

const V1 = JSON.stringify(require.resolve('../v1/index.js'));
const hasLimits = spawnSync('prlimit', ['--version']).status === 0;

/** A program with a database of people in `place`; what it says is one JSON text. */
const withPeople = (persist, body) => `
  const v1 = require(${V1});
  const { execFileSync } = require('node:child_process');
  const { writeSync } = require('node:fs');
  const say = (value) => writeSync(1, JSON.stringify(value));
  const die = () => process.kill(process.pid, 'SIGKILL');
  /** Resolves when one that begins from here on was answered. */
  const aPersist = (store) => new Promise((resolve) => {
    const message = store.message.bind(store);
    store.message = async (given) => {
      const reply = await message(given);
      if (given.operation === 'PERSIST_ALL' && reply.operation === 'SUCCESS') resolve();
      return reply;
    };
  });
  /** From here on no file grows beyond so many bytes. */
  const limit = (size) => execFileSync('prlimit', ['--pid', String(process.pid), \`--fsize=\${size}:unlimited\`]);
  (async () => {
    const store = new v1.Store(place);
    const db = new v1.Database({ store, cache: new v1.Cache({ size: 8 }) });
    await db.init({ persist: ${persist} });
    await db.makeTable('people', PEOPLE);
    const save = (i) => db.saveRecord('people', { name: 'N' + i, age: i % 100 });
    const fetch = (id) => db.fetchRecord('people', id).catch((thrown) => thrown);
    ${body}
  })();`;

/** Every record that was acknowledged, N<i> under its id, is there. */
async function assertThere(place, acknowledged) {
  const { db } = await openPeople({ place });
  assert.ok(acknowledged.length > 0);
  for (const { _id, name } of acknowledged) assert.equal((await db.fetchRecord('people', _id)).data.name, name);
  await db.close();
}

test('with persist: false each save that was answered survives kill -9', async () => {
  const place = folder();
  const body = `
    const all = [];
    for (let i = 0; i < 500; i++) all.push((await save(i)).data);
    all.push(...(await Promise.all(Array.from({ length: 500 }, (_, i) => save(i)))).map(({ data }) => data));
    say(all);
    die();`;
  const { signal, out } = await program(withPeople(false, body), { place });
  assert.equal(signal, 'SIGKILL');
  const all = JSON.parse(out);
  assert.deepEqual(all.map(({ _id }) => _id), Array.from({ length: 1000 }, (_, id) => id));
  await assertThere(place, all);
});

test('with persist: ms what was saved before a persist survives kill -9', async () => {
  const ways = [[3_600_000, 'await db.writeToDisk()'], [5, 'await aPersist(store)']];
  for (const [persist, wait] of ways) {
    const place = folder();
    const body = `
      const all = (await Promise.all(Array.from({ length: 500 }, (_, i) => save(i)))).map(({ data }) => data);
      ${wait};
      say(all);
      die();`;
    const { signal, out, err } = await program(withPeople(persist, body), { place });
    assert.equal(signal, 'SIGKILL', err);
    await assertThere(place, JSON.parse(out));
  }
});

const noLimits = !hasLimits && 'prlimit of util-linux is not there';

test('a persist that the disk refuses is a FAILURE and loses nothing', { skip: noLimits }, async () => {
  for (const persist of [false, 3_600_000]) {
    const place = folder();
    const body = `
      const replies = [];
      const wave = async (i) => replies.push(...await Promise.all(Array.from({ length: 200 }, (_, n) => save(i + n))));
      await wave(0);
      const before = await db.writeToDisk();
      await wave(200);
      limit(4096);
      await wave(400);
      const during = await db.writeToDisk();
      await wave(600);
      const ids = replies.filter(({ data }) => data._id !== undefined).map(({ data }) => data._id);
      const read = await Promise.all(ids.map(fetch));
      limit('unlimited');
      await db.writeToDisk();
      await wave(800);
      const after = await db.writeToDisk();
      say({ before, during, after, read, replies });
      die();`;
    const { signal, out, err } = await program(withPeople(persist, body), { place });
    assert.equal(signal, 'SIGKILL', err);
    const { before, during, after, read, replies } = JSON.parse(out);
    assert.deepEqual(before, { operation: 'SUCCESS' });
    assert.equal(during.operation, 'FAILURE');
    assert.ok(during.data.length > 10);
    assert.deepEqual(after, { operation: 'SUCCESS' });
    assert.ok(read.length >= 400);
    assert.ok(read.every(({ operation }) => operation === 'SUCCESS'), 'what was saved is found meanwhile');
    const acknowledged = replies.filter(({ operation }) => operation === 'SUCCESS').map(({ data }) => data);
    // Before the disk refused, and after it.
    for (const [from, end] of [[0, 400], [800, 1000]]) {
      assert.ok(replies.slice(from, end).every(({ operation }) => operation === 'SUCCESS'), `${persist}: ${from}`);
    }
    assert.deepEqual(acknowledged.map(({ _id }) => replies.findIndex(({ data }) => data._id === _id)),
      acknowledged.map(({ _id }) => _id));
    const refused = replies.filter(({ operation }) => operation === 'FAILURE');
    for (const { data } of refused) assert.equal(typeof data, 'string');
    await assertThere(place, acknowledged);
  }
});

test('the database in the folder is one of today, whole under verify', async () => {
  const { db, place, store } = await openPeople();
  for (let age = 0; age < 10; age++) await db.saveRecord('people', { age });
  await db.close();
  assert.equal(store.path, path.join(place, 'diamonddb'));
  assert.deepEqual(fs.readdirSync(place), ['diamonddb']);
  const native = diamonddb.openSync(store.path, { mustExist: true });
  assert.deepEqual(native.verifySync().findings, []);
  assert.deepEqual(native.openTable('people').schema, { name: ['string', 15, 'characters'], age: ['number', 3] });
  native.closeSync();
});
