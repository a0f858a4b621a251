/* What the calls cost in C: calls FOLDER, which has to be there. Lines of work, column and nanoseconds. */
#define _POSIX_C_SOURCE 200809L
#include <diamonddb.h>

#include "records.h"

static const char schema[] =
    "{\"a\": [\"i64\"], \"b\": [\"i64\"], \"c\": [\"f64\"], \"d\": [\"f64\"], \"e\": [\"f64\"], \"f\": [\"timestamp\"],"
    " \"g\": [\"i32\"], \"h\": [\"i32\"], \"i\": [\"u32\"], \"j\": [\"f32\"], \"k\": [\"i16\"], \"l\": [\"i16\"],"
    " \"m\": [\"bool\"], \"n\": [\"string\", 12], \"o\": [\"string\", 15]}";

static void check(diamond_status status)
{
    if (status == DIAMOND_STATUS_OK) return;
    fprintf(stderr, "%s\n", diamond_error_message());
    exit(1);
}

static diamond_db *open_in(const char *folder, const char *name, diamond_options *options)
{
    char path[4096];
    diamond_db *db;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    check(diamond_open(path, strlen(path), options, &db));
    return db;
}

static diamond_table *make_in(diamond_db *db)
{
    diamond_table *table;
    check(diamond_table_make(db, "records", 7, schema, strlen(schema), &table));
    return table;
}

static void check_record(const struct record *it, uint64_t id)
{
    if ((uint64_t)it->a == id) return;
    fprintf(stderr, "record %llu is another\n", (unsigned long long)id);
    exit(1);
}

/* Records one after the other, for calls of many. */
static diamond_records at(struct record *first)
{
    return (diamond_records){.struct_size = sizeof(diamond_records), .records = first, .record_stride = sizeof *first};
}

static void fill(diamond_table *table)
{
    struct record *all = malloc(RECORDS * sizeof *all);
    if (!all) exit(1);
    for (int id = 0; id < RECORDS; id++) all[id] = record_of(id);
    diamond_records records = at(all);
    check(diamond_table_save_many(table, &records, RECORDS, NULL));
    free(all);
}

/* Nanoseconds for each of `count` that one call of `act` does: the median of some rounds. */
static double measure(void (*act)(diamond_table *table), diamond_table *table, double count)
{
    double rounds[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double begun = now_ns();
        act(table);
        rounds[round] = now_ns() - begun;
    }
    return median(rounds) / count;
}

static uint64_t random_state = 1;

static void fetch_each(diamond_table *table)
{
    struct record found;
    for (int i = 0; i < READS; i++) {
        uint64_t id = next_id(&random_state);
        check(diamond_table_fetch(table, id, &found, sizeof found, NULL));
        check_record(&found, id);
    }
}

static void fetch_batches(diamond_table *table)
{
    static struct record found[BATCH];
    static uint64_t ids[BATCH];
    diamond_records records = at(found);
    for (int batch = 0; batch < READS / BATCH; batch++) {
        for (int i = 0; i < BATCH; i++) ids[i] = next_id(&random_state);
        check(diamond_table_fetch_many(table, ids, BATCH, &records, NULL));
        for (int i = 0; i < BATCH; i++) check_record(&found[i], ids[i]);
    }
}

static void save_some(diamond_table *table, int count)
{
    for (int i = 0; i < count; i++) {
        struct record it = record_of(i);
        check(diamond_table_save(table, &it, sizeof it, NULL, NULL));
    }
}

static void save_each(diamond_table *table) { save_some(table, SAVES); }
static void save_each_synced(diamond_table *table) { save_some(table, SYNCED); }

static void save_batches(diamond_table *table)
{
    static struct record many[BATCH];
    for (int i = 0; i < BATCH; i++) many[i] = record_of(i);
    diamond_records records = at(many);
    for (int i = 0; i < BATCHES; i++) check(diamond_table_save_many(table, &records, BATCH, NULL));
}

static int32_t hears(void *context, const diamond_change *change, diamond_reply *reply)
{
    (void)context, (void)change, (void)reply;
    return DIAMOND_MODULE_OK;
}

static int32_t has_nothing(void *context, uint32_t table, uint64_t id, diamond_reply *reply)
{
    (void)context, (void)table, (void)id, (void)reply;
    return DIAMOND_MODULE_MISS;
}

static int32_t clears(void *context, diamond_reply *reply)
{
    (void)context, (void)reply;
    return DIAMOND_MODULE_OK;
}

static void fetch_first(diamond_table *table)
{
    struct record found;
    for (int i = 0; i < READS; i++) check(diamond_table_fetch(table, 0, &found, sizeof found, NULL));
}

static double fetch_time(diamond_cache_module *cache)
{
    diamond_options options = {.struct_size = sizeof options, .flags = DIAMOND_OPEN_IN_MEMORY, .cache = cache};
    diamond_db *db;
    check(diamond_open("callbacks", 9, &options, &db));
    diamond_table *table = make_in(db);
    save_some(table, 1);
    double time = measure(fetch_first, table, READS);
    check(diamond_table_close(table));
    check(diamond_close(db));
    return time;
}

/* A fetch over a cache that has nothing, less one without: a miss and what it hears of the record, two calls. */
static double callback_time(void)
{
    diamond_cache_module cache = {
        .struct_size = sizeof cache, .store = hears, .fetch = has_nothing, .clear = clears,
    };
    return (fetch_time(&cache) - fetch_time(NULL)) / 2;
}

int main(int count, char **arguments)
{
    if (count != 2) return 2;
    diamond_options options = {.struct_size = sizeof options, .durability = DIAMOND_DURABILITY_ASYNC};
    diamond_db *db = open_in(arguments[1], "async", &options);
    diamond_table *table = make_in(db);
    fill(table);
    tell("fetch, as bytes", "C", measure(fetch_each, table, READS));
    tell("fetch of 1000, a record", "C", measure(fetch_batches, table, READS));
    tell("save, async", "C", measure(save_each, table, SAVES));
    tell("batch of 1000, async, a record", "C", measure(save_batches, table, BATCH * BATCHES));
    check(diamond_table_close(table));
    check(diamond_close(db));
    tell("callback", "C", callback_time());
    db = open_in(arguments[1], "synced", NULL);
    table = make_in(db);
    tell("save, sync", "C", measure(save_each_synced, table, SYNCED));
    check(diamond_table_close(table));
    check(diamond_close(db));
    return 0;
}
