/*
 * What must be reached in one run, and what is aimed at: the tables' part of BUDGET.md, for 100-byte records, a million
 * and more of them, with memory enough.
 */
#include "report.h"

#include <stdlib.h>

/* What a value is held against: another engine's, the best peer's, our own of another workload, a number. */
enum against { ENGINE, PEER, OURS, AT_MOST, AT_MOST_BY_SIZE, WORST_OF_ENGINE };

struct promise {
    const char *workload;
    enum against against;
    /* The engine's or the workload's name. */
    const char *other;
    double must, aim;
    /* Only cases with so many records. */
    uint64_t record_count;
};

static const struct promise promises[] = {
    {"load, final sync", PEER, "", 1, 1.4, 0},
    {"read, 1 thread", ENGINE, "array", 0.75, 0.92, 0},
    {"read, 1 thread", ENGINE, "lmdb", 5, 6.5, 0},
    {"read, 2 threads", OURS, "read, 1 thread", 1.9, 1.95, 0},
    {"read 128 a call, 1 thread", OURS, "read, 1 thread", 1.5, 2.5, 0},
    {"scan, copied", ENGINE, "array", 0.9, 1, 0},
    {"scan, copied", ENGINE, "lmdb", 1.4, 1.4, 0},
    {"overwrite, async", PEER, "", 4, 6, 0},
    {"overwrite 1000, async", PEER, "", 4, 6, 0},
    {"overwrite, os", ENGINE, "rocksdb", 1.5, 3, 0},
    {"ycsb B, 2 threads", PEER, "", 5, 8, 0},
    {"ycsb A, 2 threads", PEER, "", 5, 6.5, 0},
    {"durable, 1 thread", ENGINE, "fdatasync", 0.95, 1, 0},
    {"durable, 32 threads", PEER, "", 1.2, 1.4, 0},
    {"checkpoint: p99.9 / p50 without", AT_MOST, "", 20, 5, 0},
    {"open, first read", AT_MOST_BY_SIZE, "", 1, 1, 0},
    {"open, killed after 256 MiB", AT_MOST, "", 1000, 1000, 0},
    /* 1.03 and 1.01 of the slots, and a record of 100 bytes has a slot of 104. */
    {"size on disk / raw", AT_MOST, "", 1.03 * 1.04, 1.01 * 1.04, 0},
    {"private memory, opened", AT_MOST, "", 32, 32, 10000000},
    {"sustained overwrite, async", WORST_OF_ENGINE, "rocksdb", 1, 1, 0},
    {"sustained overwrite, async", WORST_OF_ENGINE, "array", 0, 2, 0},
};

/* A millisecond, and a microsecond for each MiB of data. */
static double opening_ms(const struct measured *measured)
{
    return 1 + (double)measured->record_count * (double)measured->record_size / (1 << 20) / 1e3;
}

static enum verdict judge_more(double reached, const struct promise *promise)
{
    return reached >= promise->aim ? AIM_MET : reached >= promise->must ? MET : MISSED;
}

static enum verdict judge_less(double reached, double must, double aim)
{
    return reached <= aim ? AIM_MET : reached <= must || must == 0 ? MET : MISSED;
}

struct judgement {
    enum verdict verdict;
    char must[96], reached[32];
};

static double worst_at(const struct measured *measured, int workload, int engine)
{
    return engine < 0 ? 0 : median_result(measured, workload, engine).latency.worst;
}

static struct judgement judge_ratio(const struct promise *promise, double ours, double theirs, const char *of)
{
    struct judgement judgement = {.verdict = NO_PROMISE};
    if (ours == 0 || theirs == 0) return judgement;
    judgement.verdict = judge_more(ours / theirs, promise);
    snprintf(judgement.must, sizeof judgement.must, "%g of %s", promise->must, of);
    snprintf(judgement.reached, sizeof judgement.reached, "%.2f", ours / theirs);
    return judgement;
}

static struct judgement judge_worst(const struct promise *promise, double ours, double theirs)
{
    struct judgement judgement = {.verdict = NO_PROMISE};
    if (ours == 0 || theirs == 0) return judgement;
    judgement.verdict = judge_less(ours / theirs, promise->must, promise->aim);
    const char *kind = promise->must == 0 ? "aim: " : "";
    double limit = promise->must == 0 ? promise->aim : promise->must;
    snprintf(judgement.must, sizeof judgement.must, "%sworst at most %g of %s", kind, limit, promise->other);
    snprintf(judgement.reached, sizeof judgement.reached, "%.2f", ours / theirs);
    return judgement;
}

static struct judgement judge_number(double ours, double must, double aim, const char *unit)
{
    struct judgement judgement = {.verdict = NO_PROMISE};
    if (ours == 0) return judgement;
    judgement.verdict = judge_less(ours, must, aim);
    snprintf(judgement.must, sizeof judgement.must, "at most %.4g%s%s", must, unit[0] ? " " : "", unit);
    snprintf(judgement.reached, sizeof judgement.reached, "%.3g", ours);
    return judgement;
}

static struct judgement judge_one(const struct measured *measured, int workload, const struct promise *promise)
{
    struct leaders leaders = find_leaders(measured, workload);
    double ours = value_at(measured, workload, leaders.ours);
    int other = find_engine(measured, promise->other);
    const char *unit = measured->workloads[workload].unit;
    switch (promise->against) {
    case ENGINE: return judge_ratio(promise, ours, value_at(measured, workload, other), promise->other);
    case PEER: return judge_ratio(promise, ours, value_at(measured, workload, leaders.peer), "the best peer");
    case OURS: other = find_workload(measured, promise->other);
        return judge_ratio(promise, ours, value_at(measured, other, leaders.ours), "our own single reads");
    case AT_MOST: return judge_number(ours, promise->must, promise->aim, unit);
    case AT_MOST_BY_SIZE: return judge_number(ours, opening_ms(measured), opening_ms(measured), unit);
    case WORST_OF_ENGINE: return judge_worst(promise, worst_at(measured, workload, leaders.ours),
        worst_at(measured, workload, other));
    }
    abort();
}

static bool applies(const struct measured *measured, int workload, const struct promise *promise)
{
    if (strcmp(promise->workload, measured->workloads[workload].name) != 0) return false;
    if (promise->record_count && promise->record_count != measured->record_count) return false;
    return measured->record_size == 100 && measured->record_count >= 1000000 && measured->memory_limit == 0;
}

static void append(char *text, size_t size, const char *more)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s", used ? "; " : "", more);
}

enum verdict judge(const struct measured *measured, int workload, char *must, char *reached, size_t size)
{
    enum verdict verdict = NO_PROMISE;
    must[0] = reached[0] = 0;
    for (size_t i = 0; i < sizeof promises / sizeof *promises; i++) {
        if (!applies(measured, workload, &promises[i])) continue;
        struct judgement judgement = judge_one(measured, workload, &promises[i]);
        if (judgement.verdict == NO_PROMISE) continue;
        append(must, size, judgement.must);
        append(reached, size, judgement.reached);
        if (verdict == NO_PROMISE || judgement.verdict < verdict) verdict = judgement.verdict;
    }
    return verdict;
}
