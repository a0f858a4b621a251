/*
 * What the machine can do in memory: records in an array on huge pages, copied in and out.
 *
 * It keeps nothing on disk and is filled again at each opening, which is not timed; but a load also writes the array
 * to a file and syncs that.
 */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE_SIZE ((size_t)2 << 20)

struct store {
    char *records;
    uint64_t count;
    char path[4096];
};

struct context {
    struct store *store;
};

static void write_all(int file, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t count = write(file, bytes, size);
        if (count <= 0) fail("array: a write failed");
        bytes += count;
        size -= (size_t)count;
    }
}

static struct store *array_open(const struct setup *setup)
{
    struct store *store = allocate(sizeof *store);
    snprintf(store->path, sizeof store->path, "%s/data", setup->folder);
    size_t size = (setup->record_count * record_size + HUGE_PAGE_SIZE - 1) / HUGE_PAGE_SIZE * HUGE_PAGE_SIZE;
    store->records = aligned_alloc(HUGE_PAGE_SIZE, size);
    if (!store->records) fail("array: no memory");
    madvise(store->records, size, MADV_HUGEPAGE);
    store->count = setup->record_count;
    return store;
}

static void array_close(struct store *store)
{
    free(store->records);
    free(store);
}

static void array_refill(struct store *store, const uint32_t *versions)
{
    for (uint64_t id = 0; id < store->count; id++) make_record(id, versions[id], store->records + id * record_size);
}

static void array_load(struct store *store, uint64_t count)
{
    int file = open(store->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) fail("array: %s cannot be opened", store->path);
    const uint64_t piece = HUGE_PAGE_SIZE / record_size;
    for (uint64_t first = 0; first < count; first += piece) {
        uint64_t end = first + piece < count ? first + piece : count;
        for (uint64_t id = first; id < end; id++) make_record(id, 0, store->records + id * record_size);
        write_all(file, store->records + first * record_size, (end - first) * record_size);
    }
    if (fdatasync(file) != 0) fail("array: a sync failed");
    close(file);
    remove(store->path);
}

static struct context *array_enter(struct store *store)
{
    struct context *context = allocate(sizeof *context);
    context->store = store;
    return context;
}

static void array_leave(struct context *context)
{
    free(context);
}

static const char *array_read(struct context *context, uint64_t id, char *room)
{
    copy_record(room, context->store->records + id * record_size);
    return room;
}

static void array_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,
    const char **records)
{
    const char *source = context->store->records;
    for (size_t i = 0; i < count; i++) {
        copy_record(room + i * record_size, source + ids[i] * record_size);
        records[i] = room + i * record_size;
    }
}

static void array_scan(struct context *context, visitor *visit, void *argument)
{
    const struct store *store = context->store;
    for (uint64_t id = 0; id < store->count; id++) visit(argument, id, store->records + id * record_size);
}

static void array_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    char *target = context->store->records;
    for (size_t i = 0; i < count; i++) copy_record(target + ids[i] * record_size, records + i * record_size);
}

static const char *array_version(void)
{
    return "";
}

const struct engine array_engine = {
    .name = "array",
    .settings = "memory on huge pages; load: write and fdatasync",
    .version = array_version,
    .abilities = LOADS | READS | SCANS_IN_PLACE | WRITES_ASYNC,
    .is_limit = true,
    .open = array_open,
    .close = array_close,
    .load = array_load,
    .refill = array_refill,
    .enter = array_enter,
    .leave = array_leave,
    .read = array_read,
    .read_many = array_read_many,
    .scan = array_scan,
    .overwrite = array_overwrite,
};
