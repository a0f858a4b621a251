// Every test of this package: node test/run.js. Needs npm, a C compiler, and the library (DIAMOND_LIB, or what prepare
// finds). What the tests need of npm is installed first, where it is missing.
//
// The synchronous suite runs a second time over ffi-napi. DIAMOND_NODES names more programs to run all tests with, such
// as those of Node 22 and 24, divided by colons.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');

const ROOT = path.join(__dirname, '..');
const TESTS = fs.readdirSync(__dirname).filter((name) => name.endsWith('.test.js')).sort();
const SYNCHRONOUS = ['batches', 'modules', 'pins', 'scans', 'tables'].map((name) => `${name}.test.js`);

function main() {
  install(ROOT, 'koffi', []);
  install(__dirname, 'typescript', ['--ignore-scripts']);
  const nodes = [process.execPath, ...(process.env.DIAMOND_NODES ?? '').split(':').filter(Boolean)];
  const failed = nodes.flatMap((node) => [test(node, 'koffi', TESTS), test(node, 'ffi-napi', SYNCHRONOUS)]);
  process.exit(failed.some(Boolean) ? 1 : 0);
}

function install(folder, needed, options) {
  if (fs.existsSync(path.join(folder, 'node_modules', needed))) return;
  const all = ['install', '--no-audit', '--no-fund', '--no-package-lock', ...options];
  const { status } = spawnSync('npm', all, { cwd: folder, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}

/** Whether they fail. */
function test(node, backend, files) {
  console.log(`\n${files.length} files with ${node} over ${backend}`);
  const env = { ...process.env, DIAMOND_BACKEND: backend, NODE_PATH: path.join(__dirname, 'node_modules') };
  // As a test of node:test, a run of its own would only report.
  delete env.NODE_TEST_CONTEXT;
  const all = ['--expose-gc', '--test', '--test-reporter=spec', ...files.map((name) => path.join(__dirname, name))];
  return spawnSync(node, all, { stdio: 'inherit', env }).status !== 0;
}

main();
