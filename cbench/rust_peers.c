/*
 * redb and fjall: what rust_peers/src/redb.rs and fjall.rs define, as engines.
 */
#include "bench.h"

/* For the Rust side, which cannot see what is inline. */
void bench_make_record(uint64_t id, char *record)
{
    make_record(id, 0, record);
}

#define DECLARE(name)                                                                                           \
    struct store *name##_open(const struct setup *setup);                                                       \
    void name##_close(struct store *store);                                                                     \
    void name##_load(struct store *store, uint64_t count);                                                      \
    struct context *name##_enter(struct store *store);                                                          \
    void name##_leave(struct context *context);                                                                 \
    const char *name##_read(struct context *context, uint64_t id, char *room);                                  \
    void name##_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,               \
        const char **records);                                                                                  \
    void name##_scan(struct context *context, visitor *visit, void *argument);                                  \
    void name##_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records);

#define FUNCTIONS(name)                                                                                         \
    .open = name##_open, .close = name##_close, .load = name##_load, .enter = name##_enter,                     \
    .leave = name##_leave, .read = name##_read, .read_many = name##_read_many, .scan = name##_scan,             \
    .overwrite = name##_overwrite

DECLARE(redb)
DECLARE(fjall)
void fjall_checkpoint(struct context *context);

static const char *redb_version(void)
{
    return REDB_VERSION;
}

static const char *fjall_version(void)
{
    return FJALL_VERSION;
}

const struct engine redb_engine = {
    .name = "redb",
    .settings = "integer keys, cache of twice the data; load: one transaction; async: Durability::None; durable: "
                "default; it has nothing for os",
    .version = redb_version,
    .abilities = DATABASE & ~(CHECKPOINTS | WRITES_OS),
    FUNCTIONS(redb),
};

const struct engine fjall_engine = {
    .name = "fjall",
    .settings = "cache of twice the data, no compression, expect_point_read_hits; load: ingestion; async: "
                "manual_journal_persist; os: persist(Buffer); durable: persist(SyncData); checkpoint: "
                "rotate_memtable_and_wait",
    .version = fjall_version,
    .abilities = DATABASE,
    FUNCTIONS(fjall),
    .checkpoint = fjall_checkpoint,
};
