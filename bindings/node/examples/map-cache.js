// A whole cache: what was told of each record, while there is room; the oldest goes first.
'use strict';

class MapCache {
  constructor(capacity = 1000) {
    this.name = 'map cache';
    this.capacity = capacity;
    this.changes = new Map();
  }

  store(change) {
    const key = `${change.table} ${change.id}`;
    if (this.changes.get(key)?.version > change.version) return; // What it has is newer.
    this.changes.delete(key);
    this.changes.set(key, change); // A change is a copy, to be kept. Of a deleted record it is kept, too.
    if (this.changes.size > this.capacity) this.changes.delete(this.changes.keys().next().value);
  }

  fetch(table, id) {
    const change = this.changes.get(`${table} ${id}`);
    return change?.kind === 'store' ? change : undefined;
  }

  clear() {
    this.changes.clear();
  }
}

module.exports = { MapCache };
