/* A table's slots read where they lie: through writes, the table's drop, the database's close, and a fork. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 5000 };

static diamond_pin *pin_of(diamond_table *table, diamond_slots *slots) {
    diamond_pin *pin;
    memset(slots, 0, sizeof *slots);
    slots->struct_size = sizeof *slots;
    OK(diamond_pin_open(table, slots, &pin));
    return pin;
}

/* The sum of all ages that are there, and not null. */
static double sum_of(const diamond_slots *slots, uint64_t *there) {
    double sum = 0;
    uint64_t id;
    *there = 0;
    for (id = 0; id < slots->count; id++) {
        const uint8_t *slot = slots->base + id * slots->stride;
        if (slot[slots->state_offset] == 0) continue;
        ++*there;
        if (slot[slots->nulls_offset] & AGE_NULL) continue;
        sum += ((const person *)(const void *)slot)->age;
    }
    return sum;
}

static void pins_stand_still(diamond_db *db, diamond_table *people) {
    static person rows[COUNT];
    diamond_records source = {sizeof source, rows, 0, NULL, 0};
    person other = person_of("Other", 0);
    uint8_t no_age = AGE_NULL;
    uint64_t there, ids[100], id;
    diamond_slots first, second, small;
    diamond_pin *one, *two, *pin;
    diamond_snapshot *snapshot;
    diamond_table *then;
    char *stats;
    double sum = 0;

    one = pin_of(people, &first);
    CHECK(first.count == 0 && first.base == NULL && first.stride >= sizeof(person));
    OK(diamond_pin_close(one));

    for (id = 0; id < COUNT; id++) {
        rows[id] = person_of("Person", (double)(id % 1000));
        sum += (double)(id % 1000);
    }
    OK(diamond_table_save_many(people, &source, COUNT, NULL));
    one = pin_of(people, &first);
    CHECK(first.count == COUNT && first.record_size == sizeof(person) && first.struct_size == sizeof first);
    CHECK((uintptr_t)first.base % 16 == 0);
    CHECK(sum_of(&first, &there) == sum && there == COUNT);

    OK(diamond_snapshot_open(db, &snapshot));
    OK(diamond_table_replace(people, 4321, &other, sizeof other, &no_age));
    for (id = 0; id < 100; id++) ids[id] = 3000 + id;
    OK(diamond_table_delete_many(people, ids, 100));
    OK(diamond_checkpoint(db));
    OK(diamond_table_save_many(people, &source, COUNT, NULL));
    CHECK(sum_of(&first, &there) == sum && there == COUNT);

    two = pin_of(people, &second);
    CHECK(sum_of(&second, &there) == 2 * sum - 321 - 50 * 99 && there == 2 * COUNT - 100);
    OK(diamond_snapshot_table(snapshot, TEXT("people"), &then));
    pin = pin_of(then, &small);
    CHECK(sum_of(&small, &there) == sum && there == COUNT);
    OK(diamond_stats(db, &stats, NULL));
    CHECK(strstr(stats, "\"pins\":3,") && !strstr(stats, "\"pin_bytes_mapped\":0,"));
    diamond_free(stats);
    OK(diamond_pin_close(pin));
    OK(diamond_table_close(then));
    OK(diamond_snapshot_close(snapshot));

    OK(diamond_table_drop(db, TEXT("people")));
    OK(diamond_checkpoint(db));
    CHECK(sum_of(&first, &there) == sum && there == COUNT);
    OK(diamond_pin_close(one));
    CHECK(sum_of(&second, &there) > sum);
    OK(diamond_pin_close(two));
    FAILS(DIAMOND_STATUS_NOT_FOUND, "people was dropped", diamond_pin_open(people, &small, &pin));
    CHECK(pin == NULL);
}

static void slots_are_a_struct_with_a_size(diamond_table *people) {
    diamond_slots slots;
    diamond_pin *pin = NULL;
    memset(&slots, 0, sizeof slots);
    FAILS(DIAMOND_STATUS_MISUSE, "sizeof(diamond_slots)", diamond_pin_open(people, &slots, &pin));
    FAILS(DIAMOND_STATUS_MISUSE, "`slots` is NULL", diamond_pin_open(people, NULL, &pin));
    slots.struct_size = sizeof slots - 8;
    FAILS(DIAMOND_STATUS_MISUSE, "diamond_slots", diamond_pin_open(people, &slots, &pin));
    CHECK(pin == NULL && slots.stride == 0);
}

/* The child has no pin, and its close leaves the parent's as it is. */
static void a_child_is_refused(diamond_pin *pin, const diamond_slots *slots) {
    uint64_t there;
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (diamond_pin_close(pin) != DIAMOND_STATUS_FORKED) _exit(1);
        /* Ends as another program: valgrind would take what a child keeps for lost. */
        execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
        _exit(1);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(sum_of(slots, &there) == 29);
}

int main(int argc, char **argv) {
    diamond_db *db = open_folder(argc, argv), *again;
    diamond_table *people = people_of(db);
    diamond_options other = {0};
    diamond_slots slots;
    diamond_pin *pin;
    person abby = person_of("Abby", 29);
    uint64_t there;

    slots_are_a_struct_with_a_size(people);
    pins_stand_still(db, people);
    OK(diamond_table_close(people));

    /* A pin outlives the database, and holds the folder until it is closed. */
    people = people_of(db);
    OK(diamond_table_save(people, &abby, sizeof abby, NULL, NULL));
    pin = pin_of(people, &slots);
    OK(diamond_close(db));
    FAILS(DIAMOND_STATUS_CLOSED, "closed", diamond_table_delete(people, 0));
    OK(diamond_table_close(people));
    CHECK(sum_of(&slots, &there) == 29 && there == 1);
    a_child_is_refused(pin, &slots);
    other.struct_size = sizeof other;
    other.flags = DIAMOND_OPEN_NO_THREADS;
    FAILS(DIAMOND_STATUS_BUSY, "other options", diamond_open(TEXT(argv[1]), &other, &again));
    OK(diamond_pin_close(pin));
    OK(diamond_open(TEXT(argv[1]), &other, &again));
    OK(diamond_close(again));
    puts("pins: ok");
    return 0;
}
