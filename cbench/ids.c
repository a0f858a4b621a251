/*
 * Ids by Zipf's law: rank r comes up in proportion to 1 / (r + 1)^0.99, as YCSB draws them (Gray and others, "Quickly
 * generating billion-record synthetic databases"), and a hash scatters the ranks over the table.
 *
 * Drawing costs more than a fast read, so it is done before the clock starts.
 */
#include "workloads.h"

#include <math.h>

#define EXPONENT 0.99

static struct {
    double record_count, zeta, alpha, eta;
} law;

void prepare_zipfian(uint64_t record_count)
{
    if (law.record_count == (double)record_count) return;
    double zeta = 0;
    for (uint64_t rank = 1; rank <= record_count; rank++) zeta += pow((double)rank, -EXPONENT);
    law.record_count = (double)record_count;
    law.zeta = zeta;
    law.alpha = 1 / (1 - EXPONENT);
    law.eta = (1 - pow(2.0 / law.record_count, 1 - EXPONENT)) / (1 - (1 + pow(0.5, EXPONENT)) / zeta);
}

static uint64_t draw_rank(uint64_t *random)
{
    double uniform = (double)(next_random(random) >> 11) * 0x1p-53;
    double place = uniform * law.zeta;
    if (place < 1) return 0;
    if (place < 1 + pow(0.5, EXPONENT)) return 1;
    double rank = law.record_count * pow(law.eta * uniform - law.eta + 1, law.alpha);
    return rank < law.record_count ? (uint64_t)rank : (uint64_t)law.record_count - 1;
}

void draw_zipfian(uint64_t *random, uint32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t rank = draw_rank(random);
        ids[i] = (uint32_t)((unsigned __int128)next_random(&rank) * (uint64_t)law.record_count >> 64);
    }
}
