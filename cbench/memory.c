/* Records one after another in memory. */
#include "memory.h"

#include <stdlib.h>

struct context *enter_memory(char *records, uint64_t count)
{
    struct context *context = allocate(sizeof *context);
    *context = (struct context){records, count};
    return context;
}

void leave_memory(struct context *context)
{
    free(context);
}

const char *read_memory(struct context *context, uint64_t id, char *room)
{
    copy_record(room, context->records + id * record_size);
    return room;
}

void read_many_memory(struct context *context, const uint64_t *ids, size_t count, char *room, const char **records)
{
    const char *source = context->records;
    for (size_t i = 0; i < count; i++) {
        copy_record(room + i * record_size, source + ids[i] * record_size);
        records[i] = room + i * record_size;
    }
}

void scan_memory(struct context *context, visitor *visit, void *argument)
{
    for (uint64_t id = 0; id < context->count; id++) visit(argument, id, context->records + id * record_size);
}

void overwrite_memory(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    char *target = context->records;
    for (size_t i = 0; i < count; i++) copy_record(target + ids[i] * record_size, records + i * record_size);
}
