// What the tests of diamonddb/v1 share.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { diamonddb, folder, program } = require('./support.js');
const v1 = require('../v1/index.js');

const PEOPLE = { name: ['string', 15], age: ['number', 3] };
const OLD = path.join(__dirname, 'v1-data');
const { operations } = v1.utilities;

/** A database of people in a folder of its own, initialized. */
async function openPeople({ place = folder(), store = new v1.Store(place), cache, persist = false } = {}) {
  const db = new v1.Database({ store, cache });
  await db.init({ persist });
  await db.makeTable('people', PEOPLE);
  return { db, store, place };
}

/** A copy of the folder that the first version wrote. change: what to do to it first. */
function oldFolder(change = () => {}) {
  const place = folder();
  fs.cpSync(OLD, place, { recursive: true, filter: (name) => !name.endsWith('.md') });
  change(place);
  return place;
}

/** The bytes of all files that are right in a folder, by name. */
function filesIn(place) {
  const files = fs.readdirSync(place, { withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(files.map(({ name }) => [name, fs.readFileSync(path.join(place, name), 'latin1')]));
}

/** A store in JavaScript that reads only what it has persisted, and notes the messages that it gets. */
class QueueStore {
  heard = [];
  tables = {};
  queue = [];
  persisted = new Map();

  async message({ operation, data }) {
    this.heard.push(operation);
    switch (operation) {
      case 'INITIALIZE_PERSISTANCE': return operations.success(this.tables);
      case 'UPDATE_META': this.tables = structuredClone(data.tables); return undefined;
      case 'STORE_RECORD': this.queue.push([`${data.table.name} ${data.id}`, { ...data.record }]); return undefined;
      case 'FETCH_RECORD': return operations.success(this.persisted.get(`${data.table.name} ${data.id}`) ?? null);
      case 'PERSIST_ALL': return this.persist();
      default: return operations.success();
    }
  }

  persist() {
    for (const [key, record] of this.queue.splice(0)) this.persisted.set(key, record);
    return operations.success();
  }
}

/** A cache in JavaScript that keeps all it is told, and notes what it was asked for and had. */
class MapCache {
  hits = [];
  records = new Map();

  message({ operation, data: { table, record, id } }) {
    const key = `${table.name} ${id}`;
    if (operation === 'STORE_RECORD') return operations.success(void this.records.set(key, record));
    if (this.records.has(key)) this.hits.push(id);
    return operations.success(this.records.get(key) ?? null);
  }
}

/** For what is to fail: its message, whether it resolves or rejects with it. */
async function failing(work) {
  const reply = await work.catch((thrown) => thrown);
  if (reply?.operation === 'FAILURE' && typeof reply.data === 'string') return reply.data;
  throw new Error(`no FAILURE message: ${JSON.stringify(reply)}`);
}

module.exports = {
  v1, operations, diamonddb, PEOPLE, openPeople, oldFolder, filesIn, QueueStore, MapCache, failing, folder, program,
};
