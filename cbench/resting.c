/*
 * What is measured of a store at rest: opening it after a close and after a kill, its memory, its size on disk.
 */
#include "workloads.h"

#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Opening ========================================================================================================= */

#define OPENINGS 32
#define OPENINGS_MIN 3

/* The median of several openings, each with one read. */
struct result open_clean(const struct workload *workload, struct subject *subject)
{
    const struct engine *engine = subject->engine;
    double samples[OPENINGS];
    char room[RECORD_SIZE_MAX];
    double first = now_seconds();
    int count = 0;
    while (count < OPENINGS && (count < OPENINGS_MIN || now_seconds() - first < subject->seconds)) {
        uint64_t id = subject->record_count * (uint64_t)count / OPENINGS;
        double began = now_seconds();
        struct store *store = open_store(subject, workload->durability);
        struct context *context = engine->enter(store);
        read_into(engine, context, id, room);
        samples[count++] = (now_seconds() - began) * 1e3;
        check_record(subject, id, subject->versions[id], room);
        engine->leave(context);
        engine->close(store);
    }
    return (struct result){.value = median(samples, count)};
}

/* Kills =========================================================================================================== */

#define KILL_SECONDS_MAX 60

/* What the writer that is killed leaves behind beside its store. */
struct last_words {
    atomic_ulong commit_count;
    /* The ids of the commit that was under way. */
    uint64_t ids[BATCH_MAX];
    size_t batch;
};

static _Noreturn void write_until_killed(const struct workload *workload, const struct subject *subject,
    struct last_words *words)
{
    const struct engine *engine = subject->engine;
    uint64_t random = subject->seed;
    char *records = allocate(workload->batch * record_size);
    struct context *context = engine->enter(open_store(subject, workload->durability));
    for (;;) {
        for (size_t i = 0; i < workload->batch; i++) {
            uint64_t id = (uint64_t)((unsigned __int128)next_random(&random) * subject->record_count >> 64);
            words->ids[i] = id;
            make_record(id, ++subject->versions[id], records + i * record_size);
        }
        engine->overwrite(context, words->ids, workload->batch, records);
        atomic_fetch_add(&words->commit_count, 1);
    }
}

static bool was_under_way(const struct last_words *words, uint64_t id)
{
    for (size_t i = 0; i < words->batch; i++) {
        if (words->ids[i] == id) return true;
    }
    return false;
}

struct finding {
    const struct workload *workload;
    struct subject *subject;
    const struct last_words *words;
};

/* Finds out the record's version: whichever it is, if it may have been lost, else the last. */
static void find_version(void *argument, uint64_t id, const char *record)
{
    const struct finding *finding = argument;
    uint32_t *version = &finding->subject->versions[id];
    if (is_record(id, *version, record)) return;
    uint32_t last = *version;
    bool may_be_lost = finding->workload->durability == ASYNC || was_under_way(finding->words, id);
    while (may_be_lost && *version > 0) {
        --*version;
        if (is_record(id, *version, record)) return;
    }
    fail("%s: after a kill, record %llu is not at version %u, which was committed", finding->subject->engine->name,
        (unsigned long long)id, last);
}

static void write_and_kill(const struct workload *workload, struct subject *subject, struct last_words *words,
    uint64_t commit_count)
{
    fflush(NULL);
    pid_t writer = fork();
    if (writer < 0) fail("a process could not be started");
    if (writer == 0) write_until_killed(workload, subject, words);
    double began = now_seconds();
    while (atomic_load(&words->commit_count) < commit_count) {
        int status;
        if (waitpid(writer, &status, WNOHANG) != 0) fail("%s: the writer ended", subject->engine->name);
        if (now_seconds() - began > KILL_SECONDS_MAX) break;
        usleep(500);
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
}

/* Milliseconds from the opening to the first record, after a process was killed amid its writes. */
static double open_after_kill(const struct workload *workload, struct subject *subject, uint64_t commit_count)
{
    const struct engine *engine = subject->engine;
    struct last_words *words = mmap(NULL, sizeof *words, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED) fail("no memory");
    words->batch = workload->batch;
    write_and_kill(workload, subject, words, commit_count);
    struct finding finding = {workload, subject, words};
    char room[RECORD_SIZE_MAX];
    double began = now_seconds();
    struct store *store = open_store(subject, workload->durability);
    struct context *context = engine->enter(store);
    read_into(engine, context, 0, room);
    double milliseconds = (now_seconds() - began) * 1e3;
    engine->scan(context, find_version, &finding);
    scan_all(subject, context, AS_IT_COMES);
    engine->leave(context);
    engine->close(store);
    munmap(words, sizeof *words);
    return milliseconds;
}

#define KILLED_COMMITS 20000
#define RECOVERED_BYTES ((uint64_t)256 << 20)

struct result open_killed(const struct workload *workload, struct subject *subject)
{
    return (struct result){.value = open_after_kill(workload, subject, KILLED_COMMITS)};
}

struct result recover(const struct workload *workload, struct subject *subject)
{
    uint64_t commit_count = RECOVERED_BYTES / (record_size * workload->batch);
    return (struct result){.value = open_after_kill(workload, subject, commit_count)};
}

/* Memory ========================================================================================================== */

/* A line of /proc/self/status, in MiB. */
static double resident(const char *kind)
{
    FILE *status = fopen("/proc/self/status", "r");
    if (!status) return 0;
    char line[256];
    double kilobytes = 0;
    while (fgets(line, sizeof line, status)) {
        if (!strncmp(line, kind, strlen(kind))) kilobytes = strtod(line + strlen(kind), NULL);
    }
    fclose(status);
    return kilobytes / 1024;
}

/* How much more of a kind of memory is there once the store is open, and, if asked, all of it read by a scan and many
   records one by one. */
static double memory_growth(const struct workload *workload, struct subject *subject, const char *kind, bool reads)
{
    const struct engine *engine = subject->engine;
    char room[RECORD_SIZE_MAX];
    double before = resident(kind);
    struct store *store = open_store(subject, workload->durability);
    struct context *context = engine->enter(store);
    uint64_t random = subject->seed, read_count = reads ? subject->record_count / 16 : 1;
    if (reads) scan_all(subject, context, AS_IT_COMES);
    for (uint64_t i = 0; i < read_count; i++) {
        uint64_t id = (uint64_t)((unsigned __int128)next_random(&random) * subject->record_count >> 64);
        read_into(engine, context, id, room);
        check_record(subject, id, subject->versions[id], room);
    }
    double after = resident(kind);
    engine->leave(context);
    engine->close(store);
    return after > before ? after - before : 0;
}

struct result memory_opened(const struct workload *workload, struct subject *subject)
{
    return (struct result){.value = memory_growth(workload, subject, "RssAnon:", false)};
}

struct result memory_read(const struct workload *workload, struct subject *subject)
{
    return (struct result){.value = memory_growth(workload, subject, "RssAnon:", true)};
}

struct result memory_mapped(const struct workload *workload, struct subject *subject)
{
    return (struct result){.value = memory_growth(workload, subject, "RssFile:", true)};
}

/* Disk ============================================================================================================ */

/* What the files in a folder take on disk, holes left out. */
static uint64_t folder_size(const char *folder)
{
    DIR *entries = opendir(folder);
    if (!entries) fail("%s cannot be read", folder);
    uint64_t size = 0;
    for (struct dirent *entry; (entry = readdir(entries));) {
        char path[4096];
        struct stat status;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (lstat(path, &status) != 0) continue;
        size += S_ISDIR(status.st_mode) ? folder_size(path) : (uint64_t)status.st_blocks * 512;
    }
    closedir(entries);
    return size;
}

struct result size_on_disk(const struct workload *workload, struct subject *subject)
{
    (void)workload;
    double raw = (double)subject->record_count * (double)record_size;
    return (struct result){.value = (double)folder_size(subject->folder) / raw};
}
