/*
 * Makes the report from lines of results: RESULTS.md and its plots.
 *
 *     report FOLDER results...
 */
#include "report.h"

#include <stdlib.h>

size_t record_size = 100;

/* Looking up ====================================================================================================== */

int find_workload(const struct measured *measured, const char *name)
{
    for (int i = 0; i < measured->workload_count; i++) {
        if (!strcmp(measured->workloads[i].name, name)) return i;
    }
    return -1;
}

int find_engine(const struct measured *measured, const char *name)
{
    for (int i = 0; i < measured->engine_count; i++) {
        if (!strcmp(measured->engines[i].name, name)) return i;
    }
    return -1;
}

double value_at(const struct measured *measured, int workload, int engine)
{
    return workload < 0 || engine < 0 ? 0 : median_result(measured, workload, engine).value;
}

/* Numbers with commas in their thousands. */
static const char *grouped(uint64_t number, char *room, size_t size)
{
    char digits[32];
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    size_t used = 0;
    for (int i = 0; i < count && used + 2 < size; i++) {
        if (i > 0 && (count - i) % 3 == 0) room[used++] = ',';
        room[used++] = digits[i];
    }
    room[used] = 0;
    return room;
}

static void write_title(const struct measured *measured, FILE *file)
{
    char count[40], size[40];
    fprintf(file, "%s records of %s bytes", grouped(measured->record_count, count, sizeof count),
        grouped(measured->record_size, size, sizeof size));
    if (measured->memory_limit) {
        fprintf(file, ", %llu MiB of memory", (unsigned long long)measured->memory_limit >> 20);
    }
}

/* One case ======================================================================================================== */

static bool took_part(const struct measured *measured, int engine)
{
    for (int workload = 0; workload < measured->workload_count; workload++) {
        if (value_at(measured, workload, engine) != 0) return true;
    }
    return false;
}

static void write_cell(double value, bool is_strong, FILE *file)
{
    char number[32];
    number_text(value, number, sizeof number);
    fprintf(file, is_strong ? " **%s** |" : " %s |", number);
}

static void write_verdict(const struct measured *measured, int workload, FILE *file)
{
    static const char *const words[] = {
        [NO_PROMISE] = "", [MISSED] = "**no**", [MET] = "yes", [AIM_MET] = "yes, and the aim",
    };
    char must[256], reached[128];
    enum verdict verdict = judge(measured, workload, must, reached, sizeof reached);
    fprintf(file, " %s | %s |\n", must, words[verdict]);
}

static void write_row(const struct measured *measured, int workload, FILE *file)
{
    const struct workload_facts *facts = &measured->workloads[workload];
    struct leaders leaders = find_leaders(measured, workload);
    double ours = value_at(measured, workload, leaders.ours);
    if (ours == 0 && leaders.peer < 0) return;
    fprintf(file, "| %s%s%s |", facts->name, facts->unit[0] ? ", " : "", facts->unit);
    for (int i = 0; i < measured->engine_count; i++) {
        if (took_part(measured, i)) write_cell(value_at(measured, workload, i), i == leaders.ours, file);
    }
    write_cell(ratio(ours, value_at(measured, workload, leaders.limit), facts->less_is_better), false, file);
    write_cell(ratio(ours, value_at(measured, workload, leaders.peer), facts->less_is_better), false, file);
    write_verdict(measured, workload, file);
}

static void write_rates(const struct measured *measured, FILE *file)
{
    fprintf(file, "| medians |");
    for (int i = 0; i < measured->engine_count; i++) {
        if (took_part(measured, i)) fprintf(file, " %s |", measured->engines[i].name);
    }
    fprintf(file, " of limit | of best peer | must | met |\n|---|");
    for (int i = 0; i < measured->engine_count; i++) {
        if (took_part(measured, i)) fprintf(file, "---:|");
    }
    fprintf(file, "---:|---:|---|---|\n");
    for (int workload = 0; workload < measured->workload_count; workload++) write_row(measured, workload, file);
}

static void write_latency(const struct measured *measured, int workload, int engine, FILE *file)
{
    struct latency latency = {.p50 = 0};
    if (engine >= 0) latency = median_result(measured, workload, engine).latency;
    write_cell(latency.p50, false, file);
    write_cell(latency.p99, false, file);
    write_cell(latency.p999, false, file);
    write_cell(latency.worst, false, file);
}

/* Ours beside the peer with the best rate. */
static void write_latencies(const struct measured *measured, FILE *file)
{
    bool begun = false;
    for (int workload = 0; workload < measured->workload_count; workload++) {
        struct leaders leaders = find_leaders(measured, workload);
        if (leaders.ours < 0 || median_result(measured, workload, leaders.ours).latency.worst == 0) continue;
        if (!begun) {
            fprintf(file, "\n| us a call | p50 | p99 | p99.9 | worst | best peer | p50 | p99 | p99.9 | worst |\n");
            fprintf(file, "|---|---:|---:|---:|---:|---|---:|---:|---:|---:|\n");
        }
        begun = true;
        fprintf(file, "| %s |", measured->workloads[workload].name);
        write_latency(measured, workload, leaders.ours, file);
        fprintf(file, " %s |", leaders.peer < 0 ? "-" : measured->engines[leaders.peer].name);
        write_latency(measured, workload, leaders.peer, file);
        fprintf(file, "\n");
    }
}

static void write_case(const struct measured *measured, FILE *file)
{
    fprintf(file, "## ");
    write_title(measured, file);
    fprintf(file, "\n\n%g s a workload, %d round%s.\n\n", measured->seconds, measured->round_count,
        measured->round_count == 1 ? "" : "s");
    write_rates(measured, file);
    write_latencies(measured, file);
    fprintf(file, "\n");
}

/* All cases ======================================================================================================= */

/* Where the best peer is ahead. */
static void write_losses(const struct report *report, FILE *file)
{
    int count = 0;
    fprintf(file, "## Losses\n\nWhere the best peer is ahead by more than runs differ (5 %%):\n\n"
        "| case | workload | of best peer | ours | best peer | |\n|---|---|---:|---:|---:|---|\n");
    for (int i = 0; i < report->case_count; i++) {
        const struct measured *measured = report->cases[i];
        for (int workload = 0; workload < measured->workload_count; workload++) {
            const struct workload_facts *facts = &measured->workloads[workload];
            struct leaders leaders = find_leaders(measured, workload);
            double ours = value_at(measured, workload, leaders.ours);
            double theirs = value_at(measured, workload, leaders.peer);
            double reached = ratio(ours, theirs, facts->less_is_better);
            /* Less than a megabyte of memory is nothing, beside whatever. */
            bool is_nothing = !strcmp(facts->unit, "MiB") && ours < 1;
            if (reached == 0 || reached >= 0.95 || is_nothing) continue;
            fprintf(file, "| ");
            write_title(measured, file);
            fprintf(file, " | %s%s%s | %.2g |", facts->name, facts->unit[0] ? ", " : "", facts->unit, reached);
            write_cell(ours, false, file);
            write_cell(theirs, false, file);
            fprintf(file, " %s |\n", measured->engines[leaders.peer].name);
            count++;
        }
    }
    if (count == 0) fprintf(file, "| nowhere | | | | | |\n");
    fprintf(file, "\n");
}

static void write_missed(const struct report *report, FILE *file)
{
    int count = 0;
    fprintf(file, "## Not reached\n\nWhat must be reached, and was not in this run:\n\n"
        "| case | workload | must | reached |\n|---|---|---|---|\n");
    for (int i = 0; i < report->case_count; i++) {
        for (int workload = 0; workload < report->cases[i]->workload_count; workload++) {
            char must[256], reached[128];
            if (judge(report->cases[i], workload, must, reached, sizeof reached) != MISSED) continue;
            fprintf(file, "| ");
            write_title(report->cases[i], file);
            fprintf(file, " | %s | %s | %s |\n", report->cases[i]->workloads[workload].name, must, reached);
            count++;
        }
    }
    if (count == 0) fprintf(file, "| nothing | | | |\n");
    fprintf(file, "\n");
}

/* From the case with the most engines. */
static void write_settings(const struct report *report, FILE *file)
{
    const struct measured *largest = report->cases[0];
    for (int i = 1; i < report->case_count; i++) {
        if (report->cases[i]->engine_count > largest->engine_count) largest = report->cases[i];
    }
    fprintf(file, "## Engines\n\n| engine | version | settings |\n|---|---|---|\n");
    for (int i = 0; i < largest->engine_count; i++) {
        const struct engine_facts *facts = &largest->engines[i];
        fprintf(file, "| %s | %s | ", facts->name, facts->version);
        for (const char *place = facts->settings; *place; place++) fprintf(file, *place == '|' ? "\\|" : "%c", *place);
        fprintf(file, " |\n");
    }
    if (largest->missing[0]) fprintf(file, "| left out | | not installed: %s |\n", largest->missing);
    fprintf(file, "\n");
}

static void write_plots(const struct report *report, const char *folder, FILE *file)
{
    if (plot_peers(report, folder)) fprintf(file, "![DiamondDB beside its peers](results/peers.svg)\n\n");
    if (plot_sizes(report, folder)) fprintf(file, "![Over the size of the table](results/sizes.svg)\n\n");
    if (plot_limits(report, folder)) fprintf(file, "![Under limits of memory](results/limits.svg)\n\n");
    if (plot_sustained(report, folder)) fprintf(file, "![The worst stop of each second](results/sustained.svg)\n\n");
}

static void write_report(const struct report *report, const char *folder, FILE *file)
{
    fprintf(file, "# DiamondDB beside its peers\n\n"
        "Written by `make bench`; README.md says what each row measures and what is equal.\n\n");
    write_machine(file);
    fprintf(file, "`of limit` and `of best peer` say how far DiamondDB gets: more is better, also where less is.\n"
        "Compare ratios and not figures: figures wander from run to run with what else the machine does.\n\n");
    write_plots(report, folder, file);
    write_missed(report, file);
    write_losses(report, file);
    for (int i = 0; i < report->case_count; i++) write_case(report->cases[i], file);
    write_settings(report, file);
}

int main(int count, char **values)
{
    struct report report = {.case_count = 0};
    char path[4096], folder[4096];
    if (count < 3 || count - 2 > CASES_MAX) fail("usage: report FOLDER results...");
    for (int i = 2; i < count; i++) {
        FILE *file = fopen(values[i], "r");
        if (!file) fail("%s cannot be read", values[i]);
        report.cases[report.case_count] = allocate(sizeof(struct measured));
        read_results(report.cases[report.case_count++], file);
        fclose(file);
    }
    snprintf(path, sizeof path, "%s/RESULTS.md", values[1]);
    snprintf(folder, sizeof folder, "%s/results", values[1]);
    FILE *file = fopen(path, "w");
    if (!file) fail("%s cannot be written", path);
    write_report(&report, folder, file);
    if (fclose(file) != 0) fail("%s could not be written", path);
    for (int i = 0; i < report.case_count; i++) free(report.cases[i]);
    return 0;
}
