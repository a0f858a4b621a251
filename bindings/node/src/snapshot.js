// All tables as they were at one moment, whatever is written since.
'use strict';

const { Memory } = require('./memory.js');
const { Table } = require('./table.js');

class Snapshot {
  #handle;

  constructor(session) {
    session.use();
    this.#handle = session.open(this, 'diamond_snapshot_close', 'diamond_snapshot_open', session.address);
  }

  /** A table as of the snapshot, by the name that it had then. It takes every verb that reads. */
  openTable(name, options) {
    const session = this.#handle.use('The snapshot');
    const text = Memory.ofText(session.native, name);
    const values = [this.#handle.address, text, text.size];
    return new Table(session, session.number('diamond_snapshot_table', ...values), options);
  }

  /** Closes it. Its tables hold the moment until they are closed, too. */
  close() {
    this.#handle.close();
  }
}

module.exports = { Snapshot };
