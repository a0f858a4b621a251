// A web service that keeps its sessions in a table: they outlive a kill -9. node sessions.js [port] [folder]
//   curl -d abby localhost:8080/login   a token;   curl -H "token: ..." localhost:8080/   who that is, how often seen
'use strict';

const { createServer } = require('node:http');
const { randomBytes, timingSafeEqual } = require('node:crypto');
const { text } = require('node:stream/consumers');
const diamonddb = require('diamonddb');

const DAY_US = 86_400_000_000;
const SCHEMA = { user: ['string', 40, 'required'], secret: ['bytes', 16], seen: ['u32'], until: ['timestamp'] };

async function main(port = '8080', folder = 'sessions.db') {
  const db = await diamonddb.open(folder);
  const sessions = await db.makeTable('sessions', SCHEMA);
  const routes = { 'POST /login': login, 'GET /': greet, 'POST /logout': logout };
  async function login(request) {
    const secret = randomBytes(16);
    const session = { user: await text(request), secret, seen: 0, until: Date.now() * 1000 + DAY_US };
    const id = await sessions.save(session); // On disk when the token is given out.
    return [200, `${id}.${secret.toString('hex')}`];
  }
  async function greet(request) {
    const [id, session] = find(request);
    if (session === undefined) return [401, 'log in first'];
    const seen = session.seen + 1;
    await sessions.replaceIf(id, session, { ...session, seen }); // CONFLICT if another request was quicker.
    return [200, `${session.user}, seen ${seen} times`];
  }
  async function logout(request) {
    const [id] = find(request);
    if (id !== undefined) await sessions.delete(id);
    return [204, ''];
  }
  function find(request) {
    const [, id, secret] = /^(\d{1,15})\.([0-9a-f]{32})$/.exec(request.headers.token) ?? [];
    const session = id && sessions.fetch(Number(id)); // A read does not wait.
    const isValid = session && timingSafeEqual(session.secret, Buffer.from(secret, 'hex'));
    return isValid && session.until > Date.now() * 1000 ? [Number(id), session] : [];
  }
  const server = createServer(async (request, response) => {
    const act = routes[`${request.method} ${request.url}`] ?? (() => [404, 'not here']);
    const failed = ({ code, message }) => [{ INVALID: 400, CONFLICT: 409 }[code] ?? 500, message];
    const [status, body] = await Promise.resolve(request).then(act).catch(failed);
    response.writeHead(status).end(body);
  });
  server.listen(Number(port), '127.0.0.1', () => console.log(server.address().port));
  process.once('SIGTERM', () => server.close(() => db.close()));
}
main(...process.argv.slice(2));
