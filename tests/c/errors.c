/* What open handles refuse, and that each refusal says why. (border.c: what needs no open handle.) */
#include "check.h"

#define MISUSE(part, call) FAILS(DIAMOND_STATUS_MISUSE, part, call)
#define INVALID(part, call) FAILS(DIAMOND_STATUS_INVALID, part, call)

static void wrong_records(diamond_table *people) {
    person it = person_of("Abby", 29);
    uint64_t id = 77, two[3] = {0, 1, 2};
    diamond_records records = {sizeof records, &it, 0, NULL, 0};
    uint64_t *askew = (uint64_t *)(void *)((char *)two + 1);

    INVALID("40", diamond_table_save(people, &it, sizeof it - 1, NULL, &id));
    INVALID("40", diamond_table_fetch(people, 0, &it, sizeof it + 1, NULL));
    MISUSE("`record` is NULL", diamond_table_save(people, NULL, sizeof it, NULL, &id));
    MISUSE("`record` is NULL", diamond_table_fetch(people, 0, NULL, sizeof it, NULL));
    MISUSE("`record` has a size", diamond_table_save(people, &it, SIZE_MAX, NULL, &id));
    MISUSE("`id` is not aligned", diamond_table_save(people, &it, sizeof it, NULL, askew));
    CHECK(id == 77);

    records.struct_size = 0;
    MISUSE("sizeof(diamond_records)", diamond_table_save_many(people, &records, 1, &id));
    records.struct_size = 8;
    MISUSE("diamond_records", diamond_table_save_many(people, &records, 1, &id));
    records.struct_size = sizeof records;
    records.record_stride = sizeof it - 1;
    MISUSE("record_stride", diamond_table_save_many(people, &records, 1, &id));
    records.record_stride = SIZE_MAX / 2;
    MISUSE("`count`", diamond_table_save_many(people, &records, 4, &id));
    records.record_stride = 0;
    MISUSE("`records` is NULL", diamond_table_save_many(people, NULL, 1, &id));
    MISUSE("`ids` is NULL", diamond_table_delete_many(people, NULL, 1));
    MISUSE("`ids` is not aligned", diamond_table_fetch_many(people, askew, 1, &records, NULL));
    MISUSE("`ids` has a size", diamond_table_delete_many(people, two, SIZE_MAX / 2));
    CHECK(diamond_table_fetch_many(people, NULL, 0, NULL, NULL) == DIAMOND_STATUS_OK);

    it.member = 2;
    INVALID("member", diamond_table_save(people, &it, sizeof it, NULL, &id));
    it = person_of("Abby", 1.0 / 3);
    INVALID("age", diamond_table_save(people, &it, sizeof it, NULL, &id));
    it = person_of("gr\xFC" "n", 29);
    INVALID("name", diamond_table_save(people, &it, sizeof it, NULL, &id));
    CHECK(diamond_table_next_id(people, &id) == DIAMOND_STATUS_OK && id == 0); /* Refused saves take no id. */
}

static void wrong_texts(diamond_db *db, diamond_table *people) {
    diamond_table *table = people;
    char *json;
    INVALID("UTF-8", diamond_table_make(db, TEXT("gr\xFCn"), TEXT(PEOPLE), &table));
    CHECK(table == NULL);
    INVALID("UTF-8", diamond_table_make(db, TEXT("green"), TEXT("{\"gr\xFCn\": [\"bool\"]}"), &table));
    INVALID("float", diamond_table_make(db, TEXT("green"), TEXT("{\"name\": [\"float\"]}"), &table));
    INVALID("", diamond_table_make(db, NULL, 0, TEXT(PEOPLE), &table));
    INVALID("", diamond_table_make(db, TEXT("green"), NULL, 0, &table));
    INVALID("", diamond_table_save_json(people, TEXT("{\"name\":"), NULL));
    INVALID("flags", diamond_table_fetch_json(people, 0, 2, &json, NULL));
    CHECK(strlen(diamond_error_message()) > 10);
}

static void wrong_handles(diamond_db *db, diamond_db *other_db, diamond_table *people) {
    diamond_table *others = people_of(other_db);
    diamond_batch *batch;
    person it = person_of("Abby", 29);
    MISUSE("not an open diamond_table", diamond_table_delete((diamond_table *)(void *)db, 0));
    MISUSE("not an open diamond_db", diamond_flush((diamond_db *)(void *)people));
    OK(diamond_batch_open(db, &batch));
    CHECK(diamond_batch_save(batch, others, &it, sizeof it, NULL) == DIAMOND_STATUS_MISUSE); /* Another database. */
    MISUSE("", diamond_batch_delete(batch, others, 0));
    INVALID("flags", diamond_batch_commit(batch, 2, NULL, 0, NULL));
    OK(diamond_batch_close(batch));
    OK(diamond_table_close(others));
}

static void children_outlive_their_database(diamond_db *db, diamond_table *people) {
    diamond_batch *batch;
    diamond_cursor *cursor;
    person it = person_of("Abby", 29);
    OK(diamond_batch_open(db, &batch));
    OK(diamond_table_scan(people, NULL, &cursor));
    OK(diamond_close(db));
    FAILS(DIAMOND_STATUS_CLOSED, "", diamond_table_save(people, &it, sizeof it, NULL, NULL));
    FAILS(DIAMOND_STATUS_CLOSED, "", diamond_table_fetch(people, 0, &it, sizeof it, NULL));
    FAILS(DIAMOND_STATUS_CLOSED, "", diamond_cursor_next(cursor, NULL, &it, sizeof it, NULL));
    FAILS(DIAMOND_STATUS_CLOSED, "", diamond_batch_commit(batch, 0, NULL, 0, NULL));
    OK(diamond_batch_close(batch));
    OK(diamond_table_close(people));
    OK(diamond_cursor_close(cursor));
}

static void opening(const char *folder) {
    char missing[4096];
    diamond_options options = {0};
    diamond_db *db = NULL, *shared;
    options.struct_size = sizeof options;
    options.flags = DIAMOND_OPEN_MUST_EXIST;
    snprintf(missing, sizeof missing, "%s/missing", folder);
    FAILS(DIAMOND_STATUS_NOT_FOUND, "missing", diamond_open(TEXT(missing), &options, &db));
    CHECK(db == NULL);

    /* A second open shares the first, unless it asks for something else. */
    OK(diamond_open(TEXT(folder), NULL, &db));
    OK(diamond_open(TEXT(folder), NULL, &shared));
    OK(diamond_close(db));
    OK(diamond_flush(shared));
    options.flags = 0;
    options.durability = DIAMOND_DURABILITY_ASYNC;
    FAILS(DIAMOND_STATUS_BUSY, "", diamond_open(TEXT(folder), &options, &db));
    OK(diamond_close(shared));
}

int main(int argc, char **argv) {
    char other_folder[4096];
    diamond_db *db = open_folder(argc, argv), *other_db;
    diamond_table *people = people_of(db);
    snprintf(other_folder, sizeof other_folder, "%s-other", argv[1]);
    OK(diamond_open(TEXT(other_folder), NULL, &other_db));

    wrong_records(people);
    wrong_texts(db, people);
    wrong_handles(db, other_db, people);
    OK(diamond_close(other_db));
    children_outlive_their_database(db, people);
    opening(argv[1]);
    puts("errors: ok");
    return 0;
}
