/*
 * Random overwrites at full speed for as long as one likes, each of them timed, to see the worst stop and what becomes
 * of the rate. Nothing is warmed up: the first seconds are shown as well.
 */
#include "workloads.h"

static void note(struct timeline *timeline, double elapsed, double seconds)
{
    int second = elapsed < TIMELINE_MAX ? (int)elapsed : TIMELINE_MAX - 1;
    timeline->rates[second] += 1;
    if (seconds * 1e3 > timeline->worst_ms[second]) timeline->worst_ms[second] = seconds * 1e3;
}

static void *sustained_body(void *argument)
{
    struct worker *worker = argument;
    const struct subject *subject = worker->subject;
    struct timeline *timeline = subject->timeline;
    char record[RECORD_SIZE_MAX];
    start_worker(worker);
    worker->warms = false;
    while (goes_on(worker)) {
        uint64_t id = next_id(worker);
        make_record(id, ++subject->versions[id], record);
        double before = worker->ended;
        subject->engine->overwrite(worker->context, &id, 1, record);
        worker->ended = now_seconds();
        histogram_add(worker->histogram, worker->ended - before);
        note(timeline, worker->ended - worker->began, worker->ended - before);
        worker->count++;
    }
    return NULL;
}

/* A second cut short at the end is left out. */
struct result sustained(const struct workload *workload, struct subject *subject)
{
    memset(subject->timeline, 0, sizeof *subject->timeline);
    struct result result = run_threads(workload, subject, sustained_body);
    subject->timeline->second_count = subject->seconds < TIMELINE_MAX ? (int)subject->seconds : TIMELINE_MAX;
    return result;
}
