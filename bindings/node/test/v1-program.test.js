// A program written for the first version runs, and only its require is another.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { diamonddb, folder, run } = require('./support.js');

const NOW = path.join(__dirname, '..', 'examples', 'v1-people.js');
const THEN = path.join(__dirname, 'v1-people-then.js');

test('the require is the only line in which the program differs from what it was', () => {
  const [then, now] = [THEN, NOW].map((file) => fs.readFileSync(file, 'utf8').split('\n'));
  assert.equal(then.length, now.length);
  const differing = then.flatMap((line, index) => (line === now[index] ? [] : [[line, now[index]]]));
  assert.deepEqual(differing, [["const diamond = require('diamonddb');", "const diamond = require('diamonddb/v1');"]]);
});

test('it saves and fetches 10,000 people over each pair of caches and stores, and they are there', async () => {
  const top = folder();
  const { code, out, err } = await run(process.execPath, [NOW, top]);
  assert.deepEqual([code, err], [0, '']);
  const pairs = ['its store, its cache', 'its store, my cache', 'my store, its cache', 'my store, my cache'];
  assert.equal(out, pairs.map((pair) => `${pair}: 10000 saved, 10000 fetched\n`).join(''));
  for (const name of ['one', 'two']) {
    const db = diamonddb.openSync(path.join(top, name, 'diamonddb'), { mustExist: true });
    assert.equal(db.openTable('people').count(), 10000);
    db.closeSync();
  }
});
