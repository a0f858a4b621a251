// Where the library is: what DIAMOND_LIB names, or else what was put into this package when it was installed.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const NAME = 'libdiamonddb.so';
const PACKED = path.join(__dirname, '..', 'library', NAME);

/** The path of the library. */
function libraryPath() {
  const named = process.env.DIAMOND_LIB;
  if (named !== undefined && named !== '') {
    if (fs.existsSync(named)) return path.resolve(named);
    throw new Error(`DIAMOND_LIB names ${named}, and no file is there.`);
  }
  if (fs.existsSync(PACKED)) return PACKED;
  throw new Error(`There is no ${NAME} in this package: run "npm run prepare" in bindings/node of the source, ` +
    'or set DIAMOND_LIB to the path of the library.');
}

module.exports = { NAME, PACKED, libraryPath };
