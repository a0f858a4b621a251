/*
 * One engine as the benchmark sees it, and what engines and workloads share.
 *
 * An engine is a struct of functions in a file of its own. It keeps records of RECORD_SIZE bytes under the ids
 * 0, 1, 2 ... A workload opens it, uses it through contexts (one a thread) and closes it. So what is compared is
 * what a program would get, with each engine set up as its own manual recommends.
 *
 * 1. A record's bytes follow from its id and its version, and every record that is read is checked, byte for byte.
 * 2. Every engine gets the same ids in the same order.
 * 3. Nothing is reported for an engine that failed: the program ends with a sentence.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_SIZE 100

/* Engines ========================================================================================================= */

/* What a commit survives when it returns. */
enum durability { ASYNC, DURABLE };

/* An open engine, and what one of its threads needs. Each engine defines its own. */
struct store;
struct context;

/* Takes one record of a scan. `argument` is what the scan was given. */
typedef void visitor(void *argument, uint64_t id, const char *record);

struct engine {
    const char *name;
    /* What was set, for the report. */
    const char *settings;
    /* What the machine can do, and not a database: shown beside the others, never the best peer. */
    bool is_limit;

    /* Opens what is in the folder, which exists, and makes it where there is nothing. */
    struct store *(*open)(const char *folder, enum durability durability, uint64_t record_count);
    void (*close)(struct store *store);
    /* Puts the ids below `count` into an empty store, in order, at version 0; all is durable at the end. */
    void (*load)(struct store *store, uint64_t count);

    /* A thread's context. */
    struct context *(*enter)(struct store *store);
    void (*leave)(struct context *context);

    /* The record: where the engine has it, if it stays there until the context's next call, or copied to `room`. */
    const char *(*read)(struct context *context, uint64_t id, char *room);
    /* The same for many, as consistent as one call of the engine makes them. `records` gets the addresses. */
    void (*read_many)(struct context *context, const uint64_t *ids, size_t count, char *room, const char **records);
    /* Visits all records as they are at one moment, in the order of their ids. */
    void (*scan)(struct context *context, visitor *visit, void *argument);
    /* Overwrites records that are there, in one commit. They lie one after the other. */
    void (*overwrite)(struct context *context, const uint64_t *ids, size_t count, const char *records);
};

extern const struct engine array_engine;
extern const struct engine diamond_engine;
extern const struct engine lmdb_engine;

/* Records ========================================================================================================= */

/* Writes the record of an id at a version. Cheap, and nothing that compresses. */
static inline void make_record(uint64_t id, uint32_t version, char *record)
{
    uint64_t words[(RECORD_SIZE + 7) / 8];
    uint64_t seed = ((id << 20) + version + 1) * 0x9E3779B97F4A7C15u;
    seed ^= seed >> 29;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) words[i] = seed + i * 0xBF58476D1CE4E5B9u;
    __builtin_memcpy(record, words, RECORD_SIZE);
}

/* Ends the program if the record is not that of the id at the version. */
static inline void check_record(uint64_t id, uint32_t version, const char *record)
{
    void wrong_record(uint64_t id, uint32_t version);
    char expected[RECORD_SIZE];
    make_record(id, version, expected);
    if (__builtin_memcmp(expected, record, RECORD_SIZE) != 0) wrong_record(id, version);
}

/* Workloads ======================================================================================================= */

/* One engine in one round: what a workload needs to know of it. */
struct subject {
    const struct engine *engine;
    const char *folder;
    uint64_t record_count;
    double seconds;
    uint64_t seed;
    /* The version that each record has; a thread changes only those of its own ids. */
    uint32_t *versions;
};

struct result {
    /* In the workload's unit. */
    double value;
    /* Microseconds that one call took; 0 where that was not measured. */
    double p50_us, p99_us;
};

struct workload {
    const char *name;
    const char *unit;
    enum durability durability;
    int thread_count;
    /* Records in one call. */
    size_t batch;
    struct result (*run)(const struct workload *workload, struct subject *subject);
    bool less_is_better;
};

extern const struct workload workloads[];
extern const size_t workload_count;

/* Helpers ========================================================================================================= */

double now_seconds(void);

/* Memory that is there, or the end. */
void *allocate(size_t size);

/* Ends the program with a sentence. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
