/* The report: all cases that were measured, and what is made of them. */
#ifndef REPORT_H
#define REPORT_H

#include "results.h"

#define CASES_MAX 24

struct report {
    struct measured *cases[CASES_MAX];
    int case_count;
};

/* The index of a workload or an engine by its name, or -1. */
int find_workload(const struct measured *measured, const char *name);
int find_engine(const struct measured *measured, const char *name);

/* The median, or 0 where there is none; an index may be -1. */
double value_at(const struct measured *measured, int workload, int engine);

/* Budget (budget.c) =============================================================================================== */

enum verdict { NO_PROMISE, MISSED, MET, AIM_MET };

/*
 * What BUDGET.md says must be reached in this row, and whether it was; the worst of several promises counts. `must`
 * gets the promises and `reached` what came out, as text, a semicolon between.
 */
enum verdict judge(const struct measured *measured, int workload, char *must, char *reached, size_t size);

/* Machine (machine.c) ============================================================================================= */

void write_machine(FILE *file);

/* Plots (plots.c) ================================================================================================= */

/* Each writes a file of the folder; false where nothing was measured that it would show. */
bool plot_peers(const struct report *report, const char *folder);
bool plot_sizes(const struct report *report, const char *folder);
bool plot_limits(const struct report *report, const char *folder);
bool plot_sustained(const struct report *report, const char *folder);

#endif
