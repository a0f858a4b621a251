/* Children that fork() makes of a process with an open database: they are told so, touch nothing, outlive it without
   holding it, and open databases of their own, whatever its threads were doing. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, FORKS = 30 };

static char path[3000], other[3100];

static void wait_for(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void send_byte(int pipe) { CHECK(write(pipe, "x", 1) == 1); }

static void receive_byte(int pipe) {
    char byte;
    CHECK(read(pipe, &byte, 1) == 1);
}

/* Set in children: their threads could wait for locks that a thread of the parent held at the fork. */
static uint64_t flags;

static diamond_db *open_quickly(const char *name) {
    diamond_options options = {0};
    diamond_db *db = NULL;
    options.struct_size = sizeof options;
    options.flags = flags;
    options.durability = DIAMOND_DURABILITY_OS;
    OK(diamond_open(TEXT(name), &options, &db));
    return db;
}

typedef struct handles {
    diamond_db *db;
    diamond_table *people;
    diamond_batch *batch;
    diamond_cursor *cursor;
} handles;

static handles open_all(const char *name) {
    handles all;
    person it = person_of("Abby", 29);
    uint64_t id;
    all.db = open_quickly(name);
    all.people = people_of(all.db);
    OK(diamond_table_save(all.people, &it, sizeof it, NULL, &id));
    OK(diamond_batch_open(all.db, &all.batch));
    OK(diamond_batch_save(all.batch, all.people, &it, sizeof it, NULL));
    OK(diamond_table_scan(all.people, NULL, &all.cursor));
    return all;
}

#define FORKED(call) FAILS(DIAMOND_STATUS_FORKED, "open it again here", call)

/* Whatever a child asks of what it inherited, it is told the same. */
static void use_as_a_child(handles *all) {
    person it = person_of("Bob", 31);
    char *text;
    size_t size;
    uint64_t id = 0, count;
    FORKED(diamond_table_fetch(all->people, 0, &it, sizeof it, NULL));
    FORKED(diamond_table_save(all->people, &it, sizeof it, NULL, &id));
    FORKED(diamond_table_replace(all->people, 0, &it, sizeof it, NULL));
    FORKED(diamond_table_delete(all->people, 0));
    FORKED(diamond_table_count(all->people, &count));
    FORKED(diamond_table_next_id(all->people, &count));
    FORKED(diamond_batch_save(all->batch, all->people, &it, sizeof it, NULL));
    FORKED(diamond_batch_commit(all->batch, 0, NULL, 0, NULL));
    FORKED(diamond_cursor_next(all->cursor, &id, &it, sizeof it, NULL));
    FORKED(diamond_flush(all->db));
    FORKED(diamond_checkpoint(all->db));
    FORKED(diamond_step(all->db, 0, NULL));
    FORKED(diamond_wait_durable(all->db, 0, 0, NULL, 0));
    FORKED(diamond_verify(all->db, &text, &size));
    FORKED(diamond_stats(all->db, &text, &size));
    FORKED(diamond_backup(all->db, TEXT(other), NULL));
    /* Handles are given up in whatever order; only the database has something to say to that. */
    OK(diamond_cursor_close(all->cursor));
    OK(diamond_table_close(all->people));
    FORKED(diamond_close(all->db));
    OK(diamond_batch_close(all->batch));
}

/* A database of the child's own, used and closed. */
static void use_own(const char *name) {
    handles own = open_all(name);
    OK(diamond_checkpoint(own.db));
    OK(diamond_cursor_close(own.cursor));
    OK(diamond_batch_close(own.batch));
    OK(diamond_table_close(own.people));
    OK(diamond_close(own.db));
}

static uint64_t count_people(const char *name) {
    diamond_db *db = open_quickly(name);
    diamond_table *people = people_of(db);
    uint64_t count;
    char *report;
    size_t size;
    OK(diamond_table_count(people, &count));
    OK(diamond_verify(db, &report, &size));
    diamond_free(report);
    OK(diamond_table_close(people));
    OK(diamond_close(db));
    return count;
}

/* The process that opened the database is killed while its child lives on. */
static void a_child_outlives_its_parent(void) {
    int ready[2], go[2], done[2];
    pid_t parent;
    CHECK(pipe(ready) == 0 && pipe(go) == 0 && pipe(done) == 0);
    parent = fork();
    CHECK(parent >= 0);
    if (parent == 0) {
        handles all = open_all(path);
        if (fork() == 0) {
            diamond_db *again = NULL;
            flags = DIAMOND_OPEN_NO_THREADS;
            /* The parent has it still. */
            CHECK(diamond_open(TEXT(path), NULL, &again) == DIAMOND_STATUS_LOCKED && again == NULL);
            send_byte(ready[1]);
            receive_byte(go[0]);
            use_as_a_child(&all);
            use_own(other);
            send_byte(ready[1]);
            receive_byte(go[0]);
            use_own(path); /* Nobody has it any more. */
            send_byte(done[1]);
            _exit(0);
        }
        for (;;) pause();
    }
    receive_byte(ready[0]);
    CHECK(kill(parent, SIGKILL) == 0 && waitpid(parent, NULL, 0) == parent);
    CHECK(count_people(path) == 1); /* At once, though the child lives and has all that it inherited. */
    send_byte(go[1]);
    receive_byte(ready[0]);
    CHECK(count_people(path) == 1); /* Its closes have touched nothing. */
    CHECK(count_people(other) == 1);
    send_byte(go[1]);
    receive_byte(done[0]);
    CHECK(count_people(path) == 2);
}

static diamond_table *shared;
static uint64_t saved;
static int stop;

static void *save_on(void *context) {
    (void)context;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        person it = person_of("Thread", 1);
        uint64_t id;
        OK(diamond_table_save(shared, &it, sizeof it, NULL, &id));
        __atomic_add_fetch(&saved, 1, __ATOMIC_ACQ_REL);
    }
    return NULL;
}

/* Opens and closes, so that a fork finds the list of open databases, and a folder's entry in it, in use. */
static void *open_and_close_on(void *context) {
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) OK(diamond_close(open_quickly(context)));
    return NULL;
}

static void children_are_made_while_threads_commit_open_and_close(void) {
    static char brief[3100];
    pthread_t threads[THREADS + 1];
    diamond_db *db = open_quickly(path);
    uint64_t before;
    int i;
    shared = people_of(db);
    OK(diamond_table_count(shared, &before));
    snprintf(brief, sizeof brief, "%s.brief", path);
    for (i = 0; i < THREADS; i++) OK(pthread_create(&threads[i], NULL, save_on, NULL));
    OK(pthread_create(&threads[THREADS], NULL, open_and_close_on, brief));
    for (i = 0; i < FORKS; i++) {
        uint64_t seen = __atomic_load_n(&saved, __ATOMIC_ACQUIRE);
        pid_t child;
        while (__atomic_load_n(&saved, __ATOMIC_ACQUIRE) == seen) {}
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            person it = person_of("Child", 1);
            uint64_t id;
            diamond_db *again = NULL;
            flags = DIAMOND_OPEN_NO_THREADS;
            FORKED(diamond_table_save(shared, &it, sizeof it, NULL, &id));
            FORKED(diamond_flush(db));
            CHECK(diamond_open(TEXT(path), NULL, &again) == DIAMOND_STATUS_LOCKED);
            use_own(other);
            OK(diamond_table_close(shared));
            FORKED(diamond_close(db));
            _exit(0);
        }
        wait_for(child);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (i = 0; i <= THREADS; i++) OK(pthread_join(threads[i], NULL));
    OK(diamond_table_close(shared));
    OK(diamond_close(db));
    CHECK(count_people(path) == before + saved);
    CHECK(count_people(other) == FORKS + 1);
}

/* A child made inside a backup's callback ends its part of the call; the parent's goes on. */
static pid_t forked_in_callback;

static int32_t fork_once(void *context, uint64_t done, uint64_t total) {
    (void)context, (void)done, (void)total;
    if (forked_in_callback == 0) {
        forked_in_callback = fork();
        CHECK(forked_in_callback >= 0);
        if (forked_in_callback == 0) forked_in_callback = -1; /* The child. */
    }
    return DIAMOND_MODULE_OK;
}

static void a_child_is_made_during_a_backup(void) {
    diamond_backup_options options = {0};
    char copy[3100];
    diamond_db *db = open_quickly(path);
    diamond_status status;
    snprintf(copy, sizeof copy, "%s.copy", path);
    options.struct_size = sizeof options;
    options.progress = fork_once;
    status = diamond_backup(db, TEXT(copy), &options);
    if (forked_in_callback < 0) _exit(status == DIAMOND_STATUS_FORKED ? 0 : 1);
    CHECK(status == DIAMOND_STATUS_OK);
    wait_for(forked_in_callback);
    OK(diamond_close(db));
    CHECK(count_people(copy) == count_people(path));
}

int main(int argc, char **argv) {
    CHECK(argc == 2 && strlen(argv[1]) < 2000);
    snprintf(path, sizeof path, "%s", argv[1]);
    snprintf(other, sizeof other, "%s.other", argv[1]);
    a_child_outlives_its_parent();
    children_are_made_while_threads_commit_open_and_close();
    a_child_is_made_during_a_backup();
    puts("forks: ok");
    return 0;
}
