// Our store opens a folder that the first version wrote, and loses nothing of it.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const {
  v1, PEOPLE, operations, diamonddb, openPeople, oldFolder, filesIn, failing, program,
} = require('./v1-support.js');

const NAMES = ['Abby', 'Bob', 'Çelik', 'Dvořák', 'Eve', 'François', 'Grace', 'Håkon', 'Ivan', 'Jürgen'];
const person = (_id) => ({ _id, name: `${NAMES[_id % 10]} ${_id}`, age: (7 * _id) % 100 });

/** Opens the folder; gives the database, and what its store has to say of the import. */
async function opened(place) {
  const store = new v1.Store(place);
  const db = new v1.Database({ store });
  const reply = await db.init({ persist: false });
  assert.deepEqual(reply, { operation: 'SUCCESS' });
  return { db, store, findings: store.imported?.findings };
}

/** The warnings while something is done. */
async function warningsOf(act) {
  const heard = [];
  const hear = ({ message }) => heard.push(message);
  process.on('warning', hear);
  const given = await act();
  await new Promise(setImmediate);
  process.off('warning', hear);
  return { heard, given };
}

async function assertPeople(db, except = []) {
  for (let id = 0; id < 260; id++) {
    if (!except.includes(id)) assert.deepEqual((await db.fetchRecord('people', id)).data, person(id));
  }
}

/** Changes the text of a file. */
function edit(place, name, change) {
  const file = path.join(place, name);
  fs.writeFileSync(file, change(fs.readFileSync(file, 'utf8')));
}

test('every record of the samples is there under its id, and the old files are as they were', async () => {
  const place = oldFolder();
  const before = filesIn(place);
  const { db, store } = await opened(place);
  assert.deepEqual(store.imported, {
    tables: [{ name: 'people', count: 260, next_id: 260 }, { name: 'cities', count: 396, next_id: 396 }], findings: [],
  });
  assert.deepEqual(db.tables.people, { name: 'people', size: 18, schema: PEOPLE, index: 260 });
  assert.deepEqual(db.tables.cities, { name: 'cities', size: 35, index: 396,
    schema: { name: ['string', 24], country: ['string', 2], population: ['number', 9] } });
  await assertPeople(db);
  const first = { _id: 0, name: 'Shahrak-e Qods', country: 'IR', population: 29774 };
  assert.deepEqual((await db.fetchRecord('cities', 0)).data, first);
  const cities = await Promise.all(Array.from({ length: 396 }, (_, id) => db.fetchRecord('cities', id)));
  const text = [0, 1, 2, 3].map((page) => Buffer.from(before[`cities.${page}.dat`], 'latin1')).join('');
  const again = cities.map(({ data: { name, country, population } }) =>
    name.padEnd(24) + country.padEnd(2) + String(population).padEnd(9));
  assert.equal(again.join(''), text);
  assert.equal((await db.saveRecord('people', { name: 'Kim', age: 1 })).data._id, 260);
  await db.close();
  const { 'diamonddb.import.json': report, ...after } = filesIn(place);
  assert.deepEqual(after, before);
  assert.deepEqual(JSON.parse(report), store.imported);
});

test('an import is made once: what was saved since is there when the folder is opened again', async () => {
  const place = oldFolder();
  const first = await opened(place);
  await first.db.saveRecord('people', { name: 'Kim', age: 1 });
  await first.db.close();
  const again = await opened(place);
  assert.equal(again.store.imported, null);
  assert.equal((await again.db.fetchRecord('people', 260)).data.name, 'Kim');
  await assertPeople(again.db);
  await again.db.close();
  // And without the old files.
  for (const name of Object.keys(filesIn(place))) fs.rmSync(path.join(place, name));
  const alone = await opened(place);
  await assertPeople(alone.db);
  await alone.db.close();
});

test('old files that come where there is a database already are not passed over in silence', async () => {
  const { db, place } = await openPeople();
  await db.saveRecord('people', { name: 'Kim' });
  await db.close();
  fs.cpSync(path.join(__dirname, 'v1-data'), place, { recursive: true });
  const { given, heard } = await warningsOf(() => opened(place));
  assert.equal(given.store.imported, null);
  assert.equal((await given.db.fetchRecord('people', 0)).data.name, 'Kim');
  assert.match(heard[0], /never imported, since there is a database/);
  await given.db.close();
});

test('rows that cannot be read are reported by table, page and position, and their ids burned', async () => {
  const place = oldFolder((folder) => {
    // Record 107: an age that is none.
    edit(folder, 'people.1.dat', (text) => `${text.slice(0, 7 * 18 + 15)}x7 ${text.slice(8 * 18)}`);
    // Records 258 and 259: the file was cut within a row.
    edit(folder, 'people.2.dat', (text) => text.slice(0, 58 * 18 + 4));
    fs.rmSync(path.join(folder, 'cities.1.dat'));
    // Record 5 of cities: a byte that is no UTF-8.
    const file = path.join(folder, 'cities.0.dat');
    const bytes = fs.readFileSync(file);
    bytes[Buffer.byteLength(bytes.toString().slice(0, 5 * 35))] = 0xff;
    fs.writeFileSync(file, bytes);
  });
  const before = filesIn(place);
  const { given: { db, findings }, heard } = await warningsOf(() => opened(place));
  const at = ({ table, page, position, count }) => [table, page, position, count];
  assert.deepEqual(findings.map(at), [['people', 1, 7, 1], ['people', 2, 58, 1], ['people', 2, 59, 1],
    ['cities', 0, 5, 1], ['cities', 1, 0, 100]]);
  assert.deepEqual(findings[0], { table: 'people', page: 1, position: 7, count: 1, text: 'Håkon 107      x7 ',
    why: 'its "age" is no number' });
  assert.equal(findings[1].why, 'it ends after 4 of its 18 characters');
  assert.match(findings[2].why, /people.2.dat ends before it/);
  assert.match(findings[3].why, /no UTF-8/);
  assert.equal(findings[4].why, 'cities.1.dat is not there');
  assert.equal(heard.length, 1);
  assert.match(heard[0], /5 things could not be imported.*people, page 1, position 7.*diamonddb\.import\.json/s);
  await assertPeople(db, [107, 258, 259]);
  for (const id of [107, 258, 259]) assert.match(await failing(db.fetchRecord('people', id)), /not imported/);
  assert.equal((await db.saveRecord('people', {})).data._id, 260);
  assert.equal((await db.fetchRecord('cities', 200)).operation, 'SUCCESS');
  await db.close();
  const { 'diamonddb.import.json': report, ...after } = filesIn(place);
  assert.deepEqual(after, before);
  assert.deepEqual(JSON.parse(Buffer.from(report, 'latin1')).findings, findings);
});

test('of the lines of a table the last counts', async () => {
  const place = oldFolder((folder) => edit(folder, 'meta.txt', (text) =>
    `people__name;string;3__3__7\n${text}people__name;string;15.age;number;3__18__3\n`));
  const { given: { db, findings } } = await warningsOf(() => opened(place));
  assert.equal(db.tables.people.index, 3);
  assert.deepEqual((await db.fetchRecord('people', 2)).data, person(2));
  assert.match(await failing(db.fetchRecord('people', 3)), /no record at index 3/);
  // What lies behind is not forgotten in silence.
  const why = 'the next id of its table lies before it';
  const behind = [[0, 3, 97], [1, 0, 100], [2, 0, 60]];
  const expected = behind.map(([page, position, count]) => ({ table: 'people', page, position, count, why }));
  assert.deepEqual(findings, expected);
  await db.close();
});

test('a line of meta.txt that describes no table is reported, and costs no other table', async () => {
  const lines = ['people', 'a__b__c__d', 'x__name;string;15__14__3', 'x__name;text;15__15__3', '__name;string;1__1__0'];
  const place = oldFolder((folder) => edit(folder, 'meta.txt', (text) => `${lines.join('\n')}\n${text}`));
  const { given: { db, findings } } = await warningsOf(() => opened(place));
  assert.deepEqual(findings.map(({ file, line, text }) => [file, line, text]),
    lines.map((text, index) => ['meta.txt', index + 1, text]));
  await assertPeople(db);
  await db.close();
});

test('names with __, . and ; are found, and wide numbers, fractions and blanks read', async () => {
  const place = oldFolder((folder) => {
    const lines = ['a__b.c;d__k__1.x;string;4.n;number;30__34__2', 'none__a;string;1__1__0', ''];
    fs.writeFileSync(path.join(folder, 'meta.txt'), lines.join('\n'));
    fs.writeFileSync(path.join(folder, 'a__b.c;d.0.dat'), `${'ab'.padEnd(4)}${'-1.25e-7'.padEnd(30)}${''.padEnd(34)}`);
  });
  const { db, findings } = await opened(place);
  assert.deepEqual(findings, []);
  assert.deepEqual(db.tables['a__b.c;d'].schema, { 'k__1.x': ['string', 4], n: ['number', 25] });
  assert.deepEqual((await db.fetchRecord('a__b.c;d', 0)).data, { _id: 0, 'k__1.x': 'ab', n: -1.25e-7 });
  assert.deepEqual((await db.fetchRecord('a__b.c;d', 1)).data, { _id: 1, 'k__1.x': '', n: null });
  assert.equal(db.tables.none.index, 0);
  await db.close();
});

test('a table that the engine of today has no room for is reported, and costs no other table', async () => {
  const place = oldFolder((folder) => edit(folder, 'meta.txt', (text) => `long__text;string;30000__30000__1\n${text}`));
  const { given: { db, findings } } = await warningsOf(() => opened(place));
  assert.equal(findings.length, 1);
  assert.equal(findings[0].table, 'long');
  assert.match(findings[0].why, /65536|64 KiB|21845/);
  assert.deepEqual(Object.keys(db.tables).sort(), ['cities', 'people']);
  await assertPeople(db);
  await db.close();
});

test('a next id that is far behind the rows is not believed, and said so', async () => {
  const place = oldFolder((folder) => edit(folder, 'meta.txt', (text) => text.replace('__260', '__260000000000')));
  const { given: { db, findings } } = await warningsOf(() => opened(place));
  assert.match(findings[0].why, /its next id, 260000000000, lies far behind its rows/);
  await assertPeople(db);
  await db.close();
});

test('an empty folder of the first version, and one with an empty meta.txt, open without tables', async () => {
  const place = oldFolder((folder) => {
    for (const name of Object.keys(filesIn(folder))) fs.rmSync(path.join(folder, name));
    fs.writeFileSync(path.join(folder, 'meta.txt'), '');
  });
  const { db, findings } = await opened(place);
  assert.deepEqual([db.tables, findings], [{}, []]);
  await db.close();
});

test('an import that fails is a FAILURE, leaves nothing behind, and goes well when its cause is gone', async () => {
  const place = oldFolder((folder) => {
    fs.rmSync(path.join(folder, 'people.1.dat'));
    fs.mkdirSync(path.join(folder, 'people.1.dat')); // Reading it is EISDIR.
  });
  const store = new v1.Store(place);
  assert.match(await failing(store.message(operations.initialize())), /EISDIR/);
  assert.deepEqual(fs.readdirSync(place).filter((name) => name.startsWith('diamonddb')), []);
  fs.rmdirSync(path.join(place, 'people.1.dat'));
  fs.cpSync(path.join(__dirname, 'v1-data', 'people.1.dat'), path.join(place, 'people.1.dat'));
  const { db } = await opened(place);
  await assertPeople(db);
  await db.close();
});

/** A program that ends by kill -9 at the given call of a function that an import uses. */
const dyingAt = (module, name, call) => `
  const target = require(${JSON.stringify(module)})${module === 'node:fs' ? '' : '.prototype'};
  const holder = ${JSON.stringify(name)}.split('.').slice(0, -1).reduce((object, key) => object[key], target);
  const key = ${JSON.stringify(name)}.split('.').at(-1);
  const original = holder[key];
  let calls = 0;
  holder[key] = function (...args) {
    calls += 1;
    if (calls === ${call}) process.kill(process.pid, 'SIGKILL');
    return original.apply(this, args);
  };
  const v1 = require(${JSON.stringify(require.resolve('../v1/index.js'))});
  new v1.Store(place).message(v1.utilities.operations.initialize());
  setTimeout(() => console.log('not killed'), 20000);`;

test('a crash at any step of an import leaves no database, and the next opening imports all', async () => {
  const steps = [['promises.readFile', 1], ['promises.readFile', 2], ['promises.readFile', 4], ['promises.readFile', 7],
    ['writeFileSync', 1], ['promises.rename', 1]];
  for (const [name, call] of steps) {
    const place = oldFolder();
    const before = filesIn(place);
    const { signal, out } = await program(dyingAt('node:fs', name, call), { place });
    assert.deepEqual([signal, out], ['SIGKILL', ''], `${name} ${call}`);
    assert.equal(fs.existsSync(path.join(place, 'diamonddb')), false);
    const left = fs.readdirSync(place).filter((one) => one.startsWith('diamonddb.importing-'));
    assert.equal(left.length, 1, 'it died in the middle');
    const { db, store } = await opened(place);
    assert.deepEqual(store.imported.tables.map(({ count }) => count), [260, 396]);
    await assertPeople(db);
    await db.close();
    const { 'diamonddb.import.json': report, ...after } = filesIn(place);
    assert.deepEqual(after, before);
    assert.equal(typeof report, 'string');
    assert.deepEqual(fs.readdirSync(place).filter((one) => one.includes('importing')), []);
  }
});

test('two stores that import one folder at once end with one whole database', async () => {
  const place = oldFolder();
  const stores = [new v1.Store(place), new v1.Store(place)];
  const replies = await Promise.all(stores.map((store) => store.message(operations.initialize())));
  for (const { operation, data } of replies) assert.deepEqual([operation, data.people.index], ['SUCCESS', 260]);
  await Promise.all(stores.map((store) => store.close()));
  const native = diamonddb.openSync(path.join(place, 'diamonddb'));
  assert.equal(native.openTable('people').count(), 260);
  assert.equal(native.openTable('cities').count(), 396);
  native.closeSync();
});

test('a program that makes its tables at each start goes on where the old one ended', async () => {
  const { db, store } = await openPeople({ place: oldFolder() });
  assert.equal(store.imported.tables.length, 2);
  assert.equal((await db.saveRecord('people', { age: 3, name: 'Kim' })).data._id, 260);
  await assertPeople(db);
  await db.close();
});
