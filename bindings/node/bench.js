// What a call costs from Node, beside lmdb and better-sqlite3 doing the same work in the same run.
//
//   node bench.js [folder [results]]      the folder is for the databases, and should be on a disk; the file gets
//                                         a line of work, column and nanoseconds for each figure that others have too
//   DIAMOND_BACKEND=ffi-napi node bench.js   the same by ffi-napi, alone; its callbacks, many milliseconds, left out
//
// The peers are used where they can be required: npm install --no-save lmdb better-sqlite3. All have the same records
// of 96 bytes under integer keys, in memory once they were read; every read is compared with what was saved.
//
//   fetch into a Buffer    one record by id into a Buffer that is used again   (sqlite: a Buffer it makes)
//   fetch an object        the same, as an object of 15 fields                 (lmdb: msgpack, its default)
//   save, async            one record a commit, and no wait for the disk
//   batch of 1000, async   1,000 records in one commit, a record
//   scan                   all records by id, as objects
//   callback               one call from C into JavaScript and back
//   awaited saves, sync    1,000 promises at once, each of a commit of its own that survives a power cut
//   saves one by one, sync a commit that survives a power cut, one after the other
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const diamonddb = require('./index.js');

const COUNT = 100_000;
const ROUNDS = 5;
const SCHEMA = {
  id: ['u32', 'required'], flags: ['u32', 'required'], a: ['f64', 'required'], b: ['f64', 'required'],
  c: ['i64', 'required'], d: ['i64', 'required'], e: ['i32', 'required'], f: ['i32', 'required'],
  g: ['u16', 'required'], h: ['u16', 'required'], i: ['u8', 'required'], j: ['bool', 'required'],
  name: ['string', 16, 'required'], city: ['string', 16, 'required'], code: ['string', 10, 'required'],
};
const FIELDS = Object.keys(SCHEMA);

function recordOf(id) {
  return {
    id, flags: 7, a: id / 3, b: -id, c: id * 1000, d: -id, e: id, f: -id, g: id % 65536, h: 5, i: id % 256,
    j: id % 2 === 0, name: `Name ${id}`, city: 'Springfield', code: 'ABC-1',
  };
}

/** The order in which records are read: all of them, far apart. */
const order = Array.from({ length: COUNT }, (_, index) => (index * 7919) % COUNT);
const top = fs.mkdtempSync(path.join(process.argv[2] ?? os.tmpdir(), 'diamonddb-bench-'));

/** The median of some rounds, in nanoseconds an operation. */
async function measure(operations, act) {
  const times = [];
  for (let round = 0; round < ROUNDS; round++) {
    const begun = process.hrtime.bigint();
    await act(round);
    times.push(Number(process.hrtime.bigint() - begun) / operations);
    await new Promise(setImmediate);
  }
  return times.sort((one, other) => one - other)[ROUNDS >> 1];
}

function required(name) {
  try {
    return require(require.resolve(name, { paths: [__dirname, process.cwd()] }));
  } catch {
    console.log(`${name} is not installed, and left out: npm install --no-save ${name}`);
    return undefined;
  }
}

async function diamond(backend, results) {
  // Calls of ffi-napi become slower and slower while the event loop does not turn.
  const scale = backend === 'koffi' ? 1 : 500;
  const reads = order.slice(0, COUNT / scale);
  const db = diamonddb.openSync(path.join(top, backend), { durability: 'async', backend });
  const table = db.makeTableSync('records', SCHEMA);
  const packed = Array.from({ length: COUNT }, (_, id) => table.encode(recordOf(id)).subarray(0, table.recordSize));
  table.saveManySync(Buffer.concat(packed));
  const target = Buffer.from(new ArrayBuffer(table.recordSize));
  results['fetch into a Buffer'] = await measure(reads.length, () => {
    for (const id of reads) {
      table.fetchInto(id, target);
      if (target.readUInt32LE(0) !== id) throw new Error(`record ${id}`);
    }
  });
  results['fetch an object'] = await measure(reads.length, () => {
    for (const id of reads) if (table.fetch(id).id !== id) throw new Error(`record ${id}`);
  });
  results.scan = await measure(COUNT, () => {
    let count = 0;
    for (const [id, record] of table) count += record.id === id;
    assert.equal(count, COUNT);
  });
  results['save, async'] = await measure(10_000 / scale, () => {
    for (let id = 0; id < 10_000 / scale; id++) table.saveSync(packed[id]);
  });
  const many = packed.slice(0, 1000);
  results['batch of 1000, async'] = await measure(20_000, () => {
    for (let times = 0; times < 20; times++) table.saveManySync(many);
  });
  db.closeSync();
  if (backend !== 'koffi') return;
  results.callback = await callbacks();
  await durable(results);
}

/** A fetch over a cache that has nothing to do, less one without. */
async function callbacks() {
  class Empty {
    store() {}
    fetch() {}
    clear() {}
  }
  const count = 20_000;
  const fetches = async (options) => {
    const db = diamonddb.openSync('callbacks', { inMemory: true, ...options });
    const table = db.makeTableSync('records', SCHEMA);
    table.saveSync(recordOf(0));
    const time = await measure(count, () => { for (let times = 0; times < count; times++) table.has(0); });
    db.closeSync();
    return time;
  };
  // A miss is told to the cache once more: two calls, the second of which copies the record.
  return (await fetches({ cache: new Empty() }) - await fetches({})) / 2;
}

async function durable(results) {
  const db = await diamonddb.open(path.join(top, 'sync'));
  const table = await db.makeTable('records', SCHEMA);
  const record = recordOf(1);
  await table.save(record);
  results['awaited saves, sync'] = await measure(1000, () =>
    Promise.all(Array.from({ length: 1000 }, () => table.save(record))));
  results['saves one by one, sync'] = await measure(200, async () => {
    for (let times = 0; times < 200; times++) await table.save(record);
  });
  await db.close();
}

async function lmdb(results) {
  const package_ = required('lmdb');
  if (package_ === undefined) return;
  const open = (name, options) => package_.open({ path: path.join(top, name), keyEncoding: 'uint32', ...options });
  const bytes = open('lmdb-bytes', { encoding: 'binary', noSync: true });
  const objects = open('lmdb-objects', { noSync: true, sharedStructuresKey: 2 ** 31 });
  const packed = Array.from({ length: COUNT }, (_, id) => {
    const record = Buffer.alloc(96);
    record.writeUInt32LE(id);
    return record;
  });
  bytes.transactionSync(() => { for (let id = 0; id < COUNT; id++) bytes.putSync(id, packed[id]); });
  objects.transactionSync(() => { for (let id = 0; id < COUNT; id++) objects.putSync(id, recordOf(id)); });
  results['fetch into a Buffer'] = await measure(COUNT, () => {
    for (const id of order) {
      // The Buffer is lmdb's own, used again by the next get.
      if (bytes.getBinaryFast(id).readUInt32LE(0) !== id) throw new Error(`record ${id}`);
    }
  });
  results['fetch an object'] = await measure(COUNT, () => {
    for (const id of order) if (objects.get(id).id !== id) throw new Error(`record ${id}`);
  });
  results.scan = await measure(COUNT, () => {
    let count = 0;
    for (const { key, value } of objects.getRange({ end: COUNT })) count += value.id === key;
    assert.equal(count, COUNT);
  });
  results['save, async'] = await measure(10_000, (round) => {
    for (let id = 0; id < 10_000; id++) bytes.putSync((round + 1) * 1_000_000 + id, packed[id]);
  });
  results['batch of 1000, async'] = await measure(20_000, (round) => {
    for (let times = 0; times < 20; times++) {
      bytes.transactionSync(() => {
        for (let id = 0; id < 1000; id++) bytes.putSync((round + 10) * 1_000_000 + times * 1000 + id, packed[id]);
      });
    }
  });
  await Promise.all([bytes.close(), objects.close()]);
  const synced = open('lmdb-sync', { encoding: 'binary' });
  results['awaited saves, sync'] = await measure(1000, async (round) => {
    await Promise.all(Array.from({ length: 1000 }, (_, id) => synced.put(round * 1000 + id, packed[id])));
    await synced.flushed;
  });
  results['saves one by one, sync'] = await measure(200, async (round) => {
    for (let id = 0; id < 200; id++) {
      await synced.put(10_000 + round * 200 + id, packed[id]);
      await synced.flushed;
    }
  });
  await synced.close();
}

async function sqlite(results) {
  const Database = required('better-sqlite3');
  if (Database === undefined) return;
  const open = (name, synchronous) => {
    const db = new Database(path.join(top, name));
    db.pragma('journal_mode = WAL');
    db.pragma(`synchronous = ${synchronous}`);
    db.exec('create table bytes (id integer primary key, record blob)');
    const columns = FIELDS.map((field) => (field === 'id' ? 'id integer primary key' : field));
    db.exec(`create table objects (${columns.join(', ')})`);
    return db;
  };
  const db = open('sqlite', 'OFF');
  const insert = db.prepare('insert into bytes values (?, ?)');
  const insertObject = db.prepare(`insert into objects values (${FIELDS.map(() => '?').join(', ')})`);
  const packed = Buffer.alloc(96);
  db.transaction(() => {
    for (let id = 0; id < COUNT; id++) {
      packed.writeUInt32LE(id);
      insert.run(id, packed);
      insertObject.run(FIELDS.map((name) => Number(recordOf(id)[name]) || String(recordOf(id)[name])));
    }
  })();
  const select = db.prepare('select record from bytes where id = ?').pluck();
  results['fetch into a Buffer'] = await measure(COUNT, () => {
    for (const id of order) if (select.get(id).readUInt32LE(0) !== id) throw new Error(`record ${id}`);
  });
  const selectObject = db.prepare('select * from objects where id = ?');
  results['fetch an object'] = await measure(COUNT, () => {
    for (const id of order) if (selectObject.get(id).id !== id) throw new Error(`record ${id}`);
  });
  const all = db.prepare('select * from objects order by id');
  results.scan = await measure(COUNT, () => {
    let count = 0;
    for (const { id } of all.iterate()) count += id >= 0;
    assert.equal(count, COUNT);
  });
  const add = db.prepare('insert into bytes (record) values (?)');
  results['save, async'] = await measure(10_000, () => { for (let id = 0; id < 10_000; id++) add.run(packed); });
  const batch = db.transaction(() => { for (let id = 0; id < 1000; id++) add.run(packed); });
  results['batch of 1000, async'] = await measure(20_000, () => { for (let times = 0; times < 20; times++) batch(); });
  db.function('back', (value) => value);
  const back = db.prepare('with recursive n(i) as (select 0 union all select i + 1 from n where i < 9999) ' +
    'select count(back(i)) from n');
  results.callback = await measure(10_000, () => back.get());
  db.close();
  const synced = open('sqlite-sync', 'FULL');
  const one = synced.prepare('insert into bytes (record) values (?)');
  results['saves one by one, sync'] = await measure(200, () => { for (let id = 0; id < 200; id++) one.run(packed); });
  synced.close();
}

function print(columns) {
  const rows = [...new Set(Object.values(columns).flatMap(Object.keys))];
  const names = Object.keys(columns).filter((name) => Object.keys(columns[name]).length > 0);
  console.log(`\n| ns an operation | ${names.join(' | ')} |\n|---|${names.map(() => '---:|').join('')}`);
  for (const row of rows) {
    const cells = names.map((name) => columns[name][row]?.toLocaleString('en', { maximumFractionDigits: 0 }) ?? '');
    console.log(`| ${row} | ${cells.join(' | ')} |`);
  }
}

/** What the works and the columns are called where languages are compared. */
const WORKS = {
  'fetch into a Buffer': 'fetch, as bytes', 'fetch an object': 'fetch, as an object', scan: 'scan, a record',
  'save, async': 'save, async', 'batch of 1000, async': 'batch of 1000, async, a record', callback: 'callback',
  'awaited saves, sync': '1,000 awaited saves, sync, a save', 'saves one by one, sync': 'save, sync',
};
const COLUMNS = { 'diamonddb by koffi': 'Node', 'diamonddb by ffi-napi': 'Node, ffi-napi', lmdb: 'lmdb-js' };

function write(columns, file) {
  const lines = Object.entries(columns).flatMap(([column, works]) => Object.entries(works).map(([work, time]) =>
    `${WORKS[work]}\t${COLUMNS[column] ?? column}\t${time.toFixed(1)}\n`));
  fs.writeFileSync(file, lines.join(''));
}

async function main() {
  const backend = process.env.DIAMOND_BACKEND || 'koffi';
  const columns = { [`diamonddb by ${backend}`]: {}, lmdb: {}, 'better-sqlite3': {} };
  try {
    await diamond(backend, columns[`diamonddb by ${backend}`]);
    if (backend === 'koffi') {
      await lmdb(columns.lmdb);
      await sqlite(columns['better-sqlite3']);
    }
    print(columns);
    if (process.argv[3] !== undefined) write(columns, process.argv[3]);
  } finally {
    fs.rmSync(top, { recursive: true, force: true });
  }
}

main();
