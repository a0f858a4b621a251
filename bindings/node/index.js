// DiamondDB in Node: tables of fixed-width records in a folder, in this process. README.md is the manual.
'use strict';

const { constants, load } = require('./native.js');
const { libraryPath } = require('./src/library.js');
const { Status, DiamondError, Ambiguous } = require('./src/errors.js');
const { Helpers } = require('./src/helpers.js');
const { Database } = require('./src/database.js');
const { Table } = require('./src/table.js');
const { Batch } = require('./src/batch.js');
const { Scan } = require('./src/scan.js');
const { Snapshot } = require('./src/snapshot.js');
const { Pin, View } = require('./src/pin.js');
const modules = require('./src/modules.js');
const { disposable, asyncDisposable } = require('./src/dispose.js');

const BACKENDS = ['koffi', 'ffi-napi'];

/** The library through each back end that was asked for. */
const loaded = new Map();

function libraryBy(backend = process.env.DIAMOND_BACKEND || 'koffi') {
  if (!loaded.has(backend)) {
    if (!BACKENDS.includes(backend)) throw new TypeError(`backend is 'koffi' or 'ffi-napi', not ${String(backend)}.`);
    const native = load(require(`./backends/${backend}.js`), libraryPath());
    loaded.set(backend, { native, helpers: new Helpers(native) });
  }
  return loaded.get(backend);
}

/** Opens the database in a folder, and makes both where they are missing. README.md has the options. */
async function open(path, options) {
  const { native, helpers } = libraryBy(options?.backend);
  return Database.open(native, helpers, path, options);
}

/** The same, on this thread. */
function openSync(path, options) {
  const { native, helpers } = libraryBy(options?.backend);
  return Database.openSync(native, helpers, path, options);
}

/** Tries a store of yours; `again` is another over the same data. The report; MODULE if a promise is broken. */
function checkStore(store, again) {
  return modules.checkStore(libraryBy().native, store, again);
}

/** Tries a cache of yours. */
function checkCache(cache) {
  return modules.checkCache(libraryBy().native, cache);
}

/** The library's version, "major.minor.patch". */
function version() {
  return libraryBy().native.diamond_version();
}

for (const type of [Database, Table, Batch, Scan, Snapshot, Pin]) {
  disposable(type, type === Database ? 'closeSync' : 'close');
  asyncDisposable(type, 'close');
}
disposable(View, 'release');

module.exports = {
  open, openSync, checkStore, checkCache, version, Status, DiamondError, Ambiguous,
  ABI_VERSION: constants.DIAMOND_ABI_VERSION,
};
