// What the first DiamondDB exported, over the engine of today. The README has a section on it.
'use strict';

const { promisify } = require('node:util');
const { operations } = require('./operations.js');
const { schemaUtils } = require('./schemas.js');
const { recordUtils } = require('./records.js');
const { Database } = require('./database.js');
const { Store } = require('./store.js');
const { Cache } = require('./cache.js');
const { server } = require('./server.js');

const utilities = { schemaUtils, recordUtils, operations, promisify };

module.exports = { Database, Store, Cache, utilities, server };
