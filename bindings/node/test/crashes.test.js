// What could hang or end a process, each in a process of its own, with a limit to its time.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { program, folder } = require('./support.js');

/** Runs a program that is to end well, and to say this. */
async function says(expected, source, options) {
  const { code, signal, out, err } = await program(source, options);
  assert.deepEqual({ code, signal, out, err }, { code: 0, signal: null, out: expected, err: '' });
}

test('10,000 databases opened and closed leave nothing behind', async () => {
  await says('ok\n', `
    const fs = require('node:fs');
    const resident = () => { globalThis.gc(); return process.memoryUsage().rss; };
    const files = () => fs.readdirSync('/proc/self/fd').length;
    const round = () => {
      const db = diamonddb.openSync('x', { inMemory: true });
      const people = db.makeTableSync('people', PEOPLE);
      people.fetch(people.saveSync({ name: 'Abby' }));
      for (const one of people) void one;
      db.closeSync();
    };
    for (let i = 0; i < 10000; i++) round(); // Until caches and pools of memory have their size.
    const [before, open] = [resident(), files()];
    for (let i = 0; i < 10000; i++) round();
    const grown = resident() - before;
    if (grown > 16 << 20) console.log('grown by', grown);
    else console.log(files() === open ? 'ok' : 'files');`, { args: ['--max-semi-space-size=1'] }); // V8's own.
});

test('a database in a folder opened and closed again and again leaves no files, threads or memory', async () => {
  await says('ok\n', `
    const fs = require('node:fs');
    const count = (what) => fs.readdirSync('/proc/self/' + what).length;
    const round = async () => {
      const db = await diamonddb.open(place, { durability: 'os' });
      const people = await db.makeTable('people', PEOPLE);
      await people.save({ name: 'Abby' });
      await db.close();
    };
    (async () => {
      for (let i = 0; i < 50; i++) await round();
      globalThis.gc();
      const before = [count('fd'), count('task'), process.memoryUsage().rss];
      for (let i = 0; i < 200; i++) await round();
      globalThis.gc();
      const grown = process.memoryUsage().rss - before[2];
      const same = count('fd') === before[0] && count('task') === before[1];
      console.log(same && grown < 16 << 20 ? 'ok' : [same, grown]);
    })();`);
});

test('what is dropped without a close is let go, and a collected module goes on working', async () => {
  await says('Abby 1000\n', `
    class Cache {
      constructor() { this.all = new Map(); }
      store(change) { this.all.set(change.id, change); }
      fetch(table, id) { const found = this.all.get(id); return found?.kind === 'store' ? found : undefined; }
      clear() { this.all.clear(); }
    }
    const open = () => diamonddb.openSync(place, { cache: new Cache(), durability: 'os' });
    const db = open();
    const people = db.makeTableSync('people', PEOPLE);
    (async () => {
      const id = people.saveSync({ name: 'Abby' });
      for (let i = 0; i < 1000; i++) {
        db.batch().save(people, { name: 'dropped' });
        db.openTable('people').scan()[Symbol.iterator]().next();
        db.snapshot();
        people.fetch(id);
        if (i % 100 === 0) { globalThis.gc(); await new Promise(setImmediate); }
      }
      for (let i = 0; i < 20 && db.stats().snapshots > 0; i++) { globalThis.gc(); await new Promise(setImmediate); }
      console.log(people.fetch(id).name, db.stats().snapshots === 0 ? 1000 : db.stats().snapshots);
      db.closeSync();
    })();`);
});

test('a view is there after table and database are gone, and throws when it was released', async () => {
  await says('CLOSED BUSY 100 CLOSED\n', `
    const db = diamonddb.openSync(place);
    const people = db.makeTableSync('people', PEOPLE);
    people.saveManySync(Array.from({ length: 100 }, () => ({ name: 'Abby' })));
    const code = (act) => { try { return act(); } catch (error) { return error.code; } };
    let [pin, gone] = [people.pinSync(), people.pinSync()];
    const [view, other] = [pin.view(), gone.view()];
    other.release();
    gone.close();
    db.dropTableSync('people');
    db.closeSync();
    const said = [code(() => other.getUint8(0)), code(() => pin.close())];
    pin = gone = null;
    globalThis.gc();
    let there = 0;
    for (let id = 0; id < view.end; id++) there += view.has(id);
    view.release();
    said.push(there, code(() => view.record(0)));
    console.log(...said);`);
});

test('a pin that nobody holds any more is let go, and not before its view', async () => {
  await says('ok\n', `
    const db = diamonddb.openSync(place);
    const people = db.makeTableSync('people', PEOPLE);
    people.saveManySync(Array.from({ length: 10000 }, () => ({ name: 'Abby' })));
    (async () => {
      let view = people.pinSync().view();
      for (let i = 0; i < 10; i++) { globalThis.gc(); await new Promise(setImmediate); }
      if (db.stats().pins !== 1 || view.record(9999).name !== 'Abby') throw new Error('gone too early');
      view = null;
      for (let i = 0; i < 100 && db.stats().pins > 0; i++) { globalThis.gc(); await new Promise(setImmediate); }
      console.log(db.stats().pins === 0 ? 'ok' : 'kept');
      db.closeSync();
    })();`);
});

test('process.exit in a module\'s method ends the process, and nothing else', async () => {
  const { code, signal, err } = await program(`
    class Leaving {
      store() {}
      fetch() { process.exit(7); }
      clear() {}
    }
    const db = diamonddb.openSync(place, { cache: new Leaving() });
    const people = db.makeTableSync('people', PEOPLE);
    people.fetch(people.saveSync({ name: 'Abby' }));
    console.log('not reached');`);
  assert.deepEqual([code, signal, err], [7, null, '']);
});

test('process.exit with calls under way ends the process', async () => {
  const { code, signal, err } = await program(`
    (async () => {
      const db = await diamonddb.open(place);
      const people = await db.makeTable('people', PEOPLE);
      await people.saveMany(Array.from({ length: 100000 }, () => ({ name: 'Abby' })));
      for (let i = 0; i < 100; i++) people.save({ name: 'Abby' });
      db.backup(place + '.copy', { progress: () => process.exit(7) });
      db.verify();
      db.checkpoint();
    })();`);
  assert.deepEqual([code, signal, err], [7, null, '']);
});

test('a Worker that is terminated in the midst of everything does not end the process', async () => {
  await says('ok 20\n', `
    const { Worker, isMainThread, workerData, parentPort } = require('node:worker_threads');
    if (isMainThread) main(); else work();

    async function work() {
      class Cache {
        constructor() { this.all = new Map(); }
        store(change) { this.all.set(change.id, change); }
        fetch(table, id) { const found = this.all.get(id); return found?.kind === 'store' ? found : undefined; }
        clear() { this.all.clear(); }
      }
      const mine = diamonddb.openSync(workerData + '.mine', { cache: new Cache(), durability: 'os' });
      const cached = mine.makeTableSync('people', PEOPLE);
      const db = await diamonddb.open(workerData);
      const people = await db.makeTable('people', PEOPLE);
      await people.saveMany(Array.from({ length: 20000 }, () => ({ name: 'Abby' })));
      const pin = await people.pin();
      const view = pin.view();
      parentPort.postMessage('begun');
      for (let i = 0; ; i++) {
        const calls = [people.save({ name: 'Abby' }), people.save({}), db.verify(), db.checkpoint()];
        calls.push(db.backup(workerData + '.copy' + i, { progress: () => {} }));
        for (let j = 0; j < 100; j++) cached.fetch(cached.saveSync({ name: 'Bob' }));
        view.record(i % 20000);
        await Promise.all(calls);
      }
    }

    async function main() {
      let ended = 0;
      for (let i = 0; i < 20; i++) {
        const worker = new Worker(__filename, { workerData: place + i });
        await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
        await new Promise((resolve) => setTimeout(resolve, i * 3));
        await worker.terminate();
        ended += 1;
      }
      globalThis.gc();
      const db = diamonddb.openSync(place + 'after');
      const people = db.makeTableSync('people', PEOPLE);
      people.saveSync({ name: 'Abby' });
      db.closeSync();
      const again = await diamonddb.open(place + '0');
      const found = again.openTable('people').count() >= 20000;
      await again.close();
      console.log(found ? 'ok' : 'lost', ended);
    }`);
});

test('a module in a Worker works there, while the main thread works beside it', async () => {
  await says('1000 ok\n', `
    const { Worker, isMainThread, parentPort } = require('node:worker_threads');
    class Cache {
      constructor() { this.all = new Map(); }
      store(change) { this.all.set(change.id, change); }
      fetch(table, id) { const found = this.all.get(id); return found?.kind === 'store' ? found : undefined; }
      clear() { this.all.clear(); }
    }
    if (!isMainThread) {
      const db = diamonddb.openSync(place, { cache: new Cache(), durability: 'os' });
      const people = db.makeTableSync('people', PEOPLE);
      for (let i = 0; i < 1000; i++) people.fetch(people.saveSync({ name: 'Abby' }));
      parentPort.postMessage(people.count());
      db.closeSync();
    } else {
      const worker = new Worker(__filename);
      const db = diamonddb.openSync('here', { inMemory: true, cache: new Cache() });
      const people = db.makeTableSync('people', PEOPLE);
      for (let i = 0; i < 3000; i++) people.fetch(people.saveSync({ name: 'Bob' }));
      db.closeSync();
      worker.once('message', (count) => worker.once('exit', () => console.log(count, 'ok')));
    }`);
});

test('synchronous calls beside a running backup, flush and wait do not wait for the event loop', async () => {
  await says('ok\n', `
    (async () => {
      const db = await diamonddb.open(place);
      const people = await db.makeTable('people', PEOPLE);
      await people.saveMany(Array.from({ length: 100000 }, () => ({ name: 'Abby' })));
      const under = [db.backup(place + '.copy', { progress: () => { people.saveSync({}); } }), db.flush(), db.verify()];
      for (let i = 0; i < 50; i++) under.push(people.save({ name: 'Abby' }));
      db.flushSync();
      db.checkpointSync();
      for (let i = 0; i < 50; i++) people.saveSync({ name: 'Bob' });
      db.backupSync(place + '.two', { progress: () => { people.fetch(0); } });
      await Promise.all(under);
      await db.close();
      console.log('ok');
    })();`);
});

test('an error that nobody catches in a module ends as an error of the call, not of the process', async () => {
  await says('MODULE thrown\n', `
    class Store {
      initialize() { throw new Error('thrown'); }
      makeTable() {} updateMeta() {} store() {} fetch() { return []; } persistAll() {}
    }
    diamonddb.open('', { store: new Store() }).catch((error) => console.log(error.code, error.cause.message));`);
});

test('a child process opens what its parent holds only after the parent has closed it', async () => {
  await says('LOCKED\nAbby\n', `
    const { execFileSync } = require('node:child_process');
    if (process.argv[2] === 'child') {
      try {
        const db = diamonddb.openSync(place);
        console.log(db.openTable('people').fetch(0).name);
        db.closeSync();
      } catch (error) {
        console.log(error.code);
      }
    } else {
      const child = () => process.stdout.write(execFileSync(process.execPath, [__filename, 'child']));
      const db = diamonddb.openSync(place);
      db.makeTableSync('people', PEOPLE).saveSync({ name: 'Abby' });
      child();
      db.closeSync();
      child();
    }`, { place: folder() });
});
