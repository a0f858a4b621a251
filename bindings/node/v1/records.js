// Records as the first version laid them out: each field's text in the order of the schema, padded with spaces to its
// length, and nothing between them.
'use strict';

const { fit, parseNumber, put } = require('./schemas.js');

/** A record as a string of the table's size. A field that is left out, or null, is blank. */
function makeRecordString({ schema, size }, record) {
  const fitted = fit(schema, record);
  const fields = Object.entries(schema).map(([name, [, length]]) =>
    String((Object.hasOwn(fitted, name) ? fitted[name] : null) ?? '').padEnd(length));
  return fields.join('').padEnd(size ?? 0);
}

/**
 * The record in such a string. A text loses the spaces at its end; a number that is blank is null, and one that is
 * none is NaN.
 */
function parseRecord(string, schema) {
  const record = {};
  let at = 0;
  for (const [name, [type, length]] of Object.entries(schema)) {
    const text = string.slice(at, at + length);
    put(record, name, type === 'number' ? readNumber(text) : trimmed(text));
    at += length;
  }
  return record;
}

function readNumber(text) {
  return trimmed(text) === '' ? null : parseNumber(text);
}

function trimmed(text) {
  let end = text.length;
  while (text[end - 1] === ' ') end -= 1;
  return text.slice(0, end);
}

module.exports = { recordUtils: { makeRecordString, parseRecord } };
