/* What the C and the C++ program measure with: the record of bench.py, a clock, medians and lines of results. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* 15 fields. */
struct record {
    int64_t a, b;
    double c, d, e;
    int64_t f;
    int32_t g, h;
    uint32_t i;
    float j;
    int16_t k, l;
    uint8_t m;
    char n[12], o[15];
};

enum { RECORDS = 100000, READS = 200000, SAVES = 50000, BATCH = 1000, BATCHES = 20, SYNCED = 200, ROUNDS = 7 };

static inline struct record record_of(int64_t id)
{
    struct record it;
    memset(&it, 0, sizeof it);
    it.a = id, it.b = 2, it.c = 3, it.d = 4, it.e = 5, it.f = 6, it.g = 7, it.h = 8, it.i = 9, it.j = 10;
    it.k = 11, it.l = 12, it.m = 1;
    memcpy(it.n, "carrier", 7);
    memcpy(it.o, "somewhere", 9);
    return it;
}

/* The ids that are read: each as likely, by a fixed seed (xorshift64, Marsaglia 2003). */
static inline uint64_t next_id(uint64_t *state)
{
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state % RECORDS;
}

static inline double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static inline int by_time(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static inline double median(double *rounds)
{
    qsort(rounds, ROUNDS, sizeof *rounds, by_time);
    return rounds[ROUNDS / 2];
}

static inline void tell(const char *work, const char *column, double time_ns)
{
    printf("%s\t%s\t%.1f\n", work, column, time_ns);
    fflush(stdout);
}
