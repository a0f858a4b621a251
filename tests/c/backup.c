/* A copy of a database that is written to meanwhile; one that is called off; and all that is no place for one. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>
#include <sys/stat.h>

enum { PEOPLE_COUNT = 200000 };

typedef struct watcher {
    diamond_db *db;
    uint64_t done, total;
    int calls, calls_max;
    int32_t last_answer;
} watcher;

static int32_t watch(void *context, uint64_t done, uint64_t total) {
    watcher *self = context;
    CHECK(done <= total && (self->calls == 0 ? done == 0 : done > self->done && total == self->total));
    self->done = done;
    self->total = total;
    FAILS(DIAMOND_STATUS_MISUSE, "backed up", diamond_close(self->db));
    return ++self->calls < self->calls_max ? DIAMOND_MODULE_OK : self->last_answer;
}

static int stop;
static uint64_t saved;

static void *write_on(void *context) {
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        person late = person_of("Late", 1);
        uint64_t id;
        OK(diamond_table_save(context, &late, sizeof late, NULL, &id));
        __atomic_store_n(&saved, id + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static int is_there(const char *path) {
    struct stat facts;
    return stat(path, &facts) == 0;
}

int main(int argc, char **argv) {
    diamond_options quick = {0};
    diamond_backup_options options = {0};
    diamond_records records = {0};
    diamond_db *db = NULL, *copy = NULL;
    diamond_table *people, *copied;
    person *crowd = calloc(PEOPLE_COUNT, sizeof *crowd), found;
    pthread_t writer;
    watcher it = {0};
    char path[4096], below[5000], error[200], *report;
    int32_t answers[] = {0, 1, -1, DIAMOND_STATUS_CANCELLED, INT32_MAX};
    uint64_t i, first, count, late;
    size_t size;

    CHECK(argc == 2 && crowd && strlen(argv[1]) < 4000);
    quick.struct_size = sizeof quick;
    quick.durability = DIAMOND_DURABILITY_OS;
    OK(diamond_open(TEXT(argv[1]), &quick, &db));
    people = people_of(db);
    for (i = 0; i < PEOPLE_COUNT; i++) crowd[i] = person_of("Abby", (double)(i % 100));
    records.struct_size = sizeof records;
    records.records = crowd;
    OK(diamond_table_save_many(people, &records, PEOPLE_COUNT, &first));
    snprintf(path, sizeof path, "%s.copy", argv[1]);
    snprintf(below, sizeof below, "%s/copy", argv[1]);

    /* Whatever is not the one answer calls it off, and leaves nothing. */
    options.struct_size = sizeof options;
    options.progress = watch;
    options.context = &it;
    options.error = error;
    options.error_size = sizeof error;
    for (i = 0; i < sizeof answers / sizeof *answers; i++) {
        watcher fresh = {0};
        fresh.db = db;
        fresh.calls_max = (int)i + 1 > 3 ? 3 : (int)i + 1;
        fresh.last_answer = answers[i];
        it = fresh;
        error[0] = 0;
        FAILS(DIAMOND_STATUS_CANCELLED, "called off", diamond_backup(db, TEXT(path), &options));
        CHECK(strcmp(error, diamond_error_message()) == 0);
        CHECK(it.calls == it.calls_max && !is_there(path));
    }

    /* No place, or no way to ask. */
    FAILS(DIAMOND_STATUS_INVALID, "own folder", diamond_backup(db, TEXT(argv[1]), NULL));
    FAILS(DIAMOND_STATUS_INVALID, "lies in it", diamond_backup(db, TEXT(below), NULL));
    FAILS(DIAMOND_STATUS_INVALID, "`path` is empty", diamond_backup(db, "", 0, NULL));
    FAILS(DIAMOND_STATUS_INVALID, "NUL", diamond_backup(db, path, strlen(path) + 1, NULL));
    FAILS(DIAMOND_STATUS_MISUSE, "`path` is NULL", diamond_backup(db, NULL, 3, NULL));
    FAILS(DIAMOND_STATUS_MISUSE, "`db` is NULL", diamond_backup(NULL, TEXT(path), NULL));
    options.flags = 1;
    FAILS(DIAMOND_STATUS_INVALID, "options->flags", diamond_backup(db, TEXT(path), &options));
    options.flags = 0;
    options.struct_size = 0;
    FAILS(DIAMOND_STATUS_MISUSE, "struct_size 0", diamond_backup(db, TEXT(path), &options));
    CHECK(!is_there(path) && !is_there(below));

    /* A whole one, while another thread saves. */
    OK(pthread_create(&writer, NULL, write_on, people));
    while (__atomic_load_n(&saved, __ATOMIC_ACQUIRE) < PEOPLE_COUNT + 10) {}
    late = __atomic_load_n(&saved, __ATOMIC_ACQUIRE);
    options.struct_size = sizeof options;
    memset(&it, 0, sizeof it);
    it.db = db;
    it.calls_max = INT32_MAX;
    OK(diamond_backup(db, TEXT(path), &options));
    CHECK(it.calls > 2 && it.done == it.total && it.total >= PEOPLE_COUNT * sizeof *crowd);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    OK(pthread_join(writer, NULL));
    FAILS(DIAMOND_STATUS_INVALID, "not empty", diamond_backup(db, TEXT(path), NULL));

    OK(diamond_open(TEXT(path), &quick, &copy));
    OK(diamond_verify(copy, &report, &size));
    diamond_free(report);
    OK(diamond_table_open(copy, TEXT("people"), &copied));
    OK(diamond_table_count(copied, &count));
    CHECK(count >= late && count <= saved);
    for (i = 0; i < count; i++) {
        person expected = i < PEOPLE_COUNT ? crowd[i] : person_of("Late", 1);
        OK(diamond_table_fetch(copied, i, &found, sizeof found, NULL));
        CHECK(person_is(&found, &expected));
    }
    /* Each goes its own way. */
    OK(diamond_table_save(copied, &found, sizeof found, NULL, &i));
    CHECK(i == count);
    OK(diamond_table_close(copied));
    OK(diamond_close(copy));
    OK(diamond_table_close(people));
    OK(diamond_close(db));
    free(crowd);
    puts("backup: ok");
    return 0;
}
