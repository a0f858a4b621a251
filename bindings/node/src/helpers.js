// Threads that make the calls which may wait, so that the event loop does not.
//
// They are Workers of our own and not the pool of a back end, for four reasons. A sentence of a failure is read on the
// thread that failed. A backup that takes minutes keeps nobody's files and names waiting, as it would in the pool of
// Node. No C thread ever calls into the event loop, so the two cannot wait for each other. And a Worker that is
// terminated takes its own helpers with it, once their calls have returned.
//
// 1. All helpers of a thread are started together, by the first open that is awaited or the first call, and stay.
//    While they have nothing to do they do not keep the process alive.
// 2. With some versions of Node, koffi ends the process where a thread is ended while it loads koffi. So whoever starts
//    helpers waits until they have, and the end of the process does.
'use strict';

const path = require('node:path');
const { Worker } = require('node:worker_threads');
const { DiamondError } = require('./errors.js');
const { addressOf } = require('./memory.js');

/** How many long calls run at once; more wait in turn. The waiting for commits has a helper of its own. */
const HELPERS_COUNT = 2;
/** The end of the process waits so long at most. */
const LOADING_MS_MAX = 2000;

/** Numbers that become 1 when a helper has loaded what it needs. */
const loading = new Set();
process.once('exit', () => {
  for (const isLoaded of loading) Atomics.wait(isLoaded, 0, 0, LOADING_MS_MAX);
});

class Helper {
  #worker;
  #call = null;
  #isLoaded = new Int32Array(new SharedArrayBuffer(4));

  constructor({ backend, path: library }) {
    const file = path.join(__dirname, '..', 'backends', `${backend.name}.js`);
    const workerData = { backend: file, library, isLoaded: this.#isLoaded };
    loading.add(this.#isLoaded);
    this.#worker = new Worker(path.join(__dirname, 'helper.js'), { workerData, execArgv: [], name: 'diamonddb' });
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', () => this.#end(new Error('The thread of this call was ended.')));
    this.loaded = new Promise((resolve, reject) => { this.#call = { resolve, reject }; });
    // Whoever calls hears of it.
    this.loaded.catch(() => {});
    this.#worker.on('message', (message) => this.#hear(message));
  }

  /** Calls a function of the library by name, with numbers and Memory. Rejects with the DiamondError of a failure. */
  call(name, values, progress) {
    this.#worker.ref();
    return new Promise((resolve, reject) => {
      // Holds the values until the call has returned.
      this.#call = { values, progress, resolve, reject };
      this.#worker.postMessage({ name, values: values.map(addressOf), options: progress?.options });
    });
  }

  #hear({ status, message, progress }) {
    if (progress !== undefined) return this.#call.progress.tell(...progress);
    const call = this.#call;
    this.#call = null;
    loading.delete(this.#isLoaded);
    this.#worker.unref();
    if (status === 0) call.resolve();
    else call.reject(new DiamondError(status, message));
  }

  #end(error) {
    loading.delete(this.#isLoaded);
    this.#call?.reject(error);
    this.#call = null;
  }
}

/** The helpers of one thread, for one library. */
class Helpers {
  #native;
  #ofCommits = null;
  #idle = [];
  #waiting = [];
  #started = null;

  constructor(native) {
    this.#native = native;
  }

  /** Resolves when they are there. */
  start() {
    this.#started ??= this.#start();
    return this.#started;
  }

  async #start() {
    this.#ofCommits = new Helper(this.#native);
    this.#idle = Array.from({ length: HELPERS_COUNT }, () => new Helper(this.#native));
    await Promise.all([this.#ofCommits, ...this.#idle].map(({ loaded }) => loaded));
  }

  /** Helper.call, for the waiting for commits and nothing else; one at a time. */
  async callForCommits(name, values) {
    await this.start();
    await this.#ofCommits.call(name, values);
  }

  /** Helper.call on whichever is free first. */
  async call(name, values, progress) {
    await this.start();
    const helper = this.#idle.pop() ?? await new Promise((resolve) => this.#waiting.push(resolve));
    try {
      await helper.call(name, values, progress);
    } finally {
      if (this.#waiting.length > 0) this.#waiting.shift()(helper);
      else this.#idle.push(helper);
    }
  }
}

module.exports = { Helpers };
