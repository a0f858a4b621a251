// What a backup tells of its progress, on the thread that makes it.
'use strict';

const { constants, structs } = require('../native.js');

const FIELDS = structs.diamond_backup_options.fields;

/** Who is told, by the context that C hands over. */
const running = new Map();
let lastContext = 0;
/** The address of the one C function, by back end. */
const made = new Map();

/**
 * Has a backup call tell(done, total), which says whether to go on. options: where its options lie. Gives a function
 * that ends it, for after the backup.
 */
function reportProgress(native, options, tell) {
  const context = lastContext += 1;
  running.set(context, tell);
  write(native, options + FIELDS.progress.offset, functionOf(native.backend));
  write(native, options + FIELDS.context.offset, context);
  return () => running.delete(context);
}

function functionOf(backend) {
  const { result, parameters } = FIELDS.progress.signature;
  if (!made.has(backend)) made.set(backend, backend.callback(result, parameters, answer));
  return made.get(backend);
}

/** Nothing may be thrown through C. */
function answer(context, done, total) {
  try {
    const goesOn = running.get(Number(context))(Number(done), Number(total));
    return goesOn ? constants.DIAMOND_MODULE_OK : 0;
  } catch {
    return 0;
  }
}

function write(native, address, value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  native.write_memory(address, bytes, bytes.length);
}

module.exports = { reportProgress };
