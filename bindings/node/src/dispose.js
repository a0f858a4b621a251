// `using` and `await using`, where this version of Node has their symbols.
'use strict';

function disposable(type, close) {
  if (Symbol.dispose !== undefined) define(type, Symbol.dispose, close);
}

function asyncDisposable(type, close) {
  if (Symbol.asyncDispose !== undefined) define(type, Symbol.asyncDispose, close);
}

function define(type, symbol, close) {
  Object.defineProperty(type.prototype, symbol, {
    value() { return this[close](); }, writable: true, configurable: true,
  });
}

module.exports = { disposable, asyncDisposable };
