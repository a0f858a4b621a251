/*
 * What the seam costs: the same fetches and saves over the native store, over memory, through a store and through a
 * cache of the caller's, in nanoseconds a call. Medians of rounds that take turns. The modules do next to nothing, so
 * that what is left is the seam.
 */
#include <stdio.h>
#include <time.h>

#include "../tests/c/array_cache.c"

enum { RECORDS = 1000, SIZE = 100, CALLS = 20000, ROUNDS = 15 };

#define OK(call)                                                                          \
    do {                                                                                  \
        if (call) { fprintf(stderr, "%s: %s\n", #call, diamond_error_message()); exit(1); } \
    } while (0)

/* A store in an array: one table's records by id. */
struct slot { diamond_stamp stamp; int there; unsigned char record[SIZE], nulls; };
static struct slot slots[RECORDS + CALLS * (ROUNDS + 2)];

static int32_t begin(void *context, diamond_reply *reply) { return (void)context, (void)reply, DIAMOND_MODULE_OK; }
static int32_t make(void *context, uint32_t table, const char *meta, size_t size, diamond_reply *reply) {
    return (void)context, (void)table, (void)meta, (void)size, (void)reply, DIAMOND_MODULE_OK;
}
static int32_t meta(void *context, const char *tables, size_t size, diamond_reply *reply) {
    return (void)context, (void)tables, (void)size, (void)reply, DIAMOND_MODULE_OK;
}
static int32_t keep(void *context, const diamond_change *changes, size_t count, int32_t *items, diamond_reply *reply) {
    (void)context, (void)items, (void)reply;
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = slots + changes[i].id;
        slot->stamp = changes[i].stamp, slot->there = 1, slot->nulls = *changes[i].nulls;
        memcpy(slot->record, changes[i].record, SIZE);
    }
    return DIAMOND_MODULE_OK;
}
static int32_t look(void *context, uint32_t table, const uint64_t *ids, size_t count, int32_t *items, diamond_reply *reply) {
    (void)context, (void)table, (void)items;
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = slots + ids[i];
        if (slot->there) diamond_reply_record(reply, i, &slot->stamp, slot->record, SIZE, &slot->nulls, 1);
    }
    return DIAMOND_MODULE_OK;
}

struct way { const char *name; diamond_options options; diamond_db *db; diamond_table *table; double fetch[ROUNDS], save[ROUNDS]; };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int by_size(const void *one, const void *other) {
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

static double median(double *times) {
    qsort(times, ROUNDS, sizeof *times, by_size);
    return times[ROUNDS / 2];
}

int main(int argc, char **argv) {
    static diamond_store_module array_store_module = {.struct_size = sizeof array_store_module, .name = "array",
        .flags = DIAMOND_MODULE_ATOMIC | DIAMOND_MODULE_IMMEDIATE, .initialize = begin, .make_table = make,
        .update_meta = meta, .store = keep, .fetch = look, .persist_all = begin};
    diamond_cache_module cache = array_cache();
    size_t size = sizeof(diamond_options);
    int32_t async = DIAMOND_DURABILITY_ASYNC;
    struct way ways[] = {
        {"native", {.struct_size = size, .durability = async}, NULL, NULL, {0}, {0}},
        {"native behind the cache lru", {.struct_size = size, .durability = async, .cache_bytes = 1 << 20}, NULL, NULL, {0}, {0}},
        {"native behind a cache in C", {.struct_size = size, .durability = async, .cache = &cache}, NULL, NULL, {0}, {0}},
        {"memory", {.struct_size = size, .durability = async, .flags = DIAMOND_OPEN_IN_MEMORY}, NULL, NULL, {0}, {0}},
        {"a store in C", {.struct_size = size, .durability = async, .store = &array_store_module}, NULL, NULL, {0}, {0}},
    };
    const char *schema = "{\"text\": [\"bytes\", 100]}";
    const size_t count = sizeof ways / sizeof *ways;
    unsigned char record[SIZE], found[SIZE];
    uint64_t random = 88172645463325252u, id;
    for (size_t i = 0; i < count; i++) {
        char folder[4096];
        snprintf(folder, sizeof folder, "%s/%zu", argc > 1 ? argv[1] : ".", i);
        OK(diamond_open(folder, strlen(folder), &ways[i].options, &ways[i].db));
        OK(diamond_table_make(ways[i].db, "bench", 5, schema, strlen(schema), &ways[i].table));
        for (uint64_t n = 0; n < RECORDS; n++) {
            memset(record, (int)n, SIZE);
            OK(diamond_table_save(ways[i].table, record, SIZE, NULL, &id));
        }
    }
    for (int round = -1; round < ROUNDS; round++) {
        for (size_t i = 0; i < count; i++) {
            double begun = now();
            for (int call = 0; call < CALLS; call++) {
                random ^= random << 13, random ^= random >> 7, random ^= random << 17;
                id = random % RECORDS;
                OK(diamond_table_fetch(ways[i].table, id, found, SIZE, NULL));
                if (found[SIZE - 1] != (unsigned char)id) return fprintf(stderr, "a wrong record\n"), 1;
            }
            double middle = now();
            for (int call = 0; call < CALLS; call++) OK(diamond_table_save(ways[i].table, record, SIZE, NULL, &id));
            if (round >= 0) ways[i].fetch[round] = (middle - begun) / CALLS, ways[i].save[round] = (now() - middle) / CALLS;
        }
    }
    printf("| 100-byte records, ns a call | fetch | save (async) |\n|---|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        printf("| %s | %.0f | %.0f |\n", ways[i].name, median(ways[i].fetch), median(ways[i].save));
        OK(diamond_table_close(ways[i].table));
        OK(diamond_close(ways[i].db));
    }
    return 0;
}
