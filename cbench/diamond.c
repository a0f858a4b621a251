/*
 * DiamondDB, through its C interface only: one table with one field of bytes, defaults but for the durability. A scan
 * in place goes through a pin, which is opened once and not timed.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "diamonddb.h"

/* One call of a load; records of one call of a scan. */
#define LOAD_BYTES ((uint64_t)100 << 20)
#define SCAN_COUNT 128

struct store {
    diamond_db *db;
    diamond_table *table;
};

struct context {
    struct store *store;
    diamond_pin *pin;
    diamond_slots slots;
    char *room;
};

static void try(diamond_status status)
{
    if (status != DIAMOND_STATUS_OK) fail("diamond: status %d: %s", status, diamond_error_message());
}

static struct store *diamond_open_store(const struct setup *setup)
{
    static const int32_t durabilities[] = {
        [ASYNC] = DIAMOND_DURABILITY_ASYNC,
        [OS] = DIAMOND_DURABILITY_OS,
        [DURABLE] = DIAMOND_DURABILITY_SYNC,
    };
    char schema[64];
    snprintf(schema, sizeof schema, "{\"value\": [\"bytes\", %zu]}", record_size);
    struct store *store = allocate(sizeof *store);
    diamond_options options = {.struct_size = sizeof options, .durability = durabilities[setup->durability]};
    /* The defaults are parts of the machine's memory, which a limit of the process does not show in. */
    options.dirty_soft = setup->memory_limit / 8;
    options.dirty_hard = setup->memory_limit / 4;
    try(diamond_open(setup->folder, strlen(setup->folder), &options, &store->db));
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
    uint64_t most = LOAD_BYTES / record_size;
    char *bytes = allocate((count < most ? count : most) * record_size);
    for (uint64_t first = 0; first < count; first += most) {
        uint64_t piece = count - first < most ? count - first : most;
        for (uint64_t i = 0; i < piece; i++) make_record(first + i, 0, bytes + i * record_size);
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
    context->room = allocate(SCAN_COUNT * record_size);
    return context;
}

static void diamond_leave(struct context *context)
{
    try(diamond_pin_close(context->pin));
    free(context->room);
    free(context);
}

static const char *diamond_read(struct context *context, uint64_t id, char *room)
{
    try(diamond_table_fetch(context->store->table, id, room, record_size, NULL));
    return room;
}

static void diamond_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,
    const char **records)
{
    diamond_records places = {.struct_size = sizeof places, .records = room};
    try(diamond_table_fetch_many(context->store->table, ids, count, &places, NULL));
    for (size_t i = 0; i < count; i++) records[i] = room + i * record_size;
}

static void diamond_scan(struct context *context, visitor *visit, void *argument)
{
    uint64_t ids[SCAN_COUNT];
    const char *bytes = context->room;
    diamond_records records = {.struct_size = sizeof records, .records = context->room};
    diamond_cursor *cursor;
    size_t count;
    diamond_status status;
    try(diamond_table_scan(context->store->table, NULL, &cursor));
    while (!(status = diamond_cursor_next_many(cursor, ids, SCAN_COUNT, &records, &count))) {
        for (size_t i = 0; i < count; i++) visit(argument, ids[i], bytes + i * record_size);
    }
    if (status != DIAMOND_STATUS_END) try(status);
    try(diamond_cursor_close(cursor));
}

static void diamond_scan_in_place(struct context *context, visitor *visit, void *argument)
{
    diamond_slots *slots = &context->slots;
    slots->struct_size = sizeof *slots;
    if (!context->pin) try(diamond_pin_open(context->store->table, slots, &context->pin));
    for (uint64_t id = 0; id < slots->count; id++) {
        const uint8_t *slot = slots->base + id * slots->stride;
        if (slot[slots->state_offset]) visit(argument, id, (const char *)slot);
    }
}

static void diamond_checkpoint_store(struct context *context)
{
    try(diamond_checkpoint(context->store->db));
}

static void diamond_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    diamond_table *table = context->store->table;
    if (count == 1) {
        try(diamond_table_replace(table, ids[0], records, record_size, NULL));
        return;
    }
    diamond_records places = {.struct_size = sizeof places, .records = (void *)(uintptr_t)records};
    try(diamond_table_replace_many(table, ids, count, &places));
}

const struct engine diamond_engine = {
    .name = "diamond",
    .settings = "defaults; async: DIAMOND_DURABILITY_ASYNC, which syncs once a second; os: _OS; durable: _SYNC; "
                "load: save_many of 100 MiB; scan: next_many of 128; in place: a pin, opened before",
    .version = diamond_version,
    .abilities = DATABASE,
    .is_ours = true,
    .scan_copies = true,
    .open = diamond_open_store,
    .close = diamond_close_store,
    .load = diamond_load,
    .enter = diamond_enter,
    .leave = diamond_leave,
    .read = diamond_read,
    .read_many = diamond_read_many,
    .scan = diamond_scan,
    .scan_in_place = diamond_scan_in_place,
    .overwrite = diamond_overwrite,
    .checkpoint = diamond_checkpoint_store,
};
