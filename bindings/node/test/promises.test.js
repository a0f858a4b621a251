// What may wait is a promise: commits in groups, and the calls that work on disks, aside from the event loop.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { test } = require('node:test');
const { PEOPLE, diamonddb, folder, failing, program } = require('./support.js');

async function openPeople(options, place = folder()) {
  const db = await diamonddb.open(place, options);
  return { db, people: await db.makeTable('people', PEOPLE), place };
}

for (const durability of ['sync', 'os', 'async']) {
  test(`a thousand awaited saves of a database in ${durability} mode are there, each by its id`, async () => {
    const { db, people, place } = await openPeople({ durability });
    const ids = await Promise.all(Array.from({ length: 1000 }, (_, index) => people.save({ name: `N${index}` })));
    assert.deepEqual(ids, Array.from({ length: 1000 }, (_, index) => index));
    await db.close();
    const again = await diamonddb.open(place);
    assert.equal(again.openTable('people').fetch(999).name, 'N999');
    await again.close();
  });
}

test('a thousand saves at once are a few groups, and not a thousand syncs', async () => {
  const { db, people } = await openPeople();
  await people.save({});
  const before = db.stats().syncs;
  await Promise.all(Array.from({ length: 1000 }, () => people.save({ name: 'Abby' })));
  const after = db.stats().syncs;
  assert.ok(after - before < 100, `${after - before} syncs`);
  await db.close();
});

test('every verb that changes has a promise', async () => {
  const { db, people } = await openPeople();
  const id = await people.save({ name: 'Abby', age: 29 });
  await people.replace(id, { name: 'Abby', age: 30 });
  await people.replaceIf(id, { name: 'Abby', age: 30 }, { name: 'Abby', age: 31 });
  await assert.rejects(people.replaceIf(id, { name: 'Abby', age: 30 }, {}), failing('CONFLICT', /people/));
  assert.equal(people.fetch(id).age, 31);
  const other = await people.save({ name: 'Bob' });
  await assert.rejects(people.deleteIf(other, { name: 'Eve' }), failing('CONFLICT'));
  await people.deleteIf(other, { name: 'Bob' });
  await people.delete(id);
  await assert.rejects(people.delete(id), failing('NOT_FOUND', /people/));
  assert.equal(await people.saveMany([{ name: 'a' }, { name: 'b' }, { name: 'c' }]), 2);
  await people.replaceMany([2, 3], [{ name: 'x' }, { name: 'y' }]);
  await people.deleteMany([2]);
  await assert.rejects(people.deleteMany([3, 2]), failing('NOT_FOUND', /people/));
  assert.deepEqual(await db.batch().save(people, { name: 'z' }).delete(people, 3).commit(), [5]);
  assert.deepEqual([...people].map(([, { name }]) => name), ['c', 'z']);
  await db.renameTable('people', 'folk');
  await db.dropTable('folk');
  assert.deepEqual(db.tables(), []);
  await db.close();
});

test('what is wrong with a record or an id rejects, and is not thrown', async () => {
  const { db, people } = await openPeople();
  await assert.rejects(people.save({ nmae: 'Abby' }), failing('INVALID', /nmae/));
  await assert.rejects(people.delete(-1), RangeError);
  await assert.rejects(people.replace(1.5, {}), RangeError);
  await assert.rejects(diamonddb.open(folder(), { mustExist: true }), failing('NOT_FOUND'));
  await assert.rejects(diamonddb.open(folder(), { wrong: true }), TypeError);
  await assert.rejects(db.makeTable('people', { name: ['string', 3] }), failing('SCHEMA_DIFFERS', /people/));
  assert.equal(await people.save({ name: 'Abby' }), 0);
  await db.close();
});

test('for await walks a table, and the event loop turns meanwhile', async () => {
  const { db, people } = await openPeople();
  await people.saveMany(Array.from({ length: 5000 }, () => ({ name: 'Abby' })));
  let [turns, walking, seen] = [0, true, 0];
  const turn = () => { turns += 1; if (walking) setImmediate(turn); };
  setImmediate(turn);
  for await (const [id] of people) assert.equal(id, seen++);
  walking = false;
  assert.equal(seen, 5000);
  assert.ok(turns > 3);
  for await (const [id] of people.scan({ first: 10 })) if (id === 12) break;
  await db.close();
});

test('flush, checkpoint, verify, backup, waitDurable and pin leave the event loop alone', async () => {
  const { db, people, place } = await openPeople({ durability: 'async' });
  await people.saveMany(Array.from({ length: 20_000 }, () => ({ name: 'Abby' })));
  await Promise.all([db.flush(), db.waitDurable(), db.checkpoint(), db.verify(), db.flush(), db.flush(), db.flush()]);
  const told = [];
  await db.backup(`${place}.copy`, { progress: (done, total) => { told.push([done, total]); } });
  assert.ok(told.length >= 2 && told.at(-1)[0] === told.at(-1)[1]);
  const copy = await diamonddb.open(`${place}.copy`);
  assert.equal(copy.openTable('people').count(), 20_000);
  await copy.close();
  const pin = await people.pin();
  assert.equal(pin.count, 20_000);
  pin.close();
  await db.close();
});

test('a backup is called off by its progress, and its throw is the cause', async () => {
  const { db, people, place } = await openPeople();
  await people.saveMany(Array.from({ length: 2_000_000 / 20 }, () => ({ name: 'Abby' })));
  const cause = new Error('no more');
  let times = 0;
  const ended = db.backup(`${place}.copy`, { progress: () => { times += 1; throw cause; } });
  const error = await ended.then(() => undefined, (one) => one);
  // Whether it hears of it in time is up to the size; a backup that was done is done.
  assert.ok(times > 0);
  if (error !== undefined) assert.deepEqual([error.code, error.cause], ['CANCELLED', cause]);
  await db.close();
});

test('damage is told by verify, with its report', async () => {
  const { db, people, place } = await openPeople({ readWithPread: true });
  await people.saveMany(Array.from({ length: 5000 }, () => ({ name: 'Abby' })));
  await db.close();
  const data = fs.readdirSync(`${place}/data`).filter((name) => !name.endsWith('.sum')).at(-1);
  const file = fs.openSync(`${place}/data/${data}`, 'r+');
  fs.writeSync(file, 'damage', 4096 + 1000);
  fs.closeSync(file);
  const damaged = await diamonddb.open(place);
  await assert.rejects(damaged.verify(), (error) => failing('CORRUPT')(error) && error.report.findings.length > 0);
  assert.throws(() => damaged.verifySync(), (error) => failing('CORRUPT')(error) && error.report.findings.length > 0);
  await damaged.close().catch(() => {});
});

test('close waits for what is under way, and nothing begins after it', async () => {
  const { db, people } = await openPeople();
  const saved = Array.from({ length: 100 }, (_, index) => people.save({ name: `N${index}` }));
  const flushed = [db.flush(), db.checkpoint(), db.verify()];
  assert.throws(() => db.closeSync(), failing('BUSY', /under way/));
  const closed = db.close();
  await assert.rejects(people.save({}), failing('CLOSED'));
  await Promise.all([...saved, ...flushed, closed]);
  await db.close();
});

test('a table is not closed under a call that uses it', async () => {
  const { db, people } = await openPeople();
  const saved = people.saveMany([{ name: 'Abby' }]);
  assert.throws(() => people.close(), failing('BUSY', /under way/));
  await saved;
  people.close();
  await db.close();
});

test('more long calls than there are helpers are all done', async () => {
  const { db } = await openPeople();
  const reports = await Promise.all(Array.from({ length: 40 }, () => db.verify()));
  assert.ok(reports.every(({ findings }) => findings.length === 0));
  await db.close();
});

test('a failure on another thread has the sentence of the library', async () => {
  const { db, place } = await openPeople();
  await assert.rejects(db.backup(place), failing('INVALID', /empty|own|lies|outside|in the/i));
  await assert.rejects(db.dropTable('nobody'), failing('NOT_FOUND', /nobody/));
  await db.close();
});

test('a process that holds an open database ends when it has nothing more to do', async () => {
  const { code, signal, err } = await program(`
    (async () => {
      const db = await diamonddb.open(place);
      const people = await db.makeTable('people', PEOPLE);
      await people.save({ name: 'Abby' });
    })();`);
  assert.deepEqual([code, signal, err], [0, null, '']);
});

test('await using closes a database', { skip: !usingIsThere() }, async () => {
  const { code, err, out } = await program(`
    (async () => {
      let kept;
      {
        await using db = await diamonddb.open(place);
        using people = await db.makeTable('people', PEOPLE);
        await people.save({ name: 'Abby' });
        kept = db;
      }
      try { kept.tables(); } catch (error) { console.log(error.code); }
    })();`);
  assert.deepEqual([code, out, err], [0, 'CLOSED\n', '']);
});

test('the symbols of disposal close what they are of', async () => {
  const { db, people } = await openPeople();
  const pin = await people.pin();
  const view = pin.view();
  view[Symbol.dispose]();
  pin[Symbol.dispose]();
  people[Symbol.dispose]();
  await db[Symbol.asyncDispose]();
  assert.throws(() => db.tables(), failing('CLOSED'));
});

function usingIsThere() {
  try {
    return Boolean(new Function('{ using a = null; }'));
  } catch {
    return false;
  }
}
