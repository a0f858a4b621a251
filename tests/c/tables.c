/* A table from making to dropping: packed records, nulls, many at once, JSON, and its layout held against a struct. */
#include "check.h"

#include <stddef.h>

static void save_fetch_replace_delete(diamond_table *people) {
    person abby = person_of("Abby", 29), older = person_of("Abby", 30), found;
    uint64_t id, count;

    OK(diamond_table_save(people, &abby, sizeof abby, NULL, &id));
    OK(diamond_table_fetch(people, id, &found, sizeof found, NULL));
    CHECK(person_is(&found, &abby));

    OK(diamond_table_replace(people, id, &older, sizeof older, NULL));
    OK(diamond_table_fetch(people, id, &found, sizeof found, NULL));
    CHECK(person_is(&found, &older));

    /* Only if it still is what was read. */
    FAILS(DIAMOND_STATUS_CONFLICT, "people",
          diamond_table_replace_if(people, id, &abby, sizeof abby, NULL, &abby, sizeof abby, NULL));
    OK(diamond_table_replace_if(people, id, &older, sizeof older, NULL, &abby, sizeof abby, NULL));
    FAILS(DIAMOND_STATUS_CONFLICT, "people", diamond_table_delete_if(people, id, &older, sizeof older, NULL));

    OK(diamond_table_count(people, &count));
    CHECK(count == 1);
    OK(diamond_table_delete_if(people, id, &abby, sizeof abby, NULL));
    FAILS(DIAMOND_STATUS_NOT_FOUND, "people", diamond_table_fetch(people, id, &found, sizeof found, NULL));
    FAILS(DIAMOND_STATUS_NOT_FOUND, "people", diamond_table_delete(people, id));
    FAILS(DIAMOND_STATUS_OUT_OF_RANGE, "people", diamond_table_delete(people, id + 1));
    OK(diamond_table_count(people, &count));
    CHECK(count == 0);
}

static void nulls_come_back(diamond_table *people) {
    person benny = person_of("Benny", 31), found;
    uint8_t nulls = AGE_NULL | SEEN_NULL, found_nulls;
    uint64_t id, next;

    OK(diamond_table_next_id(people, &next));
    OK(diamond_table_save(people, &benny, sizeof benny, &nulls, &id));
    CHECK(id == next);
    OK(diamond_table_fetch(people, id, &found, sizeof found, &found_nulls));
    CHECK(found_nulls == nulls);
    CHECK(found.age == 0 && found.seen == 0); /* Null fields are zeros. */
    CHECK(found.member == 1 && strcmp(found.name, "Benny") == 0);

    nulls = NAME_NULL; /* The schema says "required". */
    FAILS(DIAMOND_STATUS_INVALID, "name", diamond_table_save(people, &benny, sizeof benny, &nulls, &id));
}

static void many_at_once(diamond_table *people) {
    enum { COUNT = 5 };
    struct { person person; uint8_t nulls; } rows[COUNT], found[COUNT]; /* Any stride will do. */
    diamond_records source = {sizeof source, &rows[0].person, sizeof rows[0], &rows[0].nulls, sizeof rows[0]};
    diamond_records target = {sizeof target, &found[0].person, sizeof found[0], &found[0].nulls, sizeof found[0]};
    uint64_t first, ids[COUNT];
    diamond_status statuses[COUNT];
    int i;

    for (i = 0; i < COUNT; i++) {
        rows[i].person = person_of("Clara", 20 + i);
        rows[i].nulls = 0;
    }
    OK(diamond_table_save_many(people, &source, COUNT, &first));
    for (i = 0; i < COUNT; i++) ids[i] = first + (uint64_t)i;

    memset(found, 0xFF, sizeof found);
    OK(diamond_table_fetch_many(people, ids, COUNT, &target, statuses));
    for (i = 0; i < COUNT; i++) {
        CHECK(person_is(&found[i].person, &rows[i].person));
        CHECK(found[i].nulls == 0 && statuses[i] == DIAMOND_STATUS_OK);
        rows[i].person.age += 50;
    }
    OK(diamond_table_replace_many(people, ids, COUNT, &source));
    OK(diamond_table_fetch(people, ids[4], &found[4].person, sizeof found[4].person, NULL));
    CHECK(found[4].person.age == 74);

    /* Every record is tried; the first failure is returned. */
    OK(diamond_table_delete_many(people, ids, 2));
    CHECK(diamond_table_fetch_many(people, ids, COUNT, &target, statuses) == DIAMOND_STATUS_NOT_FOUND);
    CHECK(statuses[1] == DIAMOND_STATUS_NOT_FOUND && statuses[2] == DIAMOND_STATUS_OK);
    CHECK(found[2].person.age == 72);

    /* All or none. */
    FAILS(DIAMOND_STATUS_NOT_FOUND, "people", diamond_table_delete_many(people, ids + 1, 2));
    OK(diamond_table_fetch(people, ids[2], &found[2].person, sizeof found[2].person, NULL));
    OK(diamond_table_save_many(people, NULL, 0, NULL));
}

static void json_in_and_out(diamond_table *people) {
    const char *dora = "{\"name\":\"Dora\",\"age\":40}", *older = "{\"name\":\"Dora\",\"age\":41}";
    const char *two = "[{\"name\":\"Emil\"},{\"name\":\"Flora\",\"member\":false}]";
    uint64_t id, ids[2];
    size_t size, count;
    char *json;

    OK(diamond_table_save_json(people, TEXT(dora), &id));
    OK(diamond_table_fetch_json(people, id, 0, &json, &size));
    CHECK(strlen(json) == size);
    CHECK(strstr(json, "\"Dora\"") && strstr(json, "40"));
    diamond_free(json);

    OK(diamond_table_replace_json(people, id, TEXT(older)));
    FAILS(DIAMOND_STATUS_CONFLICT, "people", diamond_table_replace_if_json(people, id, TEXT(dora), TEXT(dora)));
    OK(diamond_table_replace_if_json(people, id, TEXT(older), TEXT(dora)));

    OK(diamond_table_save_many_json(people, TEXT(two), &ids[0], &count));
    CHECK(count == 2);
    ids[1] = ids[0] + 1;
    OK(diamond_table_fetch_many_json(people, ids, 2, DIAMOND_JSON_INT64_AS_TEXT, &json, NULL, NULL));
    CHECK(json[0] == '[' && strstr(json, "Emil") && strstr(json, "Flora"));
    diamond_free(json);
    OK(diamond_table_replace_many_json(people, ids, 2, TEXT("[{\"name\":\"Gusta\"},{\"name\":\"Hugo\"}]")));

    /* Some fail: the text comes out nevertheless. */
    ids[0] += 1000;
    CHECK(diamond_table_fetch_many_json(people, ids, 2, 0, &json, NULL, NULL) == DIAMOND_STATUS_OUT_OF_RANGE);
    CHECK(json != NULL && strstr(json, "null") && strstr(json, "Hugo"));
    diamond_free(json);

    json = (char *)"kept";
    FAILS(DIAMOND_STATUS_OUT_OF_RANGE, "people", diamond_table_fetch_json(people, ids[0], 0, &json, &size));
    CHECK(json == NULL && size == 0);
    FAILS(DIAMOND_STATUS_INVALID, "shoe", diamond_table_save_json(people, TEXT("{\"name\":\"I\",\"shoe\":1}"), &id));
}

static void requests(diamond_table *people) {
    char error[40] = "";
    person ina = person_of("Ina", 50), found;
    diamond_save_request save = {sizeof save, people, &ina, sizeof ina, NULL, 0, error, sizeof error};
    diamond_fetch_request fetch = {sizeof fetch, people, 0, &found, sizeof found, NULL, error, sizeof error};

    OK(diamond_table_save_by(&save));
    fetch.id = save.id;
    OK(diamond_table_fetch_by(&fetch));
    CHECK(person_is(&found, &ina) && error[0] == 0);
    fetch.id += 1000;
    CHECK(diamond_table_fetch_by(&fetch) == DIAMOND_STATUS_OUT_OF_RANGE);
    CHECK(strlen(error) > 0 && strncmp(error, diamond_error_message(), strlen(error)) == 0);
}

/* The number behind "offset" in the layout's entry of a field. */
static size_t offset_in(const char *layout, const char *field) {
    char name[40];
    const char *entry, *offset;
    snprintf(name, sizeof name, "\"name\":\"%s\"", field);
    CHECK((entry = strstr(layout, name)) != NULL);
    CHECK((offset = strstr(entry, "\"offset\":")) != NULL);
    return (size_t)strtoull(offset + 9, NULL, 10);
}

static void the_layout_is_that_of_the_struct(diamond_table *people) {
    char *layout, *schema, record_size[40];
    OK(diamond_table_layout(people, &layout, NULL));
    CHECK(offset_in(layout, "name") == offsetof(person, name));
    CHECK(offset_in(layout, "age") == offsetof(person, age));
    CHECK(offset_in(layout, "seen") == offsetof(person, seen));
    CHECK(offset_in(layout, "member") == offsetof(person, member));
    snprintf(record_size, sizeof record_size, "\"record_size\":%zu", sizeof(person));
    CHECK(strstr(layout, record_size) != NULL);
    diamond_free(layout);
    OK(diamond_table_schema(people, &schema, NULL));
    CHECK(strstr(schema, "required") != NULL);
    diamond_free(schema);
}

static void names(diamond_db *db, diamond_table *people) {
    diamond_table *again, *other;
    char *text;
    uint64_t count, same;

    OK(diamond_table_open(db, TEXT("people"), &again));
    OK(diamond_table_count(people, &count));
    OK(diamond_table_count(again, &same));
    CHECK(count == same && count > 0);
    FAILS(DIAMOND_STATUS_SCHEMA_DIFFERS, "people",
          diamond_table_make(db, TEXT("people"), TEXT("{\"name\": [\"string\", 16]}"), &other));
    CHECK(other == NULL);

    OK(diamond_table_make(db, TEXT("places"), TEXT("{\"name\": [\"string\", 8]}"), &other));
    OK(diamond_table_rename(db, TEXT("places"), TEXT("towns")));
    OK(diamond_table_name(other, &text, NULL));
    CHECK(strcmp(text, "towns") == 0);
    diamond_free(text);
    OK(diamond_table_list(db, &text, NULL));
    CHECK(strstr(text, "\"people\"") && strstr(text, "\"towns\"") && !strstr(text, "\"places\""));
    diamond_free(text);
    OK(diamond_table_close(other));
    OK(diamond_table_drop(db, TEXT("towns")));
    FAILS(DIAMOND_STATUS_NOT_FOUND, "towns", diamond_table_open(db, TEXT("towns"), &other));
    OK(diamond_table_close(again));
}

int main(int argc, char **argv) {
    diamond_db *db = open_folder(argc, argv);
    diamond_table *people = people_of(db);
    char *report, *stats;
    int32_t more;
    uint64_t before, after;

    save_fetch_replace_delete(people);
    nulls_come_back(people);
    many_at_once(people);
    json_in_and_out(people);
    requests(people);
    the_layout_is_that_of_the_struct(people);
    names(db, people);

    OK(diamond_flush(db));
    OK(diamond_checkpoint(db));
    OK(diamond_step(db, 1000, &more));
    OK(diamond_verify(db, &report, NULL));
    CHECK(strstr(report, "\"findings\":[]") != NULL);
    diamond_free(report);
    OK(diamond_stats(db, &stats, NULL));
    CHECK(stats[0] == '{');
    diamond_free(stats);

    /* All of it is there after closing and opening again. */
    OK(diamond_table_count(people, &before));
    OK(diamond_table_close(people));
    OK(diamond_close(db));
    db = open_folder(argc, argv);
    people = people_of(db);
    OK(diamond_table_count(people, &after));
    CHECK(before == after);
    OK(diamond_table_close(people));
    OK(diamond_close(db));
    puts("tables: ok");
    return 0;
}
