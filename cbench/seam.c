/*
 * What the seam costs: the same fetches and saves over the native store, over memory, through a store and through a
 * cache of the caller's, in nanoseconds a call. Medians of rounds that take turns. The modules do next to nothing, so
 * that what is left is the seam.
 */
#include <stdio.h>
#include <time.h>

#include "../tests/c/array_cache.c"

enum { RECORDS = 1000, SIZE = 100, CALLS = 20000, ROUNDS = 15 };

/* Ends the program where a call fails. */
static void try(diamond_status status)
{
    if (status == DIAMOND_STATUS_OK) return;
    fprintf(stderr, "status %d: %s\n", status, diamond_error_message());
    exit(1);
}

/* A store in an array ============================================================================================= */

/* The records of one table, by id. */
struct slot {
    diamond_stamp stamp;
    int is_there;
    unsigned char record[SIZE], nulls;
};

static struct slot slots[RECORDS + CALLS * (ROUNDS + 2)];

static int32_t begin_or_persist(void *context, diamond_reply *reply)
{
    (void)context, (void)reply;
    return DIAMOND_MODULE_OK;
}

static int32_t make_table(void *context, uint32_t table, const char *meta, size_t size, diamond_reply *reply)
{
    (void)context, (void)table, (void)meta, (void)size, (void)reply;
    return DIAMOND_MODULE_OK;
}

static int32_t update_meta(void *context, const char *tables, size_t size, diamond_reply *reply)
{
    (void)context, (void)tables, (void)size, (void)reply;
    return DIAMOND_MODULE_OK;
}

static int32_t store_all(void *context, const diamond_change *changes, size_t count, int32_t *items,
    diamond_reply *reply)
{
    (void)context, (void)items, (void)reply;
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = slots + changes[i].id;
        slot->stamp = changes[i].stamp;
        slot->is_there = 1;
        slot->nulls = *changes[i].nulls;
        memcpy(slot->record, changes[i].record, SIZE);
    }
    return DIAMOND_MODULE_OK;
}

static int32_t fetch_all(void *context, uint32_t table, const uint64_t *ids, size_t count, int32_t *items,
    diamond_reply *reply)
{
    (void)context, (void)table, (void)items;
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = slots + ids[i];
        if (slot->is_there) diamond_reply_record(reply, i, &slot->stamp, slot->record, SIZE, &slot->nulls, 1);
    }
    return DIAMOND_MODULE_OK;
}

static const diamond_store_module plain_store = {
    .struct_size = sizeof plain_store,
    .name = "array",
    .flags = DIAMOND_MODULE_ATOMIC | DIAMOND_MODULE_IMMEDIATE,
    .initialize = begin_or_persist,
    .make_table = make_table,
    .update_meta = update_meta,
    .store = store_all,
    .fetch = fetch_all,
    .persist_all = begin_or_persist,
};

/* Measuring ======================================================================================================= */

/* A database over some pair of store and cache. */
struct way {
    const char *name;
    diamond_options options;
    diamond_db *db;
    diamond_table *table;
    /* Nanoseconds a call in each round. */
    double fetch[ROUNDS], save[ROUNDS];
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int by_size(const void *one, const void *other)
{
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

static double median(double *times)
{
    qsort(times, ROUNDS, sizeof *times, by_size);
    return times[ROUNDS / 2];
}

static void open_way(struct way *way, const char *folder)
{
    const char *schema = "{\"text\": [\"bytes\", 100]}";
    unsigned char record[SIZE];
    uint64_t id;
    way->options.struct_size = sizeof way->options;
    way->options.durability = DIAMOND_DURABILITY_ASYNC;
    try(diamond_open(folder, strlen(folder), &way->options, &way->db));
    try(diamond_table_make(way->db, "bench", 5, schema, strlen(schema), &way->table));
    for (uint64_t n = 0; n < RECORDS; n++) {
        memset(record, (int)n, SIZE);
        try(diamond_table_save(way->table, record, SIZE, NULL, &id));
    }
}

static double fetch_time(struct way *way, uint64_t *random)
{
    unsigned char found[SIZE];
    double begun = now();
    for (int call = 0; call < CALLS; call++) {
        *random ^= *random << 13, *random ^= *random >> 7, *random ^= *random << 17;
        uint64_t id = *random % RECORDS;
        try(diamond_table_fetch(way->table, id, found, SIZE, NULL));
        if (found[SIZE - 1] == (unsigned char)id) continue;
        fprintf(stderr, "%s gives a wrong record\n", way->name);
        exit(1);
    }
    return (now() - begun) / CALLS;
}

static double save_time(struct way *way)
{
    unsigned char record[SIZE] = {1};
    uint64_t id;
    double begun = now();
    for (int call = 0; call < CALLS; call++) try(diamond_table_save(way->table, record, SIZE, NULL, &id));
    return (now() - begun) / CALLS;
}

int main(int argc, char **argv)
{
    diamond_cache_module cache = array_cache();
    struct way ways[] = {
        {.name = "native"},
        {.name = "native behind the cache lru", .options.cache_bytes = 1 << 20},
        {.name = "native behind a cache in C", .options.cache = &cache},
        {.name = "memory", .options.flags = DIAMOND_OPEN_IN_MEMORY},
        {.name = "a store in C", .options.store = &plain_store},
    };
    const size_t count = sizeof ways / sizeof *ways;
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < count; i++) {
        char folder[4096];
        snprintf(folder, sizeof folder, "%s/%zu", argc > 1 ? argv[1] : ".", i);
        open_way(&ways[i], folder);
    }
    for (int round = -1; round < ROUNDS; round++) {
        for (size_t i = 0; i < count; i++) {
            double fetch = fetch_time(&ways[i], &random), save = save_time(&ways[i]);
            if (round < 0) continue;
            ways[i].fetch[round] = fetch;
            ways[i].save[round] = save;
        }
    }
    printf("| 100-byte records, ns a call | fetch | save (async) |\n|---|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        printf("| %s | %.0f | %.0f |\n", ways[i].name, median(ways[i].fetch), median(ways[i].save));
        try(diamond_table_close(ways[i].table));
        try(diamond_close(ways[i].db));
    }
    return 0;
}
