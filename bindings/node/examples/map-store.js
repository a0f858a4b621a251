// A whole store: records in memory, and a file of JSON lines to which every group of changes is added. A line that a
// crash cut short is where the file ends.
'use strict';

const fs = require('node:fs');

class MapStore {
  constructor(path) {
    this.name = 'map store';
    this.atomic = true; // A group is one line.
    this.immediate = true; // What was stored is found at once.
    this.path = path;
    this.tables = new Map();
    this.meta = null;
  }

  initialize() {
    const text = fs.existsSync(this.path) ? fs.readFileSync(this.path, 'utf8') : '';
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    this.file = fs.openSync(this.path, 'a');
    fs.ftruncateSync(this.file, Buffer.byteLength(whole));
    for (const line of whole.split('\n').filter(Boolean)) this.#enter(JSON.parse(line, revive));
    const stored = [];
    for (const [table, records] of this.tables) {
      for (const [id, { version }] of records) stored.push({ table, id, version });
    }
    return { tables: this.meta, stored };
  }

  makeTable(table) {
    this.#append({ begins: table });
  }

  updateMeta(tables) {
    this.#append({ meta: tables });
  }

  store(changes) {
    const lost = changes.find(({ table }) => !this.tables.has(table));
    if (lost !== undefined) throw new Error(`there is no table ${lost.table}`); // All of them, or none.
    this.#append({ changes });
  }

  fetch(table, ids) {
    const records = this.tables.get(table);
    if (records === undefined) throw new Error(`there is no table ${table}`);
    return ids.map((id) => (records.get(id)?.kind === 'store' ? records.get(id) : undefined));
  }

  persistAll() {
    fs.fdatasyncSync(this.file);
  }

  destroy() {
    if (this.file !== undefined) fs.closeSync(this.file);
  }

  #append(group) {
    fs.writeSync(this.file, `${JSON.stringify(group, plain)}\n`);
    this.#enter(group);
  }

  #enter({ begins, meta, changes = [] }) {
    if (begins !== undefined) this.tables.set(begins, new Map());
    if (meta !== undefined) this.meta = meta;
    for (const change of changes) this.tables.get(change.table).set(change.id, change);
  }
}

/** JSON knows neither bigints nor bytes. */
function plain(key, value) {
  if (typeof value === 'bigint') return { bigint: String(value) };
  return value?.type === 'Buffer' ? { base64: Buffer.from(value.data).toString('base64') } : value;
}

function revive(key, value) {
  if (value?.bigint !== undefined) return BigInt(value.bigint);
  return value?.base64 !== undefined ? Buffer.from(value.base64, 'base64') : value;
}

module.exports = { MapStore };
