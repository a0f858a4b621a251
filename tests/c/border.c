/* What a C program sees of a failure: sentences and where they go. (tests/border.rs: every wrong argument.) */
#include "check.h"
#include <pthread.h>

#define MISUSE(part, call) FAILS(DIAMOND_STATUS_MISUSE, part, call)

static void null_is_fine_where_the_header_says_so(void) {
    OK(diamond_close(NULL));
    OK(diamond_table_close(NULL));
    OK(diamond_batch_close(NULL));
    OK(diamond_cursor_close(NULL));
    diamond_free(NULL);
}

static diamond_status open_with(size_t struct_size, const diamond_options *options) {
    diamond_options copy = *options;
    diamond_db *db;
    copy.struct_size = struct_size;
    return diamond_open(TEXT("/nowhere"), &copy, &db);
}

static void a_sentence_goes_to_the_buffer_cut_to_its_size(void) {
    char error[24];
    diamond_options options = {0};
    size_t i;

    options.flags = UINT64_C(1) << 40;
    FAILS(DIAMOND_STATUS_INVALID, "options->flags", open_with(16, &options)); /* An older, smaller one. */
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

static void a_success_writes_to_no_error_buffer(diamond_db *db) {
    char error[8];
    memset(error, '#', sizeof error);
    OK(diamond_wait_durable(db, 0, 0, error, sizeof error));
    CHECK(memcmp(error, "########", sizeof error) == 0);
}

static void *first_words_of_a_thread(void *unused) {
    (void)unused;
    CHECK(strcmp(diamond_error_message(), "") == 0);
    MISUSE("diamond_checkpoint: `db` is NULL", diamond_checkpoint(NULL));
    return NULL;
}

static void a_sentence_belongs_to_its_thread(void) {
    pthread_t thread;
    const char *mine;
    MISUSE("diamond_flush: `db` is NULL", diamond_flush(NULL));
    mine = diamond_error_message();
    CHECK(pthread_create(&thread, NULL, first_words_of_a_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(mine == diamond_error_message());
    CHECK(strcmp(mine, "diamond_flush: `db` is NULL.") == 0);
}

/* Runs when the library's own memory of the thread is gone, or shortly before. */
static void save_and_fail(void *people) {
    person it = person_of("Abby", 29);
    OK(diamond_table_save(people, &it, sizeof it, NULL, NULL));
    CHECK(diamond_table_delete(people, UINT64_MAX) == DIAMOND_STATUS_OUT_OF_RANGE);
    CHECK(diamond_error_message() != NULL);
}

static pthread_key_t at_the_end;

static void *save_now_and_at_the_end(void *people) {
    save_and_fail(people);
    CHECK(pthread_setspecific(at_the_end, people) == 0);
    return NULL;
}

static void the_destructor_of_a_thread_may_call(diamond_table *people) {
    pthread_t thread;
    uint64_t before, after;
    OK(diamond_table_count(people, &before));
    CHECK(pthread_key_create(&at_the_end, save_and_fail) == 0);
    CHECK(pthread_create(&thread, NULL, save_now_and_at_the_end, people) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(pthread_key_delete(at_the_end) == 0);
    OK(diamond_table_count(people, &after));
    CHECK(after == before + 2);
}

int main(int argc, char **argv) {
    diamond_db *db;
    diamond_table *people;
    CHECK(strcmp(diamond_error_message(), "") == 0);
    CHECK(strcmp(diamond_version(), DIAMOND_VERSION) == 0);
    CHECK(diamond_abi_version() == DIAMOND_ABI_VERSION);
    null_is_fine_where_the_header_says_so();
    a_sentence_goes_to_the_buffer_cut_to_its_size();
    a_sentence_belongs_to_its_thread();
    db = open_folder(argc, argv);
    people = people_of(db);
    a_success_writes_to_no_error_buffer(db);
    the_destructor_of_a_thread_may_call(people);
    OK(diamond_table_close(people));
    OK(diamond_close(db));
    puts("border: ok");
    return 0;
}
