/*
 * Workloads, and what they share: ids, threads, latencies.
 *
 * Each run of a workload is a process of its own, forked from one that has never opened an engine. So no engine's
 * threads and memory are there in another's turn, what it takes can be measured, and it can be killed.
 */
#ifndef WORKLOADS_H
#define WORKLOADS_H

#include <pthread.h>

#include "bench.h"

/* One engine in one round: what a workload needs to know of it. */
struct subject {
    const struct engine *engine;
    const char *folder;
    uint64_t record_count;
    uint64_t memory_limit;
    double seconds;
    uint64_t seed;
    /* The version that each record has; a thread changes only those of its own ids. All processes share it. */
    uint32_t *versions;
    struct timeline *timeline;
};

/* Microseconds; zeros where they were not measured. */
struct latency {
    double p50, p99, p999, worst;
};

struct result {
    /* In the workload's unit. 0: not measured. */
    double value;
    struct latency latency;
};

#define TIMELINE_MAX 600

/* What a long run did in each of its seconds. */
struct timeline {
    int second_count;
    double rates[TIMELINE_MAX];
    double worst_ms[TIMELINE_MAX];
};

/* struct workload, flags */
enum {
    LESS_IS_BETTER = 1,
    /* It takes so long that it runs only where its whole name is asked for. */
    BY_NAME = 2,
    /* What overwrites reads first. */
    READ_MODIFY_WRITE = 4,
    /* Told, and nobody wins. */
    ONLY_TOLD = 8,
};

struct workload {
    const char *name;
    const char *unit;
    enum durability durability;
    int thread_count;
    /* Records in one call. */
    size_t batch;
    struct result (*run)(const struct workload *workload, struct subject *subject);
    /* An engine that lacks one of these abilities sits out. */
    unsigned needs;
    unsigned flags;
    /* Of a hundred calls, how many overwrite. */
    int write_percent;
};

extern const struct workload workloads[];
extern const size_t workload_count;

/* Which file has them: loading and opening, reading, writing, mixed.c, resting.c, sustained.c. */
struct result load(const struct workload *workload, struct subject *subject);
struct result read_one(const struct workload *workload, struct subject *subject);
struct result read_many(const struct workload *workload, struct subject *subject);
struct result scan_copied(const struct workload *workload, struct subject *subject);
struct result scan_in_place(const struct workload *workload, struct subject *subject);
struct result overwrite(const struct workload *workload, struct subject *subject);
struct result overwrite_beside_checkpoint(const struct workload *workload, struct subject *subject);
struct result mixed(const struct workload *workload, struct subject *subject);
struct result open_clean(const struct workload *workload, struct subject *subject);
struct result open_killed(const struct workload *workload, struct subject *subject);
struct result recover(const struct workload *workload, struct subject *subject);
struct result memory_opened(const struct workload *workload, struct subject *subject);
struct result memory_read(const struct workload *workload, struct subject *subject);
struct result memory_mapped(const struct workload *workload, struct subject *subject);
struct result size_on_disk(const struct workload *workload, struct subject *subject);
struct result sustained(const struct workload *workload, struct subject *subject);

/* Opening, and checking all (threads.c) =========================================================================== */

struct store *open_store(const struct subject *subject, enum durability durability);

/* Opens, and reads and checks everything, which warms what can be warm and proves what was written before. */
struct store *open_checked(const struct subject *subject, enum durability durability);

/* How a scan is done: as the engine does it, with each record in memory of the caller's, or where it lies. */
enum scan_way { AS_IT_COMES, COPIED, IN_PLACE };

/* Scans all and checks all; returns how many. */
uint64_t scan_all(const struct subject *subject, struct context *context, enum scan_way way);

/* Ends the program if the record is not that of the id at the version. */
static inline void check_record(const struct subject *subject, uint64_t id, uint32_t version, const char *record)
{
    _Noreturn void wrong_record(const struct subject * subject, uint64_t id, uint32_t version);
    if (!is_record(id, version, record)) wrong_record(subject, id, version);
}

/* Reads one record into `room`, whatever the engine does. */
static inline void read_into(const struct engine *engine, struct context *context, uint64_t id, char *room)
{
    const char *record = engine->read(context, id, room);
    if (record != room) copy_record(room, record);
}

/* Latencies (statistics.c) ======================================================================================== */

#define BUCKET_BITS 6
#define BUCKET_COUNT ((64 - BUCKET_BITS + 1) << BUCKET_BITS)

/* Counts of times by their size, each to within one part in 64. */
struct histogram {
    uint32_t counts[BUCKET_COUNT];
    uint64_t count;
    /* Seconds. */
    double worst;
};

void histogram_add(struct histogram *histogram, double seconds);
void histogram_merge(struct histogram *target, const struct histogram *source);
struct latency histogram_latency(const struct histogram *histogram);

/* Of those that are not 0; 0 if there are none. Sorts them. */
double median(double *values, int count);

/* Threads that work for a time (threads.c) ======================================================================== */

struct worker {
    const struct workload *workload;
    struct subject *subject;
    struct context *context;
    pthread_barrier_t *start;
    pthread_t thread;
    uint64_t random;
    uint64_t index;
    /* Results. */
    uint64_t count;
    double began, ended, worst;
    struct histogram *histogram;
    /* What is done now does not count yet. */
    bool warms;
};

/* Runs `body` in the workload's threads; the rate counts records over the time that the threads took. */
struct result run_threads(const struct workload *workload, struct subject *subject, void *(*body)(void *));

/* Waits for the other threads, and starts the clock: half of the workload's time to warm up, then what counts. */
void start_worker(struct worker *worker);

/* Forgets what was done so far, and begins to count. */
void end_warming(struct worker *worker);

/* Whether there is time left, by the last look at the clock. */
static inline bool goes_on(struct worker *worker)
{
    double elapsed = worker->ended - worker->began;
    if (!worker->warms) return elapsed < worker->subject->seconds;
    if (elapsed >= worker->subject->seconds / 2) end_warming(worker);
    return true;
}

/* Takes down how long a burst took from `began` on, and its last call from `before` on. */
static inline void note_burst(struct worker *worker, double began, double before)
{
    worker->ended = now_seconds();
    histogram_add(worker->histogram, worker->ended - before);
    if (worker->ended - began > worker->worst) worker->worst = worker->ended - began;
}

/*
 * A look at the clock costs as much as a tenth of a fast call, so of those only the last of each burst is timed; the
 * worst is that of whole bursts, so that no stop is missed.
 */
#define BURST 61

/* Ids (ids.c) ===================================================================================================== */

static inline uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* Uniform. */
static inline uint64_t next_id(struct worker *worker)
{
    return (uint64_t)((unsigned __int128)next_random(&worker->random) * worker->subject->record_count >> 64);
}

/* That of the ids near this one which only this thread writes. */
static inline uint64_t own_id(const struct worker *worker, uint64_t id)
{
    uint64_t own = id - id % (uint64_t)worker->workload->thread_count + worker->index;
    return own < worker->subject->record_count ? own : worker->index;
}

/* Once, before all forks: what drawing by Zipf's law needs, and takes long. */
void prepare_zipfian(uint64_t record_count);

/* Draws ids by Zipf's law with YCSB's exponent of 0.99, scattered over the table as YCSB scatters them. */
void draw_zipfian(uint64_t *random, uint32_t *ids, size_t count);

#endif
