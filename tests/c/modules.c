/* A store and a cache of the caller's own: both keep their promises, and a database over them answers as any other. */
#include "plain_store.c"
#include "array_cache.c"

#include "check.h"
#include <stddef.h>

/* What was not kept, if anything, is on stderr. */
static void keeps_its_promises(diamond_status status, char *report) {
    if (status) fprintf(stderr, "%s\n", report ? report : "");
    OK(status);
    CHECK(strstr(report, "\"promises\"") && !strstr(report, "\"kept\":false"));
    diamond_free(report);
}

static void people_come_and_go(const diamond_options *options, const char *path, uint64_t before) {
    diamond_db *db;
    OK(diamond_open(TEXT(path), options, &db));
    diamond_table *people = people_of(db);
    uint64_t count, id;
    OK(diamond_table_count(people, &count));
    CHECK(count == before);
    person abby = person_of("Abby", 29), bob = person_of("Bob", 31), found;
    OK(diamond_table_save(people, &abby, sizeof abby, NULL, &id));
    OK(diamond_table_fetch(people, id, &found, sizeof found, NULL));
    CHECK(person_is(&found, &abby));
    OK(diamond_table_replace(people, id, &bob, sizeof bob, NULL));
    for (int round = 0; round < 3; round++) {
        OK(diamond_table_fetch(people, id, &found, sizeof found, NULL));
        CHECK(person_is(&found, &bob));
    }
    FAILS(DIAMOND_STATUS_CONFLICT, "people",
          diamond_table_replace_if(people, id, &abby, sizeof abby, NULL, &bob, sizeof bob, NULL));
    uint64_t gone;
    OK(diamond_table_save(people, &abby, sizeof abby, NULL, &gone));
    OK(diamond_table_delete(people, gone));
    FAILS(DIAMOND_STATUS_NOT_FOUND, "deleted", diamond_table_fetch(people, gone, &found, sizeof found, NULL));
    OK(diamond_table_close(people));
    OK(diamond_close(db));
}

static int destroyed;
static void count_destroyed(void *context) { (void)context; destroyed++; }
static int32_t refuses(void *context, diamond_reply *reply) {
    (void)context;
    OK(diamond_reply_error(reply, TEXT("it is raining")));
    return 0;
}

/* Functions that a module lacks are named; one that fails says why, and is destroyed. */
static void wrong_modules_are_refused(void) {
    diamond_db *db;
    diamond_store_module store = plain_store("unused");
    plain_destroy(store.context);
    store.context = NULL, store.destroy = count_destroyed;
    diamond_options options = {.struct_size = sizeof options, .store = &store};
    store.fetch = NULL;
    FAILS(DIAMOND_STATUS_UNSUPPORTED, "options->store->fetch", diamond_open(NULL, 0, &options, &db));
    store.fetch = plain_fetch, store.struct_size = offsetof(diamond_store_module, persist_all);
    FAILS(DIAMOND_STATUS_MISUSE, "struct_size", diamond_open(NULL, 0, &options, &db));
    store.struct_size = 0;
    FAILS(DIAMOND_STATUS_MISUSE, "struct_size", diamond_open(NULL, 0, &options, &db));
    store.struct_size = sizeof store, store.logs = &store;
    FAILS(DIAMOND_STATUS_UNSUPPORTED, "logs", diamond_open(NULL, 0, &options, &db));
    store.logs = NULL, store.flags = 1 << 20;
    FAILS(DIAMOND_STATUS_INVALID, "flags", diamond_open(NULL, 0, &options, &db));
    CHECK(destroyed == 0);
    store.flags = 0, store.initialize = refuses;
    FAILS(DIAMOND_STATUS_MODULE, "it is raining", diamond_open(NULL, 0, &options, &db));
    CHECK(destroyed == 1);
    options.flags = DIAMOND_OPEN_IN_MEMORY;
    FAILS(DIAMOND_STATUS_INVALID, "DIAMOND_OPEN_IN_MEMORY", diamond_open(NULL, 0, &options, &db));
}

/* A store that says it has a record, and does not give it, fails: the record is not said to be gone. */
static int32_t says_found(void *context, uint32_t table, const uint64_t *ids, size_t count, int32_t *items,
                          diamond_reply *reply) {
    (void)context, (void)table, (void)ids, (void)reply;
    for (size_t i = 0; i < count; i++) items[i] = DIAMOND_MODULE_OK;
    return DIAMOND_MODULE_OK;
}

static void a_record_that_is_said_to_be_there_is_given(const char *file) {
    diamond_db *db;
    diamond_store_module store = plain_store(file);
    store.fetch = says_found;
    diamond_options options = {.struct_size = sizeof options, .store = &store};
    OK(diamond_open(NULL, 0, &options, &db));
    diamond_table *people = people_of(db);
    person found;
    FAILS(DIAMOND_STATUS_MODULE, "could not fetch record 0",
          diamond_table_fetch(people, 0, &found, sizeof found, NULL));
    OK(diamond_table_close(people));
    OK(diamond_close(db));
}

/* One that does a part of what it is asked, and says why it does not do the rest. */
static int32_t keeps_no_more(void *context, const diamond_change *changes, size_t count, int32_t *items,
                             diamond_reply *reply) {
    (void)context, (void)changes;
    for (size_t i = 0; i < count; i++) items[i] = 0;
    OK(diamond_reply_error(reply, TEXT("the shelf is full")));
    return DIAMOND_MODULE_OK;
}

static int32_t finds_no_more(void *context, uint32_t table, const uint64_t *ids, size_t count, int32_t *items,
                             diamond_reply *reply) {
    (void)context, (void)table, (void)ids;
    for (size_t i = 0; i < count; i++) items[i] = 0;
    OK(diamond_reply_error(reply, TEXT("the shelf is locked")));
    return DIAMOND_MODULE_OK;
}

static void what_a_store_says_of_a_part_reaches_the_caller(const char *file) {
    diamond_db *db;
    diamond_store_module store = plain_store(file);
    store.store = keeps_no_more, store.fetch = finds_no_more;
    diamond_options options = {.struct_size = sizeof options, .store = &store};
    OK(diamond_open(NULL, 0, &options, &db));
    diamond_table *people = people_of(db);
    person abby = person_of("Abby", 29), found;
    uint64_t id;
    FAILS(DIAMOND_STATUS_MODULE, "the shelf is full", diamond_table_save(people, &abby, sizeof abby, NULL, &id));
    FAILS(DIAMOND_STATUS_MODULE, "could not fetch record 0 of table people: the shelf is locked",
          diamond_table_fetch(people, 0, &found, sizeof found, NULL));
    OK(diamond_table_close(people));
    OK(diamond_close(db));
}

/* A cache that calls the database that is calling it. */
static diamond_table *asked;
static int32_t calls_back(void *context, uint32_t table, uint64_t id, diamond_reply *reply) {
    person found;
    (void)table, (void)reply;
    FAILS(DIAMOND_STATUS_MISUSE, "must not call the database",
          diamond_table_fetch(asked, id, &found, sizeof found, NULL));
    FAILS(DIAMOND_STATUS_MISUSE, "must not call the database", diamond_close(context ? *(diamond_db **)context : NULL));
    return DIAMOND_MODULE_MISS;
}

static void a_module_cannot_call_its_database(const char *path) {
    diamond_db *db = NULL;
    diamond_cache_module cache = array_cache();
    free(cache.context);
    cache.context = &db, cache.destroy = NULL;
    cache.fetch = calls_back;
    cache.clear = refuses;
    diamond_options options = {.struct_size = sizeof options, .cache = &cache};
    OK(diamond_open(TEXT(path), &options, &db));
    asked = people_of(db);
    person abby = person_of("Abby", 29), found;
    uint64_t id;
    OK(diamond_table_save(asked, &abby, sizeof abby, NULL, &id));
    /* It cannot be cleared, so it is not asked, and counted. */
    OK(diamond_table_fetch(asked, id, &found, sizeof found, NULL));
    CHECK(person_is(&found, &abby));
    char *figures;
    OK(diamond_stats(db, &figures, NULL));
    CHECK(strstr(figures, "\"bypassed\":1"));
    diamond_free(figures);
    OK(diamond_table_close(asked));
    OK(diamond_close(db));
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    char file[4096], folder[4096], *report;
    snprintf(file, sizeof file, "%s.plain", argv[1]);
    snprintf(folder, sizeof folder, "%s.native", argv[1]);
    remove(file);

    diamond_store_module store = plain_store(file), again = plain_store(file);
    diamond_status status = diamond_check_store_module(&store, &again, &report, NULL);
    keeps_its_promises(status, report);
    diamond_cache_module cache = array_cache();
    status = diamond_check_cache_module(&cache, &report, NULL);
    keeps_its_promises(status, report);
    remove(file);

    diamond_options options = {.struct_size = sizeof options};
    for (uint64_t before = 0; before < 3; before++) {
        store = plain_store(file), cache = array_cache();
        options.store = &store, options.cache = before ? &cache : NULL;
        if (!before) free(cache.context);
        people_come_and_go(&options, "", before);
    }
    options.store = NULL, cache = array_cache(), options.cache = &cache;
    people_come_and_go(&options, folder, 0);
    options.cache = NULL, options.cache_bytes = 1 << 20;
    people_come_and_go(&options, folder, 1);
    options.flags = DIAMOND_OPEN_IN_MEMORY;
    people_come_and_go(&options, "anything", 0);

    wrong_modules_are_refused();
    a_record_that_is_said_to_be_there_is_given(file);
    what_a_store_says_of_a_part_reaches_the_caller(file);
    a_module_cannot_call_its_database(folder);
    puts("modules: ok");
    return 0;
}
