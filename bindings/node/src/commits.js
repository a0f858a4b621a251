// Commits that are under way: any number of promises, and one who waits for the disk.
//
// A commit is made with NO_WAIT and has its place in the order of all commits, its LSN. Whoever waits for the highest
// waits for all, so one call serves every promise that is there when it begins; those that come while it waits are
// served by the next. That is how a thousand awaited saves become a few groups.
'use strict';

const { constants } = require('../native.js');
const { DiamondError } = require('./errors.js');

const FOR_EVER = 0xffffffff;

class Commits {
  #session;
  #waiting = [];
  #isAsked = false;

  constructor(session) {
    this.#session = session;
  }

  /** Resolves when the commit is as durable as the database promises. */
  wait(lsn) {
    // Nothing is promised, so there is nothing to wait for.
    if (this.#session.durability === 'async') return undefined;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ lsn, resolve, reject });
      if (!this.#isAsked) this.#ask();
    });
  }

  async #ask() {
    this.#isAsked = true;
    this.#session.begin();
    while (this.#waiting.length > 0) {
      // A bound database is asked in the next turn of the loop, when all commits of this one are there.
      if (this.#session.isBound) await new Promise(setImmediate);
      const lsn = this.#waiting.at(-1).lsn;
      const error = await this.#askFor(lsn);
      const count = this.#waiting.findIndex((one) => one.lsn > lsn);
      const served = this.#waiting.splice(0, count < 0 ? this.#waiting.length : count);
      for (const { resolve, reject } of served) {
        if (error === undefined) resolve();
        else reject(new DiamondError(error.status, error.message, { cause: error.cause }));
      }
    }
    this.#isAsked = false;
    this.#session.end();
  }

  async #askFor(lsn) {
    const session = this.#session;
    const values = [session.address, lsn, FOR_EVER, 0, 0];
    try {
      if (session.isBound) session.call('diamond_wait_durable', ...values);
      else await session.helpers.callForCommits('diamond_wait_durable', values);
      return undefined;
    } catch (error) {
      return error;
    }
  }
}

/** The flag of a commit that does not wait. */
const NO_WAIT = constants.DIAMOND_COMMIT_NO_WAIT;

module.exports = { Commits, NO_WAIT };
