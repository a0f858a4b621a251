// What the calls of diamonddb/v1 cost, beside what those of the first version did (through its JavaScript API, on a
// machine of the same kind). A record has 400 characters. It lies in 1,184 bytes, three for each character of a text.
//
//   node bench-v1.js [folder]      the folder is for the database, and should be on a disk
//
//   save, in memory          1,000 saves at once, awaited together; nothing of them persisted yet
//   save, small, in memory   the same of a name and an age, in 56 bytes
//   save, with the system    as the first, with persist: false: a save that was answered survives kill -9
//   save and persist         10,000 saves, then writeToDisk: on disk when it is answered; a save
//   fetch from disk          random records of 100,000 through the store, 100 at once; no cache
//   fetch, hot               64 records through a cache that has them
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Database, Store, Cache } = require('./v1/index.js');

const COUNT = 100_000;
const ROUNDS = 5;
const SCHEMA = { name: ['string', 190], town: ['string', 200], age: ['number', 10] };
const SMALL = { name: ['string', 15], age: ['number', 3] };
const NEVER_MS = 3_600_000;
const THEN = {
  'save, in memory': 566_000, 'save and persist': 63_000, 'fetch from disk': 4200, 'fetch, hot': 1_400_000,
};

const top = fs.mkdtempSync(path.join(process.argv[2] ?? os.tmpdir(), 'diamonddb-v1-'));

function recordOf(i) {
  return { name: `N${i}`.padEnd(190, '.'), town: `T${i}`.padEnd(200, '.'), age: i };
}

/** The median of some rounds, in operations a second. */
async function measure(operations, act) {
  const rates = [];
  for (let round = 0; round < ROUNDS; round++) {
    const begun = process.hrtime.bigint();
    await act();
    rates.push(operations / (Number(process.hrtime.bigint() - begun) / 1e9));
  }
  return rates.sort((one, other) => one - other)[ROUNDS >> 1];
}

async function opened(name, { persist = NEVER_MS, cache, schema = SCHEMA } = {}) {
  const db = new Database({ store: new Store(path.join(top, name)), cache });
  await expect(db.init({ persist }));
  await expect(db.makeTable('records', schema));
  return db;
}

async function expect(work) {
  const reply = await work;
  if (reply.operation !== 'SUCCESS') throw new Error(reply.data);
  return reply.data;
}

/** count works, so many at once. */
async function inGroups(count, size, act) {
  for (let done = 0; done < count; done += size) {
    await Promise.all(Array.from({ length: size }, (_, i) => expect(act(done + i))));
  }
}

async function saves(results, records) {
  const save = (db) => inGroups(records.length, 1000, (i) => db.saveRecord('records', records[i]));
  const memory = await opened('memory');
  results['save, in memory'] = await measure(records.length, () => save(memory));
  await memory.close();
  const small = await opened('small', { schema: SMALL });
  results['save, small, in memory'] = await measure(records.length, () =>
    inGroups(records.length, 1000, (i) => small.saveRecord('records', { name: 'Abby', age: i % 100 })));
  await small.close();
  const system = await opened('system', { persist: false });
  results['save, with the system'] = await measure(records.length, () => save(system));
  await system.close();
  const disk = await opened('disk');
  results['save and persist'] = await measure(records.length, async () => {
    await save(disk);
    await expect(disk.writeToDisk());
  });
  await disk.close();
}

async function fetches(results, records) {
  const db = await opened('fetched');
  for (let round = 0; round < COUNT / records.length; round++) {
    await inGroups(records.length, 1000, (i) => db.saveRecord('records', records[i]));
  }
  await db.close();
  const order = Array.from({ length: 20_000 }, (_, i) => (i * 7919) % COUNT);
  const fetched = (on, id) => on.fetchRecord('records', id);
  const cold = await opened('fetched');
  results['fetch from disk'] = await measure(order.length, () =>
    inGroups(order.length, 100, (i) => fetched(cold, order[i])));
  await cold.close();
  const hot = await opened('fetched', { cache: new Cache({ size: 64 }) });
  results['fetch, hot'] = await measure(order.length, () => inGroups(order.length, 100, (i) => fetched(hot, i % 64)));
  await hot.close();
}

async function main() {
  const records = Array.from({ length: 10_000 }, (_, i) => recordOf(i));
  const results = {};
  try {
    await saves(results, records);
    await fetches(results, records);
  } finally {
    fs.rmSync(top, { recursive: true, force: true });
  }
  const shown = (rate) => (rate === undefined ? '' : Math.round(rate).toLocaleString('en'));
  console.log('| a second | diamonddb/v1 | the first version |\n|---|---:|---:|');
  for (const [work, rate] of Object.entries(results)) {
    console.log(`| ${work} | ${shown(rate)} | ${shown(THEN[work])} |`);
  }
}

main();
