/*
 * Latencies in a histogram of fixed size, and medians.
 *
 * Times up to 63 ns have a bucket each; above, every doubling is cut into 64.
 */
#include "workloads.h"

#include <stdlib.h>

static size_t bucket_of(uint64_t nanoseconds)
{
    if (nanoseconds < 1 << BUCKET_BITS) return nanoseconds;
    unsigned shift = 63 - (unsigned)__builtin_clzll(nanoseconds) - BUCKET_BITS;
    return ((size_t)(shift + 1) << BUCKET_BITS) + ((nanoseconds >> shift) - (1 << BUCKET_BITS));
}

static double nanoseconds_of(size_t bucket)
{
    size_t shift = bucket >> BUCKET_BITS, place = bucket & ((1 << BUCKET_BITS) - 1);
    if (shift == 0) return (double)place;
    return ((double)place + (1 << BUCKET_BITS) + 0.5) * (double)(1ull << (shift - 1));
}

void histogram_add(struct histogram *histogram, double seconds)
{
    histogram->counts[bucket_of(seconds > 0 ? (uint64_t)(seconds * 1e9) : 0)]++;
    histogram->count++;
    if (seconds > histogram->worst) histogram->worst = seconds;
}

void histogram_merge(struct histogram *target, const struct histogram *source)
{
    for (size_t i = 0; i < BUCKET_COUNT; i++) target->counts[i] += source->counts[i];
    target->count += source->count;
    if (source->worst > target->worst) target->worst = source->worst;
}

static double quantile_us(const struct histogram *histogram, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)histogram->count), seen = 0;
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        seen += histogram->counts[i];
        if (seen > wanted) return nanoseconds_of(i) / 1e3;
    }
    return histogram->worst * 1e6;
}

struct latency histogram_latency(const struct histogram *histogram)
{
    if (histogram->count == 0) return (struct latency){0};
    return (struct latency){
        .p50 = quantile_us(histogram, 0.5),
        .p99 = quantile_us(histogram, 0.99),
        .p999 = quantile_us(histogram, 0.999),
        .worst = histogram->worst * 1e6,
    };
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double median(double *values, int count)
{
    int there = 0;
    for (int i = 0; i < count; i++) {
        if (values[i] != 0) values[there++] = values[i];
    }
    if (there == 0) return 0;
    qsort(values, (size_t)there, sizeof *values, by_value);
    return there % 2 ? values[there / 2] : (values[there / 2 - 1] + values[there / 2]) / 2;
}
