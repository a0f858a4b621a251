/*
 * Results: medians and leaders, the tables on the terminal, and lines of text with tabs.
 *
 *     case      records  size  limit  seconds  rounds
 *     missing   names
 *     engine    index  is_limit  is_ours  name  version  settings
 *     workload  index  less_is_better  only_told  unit  name
 *     result    workload  engine  round  value  p50  p99  p999  worst
 *     second    engine  index  rate  worst_ms
 */
#include "results.h"

#include <stdlib.h>

/* Medians and leaders ============================================================================================= */

static double median_of(const struct measured *measured, int workload, int engine, size_t offset)
{
    double values[ROUNDS_MAX];
    for (int round = 0; round < measured->round_count; round++) {
        memcpy(&values[round], (const char *)&measured->results[workload][engine][round] + offset, sizeof *values);
    }
    return median(values, measured->round_count);
}

struct result median_result(const struct measured *measured, int workload, int engine)
{
    double worst = 0;
    for (int round = 0; round < measured->round_count; round++) {
        double next = measured->results[workload][engine][round].latency.worst;
        if (next > worst) worst = next;
    }
    return (struct result){
        .value = median_of(measured, workload, engine, offsetof(struct result, value)),
        .latency = {
            .p50 = median_of(measured, workload, engine, offsetof(struct result, latency.p50)),
            .p99 = median_of(measured, workload, engine, offsetof(struct result, latency.p99)),
            .p999 = median_of(measured, workload, engine, offsetof(struct result, latency.p999)),
            .worst = worst,
        },
    };
}

struct leaders find_leaders(const struct measured *measured, int workload)
{
    struct leaders leaders = {-1, -1, -1};
    bool less_is_better = measured->workloads[workload].less_is_better;
    for (int engine = 0; engine < measured->engine_count; engine++) {
        double value = median_result(measured, workload, engine).value;
        const struct engine_facts *facts = &measured->engines[engine];
        if (value == 0 || (measured->workloads[workload].only_told && !facts->is_ours)) continue;
        int *leader = facts->is_ours ? &leaders.ours : facts->is_limit ? &leaders.limit : &leaders.peer;
        double best = *leader < 0 ? 0 : median_result(measured, workload, *leader).value;
        if (*leader < 0 || (less_is_better ? value < best : value > best)) *leader = engine;
    }
    return leaders;
}

double ratio(double ours, double theirs, bool less_is_better)
{
    if (ours <= 0 || theirs <= 0) return 0;
    return less_is_better ? theirs / ours : ours / theirs;
}

/* The terminal ==================================================================================================== */

const char *number_text(double value, char *room, size_t size)
{
    int digits = value >= 1000 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
    if (value == 0) snprintf(room, size, "-");
    else snprintf(room, size, "%.*f", digits, value);
    return room;
}

static void print_number(double value, int width)
{
    char room[32];
    printf("%*s", width, number_text(value, room, sizeof room));
}

static double leader_value(const struct measured *measured, int workload, int leader)
{
    return leader < 0 ? 0 : median_result(measured, workload, leader).value;
}

static void print_rates(const struct measured *measured)
{
    printf("%-32s%-4s", "medians", "");
    for (int i = 0; i < measured->engine_count; i++) printf("%11s", measured->engines[i].name);
    printf("%10s%14s\n", "of limit", "of best peer");
    for (int workload = 0; workload < measured->workload_count; workload++) {
        const struct workload_facts *facts = &measured->workloads[workload];
        struct leaders leaders = find_leaders(measured, workload);
        double ours = leader_value(measured, workload, leaders.ours);
        printf("%-32s%-4s", facts->name, facts->unit);
        for (int i = 0; i < measured->engine_count; i++) print_number(median_result(measured, workload, i).value, 11);
        print_number(ratio(ours, leader_value(measured, workload, leaders.limit), facts->less_is_better), 10);
        print_number(ratio(ours, leader_value(measured, workload, leaders.peer), facts->less_is_better), 14);
        putchar('\n');
    }
}

static void print_latencies(const struct measured *measured)
{
    printf("\n%-32s%-12s%11s%11s%11s%11s\n", "us a call", "", "p50", "p99", "p99.9", "worst");
    for (int workload = 0; workload < measured->workload_count; workload++) {
        const char *name = measured->workloads[workload].name;
        for (int engine = 0; engine < measured->engine_count; engine++) {
            struct latency latency = median_result(measured, workload, engine).latency;
            if (latency.worst == 0) continue;
            printf("%-32s%-12s", name, measured->engines[engine].name);
            print_number(latency.p50, 11);
            print_number(latency.p99, 11);
            print_number(latency.p999, 11);
            print_number(latency.worst, 11);
            putchar('\n');
            name = "";
        }
    }
}

void print_tables(const struct measured *measured)
{
    printf("%llu records of %llu bytes, %g s a workload, %d rounds", (unsigned long long)measured->record_count,
        (unsigned long long)measured->record_size, measured->seconds, measured->round_count);
    if (measured->memory_limit) printf(", %llu MiB of memory", (unsigned long long)measured->memory_limit >> 20);
    putchar('\n');
    for (int i = 0; i < measured->engine_count; i++) {
        const struct engine_facts *facts = &measured->engines[i];
        printf("%-12s%s%s%s\n", facts->name, facts->version, facts->version[0] ? ": " : "", facts->settings);
    }
    if (measured->missing[0]) printf("Not installed, and left out: %s\n", measured->missing);
    putchar('\n');
    print_rates(measured);
    print_latencies(measured);
}

/* Lines with tabs ================================================================================================= */

static void write_round(const struct measured *measured, int workload, int engine, int round, FILE *file)
{
    const struct result *result = &measured->results[workload][engine][round];
    if (result->value == 0) return;
    fprintf(file, "result\t%d\t%d\t%d\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\n", workload, engine, round, result->value,
        result->latency.p50, result->latency.p99, result->latency.p999, result->latency.worst);
}

void write_results(const struct measured *measured, FILE *file)
{
    fprintf(file, "case\t%llu\t%llu\t%llu\t%g\t%d\n", (unsigned long long)measured->record_count,
        (unsigned long long)measured->record_size, (unsigned long long)measured->memory_limit, measured->seconds,
        measured->round_count);
    if (measured->missing[0]) fprintf(file, "missing\t%s\n", measured->missing);
    for (int i = 0; i < measured->engine_count; i++) {
        const struct engine_facts *facts = &measured->engines[i];
        fprintf(file, "engine\t%d\t%d\t%d\t%s\t%s\t%s\n", i, facts->is_limit, facts->is_ours, facts->name,
            facts->version, facts->settings);
        for (int second = 0; second < facts->timeline.second_count; second++) {
            fprintf(file, "second\t%d\t%d\t%.9g\t%.9g\n", i, second, facts->timeline.rates[second],
                facts->timeline.worst_ms[second]);
        }
    }
    for (int workload = 0; workload < measured->workload_count; workload++) {
        const struct workload_facts *facts = &measured->workloads[workload];
        fprintf(file, "workload\t%d\t%d\t%d\t%s\t%s\n", workload, facts->less_is_better, facts->only_told, facts->unit,
            facts->name);
        for (int engine = 0; engine < measured->engine_count; engine++) {
            for (int round = 0; round < measured->round_count; round++) {
                write_round(measured, workload, engine, round, file);
            }
        }
    }
}

/* The next piece up to a tab or the end of the line; the line moves on behind it. */
static char *next_text(char **line)
{
    char *text = strsep(line, "\t\n");
    if (!text) fail("a line of results is too short");
    return text;
}

static double next_number(char **line)
{
    return strtod(next_text(line), NULL);
}

static int next_index(char **line, int end)
{
    double index = next_number(line);
    if (index < 0 || index >= end) fail("a line of results names nothing that there is");
    return (int)index;
}

static void copy_text(char *target, size_t size, const char *text)
{
    snprintf(target, size, "%s", text);
}

static void read_case(struct measured *measured, char *line)
{
    measured->record_count = (uint64_t)next_number(&line);
    measured->record_size = (uint64_t)next_number(&line);
    measured->memory_limit = (uint64_t)next_number(&line);
    measured->seconds = next_number(&line);
    measured->round_count = next_index(&line, ROUNDS_MAX + 1);
}

static void read_engine(struct measured *measured, char *line)
{
    int index = next_index(&line, ENGINES_MAX);
    struct engine_facts *facts = &measured->engines[index];
    measured->engine_count = index + 1;
    facts->is_limit = next_number(&line) != 0;
    facts->is_ours = next_number(&line) != 0;
    copy_text(facts->name, sizeof facts->name, next_text(&line));
    copy_text(facts->version, sizeof facts->version, next_text(&line));
    copy_text(facts->settings, sizeof facts->settings, next_text(&line));
}

static void read_workload(struct measured *measured, char *line)
{
    int index = next_index(&line, WORKLOADS_MAX);
    struct workload_facts *facts = &measured->workloads[index];
    measured->workload_count = index + 1;
    facts->less_is_better = next_number(&line) != 0;
    facts->only_told = next_number(&line) != 0;
    copy_text(facts->unit, sizeof facts->unit, next_text(&line));
    copy_text(facts->name, sizeof facts->name, next_text(&line));
}

static void read_result(struct measured *measured, char *line)
{
    int workload = next_index(&line, WORKLOADS_MAX);
    int engine = next_index(&line, ENGINES_MAX);
    int round = next_index(&line, ROUNDS_MAX);
    struct result *result = &measured->results[workload][engine][round];
    result->value = next_number(&line);
    result->latency.p50 = next_number(&line);
    result->latency.p99 = next_number(&line);
    result->latency.p999 = next_number(&line);
    result->latency.worst = next_number(&line);
}

static void read_second(struct measured *measured, char *line)
{
    struct timeline *timeline = &measured->engines[next_index(&line, ENGINES_MAX)].timeline;
    int second = next_index(&line, TIMELINE_MAX);
    timeline->second_count = second + 1;
    timeline->rates[second] = next_number(&line);
    timeline->worst_ms[second] = next_number(&line);
}

void read_results(struct measured *measured, FILE *file)
{
    char room[2048];
    memset(measured, 0, sizeof *measured);
    while (fgets(room, sizeof room, file)) {
        char *line = room, *kind = next_text(&line);
        if (!strcmp(kind, "case")) read_case(measured, line);
        else if (!strcmp(kind, "missing")) copy_text(measured->missing, sizeof measured->missing, next_text(&line));
        else if (!strcmp(kind, "engine")) read_engine(measured, line);
        else if (!strcmp(kind, "workload")) read_workload(measured, line);
        else if (!strcmp(kind, "result")) read_result(measured, line);
        else if (!strcmp(kind, "second")) read_second(measured, line);
        else fail("a line of results is of no kind: %s", kind);
    }
}
