/* Walking a table: all of it, a range, backwards, many at a time, as JSON, and as it was at one moment. */
#include "check.h"

enum { COUNT = 100 };

static diamond_cursor *scan(diamond_table *people, uint64_t flags, uint64_t first_id, uint64_t end_id) {
    diamond_scan_options options = {sizeof options, flags, first_id, end_id};
    diamond_cursor *cursor;
    OK(diamond_table_scan(people, &options, &cursor));
    return cursor;
}

/* Visits what is left, checks that each is the record of its id, and counts. */
static int visit(diamond_cursor *cursor, uint64_t *last) {
    person found;
    int visited = 0;
    diamond_status status;
    while ((status = diamond_cursor_next(cursor, last, &found, sizeof found, NULL)) == DIAMOND_STATUS_OK) {
        CHECK(found.age == (double)*last);
        visited++;
    }
    CHECK(status == DIAMOND_STATUS_END);
    OK(diamond_cursor_close(cursor));
    return visited;
}

int main(int argc, char **argv) {
    diamond_db *db = open_folder(argc, argv);
    diamond_table *people = people_of(db);
    diamond_cursor *cursor;
    person rows[COUNT], changed = person_of("Changed", 999), found[16];
    diamond_records source = {sizeof source, rows, 0, NULL, 0}, target = {sizeof target, found, 0, NULL, 0};
    uint64_t ids[16], id, last = 0;
    size_t count, total = 0;
    char *json;
    diamond_status status;
    int i;

    for (i = 0; i < COUNT; i++) rows[i] = person_of("Person", i);
    OK(diamond_table_save_many(people, &source, COUNT, &id));
    CHECK(id == 0);

    OK(diamond_table_scan(people, NULL, &cursor));
    CHECK(visit(cursor, &last) == COUNT && last == COUNT - 1);
    CHECK(visit(scan(people, 0, 10, 20), &last) == 10 && last == 19);
    CHECK(visit(scan(people, DIAMOND_SCAN_REVERSE, 10, 20), &last) == 10 && last == 10);
    CHECK(visit(scan(people, 0, 95, 0), &last) == 5);
    CHECK(visit(scan(people, 0, COUNT, 0), &last) == 0);

    /* Deleted records are left out. */
    OK(diamond_table_delete(people, 15));
    CHECK(visit(scan(people, 0, 10, 20), &last) == 9);

    /* The cursor sees what was there when it was opened. */
    cursor = scan(people, 0, 0, 0);
    OK(diamond_table_replace(people, 50, &changed, sizeof changed, NULL));
    OK(diamond_table_delete(people, 51));
    OK(diamond_table_save(people, &changed, sizeof changed, NULL, NULL));
    CHECK(visit(cursor, &last) == COUNT - 1 && last == COUNT - 1);

    cursor = scan(people, 0, 60, COUNT);
    while ((status = diamond_cursor_next_many(cursor, ids, 16, &target, &count)) == DIAMOND_STATUS_OK) {
        CHECK(count > 0 && count <= 16);
        CHECK(found[count - 1].age == (double)ids[count - 1]);
        total += count;
    }
    CHECK(status == DIAMOND_STATUS_END && count == 0 && total == 40);
    OK(diamond_cursor_close(cursor));

    cursor = scan(people, 0, 50, 51);
    OK(diamond_cursor_next_json(cursor, 0, &id, &json, NULL));
    CHECK(id == 50 && strstr(json, "Changed"));
    diamond_free(json);
    CHECK(diamond_cursor_next_json(cursor, 0, &id, &json, NULL) == DIAMOND_STATUS_END && json == NULL);
    OK(diamond_cursor_close(cursor));

    OK(diamond_table_close(people));
    OK(diamond_close(db));
    puts("scans: ok");
    return 0;
}
