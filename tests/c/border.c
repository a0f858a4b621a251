/* What can be refused before anything is opened is: every function with NULL, and sizes that cannot be. */
#include "check.h"

#define MISUSE(part, call) FAILS(DIAMOND_STATUS_MISUSE, part, call)

/* Whatever is not a handle: here, memory of ours. */
static union { uint64_t number[8]; char text[64]; } memory;

static void every_verb_refuses_null(void) {
    uint64_t id;
    person it = person_of("Abby", 29);
    diamond_records records = {sizeof records, &it, 0, NULL, 0};
    char *text;
    size_t size;

    MISUSE("diamond_flush: `db` is NULL", diamond_flush(NULL));
    MISUSE("`db`", diamond_checkpoint(NULL));
    MISUSE("`db`", diamond_step(NULL, 0, NULL));
    MISUSE("`db`", diamond_wait_durable(NULL, 0, 0, NULL, 0));
    MISUSE("`db`", diamond_verify(NULL, &text, &size));
    MISUSE("`db`", diamond_stats(NULL, &text, &size));
    MISUSE("`table`", diamond_table_make(NULL, TEXT("people"), TEXT(PEOPLE), NULL));
    MISUSE("`db`", diamond_table_drop(NULL, TEXT("people")));
    MISUSE("`db`", diamond_table_rename(NULL, TEXT("people"), TEXT("persons")));
    MISUSE("`db`", diamond_table_list(NULL, &text, &size));
    MISUSE("`table`", diamond_table_name(NULL, &text, &size));
    MISUSE("`table`", diamond_table_schema(NULL, &text, &size));
    MISUSE("`table`", diamond_table_layout(NULL, &text, &size));
    MISUSE("`table`", diamond_table_count(NULL, &id));
    MISUSE("`table`", diamond_table_next_id(NULL, &id));
    MISUSE("`table`", diamond_table_save(NULL, &it, sizeof it, NULL, &id));
    MISUSE("`table`", diamond_table_fetch(NULL, 0, &it, sizeof it, NULL));
    MISUSE("`table`", diamond_table_replace(NULL, 0, &it, sizeof it, NULL));
    MISUSE("`table`", diamond_table_replace_if(NULL, 0, &it, sizeof it, NULL, &it, sizeof it, NULL));
    MISUSE("`table`", diamond_table_delete(NULL, 0));
    MISUSE("`table`", diamond_table_delete_if(NULL, 0, &it, sizeof it, NULL));
    MISUSE("`table`", diamond_table_save_many(NULL, &records, 1, &id));
    MISUSE("`table`", diamond_table_fetch_many(NULL, &id, 1, &records, NULL));
    MISUSE("`table`", diamond_table_replace_many(NULL, &id, 1, &records));
    MISUSE("`table`", diamond_table_delete_many(NULL, &id, 1));
    MISUSE("`table`", diamond_table_save_json(NULL, TEXT("{}"), &id));
    MISUSE("`table`", diamond_table_save_many_json(NULL, TEXT("[]"), &id, &size));
    MISUSE("`table`", diamond_table_fetch_json(NULL, 0, 0, &text, &size));
    MISUSE("`table`", diamond_table_fetch_many_json(NULL, &id, 1, 0, &text, &size, NULL));
    MISUSE("`table`", diamond_table_replace_json(NULL, 0, TEXT("{}")));
    MISUSE("`table`", diamond_table_replace_if_json(NULL, 0, TEXT("{}"), TEXT("{}")));
    MISUSE("`table`", diamond_table_replace_many_json(NULL, &id, 1, TEXT("[]")));
    MISUSE("`request`", diamond_table_save_by(NULL));
    MISUSE("`request`", diamond_table_fetch_by(NULL));
    MISUSE("`batch`", diamond_batch_open(NULL, NULL));
    MISUSE("`table`", diamond_batch_save(NULL, NULL, &it, sizeof it, NULL));
    MISUSE("`batch`", diamond_batch_save_json(NULL, NULL, TEXT("{}")));
    MISUSE("`table`", diamond_batch_replace(NULL, NULL, 0, &it, sizeof it, NULL));
    MISUSE("`batch`", diamond_batch_replace_json(NULL, NULL, 0, TEXT("{}")));
    MISUSE("`batch`", diamond_batch_delete(NULL, NULL, 0));
    MISUSE("`table`", diamond_batch_expect(NULL, NULL, 0, &it, sizeof it, NULL));
    MISUSE("`batch`", diamond_batch_expect_json(NULL, NULL, 0, TEXT("{}")));
    MISUSE("`batch`", diamond_batch_commit(NULL, 0, NULL, 0, NULL));
    MISUSE("`cursor`", diamond_table_scan(NULL, NULL, NULL));
    MISUSE("`cursor`", diamond_cursor_next(NULL, &id, &it, sizeof it, NULL));
    MISUSE("`cursor`", diamond_cursor_next_many(NULL, &id, 1, &records, &size));
    MISUSE("`cursor`", diamond_cursor_next_json(NULL, 0, &id, &text, &size));
}

static void closing_null_does_nothing(void) {
    OK(diamond_close(NULL));
    OK(diamond_table_close(NULL));
    OK(diamond_batch_close(NULL));
    OK(diamond_cursor_close(NULL));
    diamond_free(NULL);
}

static void what_comes_out_is_null_after_an_error(void) {
    diamond_db *db = (diamond_db *)&memory;
    diamond_table *table = (diamond_table *)&memory;
    diamond_batch *batch = (diamond_batch *)&memory;
    diamond_cursor *cursor = (diamond_cursor *)&memory;
    char *text = memory.text;
    size_t size = 9;

    MISUSE("`path` is NULL", diamond_open(NULL, 1, NULL, &db));
    MISUSE("`db`", diamond_table_open(NULL, TEXT("people"), &table));
    MISUSE("`db`", diamond_batch_open(NULL, &batch));
    MISUSE("`table`", diamond_table_scan(NULL, NULL, &cursor));
    MISUSE("`db`", diamond_stats(NULL, &text, &size));
    CHECK(!db && !table && !batch && !cursor && !text && size == 0);
}

static void what_is_no_handle_is_refused(void) {
    void *no_handle = &memory, *askew = memory.text + 1;
    MISUSE("`db` is not an open diamond_db", diamond_flush((diamond_db *)no_handle));
    MISUSE("`db` is not aligned", diamond_flush((diamond_db *)askew));
    MISUSE("`table` is not an open diamond_table", diamond_table_delete((diamond_table *)no_handle, 0));
    MISUSE("`batch` is not an open diamond_batch", diamond_batch_close((diamond_batch *)no_handle));
    MISUSE("`cursor` is not aligned", diamond_cursor_close((diamond_cursor *)askew));
}

static diamond_status open_with(size_t struct_size, const diamond_options *options) {
    diamond_options copy = *options;
    diamond_db *db;
    copy.struct_size = struct_size;
    return diamond_open(TEXT("/nowhere"), &copy, &db);
}

static void options_are_checked(void) {
    char error[24];
    diamond_options options = {0};
    diamond_db *db;
    size_t i;

    MISUSE("sizeof(diamond_options)", open_with(0, &options));
    MISUSE("diamond_options", open_with(8, &options));
    options.flags = UINT64_C(1) << 40;
    FAILS(DIAMOND_STATUS_INVALID, "options->flags", open_with(16, &options)); /* An older, smaller one. */
    options.flags = 0;
    options.durability = 3;
    FAILS(DIAMOND_STATUS_INVALID, "durability", open_with(sizeof options, &options));
    options.durability = 0;
    options.store = &memory;
    FAILS(DIAMOND_STATUS_UNSUPPORTED, "store", open_with(sizeof options, &options));
    options.store = NULL;
    options.cache = &memory;
    FAILS(DIAMOND_STATUS_UNSUPPORTED, "cache", open_with(sizeof options, &options));
    options.cache = NULL;

    FAILS(DIAMOND_STATUS_INVALID, "`path` is empty", diamond_open(NULL, 0, NULL, &db));
    FAILS(DIAMOND_STATUS_INVALID, "NUL inside", diamond_open("a", 2, NULL, &db));
    MISUSE("`path` has a size", diamond_open("a", SIZE_MAX, NULL, &db));
    MISUSE("`db` is NULL", diamond_open("a", 1, NULL, NULL));

    /* The sentence in the caller's buffer, cut to its size. */
    options.flags = UINT64_C(1) << 40;
    options.error = error;
    for (i = 0; i <= sizeof error; i++) {
        memset(error, '#', sizeof error);
        options.error_size = i;
        CHECK(open_with(sizeof options, &options) == DIAMOND_STATUS_INVALID);
        CHECK(i == 0 ? error[0] == '#' : strlen(error) == i - 1);
        CHECK(i == sizeof error || error[i] == '#');
        CHECK(i == 0 || strncmp(error, diamond_error_message(), i - 1) == 0);
    }
    memset(error, '#', sizeof error);
    MISUSE("`db`", diamond_wait_durable(NULL, 0, 0, error, sizeof error));
    CHECK(strncmp(error, "diamond_wait_durable:", 20) == 0);
}

static void text_is_utf8(void) {
    const char *bad = "gr\xFC" "n";
    MISUSE("`name` is NULL", diamond_table_rename(NULL, NULL, 3, TEXT("people")));
    FAILS(DIAMOND_STATUS_INVALID, "`name` is not UTF-8 at byte 2 of 4",
          diamond_table_rename(NULL, TEXT(bad), TEXT(bad)));
    FAILS(DIAMOND_STATUS_INVALID, "`json` is not UTF-8", diamond_table_save_json(NULL, TEXT(bad), NULL));
}

int main(void) {
    CHECK(strcmp(diamond_error_message(), "") == 0);
    CHECK(strcmp(diamond_version(), DIAMOND_VERSION) == 0);
    CHECK(diamond_abi_version() == DIAMOND_ABI_VERSION);
    every_verb_refuses_null();
    closing_null_does_nothing();
    what_comes_out_is_null_after_an_error();
    what_is_no_handle_is_refused();
    options_are_checked();
    text_is_utf8();
    puts("border: ok");
    return 0;
}
