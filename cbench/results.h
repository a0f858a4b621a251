/*
 * What was measured in one case: a number of records of one size, some engines, some workloads, some rounds.
 *
 * The harness fills it and prints a table; it also writes it as lines of text with tabs, from which the report is made.
 */
#ifndef RESULTS_H
#define RESULTS_H

#include <stdio.h>

#include "workloads.h"

#define ENGINES_MAX 16
#define WORKLOADS_MAX 64
#define ROUNDS_MAX 64

struct engine_facts {
    char name[32], version[64], settings[512];
    bool is_limit, is_ours;
    struct timeline timeline;
};

struct workload_facts {
    char name[64], unit[16];
    bool less_is_better, only_told;
};

struct measured {
    uint64_t record_count, record_size, memory_limit;
    double seconds;
    int round_count;
    struct engine_facts engines[ENGINES_MAX];
    int engine_count;
    struct workload_facts workloads[WORKLOADS_MAX];
    int workload_count;
    struct result results[WORKLOADS_MAX][ENGINES_MAX][ROUNDS_MAX];
    /* Names of the engines that were not built in, with the packages that have them. */
    char missing[512];
};

/* The medians of a workload's rounds; the worst is that of all rounds. */
struct result median_result(const struct measured *measured, int workload, int engine);

/* The best of the limits, ours, and the best peer, as indices of engines; -1 where there is none, or nobody wins. */
struct leaders {
    int limit, ours, peer;
};
struct leaders find_leaders(const struct measured *measured, int workload);

/* How far `ours` gets to `theirs`: more is better, also where less is. 0 if one was not measured. */
double ratio(double ours, double theirs, bool less_is_better);

/* With as many digits as mean something; "-" for 0. */
const char *number_text(double value, char *room, size_t size);

void print_tables(const struct measured *measured);

void write_results(const struct measured *measured, FILE *file);
/* Ends the program if the lines are not what write_results writes. */
void read_results(struct measured *measured, FILE *file);

#endif
