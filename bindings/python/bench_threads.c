/* 32 threads that save one record after the other, each durable before its next: nanoseconds for one save, over all.
   bench.py runs it beside a thousand saves awaited at once. */
#define _POSIX_C_SOURCE 200809L
#include <diamonddb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 32, SAVES = 128 };
static const char schema[] = "{\"a\": [\"bytes\", 100]}";
static diamond_table *table;

static void check(diamond_status status) {
    if (status == DIAMOND_STATUS_OK) return;
    fprintf(stderr, "%s\n", diamond_error_message());
    exit(1);
}

static void *save(void *unused) {
    char record[100] = "record";
    for (int i = 0; i < SAVES; i++) check(diamond_table_save(table, record, sizeof record, NULL, NULL));
    return unused;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int count, char **arguments) {
    pthread_t threads[THREADS];
    diamond_db *db;
    if (count != 2) return 1;
    check(diamond_open(arguments[1], strlen(arguments[1]), NULL, &db));
    check(diamond_table_make(db, "records", 7, schema, strlen(schema), &table));
    double begun = now();
    for (int i = 0; i < THREADS; i++) pthread_create(threads + i, NULL, save, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    printf("%f\n", (now() - begun) / (THREADS * SAVES));
    check(diamond_table_close(table));
    check(diamond_close(db));
    return 0;
}
