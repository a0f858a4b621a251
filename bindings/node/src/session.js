// One opening of a database, as all that belongs to it shares it: the handle, what is open of it, what is under way.
//
// 1. `refusal` says why nothing may be called now, or is null: every verb looks at it first.
// 2. A handle is closed once: by its owner, by the close of its database, or when its owner was collected.
// 3. The database is not closed while a helper works with it, since using a handle during its close is undefined.
'use strict';

const { DiamondError, Status, failure } = require('./errors.js');
const { Memory, callWith, textOf } = require('./memory.js');
const { Commits, NO_WAIT } = require('./commits.js');

/** Closes what nobody can close any more. Nobody can hear of a failure either. */
const forgotten = new FinalizationRegistry((handle) => {
  try {
    handle.close();
  } catch {
    // The close has consumed the handle all the same.
  }
});

class Session {
  refusal = null;
  /** The failure of a module in the call that is running, to be the cause of what it ends with. */
  moduleError = undefined;
  #handles = new Set();
  #single = null;
  #underWay = 0;
  #whenIdle = [];

  constructor(native, helpers, { name, durability, isBound }) {
    this.native = native;
    this.helpers = helpers;
    this.name = name;
    this.durability = durability;
    /** A module of it works on this thread only, so nothing of it runs on another. */
    this.isBound = isBound;
    this.address = 0;
    this.commits = new Commits(this);
    this.out = new Memory(native, 16);
  }

  /** Refuses where nothing may be called. */
  use() {
    if (this.refusal !== null) throw this.refused();
  }

  refused() {
    return new DiamondError(...REFUSALS[this.refusal](this.name));
  }

  /** Calls a function of the library by name, on this thread. Values are numbers and Memory. */
  call(name, ...values) {
    const status = callWith(this.native, name, values);
    if (status !== 0) throw this.failed(status);
  }

  failed(status) {
    const error = failure(this.native, status);
    const isOfModule = status === Status.MODULE || status === Status.COMMIT_UNKNOWN;
    if (isOfModule && this.moduleError !== undefined) error.cause = this.moduleError;
    this.moduleError = undefined;
    return error;
  }

  /** The same on a helper, or here where the database is bound to this thread. */
  async callAside(name, values, progress) {
    this.use();
    if (this.isBound) return this.call(name, ...values);
    this.begin();
    try {
      return await this.helpers.call(name, values, progress);
    } finally {
      this.end();
    }
  }

  /** Something begins that uses the database on another thread, or that a close has to wait for. */
  begin() {
    this.#underWay += 1;
  }

  end() {
    this.#underWay -= 1;
    if (this.#underWay > 0) return;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  get underWay() {
    return this.#underWay;
  }

  async idle() {
    while (this.#underWay > 0) await new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** The text that a function gives through its last two arguments. */
  text(name, ...values) {
    this.call(name, ...values, this.out, this.out.address + 8);
    return takeText(this.native, this.out);
  }

  /** The u64 that a function gives through its last argument. */
  number(name, ...values) {
    this.call(name, ...values, this.out);
    return this.out.number(0);
  }

  /** A handle that such a function gives, to be closed when its owner is collected, if there is one. */
  open(owner, close, name, ...values) {
    return this.hold(owner, close, this.number(name, ...values));
  }

  hold(owner, close, address) {
    const handle = new Handle(this, close, address);
    this.#handles.add(handle);
    if (owner !== null) forgotten.register(owner, handle, handle);
    return handle;
  }

  letGo(handle) {
    this.#handles.delete(handle);
    forgotten.unregister(handle);
  }

  closeHandles() {
    this.#single = null;
    for (const handle of this.#handles) handle.close();
  }

  /**
   * Commits what `add` puts into a batch, without waiting for the disk: what a single save, replace or delete does.
   * Gives its LSN, and the id if it is a save.
   */
  commitOne(add) {
    this.#single ??= this.open(null, 'diamond_batch_close', 'diamond_batch_open', this.address);
    const { address } = this.#single;
    try {
      add(address);
      this.call('diamond_batch_commit', address, NO_WAIT, this.out, 1, this.out.address + 8);
    } catch (error) {
      // What it holds is not wanted any more.
      this.#single.close();
      this.#single = null;
      throw error;
    }
    return { id: this.out.number(0), lsn: this.out.number(8) };
  }
}

/** The text that a function of the library has put into memory, its address and its size; frees it. */
function takeText(native, out) {
  const [address, size] = [out.number(0), out.number(8)];
  const text = textOf(native, address, size);
  native.diamond_free(address);
  return text;
}

/** Why nothing may be called, by `refusal`. */
const REFUSALS = {
  closed: (name) => [Status.CLOSED, `The database ${name} was closed.`],
  inside: (name) => [Status.MISUSE, `A module must not call the database that is calling it: ${name}.`],
};

/** An open handle of the library's. */
class Handle {
  #close;
  #underWay = 0;

  constructor(session, close, address) {
    this.session = session;
    this.address = address;
    this.#close = close;
  }

  /** The session, where the handle may be used. what: its name in a sentence. */
  use(what) {
    if (this.session.refusal !== null) throw this.session.refused();
    if (this.address === 0) throw new DiamondError(Status.CLOSED, `${what} was closed.`);
    return this.session;
  }

  /** Session.callAside, for functions that use this handle. */
  async callAside(name, values) {
    this.#underWay += 1;
    try {
      await this.session.callAside(name, values);
    } finally {
      this.#underWay -= 1;
    }
  }

  /** Closes it, once. */
  close() {
    if (this.address === 0) return;
    if (this.#underWay > 0) throw new DiamondError(Status.BUSY, 'A call that uses this is under way: await it first.');
    const { session, address } = this;
    this.address = 0;
    session.letGo(this);
    session.call(this.#close, address);
  }
}

module.exports = { Session, takeText };
