/* Reading all tables as they were at one moment: every verb, names of then, and closes in any order. */
#include "check.h"

enum { COUNT = 2000 };

static diamond_snapshot *snapshot_of(diamond_db *db) {
    diamond_snapshot *snapshot;
    OK(diamond_snapshot_open(db, &snapshot));
    return snapshot;
}

static diamond_table *table_of(diamond_snapshot *snapshot, const char *name) {
    diamond_table *table;
    OK(diamond_snapshot_table(snapshot, TEXT(name), &table));
    return table;
}

/* Every record of the table is as it was saved. */
static void visit(diamond_table *table) {
    diamond_cursor *cursor;
    person found;
    uint64_t id, expected;
    OK(diamond_table_scan(table, NULL, &cursor));
    for (expected = 0; expected < COUNT; expected++) {
        OK(diamond_cursor_next(cursor, &id, &found, sizeof found, NULL));
        CHECK(id == expected && found.age == (double)(id % 1000));
    }
    CHECK(diamond_cursor_next(cursor, &id, &found, sizeof found, NULL) == DIAMOND_STATUS_END);
    OK(diamond_cursor_close(cursor));
}

static void read_every_way(diamond_table *then) {
    person found, both[2];
    diamond_records records = {sizeof records, both, 0, NULL, 0};
    diamond_fetch_request request;
    uint64_t number, ids[2] = {1, COUNT};
    int32_t statuses[2];
    uint8_t nulls = 9;
    char *text;

    OK(diamond_table_count(then, &number));
    CHECK(number == COUNT);
    OK(diamond_table_next_id(then, &number));
    CHECK(number == COUNT);
    OK(diamond_table_name(then, &text, NULL));
    CHECK(strcmp(text, "people") == 0);
    diamond_free(text);
    OK(diamond_table_schema(then, &text, NULL));
    CHECK(strstr(text, "member"));
    diamond_free(text);
    OK(diamond_table_layout(then, &text, NULL));
    CHECK(strstr(text, "record_size"));
    diamond_free(text);
    OK(diamond_table_fetch(then, 5, &found, sizeof found, &nulls));
    CHECK(found.age == 5 && nulls == 0);
    OK(diamond_table_fetch_json(then, 5, 0, &text, NULL));
    CHECK(strstr(text, "\"age\":5,"));
    diamond_free(text);
    memset(&request, 0, sizeof request);
    request.struct_size = sizeof request;
    request.table = then;
    request.id = 6;
    request.record = &found;
    request.record_size = sizeof found;
    OK(diamond_table_fetch_by(&request));
    CHECK(found.age == 6);
    FAILS(DIAMOND_STATUS_OUT_OF_RANGE, "2000", diamond_table_fetch_many(then, ids, 2, &records, statuses));
    CHECK(both[0].age == 1 && statuses[0] == DIAMOND_STATUS_OK && statuses[1] == DIAMOND_STATUS_OUT_OF_RANGE);
    visit(then);
}

static void write_every_way(diamond_db *db, diamond_table *then) {
    person it = person_of("New", 1);
    diamond_batch *batch;
    const char *only = "table people of a snapshot is only read";
    FAILS(DIAMOND_STATUS_UNSUPPORTED, only, diamond_table_save(then, &it, sizeof it, NULL, NULL));
    FAILS(DIAMOND_STATUS_UNSUPPORTED, only, diamond_table_replace(then, 0, &it, sizeof it, NULL));
    FAILS(DIAMOND_STATUS_UNSUPPORTED, only, diamond_table_delete(then, 0));
    FAILS(DIAMOND_STATUS_UNSUPPORTED, only, diamond_table_save_json(then, TEXT("{\"name\": \"New\"}"), NULL));
    OK(diamond_batch_open(db, &batch));
    FAILS(DIAMOND_STATUS_UNSUPPORTED, only, diamond_batch_save(batch, then, &it, sizeof it, NULL));
    FAILS(DIAMOND_STATUS_UNSUPPORTED, only, diamond_batch_delete(batch, then, 0));
    OK(diamond_batch_close(batch));
}

int main(int argc, char **argv) {
    diamond_db *db = open_folder(argc, argv);
    diamond_table *people = people_of(db), *then, *other;
    diamond_snapshot *first, *second;
    static person rows[COUNT];
    diamond_records source = {sizeof source, rows, 0, NULL, 0};
    person changed = person_of("Changed", 999);
    uint64_t ids[COUNT], i;
    char *stats;

    for (i = 0; i < COUNT; i++) {
        rows[i] = person_of("Person", (double)(i % 1000));
        ids[i] = i;
    }
    OK(diamond_table_save_many(people, &source, COUNT, NULL));
    first = snapshot_of(db);
    then = table_of(first, "people");
    for (i = 0; i < COUNT; i++) rows[i] = changed;
    OK(diamond_table_replace_many(people, ids, COUNT / 2, &source));
    OK(diamond_table_delete_many(people, ids + COUNT / 2, COUNT / 2));
    OK(diamond_checkpoint(db));
    OK(diamond_table_save_many(people, &source, COUNT, NULL));
    OK(diamond_table_rename(db, TEXT("people"), TEXT("persons")));
    OK(diamond_checkpoint(db));

    read_every_way(then);
    write_every_way(db, then);
    FAILS(DIAMOND_STATUS_NOT_FOUND, "persons", diamond_snapshot_table(first, TEXT("persons"), &other));
    CHECK(other == NULL);
    OK(diamond_stats(db, &stats, NULL));
    CHECK(strstr(stats, "\"snapshots\":1,") && !strstr(stats, "\"old_image_bytes\":0,"));
    diamond_free(stats);

    /* A table holds the moment when its snapshot is closed; a table and a cursor need each other no more. */
    second = snapshot_of(db);
    other = table_of(second, "persons");
    OK(diamond_snapshot_close(first));
    visit(then);
    OK(diamond_table_close(then));
    OK(diamond_table_close(people));
    OK(diamond_stats(db, &stats, NULL));
    CHECK(strstr(stats, "\"snapshots\":1,") && strstr(stats, "\"old_image_bytes\":0,"));
    diamond_free(stats);

    /* A table that is dropped takes its pages with it. */
    OK(diamond_table_drop(db, TEXT("persons")));
    FAILS(DIAMOND_STATUS_NOT_FOUND, "dropped since", diamond_table_fetch(other, 0, rows, sizeof *rows, NULL));
    FAILS(DIAMOND_STATUS_NOT_FOUND, "dropped since", diamond_snapshot_table(second, TEXT("persons"), &then));
    OK(diamond_close(db));
    FAILS(DIAMOND_STATUS_CLOSED, "closed", diamond_table_fetch(other, 0, rows, sizeof *rows, NULL));
    FAILS(DIAMOND_STATUS_CLOSED, "closed", diamond_snapshot_table(second, TEXT("persons"), &then));
    OK(diamond_table_close(other));
    OK(diamond_snapshot_close(second));
    puts("snapshots: ok");
    return 0;
}
