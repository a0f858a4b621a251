/* Works on a database whose files fail, and says what came of it; then, with sound files, looks at what is there.
 *
 *     faults work  FOLDER RECORD DURABILITY THREADS    0: all was well; 3: errors were reported
 *     faults check FOLDER RECORD DURABILITY THREADS    0: what the record promises is there
 *
 * RECORD is a file outside the database: for each step, the status that it ended with. The steps are the same each
 * time, so record and steps tell what must be there. Every status but those of a failing disk, and every wrong answer,
 * is an exit with 1. */
#define _DEFAULT_SOURCE
#include "check.h"

#include <fcntl.h>
#include <unistd.h>

enum { TABLES = 3, BULK = 12000, RECORDS = 40000 };

typedef struct table {
    int exists;
    uint64_t next;
    /* The number of each record, or 0 where it was deleted. */
    int32_t numbers[RECORDS];
} table;

/* All that should be there. */
typedef struct model {
    table tables[TABLES];
} model;

static const char *NAMES[TABLES] = {"a", "b", "c"};

/* What there is to do. Tables are numbers; `n` is an id, or how many records. */
typedef enum verb {
    MAKE, SAVE, SAVE_MANY, REPLACE, DELETE, BATCH, RENAME, DROP, READ, CHECKPOINT, FLUSH, STEP, VERIFY, REOPEN
} verb;

typedef struct step {
    verb verb;
    int table;
    uint32_t n;
} step;

static const step STEPS[] = {
    {MAKE, 0, 0},       {SAVE, 0, 0},      {SAVE_MANY, 0, 300}, {MAKE, 1, 0},      {BATCH, 0, 3},
    {REPLACE, 0, 7},    {DELETE, 0, 9},    {READ, 0, 0},        {FLUSH, 0, 0},     {SAVE_MANY, 1, BULK},
    {CHECKPOINT, 0, 0}, {REPLACE, 1, 700}, {SAVE, 1, 0},        {READ, 1, 0},      {STEP, 0, 0},
    {REOPEN, 0, 0},     {READ, 1, 0},      {REPLACE, 1, 3},     {BATCH, 0, 20},    {RENAME, 1, 0},
    {CHECKPOINT, 0, 0}, {SAVE, 2, 0},      {SAVE_MANY, 0, 500}, {VERIFY, 0, 0},    {DELETE, 2, 5},
    {REOPEN, 0, 0},     {READ, 2, 0},      {DROP, 2, 0},        {CHECKPOINT, 0, 0}, {MAKE, 1, 0},
    {SAVE_MANY, 1, 60}, {SAVE, 0, 0},      {STEP, 0, 0},        {FLUSH, 0, 0},     {REPLACE, 0, 11},
    {CHECKPOINT, 0, 0}, {SAVE, 1, 0},      {READ, 0, 0},        {REOPEN, 0, 0},    {SAVE, 0, 0},
};
enum { STEP_COUNT = sizeof STEPS / sizeof *STEPS };

static diamond_options options;
static const char *folder;
static diamond_db *db;
/* The answers to expect; static, since it is large. */
static model now;
static int had_errors;
/* A close failed: then it is for the check to say what is there. */
static int is_uncertain;

static person record_of(int32_t number) {
    char name[16];
    snprintf(name, sizeof name, "number %d", number);
    return person_of(name, number % 1000);
}

/* Each record that is ever written has a number of its own: the step's, and which of it. */
static int32_t number_of(int index, uint32_t which) { return (index + 1) * 100000 + (int32_t)which; }

static int is_there(const table *it, uint64_t id) { return it->exists && id < it->next && it->numbers[id] != 0; }

/* True if the step changes something and is not refused for another reason than the disk. */
static int is_possible(const model *state, int index) {
    const step *it = &STEPS[index];
    const table *table = &state->tables[it->table];
    switch (it->verb) {
    case MAKE: return 1;
    case SAVE: case SAVE_MANY: case DROP: return table->exists;
    case REPLACE: case DELETE: return is_there(table, it->n);
    case BATCH: return table->exists && state->tables[1].exists && is_there(table, it->n);
    case RENAME: return table->exists && !state->tables[it->table + 1].exists;
    default: return 0;
    }
}

/* The model after a step that was done. */
static void apply(model *state, int index) {
    const step *it = &STEPS[index];
    table *table = &state->tables[it->table];
    uint32_t i;
    if (!is_possible(state, index)) return;
    switch (it->verb) {
    case MAKE: table->exists = 1; break;
    case SAVE: table->numbers[table->next++] = number_of(index, 0); break;
    case SAVE_MANY:
        for (i = 0; i < it->n; i++) table->numbers[table->next++] = number_of(index, i);
        break;
    case REPLACE: table->numbers[it->n] = number_of(index, 0); break;
    case DELETE: table->numbers[it->n] = 0; break;
    case BATCH:
        table->numbers[it->n] = number_of(index, 0);
        table->numbers[table->next++] = number_of(index, 1);
        state->tables[1].numbers[state->tables[1].next++] = number_of(index, 2);
        break;
    case RENAME:
        table[1] = *table;
        memset(table, 0, sizeof *table);
        break;
    case DROP: memset(table, 0, sizeof *table); break;
    default: break;
    }
}

static diamond_status open_table(int number, diamond_table **table) {
    return diamond_table_open(db, TEXT(NAMES[number]), table);
}

/* Whether the table is exactly so. Statuses of a failing disk are the answer where reading fails. */
static diamond_status compare(const table *expected, int number, int *differs) {
    diamond_table *table = NULL;
    diamond_cursor *cursor = NULL;
    diamond_status status = open_table(number, &table);
    uint64_t next, count, id, seen = 0, there = 0, i;
    person found;
    *differs = 0;
    if (!expected->exists || status == DIAMOND_STATUS_NOT_FOUND) {
        *differs = (status != DIAMOND_STATUS_NOT_FOUND) != expected->exists;
        return status == DIAMOND_STATUS_NOT_FOUND ? DIAMOND_STATUS_OK : diamond_table_close(table);
    }
    if (status) return status;
    OK(diamond_table_next_id(table, &next));
    OK(diamond_table_count(table, &count));
    status = diamond_table_scan(table, NULL, &cursor);
    while (!status && !(status = diamond_cursor_next(cursor, &id, &found, sizeof found, NULL))) {
        person right = record_of(id < expected->next ? expected->numbers[id] : 0);
        seen++;
        *differs |= !is_there(expected, id) || !person_is(&found, &right);
    }
    for (i = 0; i < expected->next; i++) there += is_there(expected, i);
    OK(diamond_cursor_close(cursor));
    OK(diamond_table_close(table));
    if (status != DIAMOND_STATUS_END) return status;
    *differs |= next != expected->next || count != there || seen != there;
    return DIAMOND_STATUS_OK;
}

static diamond_status batch(int index, diamond_table *table, person *old) {
    const step *it = &STEPS[index];
    person changed = record_of(number_of(index, 0)), one = record_of(number_of(index, 1));
    person other = record_of(number_of(index, 2));
    diamond_batch *batch = NULL;
    diamond_table *second = NULL;
    diamond_status status = open_table(1, &second);
    if (!status) status = diamond_batch_open(db, &batch);
    if (!status) status = diamond_batch_expect(batch, table, it->n, old, sizeof *old, NULL);
    if (!status) status = diamond_batch_replace(batch, table, it->n, &changed, sizeof changed, NULL);
    if (!status) status = diamond_batch_save(batch, table, &one, sizeof one, NULL);
    if (!status) status = diamond_batch_save(batch, second, &other, sizeof other, NULL);
    if (!status) status = diamond_batch_commit(batch, 0, NULL, 0, NULL);
    OK(diamond_batch_close(batch));
    OK(diamond_table_close(second));
    return status;
}

static diamond_status save_many(int index, diamond_table *table) {
    uint32_t i, count = STEPS[index].n;
    person *people = calloc(count, sizeof *people);
    diamond_records records = {0};
    diamond_status status;
    uint64_t id;
    CHECK(people);
    for (i = 0; i < count; i++) people[i] = record_of(number_of(index, i));
    records.struct_size = sizeof records;
    records.records = people;
    records.record_stride = sizeof *people;
    status = diamond_table_save_many(table, &records, count, &id);
    if (!status) CHECK(id == now.tables[STEPS[index].table].next);
    free(people);
    return status;
}

static diamond_status reopen(void) {
    diamond_status status = DIAMOND_STATUS_OK;
    if (db) status = diamond_close(db);
    is_uncertain |= status != DIAMOND_STATUS_OK;
    db = NULL;
    return status ? status : diamond_open(TEXT(folder), &options, &db);
}

static diamond_status verify(void) {
    char *report = NULL;
    diamond_status status = diamond_verify(db, &report, NULL);
    diamond_free(report);
    return status;
}

/* Does a step that is possible. */
static diamond_status act(int index) {
    const step *it = &STEPS[index];
    const table *model = &now.tables[it->table];
    person record = record_of(number_of(index, 0)), old;
    diamond_table *table = NULL;
    diamond_status status = DIAMOND_STATUS_OK;
    uint64_t id;
    int differs = 0;
    switch (it->verb) {
    case CHECKPOINT: return diamond_checkpoint(db);
    case FLUSH: return diamond_flush(db);
    case STEP: return diamond_step(db, 1000000, NULL);
    case VERIFY: return verify();
    case REOPEN: return reopen();
    case RENAME: return diamond_table_rename(db, TEXT(NAMES[it->table]), TEXT(NAMES[it->table + 1]));
    case DROP: return diamond_table_drop(db, TEXT(NAMES[it->table]));
    case READ:
        status = compare(model, it->table, &differs);
        CHECK(!differs);
        return status;
    case MAKE: status = diamond_table_make(db, TEXT(NAMES[it->table]), TEXT(PEOPLE), &table); break;
    default: OK(open_table(it->table, &table));
    }
    switch (it->verb) {
    case SAVE:
        status = diamond_table_save(table, &record, sizeof record, NULL, &id);
        if (!status) CHECK(id == model->next);
        break;
    case SAVE_MANY: status = save_many(index, table); break;
    case REPLACE: status = diamond_table_replace(table, it->n, &record, sizeof record, NULL); break;
    case DELETE: status = diamond_table_delete(table, it->n); break;
    case BATCH:
        old = record_of(model->numbers[it->n]);
        status = batch(index, table, &old);
        break;
    default: break;
    }
    OK(diamond_table_close(table));
    return status;
}

/* Is this an answer that a failing disk may lead to? And it comes with a sentence. */
static void judge(const char *what, int index, diamond_status status) {
    int fits = status == DIAMOND_STATUS_FULL || status == DIAMOND_STATUS_COMMIT_UNKNOWN ||
               status == DIAMOND_STATUS_IO || status == DIAMOND_STATUS_POISONED || status == DIAMOND_STATUS_NO_MEMORY;
    if (status == DIAMOND_STATUS_OK) return;
    had_errors = 1;
    printf("%s %d: %d %s\n", what, index, status, diamond_error_message());
    CHECK(fits);
    CHECK(strlen(diamond_error_message()) > 0);
}

static void note(int record, int index, int status) {
    char line[64];
    int size = snprintf(line, sizeof line, "%d %d\n", index, status);
    CHECK(write(record, line, (size_t)size) == size);
}

static int work(const char *record_name) {
    int record = open(record_name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666);
    int index, poisoned = 0;
    diamond_status status;
    CHECK(record >= 0);
    for (index = -1; index < STEP_COUNT; index++) {
        int changes = index >= 0 && is_possible(&now, index);
        if (!db) {
            judge("opening", index, reopen());
            if (!db) continue;
        }
        if (index < 0 || (STEPS[index].verb < READ && !changes)) continue;
        /* An unknown commit may be seen, or not. */
        if (poisoned && STEPS[index].verb == READ) continue;
        status = act(index);
        note(record, index, status);
        judge("step", index, status);
        if (poisoned && changes) CHECK(status == DIAMOND_STATUS_POISONED);
        if (!status) apply(&now, index);
        if (status == DIAMOND_STATUS_COMMIT_UNKNOWN || status == DIAMOND_STATUS_POISONED) poisoned = 1;
        if (is_uncertain) break;
    }
    status = db ? diamond_close(db) : DIAMOND_STATUS_OK;
    note(record, STEP_COUNT, db ? status : DIAMOND_STATUS_IO);
    judge("closing", STEP_COUNT, status);
    return had_errors ? 3 : 0;
}

/* True if the database is exactly as the model says. */
static int is_so(const model *state) {
    int number, differs, all = 0;
    for (number = 0; number < TABLES; number++) {
        OK(compare(&state->tables[number], number, &differs));
        all |= differs;
    }
    return !all;
}

static int check(const char *record_name) {
    FILE *record = fopen(record_name, "r");
    int sure = -1, last = -1, index, status, unknown, found = 0;
    int statuses[STEP_COUNT + 1];
    uint64_t id;
    person one = record_of(1);
    diamond_table *table = NULL;
    for (index = 0; index <= STEP_COUNT; index++) statuses[index] = DIAMOND_STATUS_IO;
    while (record && fscanf(record, "%d %d", &index, &status) == 2) {
        statuses[index] = status;
        last = index < STEP_COUNT ? index : last;
        /* In async mode only some steps promise anything, and those for all before them. */
        if (status == DIAMOND_STATUS_OK &&
            (options.durability != DIAMOND_DURABILITY_ASYNC || index == STEP_COUNT || STEPS[index].verb == FLUSH ||
             STEPS[index].verb == CHECKPOINT || STEPS[index].verb == REOPEN))
            sure = index;
    }
    if (record) fclose(record);
    OK(diamond_open(TEXT(folder), NULL, &db));
    OK(verify());
    /* Some prefix of what was done, and at least what was promised; a commit whose outcome nobody knows is there, or
     * is not. */
    for (unknown = 0; unknown < 2 && !found; unknown++) {
        memset(&now, 0, sizeof now);
        for (index = 0; index <= last; index++) {
            if (index > sure && !found) found = is_so(&now);
            if (statuses[index] == DIAMOND_STATUS_OK ||
                (unknown && statuses[index] == DIAMOND_STATUS_COMMIT_UNKNOWN))
                apply(&now, index);
        }
        found |= is_so(&now);
    }
    CHECK(found);
    OK(diamond_table_make(db, TEXT("c"), TEXT(PEOPLE), &table));
    OK(diamond_table_save(table, &one, sizeof one, NULL, &id));
    OK(diamond_table_close(table));
    OK(diamond_checkpoint(db));
    OK(verify());
    OK(diamond_close(db));
    return 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 6);
    folder = argv[2];
    options.struct_size = sizeof options;
    options.durability = atoi(argv[4]);
    options.flags = atoi(argv[5]) ? 0 : DIAMOND_OPEN_NO_THREADS;
    return strcmp(argv[1], "work") == 0 ? work(argv[3]) : check(argv[3]);
}
