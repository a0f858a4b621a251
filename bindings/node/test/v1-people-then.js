// A program for the first DiamondDB: 10,000 people saved and fetched at random, with its cache and store and with two
// of the program's own, each in either place. Only the require is another. node v1-people.js [folder]
'use strict';

const fs = require('node:fs');
const diamond = require('diamonddb');

const { success, failure, STORE_RECORD, FETCH_RECORD, MAKE_TABLE, UPDATE_META, INITIALIZE_PERSISTANCE, PERSIST_ALL } =
  diamond.utilities.operations;
const NAMES = ['Abby', 'Bob', 'Çelik', 'Dvořák', 'Eve', 'François', 'Grace', 'Håkon', 'Ivan', 'Jürgen'];
const COUNT = 10000;

/** Replies as what asks a service does: later. */
function later(reply) {
  return new Promise((resolve) => setImmediate(resolve, reply));
}

class OwnCache {
  constructor() {
    this.records = new Map();
  }

  message({ operation, data }) {
    const key = `${data.table.name}/${data.id}`;
    switch (operation) {
      case STORE_RECORD:
        this.records.set(key, data.record);
        return later(success());
      case FETCH_RECORD:
        return later(success(this.records.get(key) || null));
    }
  }
}

/** Queues what it is given until it is to persist, and reads only what it has persisted. */
class OwnStore {
  constructor() {
    this.queue = [];
    this.tables = {};
    this.persisted = new Map();
  }

  message({ operation, data }) {
    switch (operation) {
      case INITIALIZE_PERSISTANCE:
        return later(success(this.tables));
      case MAKE_TABLE:
        this.tables[data.tableData.name] = data.tableData;
        return later(success());
      case UPDATE_META:
        this.tables = data.tables;
        return later();
      case STORE_RECORD:
        this.queue.push(data);
        return later();
      case FETCH_RECORD:
        return later(this.fetch(`${data.table.name}/${data.id}`));
      case PERSIST_ALL:
        for (const { table, id, record } of this.queue.splice(0)) this.persisted.set(`${table.name}/${id}`, record);
        return later(success());
    }
  }

  fetch(key) {
    return this.persisted.has(key) ? success(this.persisted.get(key)) : failure(`no record ${key}`);
  }
}

async function people(title, store, cache) {
  const db = new diamond.Database({ store, cache });
  await db.init({ persist: 100 });
  await db.makeTable('people', { name: ['string', 15], age: ['number', 3] });
  const saved = []; // By id.
  const save = async (i) => {
    const person = { name: `${NAMES[i % 10]} ${i}`, age: (7 * i) % 100 };
    const reply = await db.saveRecord('people', person);
    if (reply.operation !== 'SUCCESS') throw new Error(reply.data);
    saved[reply.data._id] = person;
  };
  const check = async () => {
    const id = Math.floor(Math.random() * saved.length);
    const { data } = await db.fetchRecord('people', id);
    const { name, age } = saved[id];
    if (data._id !== id || data.name !== name || data.age !== age) throw new Error(`${id}: ${JSON.stringify(data)}`);
  };
  for (let i = 0; i < COUNT; i += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, n) => save(i + n)));
    await check(); // While it is being persisted.
  }
  await db.writeToDisk();
  for (let i = 0; i < COUNT; i++) await check();
  console.log(`${title}: ${saved.length} saved, ${COUNT} fetched`);
}

function folderIn(top, name) {
  fs.mkdirSync(`${top}/${name}`, { recursive: true });
  return `${top}/${name}/`;
}

async function main(top = './data') {
  await people('its store, its cache', new diamond.Store(folderIn(top, 'one')), new diamond.Cache({ size: 8 }));
  await people('its store, my cache', new diamond.Store(folderIn(top, 'two')), new OwnCache());
  await people('my store, its cache', new OwnStore(), new diamond.Cache({ size: 8 }));
  await people('my store, my cache', new OwnStore(), new OwnCache());
  process.exit(0); // The timers would go on.
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
