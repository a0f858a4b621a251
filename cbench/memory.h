/* Records one after another in memory, copied in and out: what an array and a mapped file have in common. */
#pragma once

#include "bench.h"

struct context {
    char *records;
    uint64_t count;
};

struct context *enter_memory(char *records, uint64_t count);
void leave_memory(struct context *context);
const char *read_memory(struct context *context, uint64_t id, char *room);
void read_many_memory(struct context *context, const uint64_t *ids, size_t count, char *room, const char **records);
void scan_memory(struct context *context, visitor *visit, void *argument);
void overwrite_memory(struct context *context, const uint64_t *ids, size_t count, const char *records);
