// The schemas of the first version, {field: [type, length]}: which records they take, and what they are to the engine.
//
// A type is 'string' or 'number'; a length counts the characters, that is UTF-16 units, of a value as text.
'use strict';

const { inspect } = require('node:util');

/** No number's text is longer than 25 characters, and the engine counts up to 24. */
const NUMBER_MAX = 25;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** A value that a schema does not take; its message is the first version's. */
class Refusal extends Error {}

/** The characters of a record: the sum of the lengths. */
function schemaLength(schema) {
  return Object.values(schema).reduce((sum, [, length]) => sum + length, 0);
}

/** Resolves where the schema takes the record; else rejects with a text that says why not. */
async function validate(schema, record) {
  try {
    fit(schema, record);
  } catch (error) {
    throw error instanceof Refusal ? error.message : error;
  }
}

/** The record as it is saved: a copy, each value of its field's type. Throws a Refusal. */
function fit(schema, record) {
  if (typeof record !== 'object' || record === null) throw new Refusal(`A record is an object, not ${show(record)}.`);
  const fitted = {};
  for (const key of Object.keys(record)) {
    if (!Object.hasOwn(schema, key)) throw new Refusal(`No key "${key}" in schema.`);
    const value = record[key];
    if (value !== undefined) put(fitted, key, value === null ? null : fitValue(key, value, schema[key]));
  }
  return fitted;
}

function fitValue(key, value, [type, length]) {
  const text = typeof value === 'string' ? value : String(value);
  if (text.length > length) throw tooLarge(key, text);
  if (type === 'number') return fitNumber(key, typeof value === 'number' ? value : parseNumber(text), text, length);
  if (type !== 'string') return value;
  if (text.includes('\0')) throw new Refusal(`Value "${text}" has a NUL character in property "${key}".`);
  if (!text.isWellFormed()) throw new Refusal(`Value "${text}" has half of a surrogate pair in property "${key}".`);
  return text;
}

function fitNumber(key, number, text, length) {
  if (!Number.isFinite(number)) throw new Refusal(`Value "${text}" is not a number for property "${key}".`);
  if (String(number).length > length) throw tooLarge(key, String(number)); // As a text it was shorter: "1e9".
  return number;
}

function tooLarge(key, text) {
  return new Refusal(`Value "${text}" too large for property "${key}".`);
}

/** The number that a text is, spaces around it aside; NaN for any other text. */
function parseNumber(text) {
  const trimmed = text.trim();
  return NUMBER.test(trimmed) ? Number(trimmed) : NaN;
}

/** What is wrong with a schema, or undefined. */
function faultOf(schema) {
  const right = 'a schema is an object of [type, length], as in {name: ["string", 15], age: ["number", 3]}';
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) {
    return `The schema is ${show(schema)}; ${right}.`;
  }
  const names = Object.keys(schema);
  if (names.length === 0) return `The schema has no field; ${right}.`;
  const wrong = names.find((name) => !isField(schema[name]));
  return wrong === undefined ? undefined : `Field "${wrong}" is ${show(schema[wrong])}; ${right}.`;
}

function isField(field) {
  if (!Array.isArray(field) || field.length !== 2) return false;
  return ['string', 'number'].includes(field[0]) && Number.isSafeInteger(field[1]) && field[1] > 0;
}

/** How two schemas differ, in words, or undefined. The order of fields is of no matter. */
function difference(there, asked) {
  const fields = [...new Set([...Object.keys(there), ...Object.keys(asked)])];
  const words = fields.map((name) => {
    const [old, fresh] = [there, asked].map((schema) => (Object.hasOwn(schema, name) ? fieldOf(schema[name]) : null));
    if (old === null) return `it has no field "${name}"`;
    if (fresh === null) return `it has a field "${name}", too`;
    return old === fresh ? undefined : `field "${name}" is ${old}, not ${fresh}`;
  }).filter((word) => word !== undefined);
  return words.length === 0 ? undefined : words.join('; ');
}

function fieldOf([type, length]) {
  return JSON.stringify([type, type === 'number' ? Math.min(length, NUMBER_MAX) : length]);
}

/** The schema as the engine takes it. */
function toEngine(schema) {
  return mapFields(schema, ([type, length]) => {
    if (type === 'string') return ['string', length, 'characters'];
    return length < NUMBER_MAX ? ['number', length] : ['f64'];
  });
}

/** The schema of an engine's table; undefined where it is none of the first version. */
function fromEngine(schema) {
  const back = mapFields(schema, ([type, length]) => (type === 'f64' ? ['number', NUMBER_MAX] : [type, length]));
  const isOurs = faultOf(back) === undefined && JSON.stringify(toEngine(back)) === JSON.stringify(schema);
  return isOurs ? back : undefined;
}

function mapFields(schema, act) {
  return Object.fromEntries(Object.entries(schema).map(([name, field]) => [name, act(field)]));
}

/** Sets a key of any name: an assignment to this one would change the prototype. */
function put(object, key, value) {
  if (key !== '__proto__') object[key] = value;
  else Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

/** A value as a sentence names it. */
function show(value) {
  return inspect(value, { depth: 1, breakLength: Infinity, maxStringLength: 80 });
}

module.exports = {
  schemaUtils: { schemaLength, validate },
  Refusal, schemaLength, fit, parseNumber, faultOf, difference, toEngine, fromEngine, put, show,
};
