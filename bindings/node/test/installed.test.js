// The package as a user gets it: installed by npm into an empty folder, then the examples and the README run there.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { once } = require('node:events');
const { spawn } = require('node:child_process');
const { before, test } = require('node:test');
const { folder, run } = require('./support.js');

const ROOT = path.join(__dirname, '..');
const place = folder();
/** As a user has it: the library comes out of the package. */
const env = { ...process.env };
for (const name of ['DIAMOND_LIB', 'DIAMOND_BACKEND', 'NODE_PATH']) delete env[name];
const options = { cwd: place, env };

async function done(command, ...args) {
  const { code, out, err } = await run(command, args, options);
  assert.equal(code, 0, `${command} ${args.join(' ')}\n${out}${err}`);
  return out;
}

before(async () => {
  fs.mkdirSync(place);
  await done('npm', 'init', '-y');
  await done('npm', 'install', '--no-audit', '--no-fund', '--prefer-offline', '--install-links', ROOT);
});

test('npm install --install-links puts a whole package into a folder, the library in it', async () => {
  const installed = path.join(place, 'node_modules', 'diamonddb');
  assert.ok(!fs.lstatSync(installed).isSymbolicLink());
  const found = fs.readdirSync(installed).sort();
  assert.deepEqual(found.filter((name) => name !== 'node_modules'), ['README.md', 'backends', 'index.d.ts', 'index.js',
    'index.mjs', 'library', 'native.js', 'package.json', 'prepare.js', 'src', 'v1', 'v1.d.ts']);
  assert.deepEqual(fs.readdirSync(path.join(installed, 'library')), ['libdiamonddb.so']);
  assert.match(await done(process.execPath, '-p', 'require("diamonddb").version()'), /^\d+\.\d+\.\d+\n$/);
  const imported = 'import { version } from "diamonddb"; console.log(version())';
  assert.match(await done(process.execPath, '--input-type=module', '-e', imported), /^\d+\.\d+\.\d+\n$/);
});

test('without a library the package says where it looks', async () => {
  const missing = { ...options, env: { ...env, DIAMOND_LIB: '/nowhere/libdiamonddb.so' } };
  const { code, err } = await run(process.execPath, ['-e', 'require("diamonddb").openSync("x")'], missing);
  assert.equal(code, 1);
  assert.match(err, /DIAMOND_LIB names \/nowhere\/libdiamonddb.so, and no file is there/);
  const library = path.join(place, 'node_modules', 'diamonddb', 'library');
  fs.renameSync(library, `${library}.away`);
  const { err: said } = await run(process.execPath, ['-e', 'require("diamonddb").openSync("x")'], options);
  fs.renameSync(`${library}.away`, library);
  assert.match(said, /no libdiamonddb.so in this package.*DIAMOND_LIB/);
});

test('every program of the README runs, and says what the README says', async () => {
  const text = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  const blocks = [...text.matchAll(/```(js|mjs)\n(.*?)```(?:\s*\n```text\n(.*?)```)?/gs)];
  assert.ok(blocks.length >= 5);
  for (const [index, [, kind, source, said]] of blocks.entries()) {
    const file = `readme-${index}.${kind}`;
    fs.writeFileSync(path.join(place, file), source);
    for (const name of fs.readdirSync(place).filter((one) => one.endsWith('.db'))) {
      fs.rmSync(path.join(place, name), { recursive: true });
    }
    const out = await done(process.execPath, file);
    assert.equal(out, said ?? '', `program ${index + 1} of the README:\n${source}`);
  }
});

test('the service keeps its sessions through a kill -9, in 50 lines', async () => {
  const file = path.join(ROOT, 'examples', 'sessions.js');
  assert.ok(fs.readFileSync(file, 'utf8').trim().split('\n').length <= 50);
  fs.copyFileSync(file, path.join(place, 'sessions.js'));
  let service = await start();
  const tokens = await Promise.all(Array.from({ length: 50 }, (_, index) => service.post('/login', `user ${index}`)));
  assert.ok(tokens.every(({ status }) => status === 200));
  const token = tokens[7].body;
  assert.equal((await service.get('/', token)).body, 'user 7, seen 1 times');
  service.child.kill('SIGKILL');
  await once(service.child, 'exit');
  service = await start();
  assert.equal((await service.get('/', token)).body, 'user 7, seen 2 times');
  assert.equal((await service.get('/', token.replace(/.$/, (last) => (last === '0' ? '1' : '0')))).status, 401);
  assert.equal((await service.get('/', '99999.00000000000000000000000000000000')).status, 401);
  assert.equal((await service.post('/login', 'x'.repeat(41))).status, 400);
  assert.equal((await service.post('/logout', '', token)).status, 204);
  assert.equal((await service.get('/', token)).status, 401);
  service.child.kill('SIGTERM');
  assert.deepEqual(await once(service.child, 'exit'), [0, null]);
});

async function start() {
  const child = spawn(process.execPath, ['sessions.js', '0', 'sessions.db'], { ...options, timeout: 60_000 });
  child.stderr.pipe(process.stderr);
  const [port] = await once(child.stdout.setEncoding('utf8'), 'data');
  const ask = async (method, url, token, body) => {
    const headers = { connection: 'close', ...(token && { token }) };
    const answer = await fetch(`http://127.0.0.1:${port.trim()}${url}`, { method, body, headers });
    return { status: answer.status, body: await answer.text() };
  };
  const get = (url, token) => ask('GET', url, token);
  return { child, get, post: (url, body, token) => ask('POST', url, token, body) };
}
