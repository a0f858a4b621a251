/*
 * Reading: one record a call, many a call, all of them.
 *
 * Every record ends in memory of the caller's and is checked there, also where the engine only points at it; but for
 * the scan in place, which is checked where it lies.
 */
#include "workloads.h"

#include <stdlib.h>

static void *read_body(void *argument)
{
    struct worker *worker = argument;
    const struct subject *subject = worker->subject;
    const struct engine *engine = subject->engine;
    char room[RECORD_SIZE_MAX];
    start_worker(worker);
    while (goes_on(worker)) {
        double before = 0;
        for (int i = 0; i < BURST; i++) {
            uint64_t id = next_id(worker);
            if (i == BURST - 1) before = now_seconds();
            read_into(engine, worker->context, id, room);
            check_record(subject, id, subject->versions[id], room);
        }
        worker->count += BURST;
        worker->ended = now_seconds();
        histogram_add(worker->histogram, worker->ended - before);
    }
    return NULL;
}

struct result read_one(const struct workload *workload, struct subject *subject)
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
    char *room = allocate(batch * record_size);
    start_worker(worker);
    while (goes_on(worker)) {
        for (size_t i = 0; i < batch; i++) ids[i] = next_id(worker);
        double before = now_seconds();
        subject->engine->read_many(worker->context, ids, batch, room, records);
        for (size_t i = 0; i < batch; i++) {
            char *place = room + i * record_size;
            if (records[i] != place) copy_record(place, records[i]);
            check_record(subject, ids[i], subject->versions[ids[i]], place);
        }
        worker->count += batch;
        worker->ended = now_seconds();
        histogram_add(worker->histogram, worker->ended - before);
    }
    free(room);
    return NULL;
}

struct result read_many(const struct workload *workload, struct subject *subject)
{
    return run_threads(workload, subject, read_many_body);
}

static void scan_for_a_time(struct worker *worker, enum scan_way way)
{
    scan_all(worker->subject, worker->context, way);
    start_worker(worker);
    while (goes_on(worker)) {
        double before = worker->ended;
        worker->count += scan_all(worker->subject, worker->context, way);
        worker->ended = now_seconds();
        histogram_add(worker->histogram, worker->ended - before);
    }
}

static void *scan_copied_body(void *argument)
{
    scan_for_a_time(argument, COPIED);
    return NULL;
}

static void *scan_in_place_body(void *argument)
{
    scan_for_a_time(argument, IN_PLACE);
    return NULL;
}

struct result scan_copied(const struct workload *workload, struct subject *subject)
{
    return run_threads(workload, subject, scan_copied_body);
}

struct result scan_in_place(const struct workload *workload, struct subject *subject)
{
    return run_threads(workload, subject, scan_in_place_body);
}
