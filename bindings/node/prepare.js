// Puts the library into the package: npm runs this before it packs or links bindings/node.
//
// It takes what DIAMOND_LIB names, or what cargo has built in the source around this folder, or has cargo build it. In
// an installed package there is no source, and the library is there already.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { NAME, PACKED } = require('./src/library.js');

const SOURCE = path.join(__dirname, '..', '..');
const BUILT = path.join(process.env.CARGO_TARGET_DIR ?? path.join(SOURCE, 'target'), 'release', NAME);

function main() {
  const found = find();
  if (found === undefined) return;
  fs.mkdirSync(path.dirname(PACKED), { recursive: true });
  // Under another name first, so that a process that has the old one open keeps it.
  const fresh = `${PACKED}.${process.pid}`;
  fs.copyFileSync(found, fresh);
  spawnSync('strip', ['--strip-unneeded', fresh]);
  fs.renameSync(fresh, PACKED);
}

/** Where to copy it from; undefined where it is there already. */
function find() {
  if (process.env.DIAMOND_LIB) return process.env.DIAMOND_LIB;
  if (fs.existsSync(BUILT)) return BUILT;
  if (!fs.existsSync(path.join(SOURCE, 'Cargo.toml'))) {
    if (fs.existsSync(PACKED)) return undefined;
    return fail(`There is no ${NAME}, and no source of it in ${SOURCE}. Set DIAMOND_LIB to its path.`);
  }
  build();
  return BUILT;
}

function build() {
  const cargo = ['rustc', '--release', '--lib', '--crate-type', 'cdylib'];
  const { error, status } = spawnSync('cargo', cargo, { cwd: SOURCE, stdio: ['ignore', 'inherit', 'inherit'] });
  if (error !== undefined) fail(`${NAME} has to be built, and cargo cannot be run: ${error.message}`);
  if (status !== 0) fail(`cargo ${cargo.join(' ')} ended with ${status}; its words are above.`);
}

function fail(text) {
  console.error(`diamonddb: ${text}`);
  process.exit(1);
}

main();
