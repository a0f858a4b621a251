/* Eight threads share one table handle; each saves, reads back what it saved, and reads what others did. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>

enum { THREADS = 8, ROUNDS = 50 };

typedef struct worker {
    pthread_t thread;
    diamond_table *people;
    int number;
    uint64_t ids[ROUNDS];
} worker;

static void *work(void *context) {
    worker *self = context;
    int round;
    CHECK(strcmp(diamond_error_message(), "") == 0); /* Messages are each thread's own. */
    for (round = 0; round < ROUNDS; round++) {
        person it = person_of("Worker", self->number * 100 + round), found;
        uint64_t next;
        OK(diamond_table_save(self->people, &it, sizeof it, NULL, &self->ids[round]));
        OK(diamond_table_fetch(self->people, self->ids[round], &found, sizeof found, NULL));
        CHECK(person_is(&found, &it));

        /* Whoever saved it: a record is whole. */
        OK(diamond_table_fetch(self->people, self->ids[round] / 2, &found, sizeof found, NULL));
        CHECK(strcmp(found.name, "Worker") == 0 && found.seen == it.seen);

        OK(diamond_table_next_id(self->people, &next));
        CHECK(diamond_table_fetch(self->people, next + 100000, &found, sizeof found, NULL) != DIAMOND_STATUS_OK);
        CHECK(strlen(diamond_error_message()) > 0);
    }
    return NULL;
}

int main(int argc, char **argv) {
    diamond_options options = {0};
    diamond_db *db = NULL;
    diamond_table *people;
    worker *workers = calloc(THREADS, sizeof *workers);
    char *seen = calloc(THREADS * ROUNDS, 1);
    uint64_t count;
    int i, round;

    CHECK(argc == 2 && workers && seen);
    options.struct_size = sizeof options;
    options.durability = DIAMOND_DURABILITY_OS;
    OK(diamond_open(TEXT(argv[1]), &options, &db));
    people = people_of(db);
    for (i = 0; i < THREADS; i++) {
        workers[i].people = people;
        workers[i].number = i;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) CHECK(pthread_join(workers[i].thread, NULL) == 0);

    /* Ids are dense, and each was given once. */
    for (i = 0; i < THREADS; i++) {
        for (round = 0; round < ROUNDS; round++) {
            uint64_t id = workers[i].ids[round];
            CHECK(id < THREADS * ROUNDS && !seen[id]);
            seen[id] = 1;
        }
    }
    OK(diamond_table_count(people, &count));
    CHECK(count == THREADS * ROUNDS);
    OK(diamond_table_close(people));
    OK(diamond_close(db));
    free(seen);
    free(workers);
    puts("threads: ok");
    return 0;
}
