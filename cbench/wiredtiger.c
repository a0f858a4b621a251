/*
 * WiredTiger: a column store by record number, a cache that holds all, one session and two cursors a thread. A load
 * goes through a bulk cursor and ends in a checkpoint. The log is on; async: not waited for; os: written at each
 * commit (method=none); durable: synced at each (method=fsync).
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

#include <wiredtiger.h>

/* What is changed takes several times its size, and threads that write must evict it once it fills its part. */
#define CACHES 4

struct store {
    WT_CONNECTION *connection;
};

struct context {
    WT_SESSION *session;
    WT_CURSOR *reader, *writer;
};

static void try(int status)
{
    if (status != 0) fail("wiredtiger: %s", wiredtiger_strerror(status));
}

static struct store *wiredtiger_open_store(const struct setup *setup)
{
    static const char *const syncs[] = {
        [ASYNC] = "enabled=false",
        [OS] = "enabled=true,method=none",
        [DURABLE] = "enabled=true,method=fsync",
    };
    struct store *store = allocate(sizeof *store);
    WT_SESSION *session;
    char config[512];
    snprintf(config, sizeof config,
        "create,cache_size=%lluM,eviction_dirty_target=60,eviction_dirty_trigger=70,session_max=256,"
        "log=(enabled=true),transaction_sync=(%s),checkpoint=(wait=60)",
        (unsigned long long)cache_size(setup) * (setup->memory_limit ? 1 : CACHES) >> 20, syncs[setup->durability]);
    try(wiredtiger_open(setup->folder, NULL, config, &store->connection));
    try(store->connection->open_session(store->connection, NULL, NULL, &session));
    try(session->create(session, "table:records", "key_format=r,value_format=u"));
    try(session->close(session, NULL));
    return store;
}

static void wiredtiger_close_store(struct store *store)
{
    try(store->connection->close(store->connection, "leak_memory=true"));
    free(store);
}

static void wiredtiger_load(struct store *store, uint64_t count)
{
    WT_SESSION *session;
    WT_CURSOR *cursor;
    char record[RECORD_SIZE_MAX];
    try(store->connection->open_session(store->connection, NULL, NULL, &session));
    try(session->open_cursor(session, "table:records", NULL, "bulk", &cursor));
    for (uint64_t id = 0; id < count; id++) {
        WT_ITEM item = {.data = record, .size = record_size};
        make_record(id, 0, record);
        cursor->set_key(cursor, id + 1);
        cursor->set_value(cursor, &item);
        try(cursor->insert(cursor));
    }
    try(cursor->close(cursor));
    try(session->checkpoint(session, NULL));
    try(session->close(session, NULL));
}

static struct context *wiredtiger_enter(struct store *store)
{
    struct context *context = allocate(sizeof *context);
    try(store->connection->open_session(store->connection, NULL, "isolation=snapshot", &context->session));
    try(context->session->open_cursor(context->session, "table:records", NULL, NULL, &context->reader));
    try(context->session->open_cursor(context->session, "table:records", NULL, "overwrite", &context->writer));
    return context;
}

static void wiredtiger_leave(struct context *context)
{
    try(context->session->close(context->session, NULL));
    free(context);
}

static const char *value_of(WT_CURSOR *cursor)
{
    WT_ITEM item;
    try(cursor->get_value(cursor, &item));
    if (item.size != record_size) fail("wiredtiger: a record has %zu bytes", item.size);
    return item.data;
}

/* The cursor stays where it is, so that the record does. */
static const char *wiredtiger_read(struct context *context, uint64_t id, char *room)
{
    (void)room;
    WT_CURSOR *cursor = context->reader;
    cursor->set_key(cursor, id + 1);
    try(cursor->search(cursor));
    return value_of(cursor);
}

static void wiredtiger_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,
    const char **records)
{
    WT_SESSION *session = context->session;
    try(session->begin_transaction(session, NULL));
    for (size_t i = 0; i < count; i++) {
        char *place = room + i * record_size;
        copy_record(place, wiredtiger_read(context, ids[i], place));
        records[i] = place;
    }
    try(session->commit_transaction(session, NULL));
}

static void wiredtiger_scan(struct context *context, visitor *visit, void *argument)
{
    WT_CURSOR *cursor = context->reader;
    int status;
    try(cursor->reset(cursor));
    while ((status = cursor->next(cursor)) == 0) {
        uint64_t key;
        try(cursor->get_key(cursor, &key));
        visit(argument, key - 1, value_of(cursor));
    }
    if (status != WT_NOTFOUND) try(status);
    try(cursor->reset(cursor));
}

static int put(WT_CURSOR *cursor, uint64_t id, const char *record)
{
    WT_ITEM item = {.data = record, .size = record_size};
    cursor->set_key(cursor, id + 1);
    cursor->set_value(cursor, &item);
    return cursor->insert(cursor);
}

static int put_all(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    WT_SESSION *session = context->session;
    int status = 0;
    try(session->begin_transaction(session, NULL));
    for (size_t i = 0; i < count && status == 0; i++) {
        status = put(context->writer, ids[i], records + i * record_size);
    }
    if (status == 0) return session->commit_transaction(session, NULL);
    try(session->rollback_transaction(session, NULL));
    return status;
}

/* A transaction that was rolled back, for room in the cache, is tried again. */
static void wiredtiger_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    int status;
    try(context->reader->reset(context->reader));
    do {
        status = count == 1 ? put(context->writer, ids[0], records) : put_all(context, ids, count, records);
    } while (status == WT_ROLLBACK);
    try(status);
    try(context->writer->reset(context->writer));
}

static void wiredtiger_checkpoint(struct context *context)
{
    try(context->session->checkpoint(context->session, NULL));
}

static const char *wiredtiger_version_text(void)
{
    static char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", WIREDTIGER_VERSION_MAJOR, WIREDTIGER_VERSION_MINOR,
        WIREDTIGER_VERSION_PATCH);
    return text;
}

const struct engine wiredtiger_engine = {
    .name = "wiredtiger",
    .settings = "column store, cache of eight times the data, of which 60 to 70 % may be dirty, log on, "
                "checkpoint=(wait=60); load: bulk cursor and checkpoint; async: no transaction_sync; os: method=none; "
                "durable: method=fsync",
    .version = wiredtiger_version_text,
    .abilities = DATABASE,
    .open = wiredtiger_open_store,
    .close = wiredtiger_close_store,
    .load = wiredtiger_load,
    .enter = wiredtiger_enter,
    .leave = wiredtiger_leave,
    .read = wiredtiger_read,
    .read_many = wiredtiger_read_many,
    .scan = wiredtiger_scan,
    .overwrite = wiredtiger_overwrite,
    .checkpoint = wiredtiger_checkpoint,
};
