// What tests share: folders, databases of people, and programs that may end badly.
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { after } = require('node:test');
const diamonddb = require('../index.js');

const PEOPLE = { name: ['string', 15], age: ['number', 3] };
const LIMIT_MS = 60_000;

const top = fs.mkdtempSync(path.join(os.tmpdir(), 'diamonddb-'));
after(() => fs.rmSync(top, { recursive: true, force: true }));
let folders = 0;

/** A path where nothing is yet. */
function folder() {
  return path.join(top, String(folders += 1));
}

/** Opens a database, and its table of people. */
function openPeople(options, place = folder()) {
  const db = diamonddb.openSync(place, options);
  return { db, people: db.makeTableSync('people', PEOPLE), place };
}

/** Runs a program of its own, which finds `diamonddb` and a folder; gives how it ended and what it said. */
function program(source, { place = folder(), args = [] } = {}) {
  const file = `${folder()}.js`;
  const index = JSON.stringify(path.join(__dirname, '..', 'index.js'));
  fs.writeFileSync(file, `'use strict';\nconst [diamonddb, place] = [require(${index}), ${JSON.stringify(place)}];\n` +
    `const PEOPLE = ${JSON.stringify(PEOPLE)};\n${source}`);
  return run(process.execPath, ['--expose-gc', ...args, file]);
}

/** Runs a command to its end, or to the limit. */
function run(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { timeout: LIMIT_MS, killSignal: 'SIGKILL', ...options });
    let [out, err] = ['', ''];
    child.stdout.on('data', (data) => { out += data; });
    child.stderr.on('data', (data) => { err += data; });
    child.on('error', (error) => resolve({ code: null, signal: null, out, err: String(error) }));
    child.on('close', (code, signal) => resolve({ code, signal, out, err }));
  });
}

/** For assert.throws: a DiamondError with this code, and a sentence that fits. */
function failing(code, sentence = /./) {
  return (error) => {
    if (error instanceof diamonddb.DiamondError && error.code === code && sentence.test(error.message)) return true;
    throw error;
  };
}

module.exports = { PEOPLE, diamonddb, folder, openPeople, program, run, failing };
