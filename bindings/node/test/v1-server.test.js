// The first version's little server, by HTTP: always 200, always a message, and nothing that crashes or hangs it.
'use strict';

const assert = require('node:assert/strict');
const net = require('node:net');
const { once } = require('node:events');
const { after, before, test } = require('node:test');
const { v1, operations, openPeople } = require('./v1-support.js');

const SCHEMA = { name: ['string', 15], age: ['number', 3] };
let db;
let served;
let url;

before(async () => {
  ({ db } = await openPeople({ persist: 50, cache: new v1.Cache({ size: 8 }) }));
  served = v1.server(db, { port: 0 });
  await once(served, 'listening');
  url = `http://127.0.0.1:${served.address().port}`;
});

after(async () => {
  served.closeAllConnections();
  served.close();
  await db.close();
});

async function ask(body, { path = '/query', method = 'POST' } = {}) {
  const answer = await fetch(url + path, { method, body: typeof body === 'object' ? JSON.stringify(body) : body });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('content-type'), /json/);
  assert.equal(answer.headers.get('access-control-allow-origin'), null);
  return answer.json();
}

test('the examples of its manual: a table, a record by either word, and the record back', async () => {
  const made = { operation: 'TABLE_CREATE', data: { name: 'folk', schema: SCHEMA } };
  assert.deepEqual(await ask(made), { operation: 'SUCCESS' });
  for (const [_id, word] of ['body', 'record'].entries()) {
    const saved = await ask({ operation: 'SAVE', data: { table: 'folk', [word]: { name: 'Abby', age: 29 } } });
    assert.deepEqual(saved, { operation: 'SUCCESS', data: { _id, name: 'Abby', age: 29 } });
    const found = await ask({ operation: 'FETCH', data: { table: 'folk', id: _id } });
    assert.deepEqual(found, { operation: 'SUCCESS', data: { _id, name: 'Abby', age: 29 } });
  }
  assert.deepEqual(await ask(made), { operation: 'SUCCESS' });
});

test('what is wrong is a FAILURE message that says so, and the next request is served', async () => {
  const wrong = [
    ['', /no JSON/], ['{"operation": "SA', /no JSON/], ['null', /one of TABLE_CREATE, SAVE, FETCH/], ['7', /one of/],
    [{}, /one of/], [{ operation: 'DROP' }, /not 'DROP'/], [{ operation: 'constructor' }, /one of/],
    [{ operation: 'SAVE' }, /no table undefined/], [{ operation: 'SAVE', data: null }, /no table/],
    [{ operation: 'SAVE', data: { table: 'people' } }, /A record is an object, not undefined/],
    [{ operation: 'SAVE', data: { table: 'people', body: { agg: 1 } } }, /^No key "agg" in schema\.$/],
    [{ operation: 'SAVE', data: { table: 'nobody', body: {} } }, /^ERROR: no table nobody/],
    [{ operation: 'FETCH', data: { table: 'nobody', id: 0 } }, /^ERROR: no table nobody/],
    [{ operation: 'FETCH', data: { table: 'people', id: 6 } }, /^ERROR: no record at index 6 in table people$/],
    [{ operation: 'FETCH', data: { table: ['people'], id: {} } }, /^ERROR: no record at index \[object Object\]/],
    [{ operation: 'TABLE_CREATE', data: {} }, /name of a table/],
    [{ operation: 'TABLE_CREATE', data: { name: 'people', schema: { name: ['string', 3] } } }, /another schema/],
  ];
  for (const [body, said] of wrong) {
    const reply = await ask(body);
    assert.equal(reply.operation, 'FAILURE');
    assert.match(reply.data, said);
  }
  assert.match((await ask('{}', { path: '/elsewhere' })).data, /POST \/query, not \/elsewhere/);
  assert.match((await ask(undefined, { method: 'GET' })).data, /takes POST, not GET/);
  assert.equal((await ask({ operation: 'SAVE', data: { table: 'people', body: {} } })).operation, 'SUCCESS');
});

test('a body over 8 MiB is refused, and one of random bytes is', async () => {
  for (const size of [1, 2 ** 20, 2 ** 25]) {
    const reply = await ask(' '.repeat(8 * 1024 * 1024 + size));
    assert.deepEqual(reply, { operation: 'FAILURE', data: 'ERROR: a body has at most 8388608 bytes' });
  }
  let seed = 12345;
  const random = () => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed; };
  for (let round = 0; round < 300; round++) {
    const body = Buffer.from(Array.from({ length: random() % 200 }, () => random() % 256));
    const answer = await fetch(`${url}/query`, { method: 'POST', body });
    assert.equal((await answer.json()).operation, 'FAILURE');
  }
});

test('a connection that never finishes its request keeps nobody else waiting', async () => {
  const slow = net.connect(served.address().port, '127.0.0.1');
  slow.on('error', () => {});
  await once(slow, 'connect');
  slow.write('POST /query HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"operation":');
  const gone = net.connect(served.address().port, '127.0.0.1');
  await once(gone, 'connect');
  gone.write('POST /query HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{');
  gone.destroy();
  const save = (age) => ask({ operation: 'SAVE', data: { table: 'people', body: { age } } });
  const saves = Array.from({ length: 50 }, (_, age) => save(age));
  for (const { operation } of await Promise.all(saves)) assert.equal(operation, 'SUCCESS');
  slow.destroy();
});

test('requests for a table are served while it is being made, after it', async () => {
  const making = ask({ operation: 'TABLE_CREATE', data: { name: 'late', schema: SCHEMA } });
  assert.deepEqual(await making, { operation: 'SUCCESS' });
  const made = db.makeTable('later', SCHEMA);
  const saved = await ask({ operation: 'SAVE', data: { table: 'later', body: { name: 'Abby' } } });
  assert.deepEqual(saved.data, { _id: 0, name: 'Abby' });
  await made;
});

test('a record that is no JSON is a FAILURE message, and no crash', async () => {
  const message = ({ operation }) => (operation === 'FETCH_RECORD' ? operations.success({ name: 1n }) : undefined);
  const { db: odd } = await openPeople({ store: { message } });
  await odd.saveRecord('people', {});
  await odd.writeToDisk();
  const other = v1.server(odd, { port: 0 });
  await once(other, 'listening');
  const body = JSON.stringify({ operation: 'FETCH', data: { table: 'people', id: 0 } });
  const answer = await fetch(`http://127.0.0.1:${other.address().port}/query`, { method: 'POST', body });
  assert.match((await answer.json()).data, /BigInt/);
  other.closeAllConnections();
  other.close();
  await odd.close();
});

test('PORT says where it listens, on 127.0.0.1 only', async () => {
  const { PORT } = process.env;
  const free = net.createServer().listen(0, '127.0.0.1');
  await once(free, 'listening');
  process.env.PORT = String(free.address().port);
  free.close();
  await once(free, 'close');
  const other = v1.server(db);
  await once(other, 'listening');
  assert.deepEqual([other.address().address, String(other.address().port)], ['127.0.0.1', process.env.PORT]);
  other.close();
  if (PORT === undefined) delete process.env.PORT;
  else process.env.PORT = PORT;
});
