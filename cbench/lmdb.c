/*
 * LMDB, as its manual recommends: integer keys, MDB_APPEND for what comes in order, one read transaction a thread that
 * is reset and renewed, records read in place. Not synced: MDB_WRITEMAP | MDB_NOSYNC, its fastest, which survives
 * kill -9 as well, since its map is shared. Durable: its defaults, since MDB_WRITEMAP syncs slower.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

#include <lmdb.h>

/* Records in one transaction of a load. */
#define LOAD_COUNT ((uint64_t)1000000)

struct store {
    MDB_env *env;
    MDB_dbi dbi;
};

struct context {
    struct store *store;
    MDB_txn *reader;
    MDB_cursor *cursor;
};

static void try(int status)
{
    if (status != MDB_SUCCESS) fail("lmdb: %s", mdb_strerror(status));
}

/* Addresses only, so plenty: a record of 4,000 bytes takes two pages, and what is overwritten lives on for a while. */
static size_t map_size(const struct setup *setup)
{
    return setup->record_count * (record_size < 2000 ? record_size * 4 : 8192 * 3) + (256 << 20);
}

static struct store *lmdb_open(const struct setup *setup)
{
    struct store *store = allocate(sizeof *store);
    unsigned flags = MDB_NOTLS | (setup->durability == DURABLE ? 0 : MDB_WRITEMAP | MDB_NOSYNC);
    MDB_txn *txn;
    try(mdb_env_create(&store->env));
    try(mdb_env_set_mapsize(store->env, map_size(setup)));
    try(mdb_env_set_maxreaders(store->env, 256));
    try(mdb_env_open(store->env, setup->folder, flags, 0666));
    try(mdb_txn_begin(store->env, NULL, 0, &txn));
    try(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &store->dbi));
    try(mdb_txn_commit(txn));
    return store;
}

static void lmdb_close(struct store *store)
{
    try(mdb_env_sync(store->env, 1));
    mdb_env_close(store->env);
    free(store);
}

static void lmdb_load(struct store *store, uint64_t count)
{
    for (uint64_t first = 0; first < count; first += LOAD_COUNT) {
        uint64_t end = first + LOAD_COUNT < count ? first + LOAD_COUNT : count;
        MDB_txn *txn;
        MDB_cursor *cursor;
        try(mdb_txn_begin(store->env, NULL, 0, &txn));
        try(mdb_cursor_open(txn, store->dbi, &cursor));
        for (uint64_t id = first; id < end; id++) {
            MDB_val key = {sizeof id, &id}, value = {record_size, NULL};
            try(mdb_cursor_put(cursor, &key, &value, MDB_APPEND | MDB_RESERVE));
            make_record(id, 0, value.mv_data);
        }
        mdb_cursor_close(cursor);
        try(mdb_txn_commit(txn));
    }
    try(mdb_env_sync(store->env, 1));
}

static struct context *lmdb_enter(struct store *store)
{
    struct context *context = allocate(sizeof *context);
    context->store = store;
    try(mdb_txn_begin(store->env, NULL, MDB_RDONLY, &context->reader));
    try(mdb_cursor_open(context->reader, store->dbi, &context->cursor));
    mdb_txn_reset(context->reader);
    return context;
}

static void lmdb_leave(struct context *context)
{
    mdb_cursor_close(context->cursor);
    mdb_txn_abort(context->reader);
    free(context);
}

static const char *get(struct context *context, uint64_t id)
{
    MDB_val key = {sizeof id, &id}, value;
    try(mdb_get(context->reader, context->store->dbi, &key, &value));
    if (value.mv_size != record_size) fail("lmdb: a record has %zu bytes", value.mv_size);
    return value.mv_data;
}

/* The transaction is renewed before each read and left open after it: what it points to stays there until then. */
static const char *lmdb_read(struct context *context, uint64_t id, char *room)
{
    (void)room;
    mdb_txn_reset(context->reader);
    try(mdb_txn_renew(context->reader));
    return get(context, id);
}

static void lmdb_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,
    const char **records)
{
    (void)room;
    mdb_txn_reset(context->reader);
    try(mdb_txn_renew(context->reader));
    for (size_t i = 0; i < count; i++) records[i] = get(context, ids[i]);
}

static void lmdb_scan(struct context *context, visitor *visit, void *argument)
{
    MDB_val key, value;
    mdb_txn_reset(context->reader);
    try(mdb_txn_renew(context->reader));
    try(mdb_cursor_renew(context->reader, context->cursor));
    int status;
    while ((status = mdb_cursor_get(context->cursor, &key, &value, MDB_NEXT)) == MDB_SUCCESS) {
        uint64_t id;
        memcpy(&id, key.mv_data, sizeof id);
        visit(argument, id, value.mv_data);
    }
    if (status != MDB_NOTFOUND) try(status);
    mdb_txn_reset(context->reader);
}

static void lmdb_sync(struct context *context)
{
    try(mdb_env_sync(context->store->env, 1));
}

static void lmdb_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    struct store *store = context->store;
    MDB_txn *txn;
    try(mdb_txn_begin(store->env, NULL, 0, &txn));
    for (size_t i = 0; i < count; i++) {
        uint64_t id = ids[i];
        MDB_val key = {sizeof id, &id}, value = {record_size, (void *)(uintptr_t)(records + i * record_size)};
        try(mdb_put(txn, store->dbi, &key, &value, 0));
    }
    try(mdb_txn_commit(txn));
}

static const char *lmdb_version(void)
{
    static char text[32];
    int major, minor, patch;
    mdb_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

const struct engine lmdb_engine = {
    .name = "lmdb",
    .settings = "MDB_INTEGERKEY, MDB_APPEND, reads in place; async and os: MDB_WRITEMAP | MDB_NOSYNC; durable: "
                "defaults; checkpoint: mdb_env_sync",
    .version = lmdb_version,
    .abilities = DATABASE,
    .open = lmdb_open,
    .close = lmdb_close,
    .load = lmdb_load,
    .enter = lmdb_enter,
    .leave = lmdb_leave,
    .read = lmdb_read,
    .read_many = lmdb_read_many,
    .scan = lmdb_scan,
    .overwrite = lmdb_overwrite,
    .checkpoint = lmdb_sync,
};
