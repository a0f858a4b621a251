/*
 * One engine as the benchmark sees it, and the records that all of them keep.
 *
 * An engine is a struct of functions in a file of its own. It keeps records of record_size bytes under the ids
 * 0, 1, 2 ... A workload opens it, uses it through contexts (one a thread) and closes it. So what is compared is
 * what a program would get, with each engine set up as its own manual recommends.
 *
 * 1. A record's bytes follow from its id and its version, and every record that is read is checked, byte for byte.
 * 2. Every engine gets the same ids in the same order.
 * 3. Nothing is reported for an engine that failed: the program ends with a sentence.
 * 4. Only an engine's own file knows anything of that engine.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Engines ========================================================================================================= */

/* What a commit survives when it returns: nothing, the end of the process (kill -9), a power cut. */
enum durability { ASYNC, OS, DURABLE };

/* How a store is opened. */
struct setup {
    /* It exists. */
    const char *folder;
    enum durability durability;
    uint64_t record_count;
    /* Bytes of memory for all; 0: as much as it likes. */
    uint64_t memory_limit;
};

/* An open engine, and what one of its threads needs. Each engine defines its own. */
struct store;
struct context;

/* Takes one record of a scan. `argument` is what the scan was given. */
typedef void visitor(void *argument, uint64_t id, const char *record);

/* What an engine can do, and what a workload needs. */
enum ability {
    LOADS = 1,
    READS = 2,
    WRITES_ASYNC = 4,
    WRITES_OS = 8,
    WRITES_DURABLE = 16,
    /* Reads beside writes of the same record. */
    SHARES = 32,
    /* Finds in its folder what an earlier process left there. */
    RESTS = 64,
    SCANS_IN_PLACE = 128,
    CHECKPOINTS = 256,
    DATABASE = 511,
};

struct engine {
    const char *name;
    /* What was set, for the report. */
    const char *settings;
    const char *(*version)(void);
    unsigned abilities;
    /* What the machine can do, and not a database: shown beside the others, never the best peer. */
    bool is_limit;
    /* The engine that this program is about. */
    bool is_ours;
    /* What a scan gives was copied into memory of the caller's. */
    bool scan_copies;

    /* Opens what is in the folder, and makes it where there is nothing. */
    struct store *(*open)(const struct setup *setup);
    void (*close)(struct store *store);
    /* Puts the ids below `count` into an empty store, in order, at version 0; all is durable at the end. */
    void (*load)(struct store *store, uint64_t count);
    /* For what keeps nothing on disk: gives it all records at their versions, after each opening. */
    void (*refill)(struct store *store, const uint32_t *versions);

    /* A thread's context. */
    struct context *(*enter)(struct store *store);
    void (*leave)(struct context *context);

    /* The record: where the engine has it, if it stays there until the context's next call, or copied to `room`. */
    const char *(*read)(struct context *context, uint64_t id, char *room);
    /* The same for many, as consistent as one call of the engine makes them. `records` gets the addresses. */
    void (*read_many)(struct context *context, const uint64_t *ids, size_t count, char *room, const char **records);
    /* Visits all records as they are at one moment, in the order of their ids. */
    void (*scan)(struct context *context, visitor *visit, void *argument);
    /* The same without copying, where that is another way. */
    void (*scan_in_place)(struct context *context, visitor *visit, void *argument);
    /* Overwrites records that are there, in one commit. They lie one after the other. */
    void (*overwrite)(struct context *context, const uint64_t *ids, size_t count, const char *records);
    /* Brings what was written to where it stays; beside writers, on a thread of its own. NULL: there is no such. */
    void (*checkpoint)(struct context *context);
};

/* Ends with NULL. */
extern const struct engine *const all_engines[];

/* The engines that this program was built without, and the Debian packages that have them; ends with a NULL name. */
struct missing_engine {
    const char *name, *package;
};
extern const struct missing_engine missing_engines[];

/* Records ========================================================================================================= */

extern size_t record_size;

#define RECORD_SIZE_MAX 65536
#define BATCH_MAX 1000

/* Calls `body` with the record's size as a constant, where it is one of those that the reports use. */
#define WITH_RECORD_SIZE(body, ...)                 \
    switch (record_size) {                          \
    case 16: return body(__VA_ARGS__, 16);          \
    case 100: return body(__VA_ARGS__, 100);        \
    case 1000: return body(__VA_ARGS__, 1000);      \
    case 4000: return body(__VA_ARGS__, 4000);      \
    default: return body(__VA_ARGS__, record_size); \
    }

#define INLINE static inline __attribute__((always_inline))

INLINE uint64_t record_seed(uint64_t id, uint32_t version)
{
    uint64_t seed = ((id << 20) + version + 1) * 0x9E3779B97F4A7C15u;
    return seed ^ seed >> 29;
}

#define RECORD_STEP 0xBF58476D1CE4E5B9u

INLINE void make_sized(uint64_t id, uint32_t version, char *record, size_t size)
{
    uint64_t word = record_seed(id, version);
    size_t offset = 0;
#pragma GCC unroll 16
    for (; offset + 8 <= size; offset += 8, word += RECORD_STEP) memcpy(record + offset, &word, 8);
    memcpy(record + offset, &word, size % 8);
}

INLINE bool is_sized(uint64_t id, uint32_t version, const char *record, size_t size)
{
    uint64_t word = record_seed(id, version), found, difference = 0;
    size_t offset = 0;
#pragma GCC unroll 16
    for (; offset + 8 <= size; offset += 8, word += RECORD_STEP) {
        memcpy(&found, record + offset, 8);
        difference |= found ^ word;
    }
    return difference == 0 && memcmp(record + offset, &word, size % 8) == 0;
}

INLINE void copy_sized(char *target, const char *source, size_t size)
{
    memcpy(target, source, size);
}

/* Writes the record of an id at a version. Cheap, and nothing that compresses. */
static inline void make_record(uint64_t id, uint32_t version, char *record)
{
    WITH_RECORD_SIZE(make_sized, id, version, record)
}

static inline bool is_record(uint64_t id, uint32_t version, const char *record)
{
    WITH_RECORD_SIZE(is_sized, id, version, record)
}

static inline void copy_record(char *target, const char *source)
{
    WITH_RECORD_SIZE(copy_sized, target, source)
}

/* Helpers ========================================================================================================= */

double now_seconds(void);

/* Zeroed memory that is there, or the end. */
void *allocate(size_t size);

/* Ends the program with a sentence. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Bytes that an engine gives its cache: room for all, or half of the limit. */
uint64_t cache_size(const struct setup *setup);

#endif
