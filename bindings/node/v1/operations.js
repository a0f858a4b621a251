// The messages of the first version, {operation, data}: what a controller, a cache and a store say to each other.
'use strict';

const { inspect } = require('node:util');

const NAMES = ['INITIALIZE_PERSISTANCE', 'MAKE_TABLE', 'UPDATE_META', 'STORE_RECORD', 'FETCH_RECORD', 'PERSIST_ALL',
  'SUCCESS', 'FAILURE'];
const names = Object.fromEntries(NAMES.map((name) => [name, name]));

/** To a store: begin, and give the tables. persist, false or milliseconds, is how it will be asked to persist. */
function initialize(persist) {
  return message(names.INITIALIZE_PERSISTANCE, persist === undefined ? undefined : { persist });
}

function makeTable(tableData) {
  return message(names.MAKE_TABLE, { tableData });
}

function updateMeta(tables) {
  return message(names.UPDATE_META, { tables });
}

function storeRecord(table, record, id) {
  return message(names.STORE_RECORD, { table, record, id });
}

function fetchRecord(table, id) {
  return message(names.FETCH_RECORD, { table, id });
}

function writeToDisk() {
  return message(names.PERSIST_ALL);
}

function success(data) {
  return message(names.SUCCESS, data);
}

function failure(data) {
  return message(names.FAILURE, data);
}

function message(operation, data) {
  return data === undefined ? { operation } : { operation, data };
}

function isSuccess(reply) {
  return reply?.operation === names.SUCCESS;
}

function isFailure(reply) {
  return reply?.operation === names.FAILURE;
}

/** The FAILURE message for whatever was thrown: an Error, a text, or a FAILURE message, as the first version threw. */
function failureOf(thrown) {
  return isFailure(thrown) ? failure(textOf(thrown.data)) : failure(textOf(thrown));
}

function textOf(thrown) {
  if (typeof thrown === 'string') return thrown;
  return typeof thrown?.message === 'string' && thrown.message !== '' ? thrown.message : inspect(thrown);
}

/** What the first version exported. */
const operations = {
  ...names, initialize, makeTable, updateMeta, storeRecord, fetchRecord, writeToDisk, success, failure,
};

module.exports = { operations, isSuccess, isFailure, failureOf };
