/*
 * Writing: filling an empty store, overwriting, overwriting while a checkpoint runs.
 */
#include "workloads.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct result load(const struct workload *workload, struct subject *subject)
{
    memset(subject->versions, 0, subject->record_count * sizeof *subject->versions);
    struct setup setup = {subject->folder, workload->durability, subject->record_count, subject->memory_limit};
    struct store *store = subject->engine->open(&setup);
    double began = now_seconds();
    subject->engine->load(store, subject->record_count);
    double seconds = now_seconds() - began;
    subject->engine->close(store);
    return (struct result){.value = (double)subject->record_count / seconds / 1e3};
}

/* One commit of the workload's size to ids of this thread. */
static void write_batch(struct worker *worker, uint64_t *ids, char *records)
{
    const struct subject *subject = worker->subject;
    size_t batch = worker->workload->batch;
    for (size_t i = 0; i < batch; i++) {
        ids[i] = own_id(worker, next_id(worker));
        make_record(ids[i], ++subject->versions[ids[i]], records + i * record_size);
    }
}

static void *overwrite_body(void *argument)
{
    struct worker *worker = argument;
    const struct workload *workload = worker->workload;
    const struct subject *subject = worker->subject;
    int burst = workload->durability == DURABLE || workload->batch > 1 ? 1 : BURST;
    uint64_t ids[BATCH_MAX];
    char *records = allocate(workload->batch * record_size);
    start_worker(worker);
    while (goes_on(worker)) {
        double began = worker->ended, before = 0;
        for (int i = 0; i < burst; i++) {
            write_batch(worker, ids, records);
            if (i == burst - 1) before = now_seconds();
            subject->engine->overwrite(worker->context, ids, workload->batch, records);
        }
        note_burst(worker, began, before);
        worker->count += (uint64_t)burst * workload->batch;
    }
    free(records);
    return NULL;
}

struct result overwrite(const struct workload *workload, struct subject *subject)
{
    return run_threads(workload, subject, overwrite_body);
}

/* Beside a checkpoint ============================================================================================= */

struct checkpointer {
    const struct engine *engine;
    struct context *context;
    atomic_bool runs, ends;
};

/* Checkpoints one after the other, with time between for something to be written. */
static void *checkpoint_body(void *argument)
{
    struct checkpointer *checkpointer = argument;
    while (!atomic_load(&checkpointer->ends)) {
        atomic_store(&checkpointer->runs, true);
        checkpointer->engine->checkpoint(checkpointer->context);
        atomic_store(&checkpointer->runs, false);
        double began = now_seconds();
        /* Asleep: a thread that only looks at the clock would take a processor from the engine's own. */
        while (now_seconds() - began < 0.05 && !atomic_load(&checkpointer->ends)) usleep(1000);
    }
    return NULL;
}

/* Overwrites for the workload's time; counts only the writes that began or ended while a checkpoint ran, if asked. */
static void write_beside(struct worker *worker, struct checkpointer *checkpointer, struct histogram *histogram)
{
    uint64_t ids[BATCH_MAX];
    char record[RECORD_SIZE_MAX];
    worker->began = worker->ended = now_seconds();
    while (goes_on(worker)) {
        write_batch(worker, ids, record);
        bool counts = !checkpointer || atomic_load(&checkpointer->runs);
        double before = now_seconds();
        worker->subject->engine->overwrite(worker->context, ids, 1, record);
        worker->ended = now_seconds();
        if (counts || atomic_load(&checkpointer->runs)) histogram_add(histogram, worker->ended - before);
    }
}

/* The value is p99.9 with checkpoints over the median without; the latencies are those with. */
struct result overwrite_beside_checkpoint(const struct workload *workload, struct subject *subject)
{
    const struct engine *engine = subject->engine;
    struct store *store = open_checked(subject, workload->durability);
    struct worker worker = {.workload = workload, .subject = subject, .random = subject->seed};
    struct histogram *without = allocate(sizeof *without), *with = allocate(sizeof *with);
    struct checkpointer checkpointer = {.engine = engine, .context = engine->enter(store)};
    pthread_t thread;
    worker.context = engine->enter(store);
    write_beside(&worker, NULL, without);
    if (pthread_create(&thread, NULL, checkpoint_body, &checkpointer) != 0) fail("a thread could not be started");
    write_beside(&worker, &checkpointer, with);
    atomic_store(&checkpointer.ends, true);
    pthread_join(thread, NULL);
    engine->leave(worker.context);
    engine->leave(checkpointer.context);
    engine->close(store);
    struct latency latency = histogram_latency(with);
    double median_us = histogram_latency(without).p50;
    free(without);
    free(with);
    return (struct result){median_us > 0 ? latency.p999 / median_us : 0, latency};
}
