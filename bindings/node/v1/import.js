// A folder that the first version wrote, read into a database beside its files.
//
//     meta.txt           people__name;string;15.age;number;3__18__260
//                        A line a table: name, fields as key;type;length joined by dots, record size, next id. Of a
//                        table's lines the last one counts.
//     people.0.dat ...   100 records a page in the order of their ids, each field padded with spaces, nothing between.
//
// Sizes and offsets count characters, that is UTF-16 units, of the file as UTF-8.
//
// 1. The old files are only read.
// 2. A database has its name when it is whole, and not before: it is made under another, and renamed. What a crash
//    leaves is of no use to anybody once there is one, and swept away then.
// 3. Ids stay. That of a row which cannot be read is burned: its record is not there, as if deleted.
// 4. What cannot be read is told: by table, page (from 0), position in the page (from 0) and why. Rows behind each
//    other of which the same is to be said are one finding, with their count.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { open } = require('../index.js');
const { schemaLength, fit, faultOf, toEngine, put } = require('./schemas.js');
const { recordUtils } = require('./records.js');

const META = 'meta.txt';
const PAGE = 100;
/** A next id so far behind the last row is no next id. */
const MISSING_MAX = 1_000_000;

/** Imports a folder of the first version, where there is no database yet; gives the report of it, or null. */
async function importOnce(folder, target) {
  if (!fs.existsSync(path.join(folder, META))) return null;
  if (!fs.existsSync(target)) return importFolder(folder, target);
  if (!fs.existsSync(reportFile(target))) {
    process.emitWarning(`${folder} has tables of the first version in ${META}, and they were never imported, since ` +
      `there is a database: ${target}. Give the Store another folder, with only the old files.`, 'DiamondDB');
  }
  return null;
}

/** Makes a database at target of the folder's tables. Gives {tables, findings}, which a file beside it keeps. */
async function importFolder(folder, target) {
  const work = fs.mkdtempSync(`${target}.importing-`);
  try {
    const report = await fill(folder, work);
    fs.writeFileSync(reportFile(target), `${JSON.stringify(report, null, 2)}\n`, { flush: true });
    await fs.promises.rename(work, target);
    sync(path.dirname(target));
    warn(report, target);
    return report;
  } catch (error) {
    fs.rmSync(work, { recursive: true, force: true });
    if (fs.existsSync(target)) return null; // Another process was quicker.
    throw error;
  }
}

/** Rule 2: removes what imports have left that did not come to their end. The target is there. */
function sweep(target) {
  const folder = path.dirname(target);
  const begin = `${path.basename(target)}.importing-`;
  for (const name of fs.readdirSync(folder)) {
    if (name.startsWith(begin)) fs.rmSync(path.join(folder, name), { recursive: true, force: true });
  }
}

async function fill(folder, work) {
  const findings = new Findings();
  const db = await open(work, { durability: 'async' });
  try {
    const tables = [];
    for (const { name, schema, next } of readMeta(folder, findings)) {
      const table = await makeTable(db, name, schema, findings);
      if (table !== undefined) tables.push(await fillTable(table, folder, { name, schema, next }, findings));
    }
    await db.close(); // It is on disk, or this rejects.
    return { tables, findings: findings.all };
  } catch (error) {
    await db.close().catch(() => {});
    throw error;
  }
}

/** {name, schema, next} of each table. */
function readMeta(folder, findings) {
  const files = fs.readdirSync(folder);
  const tables = new Map();
  const lines = fs.readFileSync(path.join(folder, META), 'utf8').split('\n');
  for (const [index, line] of lines.entries()) {
    const table = line === '' ? undefined : readLine(line, files);
    if (table !== undefined) tables.set(table.name, table);
    else if (line !== '') findings.add({ file: META, line: index + 1, text: line, why: 'it describes no table' });
  }
  return [...tables.values()];
}

/**
 * A name, and a key, may have two underscores itself. Then there is more than one way to read the line: the fields have
 * to be fields and to add up to the size, and where that leaves a choice, the table that has a page is meant.
 */
function readLine(line, files) {
  const [, head, size, next] = /^(.*)__(\d+)__(\d+)$/s.exec(line) ?? [];
  if (head === undefined || !Number.isSafeInteger(Number(next))) return undefined;
  const ways = [...head.matchAll(/(?=__)/g)].map(({ index }) => ({
    name: head.slice(0, index), schema: readFields(head.slice(index + 2)), next: Number(next),
  }));
  const right = ways.filter(({ name, schema }) =>
    name !== '' && faultOf(schema) === undefined && schemaLength(schema) === Number(size));
  return right.find(({ name }) => files.includes(pageFile(name, 0))) ?? right[0];
}

function readFields(text) {
  const schema = {};
  let end = 0;
  for (const [all, key, type, length] of text.matchAll(/(.+?);(string|number);(\d+)(?:\.|$)/gsy)) {
    put(schema, key, [type, Number(length)]);
    end += all.length;
  }
  return end === text.length ? schema : undefined;
}

/** undefined where the engine has no such tables: its records are of 64 KiB at most. */
async function makeTable(db, name, schema, findings) {
  try {
    return await db.makeTable(name, toEngine(schema));
  } catch (error) {
    if (error.code !== 'INVALID' && error.code !== 'TOO_LARGE') throw error;
    findings.add({ table: name, why: error.message });
    return undefined;
  }
}

async function fillTable(table, folder, { name, schema, next }, findings) {
  const pages = pagesOf(folder, name);
  const last = pages.at(-1) ?? -1;
  const end = Math.min(next, (last + 1) * PAGE + MISSING_MAX);
  if (end < next) findings.add({ table: name, why: `its next id, ${next}, lies far behind its rows: now ${end}` });
  let count = 0;
  for (let page = 0; page * PAGE < end; page++) {
    const rows = await readPage(folder, name, page, schema);
    const size = Math.min(PAGE, end - page * PAGE);
    count += addRows(table, rows, { page, size }, findings);
    findings.addBehind(name, page, rows, size);
  }
  for (const page of pages.filter((one) => one * PAGE >= end)) {
    findings.addBehind(name, page, await readPage(folder, name, page, schema), 0);
  }
  table.close();
  return { name, count, next_id: end };
}

/** The numbers of the pages that have a file. */
function pagesOf(folder, name) {
  const numbers = fs.readdirSync(folder).map((file) =>
    (file.startsWith(`${name}.`) ? /^(0|[1-9]\d{0,12})\.dat$/.exec(file.slice(name.length + 1)) : null));
  return numbers.flatMap((found) => (found === null ? [] : Number(found[1]))).sort((one, other) => one - other);
}

/** The rows in a page's file, or why there are none. */
async function readPage(folder, name, page, schema) {
  const file = pageFile(name, page);
  try {
    return new Rows(file, await fs.promises.readFile(path.join(folder, file)), schema);
  } catch (error) {
    if (error.code === 'ENOENT') return new Rows(file, Buffer.alloc(0), schema, `${file} is not there`);
    throw error;
  }
}

/** Saves the rows of a page, and burns the ids of those that cannot be read. Gives how many could. */
function addRows(table, rows, { page, size }, findings) {
  const [records, burned] = [[], []];
  for (let position = 0; position < size; position++) {
    const { record, ...wrong } = rows.read(position);
    records.push(record ?? {});
    if (record !== undefined) continue;
    burned.push(page * PAGE + position);
    findings.add({ table: table.name, page, position, count: 1, ...wrong });
  }
  table.saveManySync(records);
  if (burned.length > 0) table.deleteManySync(burned);
  return size - burned.length;
}

class Rows {
  #text;
  #schema;
  #size;
  #why;
  #hasBadBytes;

  constructor(file, bytes, schema, why = `${file} ends before it`) {
    this.#text = bytes.toString();
    this.#hasBadBytes = !bytes.equals(Buffer.from(this.#text));
    this.#schema = schema;
    this.#size = schemaLength(schema);
    this.#why = why;
  }

  /** How many there are; a piece of one counts. */
  get count() {
    return Math.ceil(this.#text.length / this.#size);
  }

  /** {record}, or else {why} and, where there is one, the {text}. */
  read(position) {
    const text = this.#text.slice(position * this.#size, (position + 1) * this.#size);
    if (text === '') return { why: this.#why };
    const why = this.#fault(text);
    if (why !== undefined) return { text, why };
    const record = recordUtils.parseRecord(text, this.#schema);
    const wrong = Object.keys(record).find((name) => Number.isNaN(record[name]));
    if (wrong !== undefined) return { text, why: `its "${wrong}" is no number` };
    try {
      return { record: fit(this.#schema, record) };
    } catch (error) {
      return { text, why: error.message };
    }
  }

  #fault(text) {
    if (text.length < this.#size) return `it ends after ${text.length} of its ${this.#size} characters`;
    // As it is written in place of what is no UTF-8.
    if (this.#hasBadBytes && text.includes('\ufffd')) return 'it has bytes that are no UTF-8';
    return undefined;
  }
}

/** Rule 4. */
class Findings {
  all = [];

  add(finding) {
    const last = this.all.at(-1);
    const follows = finding.count !== undefined && last?.table === finding.table && last.page === finding.page &&
      last.position + last.count === finding.position && last.why === finding.why && finding.text === undefined;
    if (follows) last.count += finding.count;
    else this.all.push(finding);
  }

  /** Rows that the table's next id does not count in. The first version did not find them either. */
  addBehind(table, page, rows, size) {
    if (rows.count <= size) return;
    this.add({ table, page, position: size, count: rows.count - size, why: 'the next id of its table lies before it' });
  }
}

function warn({ findings }, target) {
  if (findings.length === 0) return;
  const [first] = findings;
  const where = first.page === undefined ? `${first.table ?? `${first.file}, line ${first.line}`}` :
    `${first.table}, page ${first.page}, position ${first.position}`;
  process.emitWarning(`${findings.length} ${findings.length === 1 ? 'thing' : 'things'} could not be imported. The ` +
    `first is ${where} (${first.why}). All are in ${reportFile(target)}.`, 'DiamondDB');
}

function reportFile(target) {
  return `${target}.import.json`;
}

function pageFile(name, page) {
  return `${name}.${page}.dat`;
}

/** Makes the names in a folder durable. */
function sync(folder) {
  const file = fs.openSync(folder, 'r');
  fs.fsyncSync(file);
  fs.closeSync(file);
}

module.exports = { importOnce, sweep };
