// Ids of records: dense whole numbers from 0, so a number holds every one that a disk has room for.
'use strict';

/** Gives the id back. RangeError where it is not a safe integer from 0 on. */
function idOf(value) {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  const shown = typeof value === 'string' ? JSON.stringify(value) : String(value);
  throw new RangeError(`An id is a whole number from 0 to 2^53 - 1, not ${shown}.`);
}

module.exports = { idOf };
