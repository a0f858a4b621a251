// The first version's little server for trying a database out: POST /query with a message, one JSON document a body.
//
//     {"operation": "TABLE_CREATE", "data": {"name": "people", "schema": {"name": ["string", 15]}}}
//     {"operation": "SAVE", "data": {"table": "people", "body": {"name": "Abby"}}}      "record" is "body" as well
//     {"operation": "FETCH", "data": {"table": "people", "id": 0}}
//
// The status is 200 always, and the answer the reply of the Database: a SUCCESS or FAILURE message.
'use strict';

const http = require('node:http');
const { operations, failureOf } = require('./operations.js');
const { show } = require('./schemas.js');

const { failure } = operations;

const ADDRESS = '127.0.0.1';
const PORT = 2020;
const BODY_MAX = 8 * 1024 * 1024;
const [HEADERS_MS, REQUEST_MS, CONNECTIONS_MAX] = [10_000, 30_000, 256];

const verbs = {
  TABLE_CREATE: (db, { name, schema }) => db.makeTable(name, schema),
  SAVE: (db, { table, body, record = body }) => db.saveRecord(table, record),
  FETCH: (db, { table, id }) => db.fetchRecord(table, id),
};

/** Serves a Database on 127.0.0.1 and gives the http.Server. port: default PORT of the environment, or 2020. */
function server(db, { port = process.env.PORT || PORT } = {}) {
  const options = { headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS };
  const served = http.createServer(options, (request, response) => answer(db, request, response));
  served.maxConnections = CONNECTIONS_MAX;
  return served.listen(Number(port), ADDRESS, () => {
    console.log(`DiamondDB listens on http://${ADDRESS}:${served.address().port}/query`);
  });
}

async function answer(db, request, response) {
  // A store of the user's own may give what is no JSON.
  const text = await replyTo(db, request).then((reply) => JSON.stringify(reply))
    .catch((thrown) => JSON.stringify(failureOf(thrown)));
  // What is left of a body that was refused is not read.
  if (!request.complete) response.setHeader('connection', 'close');
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text);
}

async function replyTo(db, request) {
  if (request.url.split('?')[0] !== '/query') return failure(`ERROR: there is POST /query, not ${request.url}`);
  if (request.method !== 'POST') return failure(`ERROR: /query takes POST, not ${request.method}`);
  const { operation, data } = parse(await bodyOf(request)) ?? {};
  if (!Object.hasOwn(verbs, operation)) {
    return failure(`ERROR: the operation is one of ${Object.keys(verbs).join(', ')}, not ${show(operation)}`);
  }
  return verbs[operation](db, typeof data === 'object' && data !== null ? data : {});
}

async function bodyOf(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > BODY_MAX) throw failure(`ERROR: a body has at most ${BODY_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw failure(`ERROR: the body is no JSON: ${error.message}`);
  }
}

module.exports = { server };
