// The same for `import`.
import diamonddb from './index.js';

export const {
  open, openSync, checkStore, checkCache, version, Status, DiamondError, Ambiguous, ABI_VERSION,
} = diamonddb;
export default diamonddb;
