// What goes wrong, as JavaScript throws it: the library's own sentence, with its status by number and by name.
'use strict';

const { constants } = require('../native.js');

const PREFIX = 'DIAMOND_STATUS_';
const statuses = Object.entries(constants).filter(([name]) => name.startsWith(PREFIX));

/** The statuses of the library by name, as they are in DiamondError.code: {OK: 0, MISUSE: 100, ...}. */
const Status = Object.freeze(Object.fromEntries(statuses.map(([name, status]) => [name.slice(PREFIX.length), status])));
const codes = new Map(Object.entries(Status).map(([name, status]) => [status, name]));

/** A call of the library failed. `status` is its number and `code` its name, such as 'CONFLICT'. */
class DiamondError extends Error {
  constructor(status, message, options) {
    super(message, options);
    this.status = status;
    this.code = codes.get(status) ?? String(status);
  }
}
DiamondError.prototype.name = 'DiamondError';

/** Thrown by a module: what it was asked to do may have been done, and nobody knows. */
class Ambiguous extends Error {}
Ambiguous.prototype.name = 'Ambiguous';

/** What the call that has just failed on this thread ended with. */
function failure(native, status) {
  return new DiamondError(status, native.diamond_error_message());
}

module.exports = { Status, DiamondError, Ambiguous, failure };
