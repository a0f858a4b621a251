/*
 * What the machine can do in a mapped file: an array of records, read and written through a shared map. What is
 * written survives kill -9, and nothing else holds it together.
 */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct store {
    int file;
    char *records;
    size_t size;
    uint64_t count;
};

struct context {
    struct store *store;
};

static struct store *mapped_open(const struct setup *setup)
{
    struct store *store = allocate(sizeof *store);
    char path[4096];
    snprintf(path, sizeof path, "%s/data", setup->folder);
    store->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (store->file < 0) fail("mapped: %s cannot be opened", path);
    store->count = setup->record_count;
    store->size = store->count * record_size;
    if (ftruncate(store->file, (off_t)store->size) != 0) fail("mapped: the file cannot be made long enough");
    store->records = mmap(NULL, store->size, PROT_READ | PROT_WRITE, MAP_SHARED, store->file, 0);
    if (store->records == MAP_FAILED) fail("mapped: the file cannot be mapped");
    return store;
}

static void mapped_close(struct store *store)
{
    munmap(store->records, store->size);
    close(store->file);
    free(store);
}

static void mapped_load(struct store *store, uint64_t count)
{
    for (uint64_t id = 0; id < count; id++) make_record(id, 0, store->records + id * record_size);
    if (fdatasync(store->file) != 0) fail("mapped: a sync failed");
}

static struct context *mapped_enter(struct store *store)
{
    struct context *context = allocate(sizeof *context);
    context->store = store;
    return context;
}

static void mapped_leave(struct context *context)
{
    free(context);
}

static const char *mapped_read(struct context *context, uint64_t id, char *room)
{
    copy_record(room, context->store->records + id * record_size);
    return room;
}

static void mapped_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,
    const char **records)
{
    const char *source = context->store->records;
    for (size_t i = 0; i < count; i++) {
        copy_record(room + i * record_size, source + ids[i] * record_size);
        records[i] = room + i * record_size;
    }
}

static void mapped_scan(struct context *context, visitor *visit, void *argument)
{
    const struct store *store = context->store;
    for (uint64_t id = 0; id < store->count; id++) visit(argument, id, store->records + id * record_size);
}

static void mapped_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    char *target = context->store->records;
    for (size_t i = 0; i < count; i++) copy_record(target + ids[i] * record_size, records + i * record_size);
}

static const char *mapped_version(void)
{
    return "";
}

const struct engine mapped_engine = {
    .name = "mapped",
    .settings = "a shared map of one file; load: stores and fdatasync",
    .version = mapped_version,
    .abilities = LOADS | READS | SCANS_IN_PLACE | WRITES_ASYNC | WRITES_OS,
    .is_limit = true,
    .open = mapped_open,
    .close = mapped_close,
    .load = mapped_load,
    .enter = mapped_enter,
    .leave = mapped_leave,
    .read = mapped_read,
    .read_many = mapped_read_many,
    .scan = mapped_scan,
    .overwrite = mapped_overwrite,
};
