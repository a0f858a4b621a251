// Threads that make the calls which may wait, so that the event loop does not.
//
// They are Workers of our own and not the pool of a back end, for four reasons. A sentence of a failure is read on the
// thread that failed. A backup that takes minutes keeps nobody's files and names waiting, as it would in the pool of
// Node. No C thread ever calls into the event loop, so the two cannot wait for each other. And a Worker that is
// terminated takes its own helpers with it, once their calls have returned.
//
// A helper is started when it is needed, and stays; while it has nothing to do it does not keep the process alive.
'use strict';

const path = require('node:path');
const { Worker } = require('node:worker_threads');
const { DiamondError } = require('./errors.js');
const { addressOf } = require('./memory.js');

/** How many long calls run at once; more wait in turn. The waiting for commits has a helper of its own. */
const HELPERS_MAX = 4;

class Helper {
  #native;
  #worker = null;
  #call = null;

  constructor(native) {
    this.#native = native;
  }

  /** Calls a function of the library by name, with numbers and Memory. Rejects with the DiamondError of a failure. */
  call(name, values, progress) {
    this.#worker ??= this.#start();
    this.#worker.ref();
    return new Promise((resolve, reject) => {
      // Holds the values until the call has returned.
      this.#call = { values, progress, resolve, reject };
      this.#worker.postMessage({ name, values: values.map(addressOf), options: progress?.options });
    });
  }

  #start() {
    const { backend, path: library } = this.#native;
    const workerData = { backend: path.join(__dirname, '..', 'backends', `${backend.name}.js`), library };
    const worker = new Worker(path.join(__dirname, 'helper.js'), { workerData, execArgv: [], name: 'diamonddb' });
    worker.on('message', (message) => this.#hear(message));
    worker.on('error', (error) => this.#end((call) => call.reject(error)));
    worker.on('exit', () => this.#end((call) => call.reject(new Error('The thread of this call was ended.'))));
    return worker;
  }

  #hear({ status, message, progress }) {
    if (progress !== undefined) return this.#call.progress.tell(...progress);
    const call = this.#call;
    this.#call = null;
    this.#worker.unref();
    if (status === 0) call.resolve();
    else call.reject(new DiamondError(status, message));
  }

  #end(tell) {
    const call = this.#call;
    this.#call = this.#worker = null;
    if (call !== null) tell(call);
  }
}

/** The helpers of one thread, for one library. */
class Helpers {
  #native;
  #count = 0;
  #idle = [];
  #waiting = [];

  constructor(native) {
    this.#native = native;
    /** For the waiting for commits, and nothing else. */
    this.ofCommits = new Helper(native);
  }

  /** Helper.call on whichever is free first. */
  async call(name, values, progress) {
    const helper = this.#claim() ?? await new Promise((resolve) => this.#waiting.push(resolve));
    try {
      await helper.call(name, values, progress);
    } finally {
      if (this.#waiting.length > 0) this.#waiting.shift()(helper);
      else this.#idle.push(helper);
    }
  }

  #claim() {
    if (this.#idle.length > 0) return this.#idle.pop();
    if (this.#count === HELPERS_MAX) return undefined;
    this.#count += 1;
    return new Helper(this.#native);
  }
}

module.exports = { Helpers };
