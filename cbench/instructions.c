/*
 * Calls of one kind, as many as asked: what callgrind counts for N calls less what it counts for none is N times what
 * one costs. Run by `make -C cbench instructions`.
 */
#include "diamonddb.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_COUNT 10000
#define RECORD_SIZE 100
#define BATCH 1000

static void try(diamond_status status)
{
    if (!status) return;
    fprintf(stderr, "%s\n", diamond_error_message());
    exit(1);
}

static uint64_t next_id(void)
{
    static uint64_t random = 88172645463325252u;
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return random % RECORD_COUNT;
}

static char record[RECORD_SIZE], room[BATCH * RECORD_SIZE];
static uint64_t ids[BATCH];
static diamond_records records = {.struct_size = sizeof records, .records = room};

static void fetch(diamond_table *table)
{
    try(diamond_table_fetch(table, next_id(), record, sizeof record, NULL));
}

static void fetch_many(diamond_table *table)
{
    for (size_t i = 0; i < BATCH; i++) ids[i] = next_id();
    try(diamond_table_fetch_many(table, ids, BATCH, &records, NULL));
}

static void scan(diamond_table *table)
{
    diamond_cursor *cursor;
    size_t count;
    try(diamond_table_scan(table, NULL, &cursor));
    while (!diamond_cursor_next_many(cursor, ids, 128, &records, &count)) continue;
    try(diamond_cursor_close(cursor));
}

static void save(diamond_table *table)
{
    uint64_t id;
    try(diamond_table_save(table, record, sizeof record, NULL, &id));
}

static void replace(diamond_table *table)
{
    record[5]++;
    try(diamond_table_replace(table, next_id(), record, sizeof record, NULL));
}

static void replace_many(diamond_table *table)
{
    for (size_t i = 0; i < BATCH; i++) ids[i] = next_id();
    try(diamond_table_replace_many(table, ids, BATCH, &records));
}

static const struct kind {
    const char *name;
    void (*call)(diamond_table *);
} kinds[] = {
    {"fetch", fetch}, {"fetch_many", fetch_many}, {"scan", scan},
    {"save", save},   {"replace", replace},       {"replace_many", replace_many},
};

int main(int count, char **arguments)
{
    if (count != 4) return fprintf(stderr, "usage: instructions FOLDER KIND COUNT\n"), 1;
    const char *schema = "{\"value\": [\"bytes\", 100]}";
    diamond_options options = {.struct_size = sizeof options, .durability = DIAMOND_DURABILITY_ASYNC};
    diamond_db *db;
    diamond_table *table;
    try(diamond_open(arguments[1], strlen(arguments[1]), &options, &db));
    try(diamond_table_make(db, "records", 7, schema, strlen(schema), &table));
    for (int i = 0; i < RECORD_COUNT / BATCH; i++) try(diamond_table_save_many(table, &records, BATCH, NULL));
    /* Every page is in memory and has been read before it counts. */
    for (uint64_t id = 0; id < RECORD_COUNT; id++) try(diamond_table_replace(table, id, record, sizeof record, NULL));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, arguments[2]) != 0) continue;
        for (long left = atol(arguments[3]); left > 0; left--) kinds[i].call(table);
    }
    try(diamond_table_close(table));
    try(diamond_close(db));
}
