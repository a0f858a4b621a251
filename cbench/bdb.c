/*
 * Berkeley DB, as a queue (records of fixed width by number) and as a btree: transactions, one process (DB_PRIVATE), a
 * cache that holds all. Async: DB_TXN_NOSYNC, which keeps the log in memory; os: DB_TXN_WRITE_NOSYNC; durable: its
 * default, into log files that are zeroed when they are made. Reads copy, as they must with threads.
 */
#include "bench.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include <db.h>

#define LOG_BUFFER ((uint32_t)16 << 20)
#define LOG_FILE ((uint32_t)64 << 20)
#define LOAD_COUNT ((uint64_t)10000)
#define SCAN_BYTES ((uint32_t)1 << 20)
#define PAGE_SIZE 4096

struct store {
    DB_ENV *environment;
    DB *db;
    bool is_queue;
};

struct context {
    struct store *store;
    char *room;
};

/* A key of either kind: of a queue, the number from 1 on; of a btree, the id, big end first, as its order wants it. */
struct key {
    db_recno_t number;
    uint64_t id;
    DBT dbt;
};

static void try(int status)
{
    if (status != 0) fail("bdb: %s", db_strerror(status));
}

static DBT *make_key(const struct store *store, uint64_t id, struct key *key)
{
    memset(key, 0, sizeof *key);
    key->number = (db_recno_t)id + 1;
    key->id = htobe64(id);
    key->dbt.data = store->is_queue ? (void *)&key->number : (void *)&key->id;
    key->dbt.size = store->is_queue ? sizeof key->number : sizeof key->id;
    return &key->dbt;
}

static DB_ENV *open_environment(const struct setup *setup)
{
    DB_ENV *environment;
    uint64_t cache = cache_size(setup);
    try(db_env_create(&environment, 0));
    try(environment->set_cachesize(environment, (uint32_t)(cache >> 30), (uint32_t)(cache & ((1u << 30) - 1)), 1));
    try(environment->set_lg_bsize(environment, LOG_BUFFER));
    try(environment->set_lg_max(environment, LOG_FILE));
    try(environment->set_lk_max_locks(environment, 100000));
    try(environment->set_lk_max_objects(environment, 100000));
    try(environment->set_lk_max_lockers(environment, 10000));
    try(environment->set_lk_detect(environment, DB_LOCK_DEFAULT));
    try(environment->log_set_config(environment, DB_LOG_AUTO_REMOVE | DB_LOG_ZERO, 1));
    if (setup->durability == ASYNC) try(environment->set_flags(environment, DB_TXN_NOSYNC, 1));
    if (setup->durability == OS) try(environment->set_flags(environment, DB_TXN_WRITE_NOSYNC, 1));
    try(environment->open(environment, setup->folder,
        DB_CREATE | DB_INIT_MPOOL | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_LOCK | DB_THREAD | DB_PRIVATE | DB_RECOVER,
        0666));
    return environment;
}

static struct store *open_kind(const struct setup *setup, bool is_queue)
{
    struct store *store = allocate(sizeof *store);
    store->is_queue = is_queue;
    store->environment = open_environment(setup);
    try(db_create(&store->db, store->environment, 0));
    try(store->db->set_pagesize(store->db, record_size * 2 > PAGE_SIZE ? PAGE_SIZE * 4 : PAGE_SIZE));
    if (is_queue) try(store->db->set_re_len(store->db, (uint32_t)record_size));
    try(store->db->open(store->db, NULL, "records.db", NULL, is_queue ? DB_QUEUE : DB_BTREE,
        DB_CREATE | DB_AUTO_COMMIT | DB_THREAD, 0666));
    return store;
}

static struct store *bdb_queue_open(const struct setup *setup)
{
    return open_kind(setup, true);
}

static struct store *bdb_btree_open(const struct setup *setup)
{
    return open_kind(setup, false);
}

static void checkpoint(struct store *store)
{
    try(store->environment->txn_checkpoint(store->environment, 0, 0, DB_FORCE));
}

static void bdb_close(struct store *store)
{
    checkpoint(store);
    try(store->db->close(store->db, 0));
    try(store->environment->close(store->environment, 0));
    free(store);
}

static int put(struct store *store, DB_TXN *txn, uint64_t id, const char *record)
{
    struct key key;
    DBT value = {.data = (void *)(uintptr_t)record, .size = (uint32_t)record_size};
    return store->db->put(store->db, txn, make_key(store, id, &key), &value, 0);
}

static void bdb_load(struct store *store, uint64_t count)
{
    DB_ENV *environment = store->environment;
    char record[RECORD_SIZE_MAX];
    for (uint64_t first = 0; first < count; first += LOAD_COUNT) {
        uint64_t end = count - first < LOAD_COUNT ? count : first + LOAD_COUNT;
        DB_TXN *txn;
        try(environment->txn_begin(environment, NULL, &txn, DB_TXN_NOSYNC));
        for (uint64_t id = first; id < end; id++) {
            make_record(id, 0, record);
            try(put(store, txn, id, record));
        }
        try(txn->commit(txn, DB_TXN_NOSYNC));
    }
    checkpoint(store);
}

static struct context *bdb_enter(struct store *store)
{
    struct context *context = allocate(sizeof *context);
    context->store = store;
    context->room = allocate(SCAN_BYTES);
    return context;
}

static void bdb_leave(struct context *context)
{
    free(context->room);
    free(context);
}

static int get(struct store *store, DB_TXN *txn, uint64_t id, char *room)
{
    struct key key;
    DBT value = {.data = room, .ulen = (uint32_t)record_size, .flags = DB_DBT_USERMEM};
    int status = store->db->get(store->db, txn, make_key(store, id, &key), &value, 0);
    if (status == 0 && value.size != record_size) fail("bdb: a record has %u bytes", value.size);
    return status;
}

static const char *bdb_read(struct context *context, uint64_t id, char *room)
{
    int status;
    while ((status = get(context->store, NULL, id, room)) == DB_LOCK_DEADLOCK) continue;
    try(status);
    return room;
}

/* One after the other: a transaction that reads would lock each of the pages. */
static void bdb_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,
    const char **records)
{
    for (size_t i = 0; i < count; i++) records[i] = bdb_read(context, ids[i], room + i * record_size);
}

/* The records of one bulk get. */
static void visit_bulk(const struct store *store, DBT *bulk, visitor *visit, void *argument)
{
    void *place;
    uint8_t *key_bytes, *record;
    size_t key_size, size;
    DB_MULTIPLE_INIT(place, bulk);
    while (place) {
        uint64_t id = 0;
        if (store->is_queue) {
            db_recno_t number;
            DB_MULTIPLE_RECNO_NEXT(place, bulk, number, record, size);
            id = number - 1;
        } else {
            DB_MULTIPLE_KEY_NEXT(place, bulk, key_bytes, key_size, record, size);
            if (place) memcpy(&id, key_bytes, sizeof id);
            id = be64toh(id);
        }
        if (place) visit(argument, id, (const char *)record);
    }
    (void)key_size, (void)size;
}

static void bdb_scan(struct context *context, visitor *visit, void *argument)
{
    struct store *store = context->store;
    DBC *cursor;
    DBT key = {0}, bulk = {.data = context->room, .ulen = SCAN_BYTES, .flags = DB_DBT_USERMEM};
    int status;
    try(store->db->cursor(store->db, NULL, &cursor, DB_CURSOR_BULK));
    while ((status = cursor->get(cursor, &key, &bulk, DB_NEXT | DB_MULTIPLE_KEY)) == 0) {
        visit_bulk(store, &bulk, visit, argument);
    }
    if (status != DB_NOTFOUND) try(status);
    try(cursor->close(cursor));
}

static int put_all(struct store *store, const uint64_t *ids, size_t count, const char *records)
{
    DB_ENV *environment = store->environment;
    DB_TXN *txn;
    int status = 0;
    try(environment->txn_begin(environment, NULL, &txn, 0));
    for (size_t i = 0; i < count && status == 0; i++) status = put(store, txn, ids[i], records + i * record_size);
    if (status == 0) return txn->commit(txn, 0);
    try(txn->abort(txn));
    return status;
}

static void bdb_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    struct store *store = context->store;
    int status;
    do {
        status = count == 1 ? put(store, NULL, ids[0], records) : put_all(store, ids, count, records);
    } while (status == DB_LOCK_DEADLOCK);
    try(status);
}

static void bdb_checkpoint(struct context *context)
{
    checkpoint(context->store);
}

static const char *bdb_version(void)
{
    static char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", DB_VERSION_MAJOR, DB_VERSION_MINOR, DB_VERSION_PATCH);
    return text;
}

#define BDB_SETTINGS                                                                                     \
    "transactions, DB_PRIVATE, cache of twice the data, DB_LOG_ZERO, log files of 64 MiB; async: "       \
    "DB_TXN_NOSYNC; os: DB_TXN_WRITE_NOSYNC; durable: default; scan: bulk gets; checkpoint at the close"

#define BDB_ENGINE(kind, opens)                     \
    {                                               \
        .name = kind,                               \
        .settings = BDB_SETTINGS,                   \
        .version = bdb_version,                     \
        .abilities = DATABASE & ~SCANS_IN_PLACE,    \
        .scan_copies = true,                        \
        .open = opens,                              \
        .close = bdb_close,                         \
        .load = bdb_load,                           \
        .enter = bdb_enter,                         \
        .leave = bdb_leave,                         \
        .read = bdb_read,                           \
        .read_many = bdb_read_many,                 \
        .scan = bdb_scan,                           \
        .overwrite = bdb_overwrite,                 \
        .checkpoint = bdb_checkpoint,               \
    }

const struct engine bdb_queue_engine = BDB_ENGINE("bdb-queue", bdb_queue_open);
const struct engine bdb_btree_engine = BDB_ENGINE("bdb-btree", bdb_btree_open);
