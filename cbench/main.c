/*
 * The program: what to run, in rounds, and a table of medians.
 *
 * Engines take turns within each workload of each round, so that what wanders about the machine wanders about all.
 */
#include "bench.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ENGINES_MAX 16
#define ROUNDS_MAX 64
#define WORKLOADS_MAX 64

static const struct engine *const all_engines[] = {&array_engine, &diamond_engine, &lmdb_engine};

struct arguments {
    uint64_t record_count;
    double seconds;
    int round_count;
    const char *folder;
    /* Part of the names of the workloads to run; the first, which loads, always runs. */
    const char *only;
    const struct engine *engines[ENGINES_MAX];
    int engine_count;
};

static struct result results[WORKLOADS_MAX][ENGINES_MAX][ROUNDS_MAX];

double now_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory) fail("no memory for %zu bytes", size);
    return memory;
}

_Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

_Noreturn void wrong_record(uint64_t id, uint32_t version)
{
    fail("record %llu is not what version %u of it was", (unsigned long long)id, version);
}

/* Arguments ======================================================================================================= */

static void choose_engines(struct arguments *arguments, char *names)
{
    arguments->engine_count = 0;
    for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
        const struct engine *found = NULL;
        for (size_t i = 0; i < sizeof all_engines / sizeof *all_engines; i++) {
            if (!strcmp(all_engines[i]->name, name)) found = all_engines[i];
        }
        if (!found) fail("there is no engine %s", name);
        if (arguments->engine_count == ENGINES_MAX) fail("too many engines");
        arguments->engines[arguments->engine_count++] = found;
    }
}

static struct arguments read_arguments(int count, char **values)
{
    static const struct option options[] = {
        {"records", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 's'},
        {"rounds", required_argument, NULL, 'r'},  {"engines", required_argument, NULL, 'e'},
        {"folder", required_argument, NULL, 'f'},  {"only", required_argument, NULL, 'o'},
        {0},
    };
    struct arguments arguments = {1000000, 1, 5, "cbench.data", "", {NULL}, 0};
    for (size_t i = 0; i < sizeof all_engines / sizeof *all_engines; i++) {
        arguments.engines[arguments.engine_count++] = all_engines[i];
    }
    for (int option; (option = getopt_long(count, values, "", options, NULL)) != -1;) {
        switch (option) {
        case 'n': arguments.record_count = strtoull(optarg, NULL, 10); break;
        case 's': arguments.seconds = strtod(optarg, NULL); break;
        case 'r': arguments.round_count = atoi(optarg); break;
        case 'e': choose_engines(&arguments, optarg); break;
        case 'f': arguments.folder = optarg; break;
        case 'o': arguments.only = optarg; break;
        default:
            fail("usage: cbench [--records n] [--seconds s] [--rounds n] [--engines a,b] [--only part of a name] "
                 "[--folder path]");
        }
    }
    if (arguments.record_count < 1000) fail("--records must be 1000 or more");
    if (arguments.round_count < 1 || arguments.round_count > ROUNDS_MAX) fail("--rounds must be 1 to %d", ROUNDS_MAX);
    return arguments;
}

/* Folders ========================================================================================================= */

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status, (void)kind, (void)place;
    return remove(path);
}

static void remove_folder(const char *folder)
{
    if (nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) fail("cannot remove %s", folder);
}

static void make_folder(const char *folder)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) fail("cannot make %s", folder);
}

/* Rounds ========================================================================================================== */

static bool is_wanted(const struct arguments *arguments, size_t workload)
{
    return workload == 0 || strstr(workloads[workload].name, arguments->only) != NULL;
}

static void run_round(const struct arguments *arguments, int round, uint32_t *const versions[])
{
    char folders[ENGINES_MAX][4096];
    for (int i = 0; i < arguments->engine_count; i++) {
        snprintf(folders[i], sizeof folders[i], "%s/%s", arguments->folder, arguments->engines[i]->name);
        remove_folder(folders[i]);
        make_folder(folders[i]);
    }
    for (size_t workload = 0; workload < workload_count; workload++) {
        if (!is_wanted(arguments, workload)) continue;
        for (int i = 0; i < arguments->engine_count; i++) {
            struct subject subject = {
                .engine = arguments->engines[i],
                .folder = folders[i],
                .record_count = arguments->record_count,
                .seconds = arguments->seconds,
                .seed = ((uint64_t)round << 32) + workload,
                .versions = versions[i],
            };
            results[workload][i][round] = workloads[workload].run(&workloads[workload], &subject);
            if (isatty(STDERR_FILENO)) {
                fprintf(stderr, "\rround %d of %d: %s, %s\33[K", round + 1, arguments->round_count,
                    workloads[workload].name, subject.engine->name);
            }
        }
    }
    for (int i = 0; i < arguments->engine_count; i++) remove_folder(folders[i]);
}

/* The table ======================================================================================================= */

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(const struct result *of, int count, size_t offset)
{
    double values[ROUNDS_MAX];
    for (int i = 0; i < count; i++) memcpy(&values[i], (const char *)&of[i] + offset, sizeof values[i]);
    qsort(values, (size_t)count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

#define MEDIAN(workload, engine, field) \
    median(results[workload][engine], arguments->round_count, offsetof(struct result, field))

static void print_number(double value, int width)
{
    int digits = value >= 1000 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
    printf("%*.*f", width, digits, value);
}

/* `ours` beside `theirs`, so that more is better. */
static void print_ratio(double ours, double theirs, bool less_is_better)
{
    if (theirs <= 0 || ours <= 0) printf("%13s", "-");
    else printf("%13.2f", less_is_better ? theirs / ours : ours / theirs);
}

static void print_rates(const struct arguments *arguments)
{
    printf("%-22s %-4s", "medians", "");
    for (int i = 0; i < arguments->engine_count; i++) printf("%11s", arguments->engines[i]->name);
    printf("%13s%13s\n", "of limit", "of best peer");
    for (size_t workload = 0; workload < workload_count; workload++) {
        if (!is_wanted(arguments, workload)) continue;
        bool less_is_better = workloads[workload].less_is_better;
        double ours = 0, limit = 0, best = 0;
        printf("%-22s %-4s", workloads[workload].name, workloads[workload].unit);
        for (int i = 0; i < arguments->engine_count; i++) {
            const struct engine *engine = arguments->engines[i];
            double value = MEDIAN(workload, i, value);
            print_number(value, 11);
            if (engine == &diamond_engine) ours = value;
            else if (engine->is_limit) limit = value;
            else if (best == 0 || (less_is_better ? value < best : value > best)) best = value;
        }
        print_ratio(ours, limit, less_is_better);
        print_ratio(ours, best, less_is_better);
        putchar('\n');
    }
}

static void print_latencies(const struct arguments *arguments)
{
    printf("\n%-22s %-4s", "p50 / p99 of a call", "us");
    for (int i = 0; i < arguments->engine_count; i++) printf("%20s", arguments->engines[i]->name);
    putchar('\n');
    for (size_t workload = 0; workload < workload_count; workload++) {
        if (!is_wanted(arguments, workload) || MEDIAN(workload, 0, p50_us) == 0) continue;
        printf("%-22s %-4s", workloads[workload].name, "");
        for (int i = 0; i < arguments->engine_count; i++) {
            print_number(MEDIAN(workload, i, p50_us), 11);
            printf(" ");
            print_number(MEDIAN(workload, i, p99_us), 8);
        }
        putchar('\n');
    }
}

int main(int count, char **values)
{
    struct arguments parsed = read_arguments(count, values), *arguments = &parsed;
    uint32_t *versions[ENGINES_MAX];
    for (int i = 0; i < arguments->engine_count; i++) {
        versions[i] = allocate(arguments->record_count * sizeof *versions[i]);
    }
    make_folder(arguments->folder);
    for (int round = 0; round < arguments->round_count; round++) run_round(arguments, round, versions);
    remove(arguments->folder);
    if (isatty(STDERR_FILENO)) fputs("\r\33[K", stderr);

    printf("%llu records of %d bytes, %g s a workload, %d rounds\n", (unsigned long long)arguments->record_count,
        RECORD_SIZE, arguments->seconds, arguments->round_count);
    for (int i = 0; i < arguments->engine_count; i++) {
        printf("%-8s %s\n", arguments->engines[i]->name, arguments->engines[i]->settings);
        free(versions[i]);
    }
    putchar('\n');
    print_rates(arguments);
    print_latencies(arguments);
    return 0;
}
