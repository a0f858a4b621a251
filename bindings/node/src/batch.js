// Writes to any tables of one database, and expectations of what records still are: all of them or none.
'use strict';

const { Memory } = require('./memory.js');
const { NO_WAIT } = require('./commits.js');
const { Table } = require('./table.js');

const WHAT = 'The batch';

class Batch {
  #handle;
  #saves = 0;

  constructor(session) {
    session.use();
    this.#handle = session.open(this, 'diamond_batch_close', 'diamond_batch_open', session.address);
  }

  /** Adds the saving of a record; its id comes with the commit. */
  save(table, record) {
    this.#add(table, 'save', undefined, record);
    this.#saves += 1;
    return this;
  }

  /** Adds the replacing of a record. */
  replace(table, id, record) {
    return this.#add(table, 'replace', id, record);
  }

  /** Adds the deleting of a record. */
  delete(table, id) {
    return this.#add(table, 'delete', id);
  }

  /** Adds an expectation: when the batch is committed the record is as given, else CONFLICT. */
  expect(table, id, record) {
    return this.#add(table, 'expect', id, record);
  }

  /**
   * Commits all of it or nothing, and resolves, when it is durable, to the ids of its saves in their order. After that
   * it is empty and can be used again; after a CONFLICT and the like it is as it was.
   */
  async commit() {
    const { ids, lsn } = this.#commit(NO_WAIT);
    await this.#handle.session.commits.wait(lsn);
    return ids;
  }

  commitSync() {
    return this.#commit(0).ids;
  }

  /** Gives up what was not committed. */
  close() {
    this.#handle.close();
  }

  #add(table, verb, id, record) {
    Table.addTo(table, this.#handle.use(WHAT), verb, this.#handle.address, id, record);
    return this;
  }

  #commit(flags) {
    const session = this.#handle.use(WHAT);
    const ids = new Memory(session.native, 8 * this.#saves);
    const lsn = session.number('diamond_batch_commit', this.#handle.address, flags, ids, this.#saves);
    const given = Array.from({ length: this.#saves }, (_, index) => ids.number(8 * index));
    this.#saves = 0;
    return { ids: given, lsn };
  }
}

module.exports = { Batch };
