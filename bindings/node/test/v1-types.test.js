// The types of diamonddb/v1 hold under tsc --strict, and refuse what is wrong.
'use strict';

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { run } = require('./support.js');

const TSC = path.join(__dirname, 'node_modules', 'typescript', 'bin', 'tsc');
const OPTIONS = ['--strict', '--noEmit', '--target', 'es2022', '--module', 'node16', '--moduleResolution', 'node16',
  '--types', 'node', '--typeRoots', path.join(__dirname, 'node_modules', '@types')];

test('a program with types passes tsc --strict, and its wrong lines are the only wrong ones', async () => {
  const { code, out, err } = await run(process.execPath, [TSC, ...OPTIONS, path.join(__dirname, 'v1-types.ts')]);
  assert.deepEqual([code, out, err], [0, '', '']);
});
