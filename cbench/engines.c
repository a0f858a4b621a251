/*
 * All engines, limits first, then ours. The Makefile says which peers are installed, by WITH_... macros.
 */
#include "bench.h"

extern const struct engine array_engine, mapped_engine, fdatasync_engine, diamond_engine;
extern const struct engine lmdb_engine, sqlite_engine, rocksdb_engine, leveldb_engine, bdb_queue_engine,
    bdb_btree_engine, wiredtiger_engine, redb_engine, fjall_engine;

const struct engine *const all_engines[] = {
    &array_engine,
    &mapped_engine,
    &fdatasync_engine,
    &diamond_engine,
#ifdef WITH_LMDB
    &lmdb_engine,
#endif
#ifdef WITH_SQLITE
    &sqlite_engine,
#endif
#ifdef WITH_ROCKSDB
    &rocksdb_engine,
#endif
#ifdef WITH_LEVELDB
    &leveldb_engine,
#endif
#ifdef WITH_BDB
    &bdb_queue_engine,
    &bdb_btree_engine,
#endif
#ifdef WITH_WIREDTIGER
    &wiredtiger_engine,
#endif
#ifdef WITH_RUST_PEERS
    &redb_engine,
    &fjall_engine,
#endif
    NULL,
};

const struct missing_engine missing_engines[] = {
#ifndef WITH_LMDB
    {"lmdb", "liblmdb-dev"},
#endif
#ifndef WITH_SQLITE
    {"sqlite", "libsqlite3-dev"},
#endif
#ifndef WITH_ROCKSDB
    {"rocksdb", "librocksdb-dev"},
#endif
#ifndef WITH_LEVELDB
    {"leveldb", "libleveldb-dev"},
#endif
#ifndef WITH_BDB
    {"bdb-queue", "libdb-dev"},
    {"bdb-btree", "libdb-dev"},
#endif
#ifndef WITH_WIREDTIGER
    {"wiredtiger", "libwiredtiger-dev"},
#endif
#ifndef WITH_RUST_PEERS
    {"redb", "cargo with crates.io"},
    {"fjall", "cargo with crates.io"},
#endif
    {NULL, NULL},
};

uint64_t cache_size(const struct setup *setup)
{
    uint64_t wanted = setup->record_count * record_size * 2;
    if (wanted < 64 << 20) wanted = 64 << 20;
    return setup->memory_limit && wanted > setup->memory_limit / 2 ? setup->memory_limit / 2 : wanted;
}
