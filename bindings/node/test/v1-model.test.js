// Random calls, many at once, beside a model that is an array a table. DIAMOND_SEED repeats a run.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { v1, folder, QueueStore, MapCache } = require('./v1-support.js');

const SCHEMA = { text: ['string', 8], number: ['number', 6], more: ['string', 3] };
const ROUNDS = 400;

/** A generator of its own, so that a seed gives the same calls everywhere. */
function randomFrom(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function randomRecord(random) {
  const values = {
    text: () => ['', 'a', 'Çelik', '🙂🙂', 'x'.repeat(8), ' b '][random(6)],
    number: () => [0, -1, 0.5, 999999, 1e5, -12.75][random(6)],
    more: () => [null, 'ß', 'abc'][random(3)],
  };
  const keys = Object.keys(values).filter(() => random(4) > 0);
  if (random(2) === 0) keys.reverse();
  return Object.fromEntries(keys.map((key) => [key, values[key]()]));
}

const whole = (record) => ({ text: null, number: null, more: null, ...record });

async function play({ store, cache }, persist, random) {
  const model = new Map();
  let db;
  const begin = async () => {
    db = new v1.Database({ store, cache: cache() });
    assert.deepEqual(await db.init({ persist }), { operation: 'SUCCESS' });
    assert.deepEqual(Object.entries(db.tables).map(([name, { index }]) => [name, index]).sort(),
      [...model].map(([name, records]) => [name, records.length]).sort());
  };
  const calls = {
    async make() {
      const name = `t__${random(3)}`;
      if (!model.has(name)) model.set(name, []);
      assert.deepEqual(await db.makeTable(name, SCHEMA), { operation: 'SUCCESS' });
    },
    async save(name, records) {
      const record = randomRecord(random);
      const _id = records.push(whole(record)) - 1;
      assert.deepEqual(await db.saveRecord(name, record), { operation: 'SUCCESS', data: { _id, ...record } });
    },
    async refused(name) {
      assert.equal((await db.saveRecord(name, { text: 'x'.repeat(9) })).operation, 'FAILURE');
    },
    async fetch(name, records) {
      const _id = random(records.length + 1);
      const expected = records[_id] && { operation: 'SUCCESS', data: { _id, ...records[_id] } };
      const reply = await db.fetchRecord(name, _id).catch(({ operation }) => operation);
      assert.deepEqual(reply, expected ?? 'FAILURE');
    },
    async persist() {
      assert.deepEqual(await db.writeToDisk(), { operation: 'SUCCESS' });
    },
  };
  const weighed = ['make', 'refused', 'persist', ...Array(8).fill('save'), ...Array(8).fill('fetch')];
  await begin();
  await calls.make();
  for (let round = 0; round < ROUNDS; round++) {
    const done = Array.from({ length: random(12) }, () => {
      const tables = [...model];
      return calls[weighed[random(weighed.length)]](...tables[random(tables.length)]);
    });
    await Promise.all(done);
    if (random(40) > 0) continue;
    assert.deepEqual(await db.close(), { operation: 'SUCCESS' });
    await begin();
  }
  await db.close();
}

const seed = Number(process.env.DIAMOND_SEED ?? Math.floor(Math.random() * 2 ** 32));
const caches = {
  'no cache': () => undefined, 'our cache': () => new v1.Cache({ size: 3 }), 'their cache': () => new MapCache(),
};
const stores = { 'our store': () => new v1.Store(folder()), 'their store': () => new QueueStore() };

for (const [storeName, store] of Object.entries(stores)) {
  for (const [cacheName, cache] of Object.entries(caches)) {
    for (const persist of [false, 3]) {
      test(`random calls over ${storeName} and ${cacheName}, persist ${persist}, seed ${seed}`, async () => {
        await play({ store: store(), cache }, persist, randomFrom(seed));
      });
    }
  }
}
