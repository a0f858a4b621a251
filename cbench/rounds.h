/* Rounds: in each, every engine has its turn at every workload. */
#ifndef ROUNDS_H
#define ROUNDS_H

#include "results.h"

struct plan {
    uint64_t record_count;
    double seconds;
    int round_count;
    uint64_t memory_limit;
    const char *folder;
    const struct engine *engines[ENGINES_MAX];
    int engine_count;
    const struct workload *workloads[WORKLOADS_MAX];
    int workload_count;
    /* Only the first round fills the stores; the others go on with them. */
    bool loads_once;
};

/* Runs all rounds, and fills `measured`. */
void run_rounds(const struct plan *plan, struct measured *measured);

#endif
