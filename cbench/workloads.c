/*
 * The workloads. README.md says what each measures.
 *
 * Each run opens the engine, reads everything and checks it (which also warms what can be warm, and proves what the
 * workload before has written), does its work and closes. Only the work is timed.
 */
#include "bench.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define THREADS_MAX 64
#define BATCH_MAX 1000
#define SAMPLES_MAX (1 << 20)

static struct result load(const struct workload *workload, struct subject *subject);
static struct result read_one(const struct workload *workload, struct subject *subject);
static struct result read_many(const struct workload *workload, struct subject *subject);
static struct result scan(const struct workload *workload, struct subject *subject);
static struct result overwrite(const struct workload *workload, struct subject *subject);
static struct result open_clean(const struct workload *workload, struct subject *subject);
static struct result size_on_disk(const struct workload *workload, struct subject *subject);

/* In the order in which they run; the first fills the store. */
const struct workload workloads[] = {
    {"load, final sync", "k/s", ASYNC, 1, 0, load, false},
    {"read, 1 thread", "k/s", ASYNC, 1, 1, read_one, false},
    {"read, 2 threads", "k/s", ASYNC, 2, 1, read_one, false},
    {"read 128 a call", "k/s", ASYNC, 1, 128, read_many, false},
    {"scan", "k/s", ASYNC, 1, 0, scan, false},
    {"overwrite, async", "k/s", ASYNC, 1, 1, overwrite, false},
    {"overwrite 1000, async", "k/s", ASYNC, 1, 1000, overwrite, false},
    {"durable, 1 thread", "k/s", DURABLE, 1, 1, overwrite, false},
    {"durable, 32 threads", "k/s", DURABLE, 32, 1, overwrite, false},
    {"open, first read", "ms", ASYNC, 1, 1, open_clean, true},
    {"size on disk / raw", "", ASYNC, 1, 0, size_on_disk, true},
};
const size_t workload_count = sizeof workloads / sizeof *workloads;

/* Opening, and checking all ======================================================================================= */

struct tally {
    const struct subject *subject;
    uint64_t count;
};

static void check_next(void *argument, uint64_t id, const char *record)
{
    struct tally *tally = argument;
    if (id != tally->count) fail("%s: a scan gave record %llu where %llu comes next", tally->subject->engine->name,
        (unsigned long long)id, (unsigned long long)tally->count);
    check_record(id, tally->subject->versions[id], record);
    tally->count++;
}

static uint64_t scan_all(const struct subject *subject, struct context *context)
{
    struct tally tally = {subject, 0};
    subject->engine->scan(context, check_next, &tally);
    if (tally.count != subject->record_count) fail("%s: a scan ended after %llu records", subject->engine->name,
        (unsigned long long)tally.count);
    return tally.count;
}

static struct store *open_checked(const struct workload *workload, const struct subject *subject)
{
    const struct engine *engine = subject->engine;
    struct store *store = engine->open(subject->folder, workload->durability, subject->record_count);
    struct context *context = engine->enter(store);
    scan_all(subject, context);
    engine->leave(context);
    return store;
}

/* Threads that work for a time ==================================================================================== */

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
    double began, ended;
    float *samples_us;
    size_t sample_count;
};

static uint64_t next_random(uint64_t *state)
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

static int by_value(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

/* Runs `body` in the workload's threads; the rate counts records over the time that the threads took. */
static struct result run_threads(const struct workload *workload, struct subject *subject, void *(*body)(void *))
{
    const struct engine *engine = subject->engine;
    struct store *store = open_checked(workload, subject);
    struct worker workers[THREADS_MAX] = {{0}};
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)workload->thread_count);
    for (int i = 0; i < workload->thread_count; i++) {
        struct worker *worker = &workers[i];
        worker->workload = workload;
        worker->subject = subject;
        worker->context = engine->enter(store);
        worker->start = &start;
        worker->index = (uint64_t)i;
        worker->random = subject->seed + (uint64_t)i * 0xD1B54A32D192ED03u;
        worker->samples_us = allocate(SAMPLES_MAX / (size_t)workload->thread_count * sizeof *worker->samples_us);
        if (pthread_create(&worker->thread, NULL, body, worker) != 0) fail("a thread could not be started");
    }
    uint64_t count = 0;
    double began = 0, ended = 0;
    float *samples = allocate(SAMPLES_MAX * sizeof *samples);
    size_t sample_count = 0;
    for (int i = 0; i < workload->thread_count; i++) {
        struct worker *worker = &workers[i];
        pthread_join(worker->thread, NULL);
        count += worker->count;
        began = i == 0 || worker->began < began ? worker->began : began;
        ended = worker->ended > ended ? worker->ended : ended;
        memcpy(samples + sample_count, worker->samples_us, worker->sample_count * sizeof *samples);
        sample_count += worker->sample_count;
        free(worker->samples_us);
        engine->leave(worker->context);
    }
    pthread_barrier_destroy(&start);
    engine->close(store);
    struct result result = {(double)count / (ended - began) / 1e3, 0, 0};
    if (sample_count > 0) {
        qsort(samples, sample_count, sizeof *samples, by_value);
        result.p50_us = samples[sample_count / 2];
        result.p99_us = samples[sample_count * 99 / 100];
    }
    free(samples);
    return result;
}

/* Reading ========================================================================================================= */

static void *read_body(void *argument)
{
    struct worker *worker = argument;
    const struct subject *subject = worker->subject;
    char room[RECORD_SIZE];
    pthread_barrier_wait(worker->start);
    worker->began = worker->ended = now_seconds();
    while (worker->ended - worker->began < subject->seconds) {
        for (int i = 0; i < 4096; i++) {
            uint64_t id = next_id(worker);
            check_record(id, subject->versions[id], subject->engine->read(worker->context, id, room));
        }
        worker->count += 4096;
        worker->ended = now_seconds();
    }
    return NULL;
}

static struct result read_one(const struct workload *workload, struct subject *subject)
{
    return run_threads(workload, subject, read_body);
}

static void *read_many_body(void *argument)
{
    struct worker *worker = argument;
    const struct subject *subject = worker->subject;
    size_t batch = worker->workload->batch;
    uint64_t ids[BATCH_MAX];
    const char *records[BATCH_MAX];
    static _Thread_local char room[BATCH_MAX * RECORD_SIZE];
    pthread_barrier_wait(worker->start);
    worker->began = worker->ended = now_seconds();
    while (worker->ended - worker->began < subject->seconds) {
        for (int round = 0; round < 32; round++) {
            for (size_t i = 0; i < batch; i++) ids[i] = next_id(worker);
            subject->engine->read_many(worker->context, ids, batch, room, records);
            for (size_t i = 0; i < batch; i++) check_record(ids[i], subject->versions[ids[i]], records[i]);
        }
        worker->count += 32 * batch;
        worker->ended = now_seconds();
    }
    return NULL;
}

static struct result read_many(const struct workload *workload, struct subject *subject)
{
    return run_threads(workload, subject, read_many_body);
}

static void *scan_body(void *argument)
{
    struct worker *worker = argument;
    worker->began = worker->ended = now_seconds();
    while (worker->ended - worker->began < worker->subject->seconds) {
        worker->count += scan_all(worker->subject, worker->context);
        worker->ended = now_seconds();
    }
    return NULL;
}

static struct result scan(const struct workload *workload, struct subject *subject)
{
    return run_threads(workload, subject, scan_body);
}

/* Writing ========================================================================================================= */

static struct result load(const struct workload *workload, struct subject *subject)
{
    memset(subject->versions, 0, subject->record_count * sizeof *subject->versions);
    struct store *store = subject->engine->open(subject->folder, workload->durability, subject->record_count);
    double began = now_seconds();
    subject->engine->load(store, subject->record_count);
    double seconds = now_seconds() - began;
    subject->engine->close(store);
    return (struct result){(double)subject->record_count / seconds / 1e3, 0, 0};
}

/* An id that no other thread writes. */
static uint64_t next_own_id(struct worker *worker)
{
    uint64_t thread_count = (uint64_t)worker->workload->thread_count;
    uint64_t id = next_id(worker);
    id = id - id % thread_count + worker->index;
    return id < worker->subject->record_count ? id : worker->index;
}

static void *overwrite_body(void *argument)
{
    struct worker *worker = argument;
    const struct workload *workload = worker->workload;
    const struct subject *subject = worker->subject;
    size_t batch = workload->batch;
    size_t samples_max = SAMPLES_MAX / (size_t)workload->thread_count;
    /* A look at the clock costs as much as a tenth of a fast write, so of those only some are timed. */
    int burst = workload->durability == DURABLE || batch > 1 ? 1 : 61;
    uint64_t ids[BATCH_MAX];
    static _Thread_local char records[BATCH_MAX * RECORD_SIZE];
    pthread_barrier_wait(worker->start);
    worker->began = worker->ended = now_seconds();
    while (worker->ended - worker->began < subject->seconds) {
        double before = 0;
        for (int round = 0; round < burst; round++) {
            for (size_t i = 0; i < batch; i++) {
                ids[i] = next_own_id(worker);
                make_record(ids[i], ++subject->versions[ids[i]], records + i * RECORD_SIZE);
            }
            if (round == burst - 1) before = now_seconds();
            subject->engine->overwrite(worker->context, ids, batch, records);
        }
        worker->ended = now_seconds();
        if (worker->sample_count < samples_max) {
            worker->samples_us[worker->sample_count++] = (float)((worker->ended - before) * 1e6);
        }
        worker->count += (uint64_t)burst * batch;
    }
    return NULL;
}

static struct result overwrite(const struct workload *workload, struct subject *subject)
{
    return run_threads(workload, subject, overwrite_body);
}

/* At rest ========================================================================================================= */

static struct result open_clean(const struct workload *workload, struct subject *subject)
{
    const struct engine *engine = subject->engine;
    float samples[32];
    int count = sizeof samples / sizeof *samples;
    for (int i = 0; i < count; i++) {
        char room[RECORD_SIZE];
        uint64_t id = subject->record_count * (uint64_t)i / (uint64_t)count;
        double began = now_seconds();
        struct store *store = engine->open(subject->folder, workload->durability, subject->record_count);
        struct context *context = engine->enter(store);
        check_record(id, subject->versions[id], engine->read(context, id, room));
        samples[i] = (float)((now_seconds() - began) * 1e3);
        engine->leave(context);
        engine->close(store);
    }
    qsort(samples, (size_t)count, sizeof *samples, by_value);
    return (struct result){samples[count / 2], 0, 0};
}

/* What the files in a folder take on disk, holes left out. */
static uint64_t folder_size(const char *folder)
{
    DIR *entries = opendir(folder);
    if (!entries) fail("%s cannot be read", folder);
    uint64_t size = 0;
    for (struct dirent *entry; (entry = readdir(entries));) {
        char path[4096];
        struct stat status;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (lstat(path, &status) != 0) continue;
        size += S_ISDIR(status.st_mode) ? folder_size(path) : (uint64_t)status.st_blocks * 512;
    }
    closedir(entries);
    return size;
}

static struct result size_on_disk(const struct workload *workload, struct subject *subject)
{
    (void)workload;
    return (struct result){(double)folder_size(subject->folder) / ((double)subject->record_count * RECORD_SIZE), 0, 0};
}
