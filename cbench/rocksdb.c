/*
 * RocksDB: big-endian keys, a block cache that holds all, no compression (nothing here compresses). A load writes
 * sorted files and ingests them. Async: without its WAL, so that a kill takes back all since the last flush, which is
 * its fastest. Os: its default. Durable: sync=true.
 */
#include "bench.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include <rocksdb/c.h>

#define FILE_BYTES ((uint64_t)256 << 20)

struct store {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_column_family_handle_t *family;
    rocksdb_readoptions_t *reads;
    rocksdb_writeoptions_t *writes;
    char folder[4096];
};

struct context {
    struct store *store;
    rocksdb_writebatch_t *batch;
    rocksdb_pinnableslice_t *slices[BATCH_MAX];
    size_t slice_count;
};

static void try(char *error)
{
    if (error) fail("rocksdb: %s", error);
}

static rocksdb_options_t *make_options(const struct setup *setup)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, rocksdb_cache_create_lru(cache_size(setup)));
    rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    if (setup->memory_limit) rocksdb_options_set_write_buffer_size(options, setup->memory_limit / 8);
    return options;
}

static struct store *rocksdb_open_store(const struct setup *setup)
{
    struct store *store = allocate(sizeof *store);
    char *error = NULL;
    const char *name = "default";
    snprintf(store->folder, sizeof store->folder, "%s", setup->folder);
    store->options = make_options(setup);
    const rocksdb_options_t *options = store->options;
    store->db = rocksdb_open_column_families(options, setup->folder, 1, &name, &options, &store->family, &error);
    try(error);
    store->reads = rocksdb_readoptions_create();
    store->writes = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(store->writes, setup->durability == ASYNC);
    rocksdb_writeoptions_set_sync(store->writes, setup->durability == DURABLE);
    return store;
}

static void flush(struct store *store)
{
    char *error = NULL;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flush(store->db, options, &error);
    try(error);
    rocksdb_flushoptions_destroy(options);
}

static void rocksdb_close_store(struct store *store)
{
    flush(store);
    rocksdb_column_family_handle_destroy(store->family);
    rocksdb_close(store->db);
    rocksdb_readoptions_destroy(store->reads);
    rocksdb_writeoptions_destroy(store->writes);
    rocksdb_options_destroy(store->options);
    free(store);
}

/* One sorted file of the ids from first to end, ingested. */
static void load_file(struct store *store, uint64_t first, uint64_t end)
{
    char path[4200], record[RECORD_SIZE_MAX], *error = NULL;
    snprintf(path, sizeof path, "%s/load.sst", store->folder);
    rocksdb_envoptions_t *environment = rocksdb_envoptions_create();
    rocksdb_sstfilewriter_t *writer = rocksdb_sstfilewriter_create(environment, store->options);
    rocksdb_sstfilewriter_open(writer, path, &error);
    try(error);
    for (uint64_t id = first; id < end; id++) {
        uint64_t key = htobe64(id);
        make_record(id, 0, record);
        rocksdb_sstfilewriter_put(writer, (char *)&key, sizeof key, record, record_size, &error);
    }
    rocksdb_sstfilewriter_finish(writer, &error);
    try(error);
    rocksdb_sstfilewriter_destroy(writer);
    rocksdb_envoptions_destroy(environment);
    const char *paths[] = {path};
    rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
    rocksdb_ingest_external_file(store->db, paths, 1, options, &error);
    try(error);
    rocksdb_ingestexternalfileoptions_destroy(options);
}

static void rocksdb_load(struct store *store, uint64_t count)
{
    uint64_t most = FILE_BYTES / record_size;
    for (uint64_t first = 0; first < count; first += most) {
        load_file(store, first, count - first < most ? count : first + most);
    }
}

static struct context *rocksdb_enter(struct store *store)
{
    struct context *context = allocate(sizeof *context);
    context->store = store;
    context->batch = rocksdb_writebatch_create();
    return context;
}

static void let_go(struct context *context)
{
    for (size_t i = 0; i < context->slice_count; i++) rocksdb_pinnableslice_destroy(context->slices[i]);
    context->slice_count = 0;
}

static void rocksdb_leave(struct context *context)
{
    let_go(context);
    rocksdb_writebatch_destroy(context->batch);
    free(context);
}

static const char *value_of(const rocksdb_pinnableslice_t *slice)
{
    size_t size = 0;
    const char *value = slice ? rocksdb_pinnableslice_value(slice, &size) : NULL;
    if (!value || size != record_size) fail("rocksdb: a record is not there, or has another size");
    return value;
}

static const char *rocksdb_read(struct context *context, uint64_t id, char *room)
{
    (void)room;
    struct store *store = context->store;
    uint64_t key = htobe64(id);
    char *error = NULL;
    let_go(context);
    context->slices[0] = rocksdb_get_pinned(store->db, store->reads, (char *)&key, sizeof key, &error);
    try(error);
    context->slice_count = 1;
    return value_of(context->slices[0]);
}

static void rocksdb_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,
    const char **records)
{
    (void)room;
    struct store *store = context->store;
    uint64_t keys[BATCH_MAX];
    const char *places[BATCH_MAX] = {0};
    size_t sizes[BATCH_MAX] = {0};
    char *errors[BATCH_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        keys[i] = htobe64(ids[i]);
        places[i] = (char *)&keys[i];
        sizes[i] = sizeof *keys;
    }
    let_go(context);
    rocksdb_batched_multi_get_cf(store->db, store->reads, store->family, count, places, sizes, context->slices, errors,
        false);
    context->slice_count = count;
    for (size_t i = 0; i < count; i++) {
        try(errors[i]);
        records[i] = value_of(context->slices[i]);
    }
}

static void rocksdb_scan(struct context *context, visitor *visit, void *argument)
{
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(context->store->db, context->store->reads);
    for (rocksdb_iter_seek_to_first(iterator); rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        size_t size;
        uint64_t key;
        memcpy(&key, rocksdb_iter_key(iterator, &size), sizeof key);
        visit(argument, be64toh(key), rocksdb_iter_value(iterator, &size));
    }
    char *error = NULL;
    rocksdb_iter_get_error(iterator, &error);
    try(error);
    rocksdb_iter_destroy(iterator);
}

static void rocksdb_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    struct store *store = context->store;
    char *error = NULL;
    if (count == 1) {
        uint64_t key = htobe64(ids[0]);
        rocksdb_put(store->db, store->writes, (char *)&key, sizeof key, records, record_size, &error);
        return try(error);
    }
    rocksdb_writebatch_clear(context->batch);
    for (size_t i = 0; i < count; i++) {
        uint64_t key = htobe64(ids[i]);
        rocksdb_writebatch_put(context->batch, (char *)&key, sizeof key, records + i * record_size, record_size);
    }
    rocksdb_write(store->db, store->writes, context->batch, &error);
    try(error);
}

static void rocksdb_checkpoint(struct context *context)
{
    flush(context->store);
}

static const char *rocksdb_version(void)
{
    return ROCKSDB_VERSION;
}

const struct engine rocksdb_engine = {
    .name = "rocksdb",
    .settings = "block cache of twice the data, bloom filters, no compression; load: sorted files, ingested; async: "
                "disableWAL; os: default; durable: sync=true; checkpoint: flush",
    .version = rocksdb_version,
    .abilities = DATABASE,
    .open = rocksdb_open_store,
    .close = rocksdb_close_store,
    .load = rocksdb_load,
    .enter = rocksdb_enter,
    .leave = rocksdb_leave,
    .read = rocksdb_read,
    .read_many = rocksdb_read_many,
    .scan = rocksdb_scan,
    .overwrite = rocksdb_overwrite,
    .checkpoint = rocksdb_checkpoint,
};
