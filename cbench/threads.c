/*
 * How a workload opens an engine, and how its threads work for a time.
 */
#include "workloads.h"

#include <stdio.h>
#include <stdlib.h>

#define THREADS_MAX 64

struct tally {
    const struct subject *subject;
    bool copy;
    uint64_t count;
    char *room;
};

_Noreturn void wrong_record(const struct subject *subject, uint64_t id, uint32_t version)
{
    fail("%s: record %llu is not what version %u of it was", subject->engine->name, (unsigned long long)id, version);
}

static void check_next(void *argument, uint64_t id, const char *record)
{
    struct tally *tally = argument;
    if (id != tally->count) {
        fail("%s: a scan gave record %llu where %llu comes next", tally->subject->engine->name,
            (unsigned long long)id, (unsigned long long)tally->count);
    }
    if (tally->copy) {
        copy_record(tally->room, record);
        record = tally->room;
    }
    check_record(tally->subject, id, tally->subject->versions[id], record);
    tally->count++;
}

uint64_t scan_all(const struct subject *subject, struct context *context, enum scan_way way)
{
    const struct engine *engine = subject->engine;
    char room[RECORD_SIZE_MAX];
    struct tally tally = {subject, way == COPIED && !engine->scan_copies, 0, room};
    if (way == IN_PLACE && engine->scan_in_place) engine->scan_in_place(context, check_next, &tally);
    else engine->scan(context, check_next, &tally);
    if (tally.count != subject->record_count) {
        fail("%s: a scan ended after %llu records", engine->name, (unsigned long long)tally.count);
    }
    return tally.count;
}

struct store *open_store(const struct subject *subject, enum durability durability)
{
    struct setup setup = {subject->folder, durability, subject->record_count, subject->memory_limit};
    struct store *store = subject->engine->open(&setup);
    if (subject->engine->refill) subject->engine->refill(store, subject->versions);
    return store;
}

struct store *open_checked(const struct subject *subject, enum durability durability)
{
    const struct engine *engine = subject->engine;
    struct store *store = open_store(subject, durability);
    if (!(engine->abilities & READS)) return store;
    struct context *context = engine->enter(store);
    scan_all(subject, context, AS_IT_COMES);
    engine->leave(context);
    return store;
}

static void set_up(struct worker *worker, const struct workload *workload, struct subject *subject,
    struct store *store, int index)
{
    worker->workload = workload;
    worker->subject = subject;
    worker->context = subject->engine->enter(store);
    worker->index = (uint64_t)index;
    worker->random = subject->seed + (uint64_t)index * 0xD1B54A32D192ED03u;
    worker->histogram = allocate(sizeof *worker->histogram);
}

static struct result gather(const struct workload *workload, struct worker *workers)
{
    struct worker *first = &workers[0];
    uint64_t count = first->count;
    double began = first->began, ended = first->ended, worst = first->worst;
    for (int i = 1; i < workload->thread_count; i++) {
        count += workers[i].count;
        if (workers[i].worst > worst) worst = workers[i].worst;
        if (workers[i].began < began) began = workers[i].began;
        if (workers[i].ended > ended) ended = workers[i].ended;
        histogram_merge(first->histogram, workers[i].histogram);
    }
    if (worst > first->histogram->worst) first->histogram->worst = worst;
    return (struct result){(double)count / (ended - began) / 1e3, histogram_latency(first->histogram)};
}

struct result run_threads(const struct workload *workload, struct subject *subject, void *(*body)(void *))
{
    const struct engine *engine = subject->engine;
    struct store *store = open_checked(subject, workload->durability);
    struct worker workers[THREADS_MAX] = {{0}};
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)workload->thread_count);
    for (int i = 0; i < workload->thread_count; i++) {
        set_up(&workers[i], workload, subject, store, i);
        workers[i].start = &start;
        if (pthread_create(&workers[i].thread, NULL, body, &workers[i]) != 0) fail("a thread could not be started");
    }
    for (int i = 0; i < workload->thread_count; i++) pthread_join(workers[i].thread, NULL);
    struct result result = gather(workload, workers);
    for (int i = 0; i < workload->thread_count; i++) {
        engine->leave(workers[i].context);
        free(workers[i].histogram);
    }
    pthread_barrier_destroy(&start);
    engine->close(store);
    return result;
}

void start_worker(struct worker *worker)
{
    pthread_barrier_wait(worker->start);
    worker->began = worker->ended = now_seconds();
    worker->warms = true;
}

void end_warming(struct worker *worker)
{
    memset(worker->histogram, 0, sizeof *worker->histogram);
    worker->count = 0;
    worker->worst = 0;
    worker->began = worker->ended;
    worker->warms = false;
}
