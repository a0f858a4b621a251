/*
 * The program: what to run, and where to write what came out.
 */
#include "rounds.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>

static const char usage[] =
    "usage: cbench [--records n] [--size bytes] [--seconds s] [--rounds n] [--engines a,b] [--without a,b]\n"
    "              [--only part+part] [--limit MiB] [--load-once] [--folder path] [--results file] [--list]";

size_t record_size = 100;

/* Engines ========================================================================================================= */

static bool is_named(const char *name, const char *names)
{
    size_t size = strlen(name);
    for (const char *found = names; (found = strstr(found, name)); found += size) {
        bool begins = found == names || found[-1] == ',';
        if (begins && (found[size] == ',' || !found[size])) return true;
    }
    return false;
}

static void check_names(const char *names)
{
    char room[512];
    snprintf(room, sizeof room, "%s", names);
    for (char *name = strtok(room, ","); name; name = strtok(NULL, ",")) {
        bool found = false;
        for (int i = 0; all_engines[i]; i++) found |= !strcmp(all_engines[i]->name, name);
        for (int i = 0; missing_engines[i].name; i++) found |= !strcmp(missing_engines[i].name, name);
        if (!found) fail("there is no engine %s", name);
    }
}

static void choose_engines(struct plan *plan, const char *names, const char *left_out)
{
    check_names(names);
    check_names(left_out);
    for (int i = 0; all_engines[i]; i++) {
        if (names[0] && !is_named(all_engines[i]->name, names)) continue;
        if (is_named(all_engines[i]->name, left_out)) continue;
        plan->engines[plan->engine_count++] = all_engines[i];
    }
    if (plan->engine_count == 0) fail("none of these engines is installed");
}

/* Workloads ======================================================================================================= */

/* `only` is parts of names with a plus between them. */
static bool is_wanted(const struct workload *workload, const char *only)
{
    char room[512];
    if (workload->run == load) return true;
    if (!only[0]) return !(workload->flags & BY_NAME);
    snprintf(room, sizeof room, "%s", only);
    for (char *part = strtok(room, "+"); part; part = strtok(NULL, "+")) {
        const char *found = strstr(workload->name, part);
        if (workload->flags & BY_NAME ? found && strlen(part) == strlen(workload->name) : found != NULL) return true;
    }
    return false;
}

static void choose_workloads(struct plan *plan, const char *only)
{
    for (size_t i = 0; i < workload_count; i++) {
        if (is_wanted(&workloads[i], only)) plan->workloads[plan->workload_count++] = &workloads[i];
    }
}

static _Noreturn void list(void)
{
    for (int i = 0; all_engines[i]; i++) {
        printf("%-12s%s: %s\n", all_engines[i]->name, all_engines[i]->version(), all_engines[i]->settings);
    }
    putchar('\n');
    for (size_t i = 0; i < workload_count; i++) printf("%s\n", workloads[i].name);
    exit(0);
}

/* The program ===================================================================================================== */

static struct plan read_arguments(int count, char **values, const char **results)
{
    enum { LOAD_ONCE = 1, LIST, WITHOUT, SIZE };
    static const struct option options[] = {
        {"records", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 's'},
        {"rounds", required_argument, NULL, 'r'},  {"engines", required_argument, NULL, 'e'},
        {"folder", required_argument, NULL, 'f'},  {"only", required_argument, NULL, 'o'},
        {"limit", required_argument, NULL, 'l'},   {"results", required_argument, NULL, 't'},
        {"size", required_argument, NULL, SIZE},   {"load-once", no_argument, NULL, LOAD_ONCE},
        {"list", no_argument, NULL, LIST},         {"without", required_argument, NULL, WITHOUT},
        {0},
    };
    struct plan plan = {.record_count = 1000000, .seconds = 1, .round_count = 5, .folder = "cbench.data"};
    const char *only = "", *engines = "", *left_out = "";
    for (int option; (option = getopt_long(count, values, "", options, NULL)) != -1;) {
        switch (option) {
        case 'n': plan.record_count = strtoull(optarg, NULL, 10); break;
        case SIZE: record_size = strtoull(optarg, NULL, 10); break;
        case 's': plan.seconds = strtod(optarg, NULL); break;
        case 'r': plan.round_count = atoi(optarg); break;
        case 'e': engines = optarg; break;
        case WITHOUT: left_out = optarg; break;
        case 'f': plan.folder = optarg; break;
        case 'o': only = optarg; break;
        case 'l': plan.memory_limit = strtoull(optarg, NULL, 10) << 20; break;
        case 't': *results = optarg; break;
        case LOAD_ONCE: plan.loads_once = true; break;
        case LIST: list();
        default: fail("%s", usage);
        }
    }
    if (plan.record_count < 1000) fail("--records must be 1000 or more");
    if (plan.record_count > UINT32_MAX) fail("--records must be below 4,294,967,296");
    if (record_size < 8 || record_size > RECORD_SIZE_MAX) fail("--size must be 8 to %d", RECORD_SIZE_MAX);
    if (plan.round_count < 1 || plan.round_count > ROUNDS_MAX) fail("--rounds must be 1 to %d", ROUNDS_MAX);
    choose_engines(&plan, engines, left_out);
    choose_workloads(&plan, only);
    return plan;
}

int main(int count, char **values)
{
    static struct measured measured;
    const char *results = NULL;
    struct plan plan = read_arguments(count, values, &results);
    run_rounds(&plan, &measured);
    print_tables(&measured);
    if (!results) return 0;
    FILE *file = fopen(results, "w");
    if (!file) fail("%s cannot be written", results);
    write_results(&measured, file);
    if (fclose(file) != 0) fail("%s could not be written", results);
    return 0;
}
