/*
 * Rounds: in each, every engine has its turn at every workload, so that what wanders about the machine wanders about
 * all of them.
 *
 * A turn is a process of its own, forked from this one, which never opens an engine: what an engine leaves behind in
 * memory and threads ends with it. Versions and results lie in memory that the processes share.
 */
#include "rounds.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "limit.h"

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

static int sync_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status, (void)place;
    int file = kind == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    fsync(file);
    close(file);
    return 0;
}

/* Waits until the device has all of it, so that nobody pays for it in another's turn. */
static void sync_folder(const char *folder)
{
    nftw(folder, sync_entry, 16, FTW_PHYS);
}

/* Turns =========================================================================================================== */

/* What takes longer than this, beyond its time, does not come to an end. */
#define TURN_SECONDS_MAX 300

/* What a turn gives back. */
struct outcome {
    struct result result;
    struct timeline timeline;
};

static void *share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("no memory for %zu bytes", size);
    return memory;
}

static _Noreturn void take_turn(const struct workload *workload, struct subject *subject, struct outcome *outcome)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(TURN_SECONDS_MAX + (unsigned)subject->seconds);
    if (subject->memory_limit) enter_limit(subject->folder, subject->memory_limit);
    subject->timeline = &outcome->timeline;
    outcome->result = workload->run(workload, subject);
    fflush(NULL);
    _exit(0);
}

static void run_turn(const struct workload *workload, struct subject *subject, struct outcome *outcome)
{
    int status;
    outcome->result = (struct result){0};
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) fail("a process could not be started");
    if (child == 0) take_turn(workload, subject, outcome);
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) fail("a process was lost");
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        fail("%s did not come to an end in: %s", subject->engine->name, workload->name);
    }
    if (WIFSIGNALED(status)) {
        fail("%s ended by signal %d in: %s", subject->engine->name, WTERMSIG(status), workload->name);
    }
    if (WEXITSTATUS(status) != 0) fail("%s failed in: %s", subject->engine->name, workload->name);
    if (subject->memory_limit) leave_limit();
}

/* Rounds ========================================================================================================== */

static void describe(const struct plan *plan, struct measured *measured)
{
    memset(measured, 0, sizeof *measured);
    measured->record_count = plan->record_count;
    measured->record_size = record_size;
    measured->memory_limit = plan->memory_limit;
    measured->seconds = plan->seconds;
    measured->round_count = plan->round_count;
    measured->engine_count = plan->engine_count;
    measured->workload_count = plan->workload_count;
    for (int i = 0; i < plan->engine_count; i++) {
        const struct engine *engine = plan->engines[i];
        struct engine_facts *facts = &measured->engines[i];
        facts->is_limit = engine->is_limit;
        facts->is_ours = engine->is_ours;
        snprintf(facts->name, sizeof facts->name, "%s", engine->name);
        snprintf(facts->version, sizeof facts->version, "%s", engine->version());
        snprintf(facts->settings, sizeof facts->settings, "%s", engine->settings);
    }
    for (int i = 0; i < plan->workload_count; i++) {
        struct workload_facts *facts = &measured->workloads[i];
        snprintf(facts->name, sizeof facts->name, "%s", plan->workloads[i]->name);
        snprintf(facts->unit, sizeof facts->unit, "%s", plan->workloads[i]->unit);
        facts->less_is_better = plan->workloads[i]->flags & LESS_IS_BETTER;
        facts->only_told = plan->workloads[i]->flags & ONLY_TOLD;
    }
    size_t used = 0;
    for (const struct missing_engine *missing = missing_engines; missing->name; missing++) {
        used += (size_t)snprintf(measured->missing + used, sizeof measured->missing - used, "%s%s (%s)",
            used ? ", " : "", missing->name, missing->package);
    }
}

static void show_progress(const struct plan *plan, int round, const char *workload, const char *engine)
{
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\rround %d of %d: %s, %s\33[K", round + 1, plan->round_count, workload, engine);
}

static void run_round(const struct plan *plan, int round, uint32_t *const versions[], struct outcome *outcome,
    struct measured *measured)
{
    for (int index = 0; index < plan->workload_count; index++) {
        const struct workload *workload = plan->workloads[index];
        if (workload->run == load && round > 0 && plan->loads_once) continue;
        for (int i = 0; i < plan->engine_count; i++) {
            const struct engine *engine = plan->engines[i];
            char folder[4096];
            if (workload->needs & ~engine->abilities) continue;
            snprintf(folder, sizeof folder, "%s/%s", plan->folder, engine->name);
            if (workload->run == load) remove_folder(folder);
            make_folder(folder);
            struct subject subject = {
                .engine = engine,
                .folder = folder,
                .record_count = plan->record_count,
                .memory_limit = workload->run == load ? 0 : plan->memory_limit,
                .seconds = plan->seconds,
                .seed = ((uint64_t)round << 32) + (uint64_t)(workload - workloads),
                .versions = versions[i],
            };
            show_progress(plan, round, workload->name, engine->name);
            run_turn(workload, &subject, outcome);
            sync_folder(folder);
            measured->results[index][i][round] = outcome->result;
            if (outcome->timeline.second_count) measured->engines[i].timeline = outcome->timeline;
        }
    }
}

void run_rounds(const struct plan *plan, struct measured *measured)
{
    uint32_t *versions[ENGINES_MAX];
    struct outcome *outcome = share(sizeof *outcome);
    describe(plan, measured);
    for (int i = 0; i < plan->workload_count; i++) {
        if (plan->workloads[i]->run == mixed) prepare_zipfian(plan->record_count);
    }
    remove_folder(plan->folder);
    make_folder(plan->folder);
    for (int i = 0; i < plan->engine_count; i++) versions[i] = share(plan->record_count * sizeof *versions[i]);
    for (int round = 0; round < plan->round_count; round++) run_round(plan, round, versions, outcome, measured);
    for (int i = 0; i < plan->engine_count; i++) munmap(versions[i], plan->record_count * sizeof *versions[i]);
    munmap(outcome, sizeof *outcome);
    remove_folder(plan->folder);
    if (isatty(STDERR_FILENO)) fputs("\r\33[K", stderr);
}
