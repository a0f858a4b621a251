/*
 * YCSB A, B, C and F: reads and overwrites of records drawn by Zipf's law, on two threads.
 *
 * A record may be overwritten while it is read. A version is counted up before it is written, so what is read is one
 * of those between the version before the read, less one that was under way, and the version after it.
 */
#include "workloads.h"

#include <stdlib.h>

#define DRAWN_COUNT ((size_t)1 << 20)

static uint32_t version_of(const struct subject *subject, uint64_t id)
{
    return __atomic_load_n(&subject->versions[id], __ATOMIC_ACQUIRE);
}

static void read_shared(struct worker *worker, uint64_t id, char *room)
{
    const struct subject *subject = worker->subject;
    uint32_t first = version_of(subject, id);
    read_into(subject->engine, worker->context, id, room);
    uint32_t last = version_of(subject, id);
    for (uint32_t version = last; !is_record(id, version, room); version--) {
        if (version == 0 || version + 1 == first) check_record(subject, id, last, room);
    }
}

static void write_shared(struct worker *worker, uint64_t id, char *room)
{
    const struct subject *subject = worker->subject;
    uint32_t version = subject->versions[id] + 1;
    make_record(id, version, room);
    __atomic_store_n(&subject->versions[id], version, __ATOMIC_RELEASE);
    subject->engine->overwrite(worker->context, &id, 1, room);
}

static void mixed_call(struct worker *worker, uint64_t id, char *room)
{
    const struct workload *workload = worker->workload;
    bool writes = next_random(&worker->random) % 100 < (uint64_t)workload->write_percent;
    if (writes) id = own_id(worker, id);
    if (!writes || workload->flags & READ_MODIFY_WRITE) read_shared(worker, id, room);
    if (writes) write_shared(worker, id, room);
}

static void *mixed_body(void *argument)
{
    struct worker *worker = argument;
    uint32_t *ids = allocate(DRAWN_COUNT * sizeof *ids);
    char room[RECORD_SIZE_MAX];
    size_t next = 0;
    draw_zipfian(&worker->random, ids, DRAWN_COUNT);
    start_worker(worker);
    while (goes_on(worker)) {
        double began = worker->ended, before = 0;
        for (int i = 0; i < BURST; i++) {
            if (i == BURST - 1) before = now_seconds();
            mixed_call(worker, ids[next++ % DRAWN_COUNT], room);
        }
        note_burst(worker, began, before);
        worker->count += BURST;
    }
    free(ids);
    return NULL;
}

struct result mixed(const struct workload *workload, struct subject *subject)
{
    return run_threads(workload, subject, mixed_body);
}
