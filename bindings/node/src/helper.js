// The thread of a Helper: it makes one call of the library at a time, and says what came of it.
//
// All arguments are numbers, so it needs nothing of whoever asks but the addresses. The sentence of a failure belongs
// to the thread that called, and so it is read here.
'use strict';

const { parentPort, workerData } = require('node:worker_threads');
const { load } = require('../native.js');
const { reportProgress } = require('./progress.js');

const native = load(require(workerData.backend), workerData.library);
Atomics.store(workerData.isLoaded, 0, 1);
Atomics.notify(workerData.isLoaded, 0);
parentPort.postMessage({ status: 0 });

parentPort.on('message', ({ name, values, options }) => {
  const end = options && reportTo(options);
  const status = native[name](...values);
  end?.();
  parentPort.postMessage({ status, message: status === 0 ? '' : native.diamond_error_message() });
});

/** Sends the progress of a backup to whoever asked for it, who stops it through a shared number. */
function reportTo({ address, stop }) {
  const isStopped = new Int32Array(stop);
  return reportProgress(native, address, (done, total) => {
    if (Atomics.load(isStopped, 0) !== 0) return false;
    parentPort.postMessage({ progress: [done, total] });
    return true;
  });
}
