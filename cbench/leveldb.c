/*
 * LevelDB: big-endian keys, a block cache that holds all, bloom filters, a write buffer of 64 MiB, no compression
 * (nothing here compresses). Async and os: its default, which hands each commit to the operating system. Durable:
 * sync=true.
 */
#include "bench.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include <leveldb/c.h>

#define LOAD_COUNT ((uint64_t)1000)
#define WRITE_BUFFER ((uint64_t)64 << 20)

struct store {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t *reads;
    leveldb_writeoptions_t *writes;
};

struct context {
    struct store *store;
    leveldb_writebatch_t *batch;
    leveldb_readoptions_t *snapshot_reads;
};

static void try(char *error)
{
    if (error) fail("leveldb: %s", error);
}

static struct store *leveldb_open_store(const struct setup *setup)
{
    struct store *store = allocate(sizeof *store);
    char *error = NULL;
    uint64_t buffer = setup->memory_limit ? setup->memory_limit / 8 : WRITE_BUFFER;
    store->cache = leveldb_cache_create_lru(cache_size(setup));
    store->filter = leveldb_filterpolicy_create_bloom(10);
    store->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(store->options, 1);
    leveldb_options_set_cache(store->options, store->cache);
    leveldb_options_set_filter_policy(store->options, store->filter);
    leveldb_options_set_write_buffer_size(store->options, buffer);
    leveldb_options_set_compression(store->options, leveldb_no_compression);
    store->db = leveldb_open(store->options, setup->folder, &error);
    try(error);
    store->reads = leveldb_readoptions_create();
    store->writes = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(store->writes, setup->durability == DURABLE);
    return store;
}

static void leveldb_close_store(struct store *store)
{
    leveldb_close(store->db);
    leveldb_readoptions_destroy(store->reads);
    leveldb_writeoptions_destroy(store->writes);
    leveldb_options_destroy(store->options);
    leveldb_filterpolicy_destroy(store->filter);
    leveldb_cache_destroy(store->cache);
    free(store);
}

static void write_batch(struct store *store, leveldb_writebatch_t *batch)
{
    char *error = NULL;
    leveldb_write(store->db, store->writes, batch, &error);
    try(error);
    leveldb_writebatch_clear(batch);
}

/* The last batch is synced, and with it the log; what left the log before was synced then. */
static void leveldb_load(struct store *store, uint64_t count)
{
    char record[RECORD_SIZE_MAX];
    leveldb_writebatch_t *batch = leveldb_writebatch_create();
    for (uint64_t id = 0; id < count; id++) {
        uint64_t key = htobe64(id);
        make_record(id, 0, record);
        leveldb_writebatch_put(batch, (char *)&key, sizeof key, record, record_size);
        if (id % LOAD_COUNT == LOAD_COUNT - 1 && id + 1 < count) write_batch(store, batch);
    }
    leveldb_writeoptions_set_sync(store->writes, 1);
    write_batch(store, batch);
    leveldb_writebatch_destroy(batch);
}

static struct context *leveldb_enter(struct store *store)
{
    struct context *context = allocate(sizeof *context);
    context->store = store;
    context->batch = leveldb_writebatch_create();
    context->snapshot_reads = leveldb_readoptions_create();
    return context;
}

static void leveldb_leave(struct context *context)
{
    leveldb_writebatch_destroy(context->batch);
    leveldb_readoptions_destroy(context->snapshot_reads);
    free(context);
}

static const char *get(struct context *context, leveldb_readoptions_t *options, uint64_t id, char *room)
{
    uint64_t key = htobe64(id);
    size_t size;
    char *error = NULL, *value = leveldb_get(context->store->db, options, (char *)&key, sizeof key, &size, &error);
    try(error);
    if (!value || size != record_size) fail("leveldb: a record is not there, or has another size");
    copy_record(room, value);
    leveldb_free(value);
    return room;
}

static const char *leveldb_read(struct context *context, uint64_t id, char *room)
{
    return get(context, context->store->reads, id, room);
}

static void leveldb_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,
    const char **records)
{
    leveldb_t *db = context->store->db;
    const leveldb_snapshot_t *snapshot = leveldb_create_snapshot(db);
    leveldb_readoptions_set_snapshot(context->snapshot_reads, snapshot);
    for (size_t i = 0; i < count; i++) {
        records[i] = get(context, context->snapshot_reads, ids[i], room + i * record_size);
    }
    leveldb_release_snapshot(db, snapshot);
}

static void leveldb_scan(struct context *context, visitor *visit, void *argument)
{
    leveldb_iterator_t *iterator = leveldb_create_iterator(context->store->db, context->store->reads);
    for (leveldb_iter_seek_to_first(iterator); leveldb_iter_valid(iterator); leveldb_iter_next(iterator)) {
        size_t size;
        uint64_t key;
        memcpy(&key, leveldb_iter_key(iterator, &size), sizeof key);
        visit(argument, be64toh(key), leveldb_iter_value(iterator, &size));
    }
    char *error = NULL;
    leveldb_iter_get_error(iterator, &error);
    try(error);
    leveldb_iter_destroy(iterator);
}

static void leveldb_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t key = htobe64(ids[i]);
        leveldb_writebatch_put(context->batch, (char *)&key, sizeof key, records + i * record_size, record_size);
    }
    write_batch(context->store, context->batch);
}

static const char *leveldb_version(void)
{
    static char text[32];
    snprintf(text, sizeof text, "%d.%d", leveldb_major_version(), leveldb_minor_version());
    return text;
}

const struct engine leveldb_engine = {
    .name = "leveldb",
    .settings = "block cache of twice the data, bloom filters, write buffer of 64 MiB, no compression; async and os: "
                "default; durable: sync=true",
    .version = leveldb_version,
    .abilities = DATABASE & ~CHECKPOINTS,
    .open = leveldb_open_store,
    .close = leveldb_close_store,
    .load = leveldb_load,
    .enter = leveldb_enter,
    .leave = leveldb_leave,
    .read = leveldb_read,
    .read_many = leveldb_read_many,
    .scan = leveldb_scan,
    .overwrite = leveldb_overwrite,
};
