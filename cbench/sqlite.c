/*
 * SQLite: a table by integer primary key, in WAL mode, read through a memory map, one connection and prepared
 * statements a thread. Not synced: synchronous=OFF, which hands each commit to the operating system. Durable:
 * synchronous=FULL. A load is one transaction without a journal.
 */
#include "bench.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>

struct store {
    char path[4096];
    enum durability durability;
    uint64_t cache_size;
    /* Keeps the log from being written back at the close of each thread's. */
    sqlite3 *first;
    /* One writer at a time, in a queue: without it they poll for the lock, and starve. */
    pthread_mutex_t writes;
};

struct context {
    struct store *store;
    sqlite3 *db;
    sqlite3_stmt *begin, *begin_write, *commit, *read, *scan, *overwrite;
};

static void try(sqlite3 *db, int status)
{
    if (status != SQLITE_OK) fail("sqlite: %s", sqlite3_errmsg(db));
}

static void run(sqlite3 *db, const char *statement)
{
    try(db, sqlite3_exec(db, statement, NULL, NULL, NULL));
}

static sqlite3 *connect(const struct store *store)
{
    static const char *const synchronous[] = {[ASYNC] = "OFF", [OS] = "OFF", [DURABLE] = "FULL"};
    sqlite3 *db;
    char statements[512];
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(store->path, &db, flags, NULL) != SQLITE_OK) fail("sqlite: cannot open %s", store->path);
    try(db, sqlite3_busy_timeout(db, 60000));
    snprintf(statements, sizeof statements,
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=%s; PRAGMA mmap_size=%lld; PRAGMA cache_size=-%llu",
        synchronous[store->durability], 8ll << 30, (unsigned long long)store->cache_size >> 10);
    run(db, statements);
    run(db, "CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, value BLOB NOT NULL)");
    return db;
}

static struct store *sqlite_open(const struct setup *setup)
{
    struct store *store = allocate(sizeof *store);
    snprintf(store->path, sizeof store->path, "%s/records.db", setup->folder);
    store->durability = setup->durability;
    store->cache_size = cache_size(setup);
    store->first = connect(store);
    pthread_mutex_init(&store->writes, NULL);
    return store;
}

static void sqlite_close(struct store *store)
{
    try(store->first, sqlite3_close(store->first));
    free(store);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *text)
{
    sqlite3_stmt *statement;
    try(db, sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL));
    return statement;
}

static void step(sqlite3 *db, sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE) fail("sqlite: %s", sqlite3_errmsg(db));
    sqlite3_reset(statement);
}

static void sqlite_load(struct store *store, uint64_t count)
{
    sqlite3 *db = store->first;
    char record[RECORD_SIZE_MAX];
    run(db, "PRAGMA journal_mode=OFF; PRAGMA synchronous=FULL; BEGIN");
    sqlite3_stmt *insert = prepare(db, "INSERT INTO records VALUES (?, ?)");
    for (uint64_t id = 0; id < count; id++) {
        make_record(id, 0, record);
        sqlite3_bind_int64(insert, 1, (sqlite3_int64)id);
        sqlite3_bind_blob(insert, 2, record, (int)record_size, SQLITE_STATIC);
        step(db, insert);
    }
    sqlite3_finalize(insert);
    run(db, "COMMIT");
}

static struct context *sqlite_enter(struct store *store)
{
    struct context *context = allocate(sizeof *context);
    sqlite3 *db = context->db = connect(store);
    context->store = store;
    context->begin = prepare(db, "BEGIN");
    context->begin_write = prepare(db, "BEGIN IMMEDIATE");
    context->commit = prepare(db, "COMMIT");
    context->read = prepare(db, "SELECT value FROM records WHERE id = ?");
    context->scan = prepare(db, "SELECT id, value FROM records ORDER BY id");
    context->overwrite = prepare(db, "UPDATE records SET value = ? WHERE id = ?");
    return context;
}

static void sqlite_leave(struct context *context)
{
    for (sqlite3_stmt *next; (next = sqlite3_next_stmt(context->db, NULL));) sqlite3_finalize(next);
    try(context->db, sqlite3_close(context->db));
    free(context);
}

static const char *value_of(sqlite3_stmt *statement, int column)
{
    const char *record = sqlite3_column_blob(statement, column);
    if ((size_t)sqlite3_column_bytes(statement, column) != record_size) fail("sqlite: a record has another size");
    return record;
}

/* Copied, since the statement must be over before the next commit can be written back. */
static const char *sqlite_read(struct context *context, uint64_t id, char *room)
{
    sqlite3_bind_int64(context->read, 1, (sqlite3_int64)id);
    if (sqlite3_step(context->read) != SQLITE_ROW) fail("sqlite: %s", sqlite3_errmsg(context->db));
    copy_record(room, value_of(context->read, 0));
    sqlite3_reset(context->read);
    return room;
}

static void sqlite_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,
    const char **records)
{
    step(context->db, context->begin);
    for (size_t i = 0; i < count; i++) records[i] = sqlite_read(context, ids[i], room + i * record_size);
    step(context->db, context->commit);
}

static void sqlite_scan(struct context *context, visitor *visit, void *argument)
{
    int status;
    while ((status = sqlite3_step(context->scan)) == SQLITE_ROW) {
        visit(argument, (uint64_t)sqlite3_column_int64(context->scan, 0), value_of(context->scan, 1));
    }
    if (status != SQLITE_DONE) fail("sqlite: %s", sqlite3_errmsg(context->db));
    sqlite3_reset(context->scan);
}

static void sqlite_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    pthread_mutex_lock(&context->store->writes);
    if (count > 1) step(context->db, context->begin_write);
    for (size_t i = 0; i < count; i++) {
        sqlite3_bind_blob(context->overwrite, 1, records + i * record_size, (int)record_size, SQLITE_STATIC);
        sqlite3_bind_int64(context->overwrite, 2, (sqlite3_int64)ids[i]);
        step(context->db, context->overwrite);
    }
    if (count > 1) step(context->db, context->commit);
    pthread_mutex_unlock(&context->store->writes);
}

/* Busy: a writer is doing it already. */
static void sqlite_checkpoint(struct context *context)
{
    int status = sqlite3_wal_checkpoint_v2(context->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (status != SQLITE_BUSY) try(context->db, status);
}

const struct engine sqlite_engine = {
    .name = "sqlite",
    .settings = "WAL, mmap_size=8 GiB, cache of twice the data, prepared statements; async and os: synchronous=OFF; "
                "durable: FULL; load: one transaction, journal_mode=OFF",
    .version = sqlite3_libversion,
    .abilities = DATABASE,
    .open = sqlite_open,
    .close = sqlite_close,
    .load = sqlite_load,
    .enter = sqlite_enter,
    .leave = sqlite_leave,
    .read = sqlite_read,
    .read_many = sqlite_read_many,
    .scan = sqlite_scan,
    .overwrite = sqlite_overwrite,
    .checkpoint = sqlite_checkpoint,
};
