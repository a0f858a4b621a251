/*
 * DiamondDB, through its C interface only: one table with one field of 100 bytes, defaults but for the durability.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#include "diamonddb.h"

/* Records in one call: a load, a scan. */
#define LOAD_COUNT ((uint64_t)1000000)
#define SCAN_COUNT 128

struct store {
    diamond_db *db;
    diamond_table *table;
};

struct context {
    struct store *store;
};

static void try(diamond_status status)
{
    if (status != DIAMOND_STATUS_OK) fail("diamond: status %d: %s", status, diamond_error_message());
}

static struct store *diamond_open_store(const char *folder, enum durability durability, uint64_t record_count)
{
    (void)record_count;
    const char *schema = "{\"value\": [\"bytes\", 100]}";
    struct store *store = allocate(sizeof *store);
    diamond_options options = {.struct_size = sizeof options};
    options.durability = durability == DURABLE ? DIAMOND_DURABILITY_SYNC : DIAMOND_DURABILITY_ASYNC;
    try(diamond_open(folder, strlen(folder), &options, &store->db));
    try(diamond_table_make(store->db, "records", 7, schema, strlen(schema), &store->table));
    return store;
}

static void diamond_close_store(struct store *store)
{
    try(diamond_table_close(store->table));
    try(diamond_close(store->db));
    free(store);
}

static void diamond_load(struct store *store, uint64_t count)
{
    uint64_t most = count < LOAD_COUNT ? count : LOAD_COUNT;
    char *bytes = allocate(most * RECORD_SIZE);
    for (uint64_t first = 0; first < count; first += most) {
        uint64_t piece = count - first < most ? count - first : most;
        for (uint64_t i = 0; i < piece; i++) make_record(first + i, 0, bytes + i * RECORD_SIZE);
        diamond_records records = {.struct_size = sizeof records, .records = bytes};
        try(diamond_table_save_many(store->table, &records, piece, NULL));
    }
    try(diamond_flush(store->db));
    free(bytes);
}

static struct context *diamond_enter(struct store *store)
{
    struct context *context = allocate(sizeof *context);
    context->store = store;
    return context;
}

static void diamond_leave(struct context *context)
{
    free(context);
}

static const char *diamond_read(struct context *context, uint64_t id, char *room)
{
    try(diamond_table_fetch(context->store->table, id, room, RECORD_SIZE, NULL));
    return room;
}

static void diamond_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,
    const char **records)
{
    diamond_records places = {.struct_size = sizeof places, .records = room};
    try(diamond_table_fetch_many(context->store->table, ids, count, &places, NULL));
    for (size_t i = 0; i < count; i++) records[i] = room + i * RECORD_SIZE;
}

static void diamond_scan(struct context *context, visitor *visit, void *argument)
{
    uint64_t ids[SCAN_COUNT];
    char bytes[SCAN_COUNT * RECORD_SIZE];
    diamond_records records = {.struct_size = sizeof records, .records = bytes};
    diamond_cursor *cursor;
    size_t count;
    diamond_status status;
    try(diamond_table_scan(context->store->table, NULL, &cursor));
    while (!(status = diamond_cursor_next_many(cursor, ids, SCAN_COUNT, &records, &count))) {
        for (size_t i = 0; i < count; i++) visit(argument, ids[i], bytes + i * RECORD_SIZE);
    }
    if (status != DIAMOND_STATUS_END) try(status);
    try(diamond_cursor_close(cursor));
}

static void diamond_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    diamond_table *table = context->store->table;
    if (count == 1) {
        try(diamond_table_replace(table, ids[0], records, RECORD_SIZE, NULL));
        return;
    }
    diamond_records places = {.struct_size = sizeof places, .records = (void *)(uintptr_t)records};
    try(diamond_table_replace_many(table, ids, count, &places));
}

const struct engine diamond_engine = {
    .name = "diamond",
    .settings = "defaults; async: DIAMOND_DURABILITY_ASYNC, which syncs once a second; durable: _SYNC",
    .open = diamond_open_store,
    .close = diamond_close_store,
    .load = diamond_load,
    .enter = diamond_enter,
    .leave = diamond_leave,
    .read = diamond_read,
    .read_many = diamond_read_many,
    .scan = diamond_scan,
    .overwrite = diamond_overwrite,
};
