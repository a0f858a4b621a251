/*
 * What the machine can do in a mapped file: an array of records, read and written through a shared map. What is
 * written survives kill -9, and nothing else holds it together.
 */
#include "memory.h"

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
    return enter_memory(store->records, store->count);
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
    .leave = leave_memory,
    .read = read_memory,
    .read_many = read_many_memory,
    .scan = scan_memory,
    .overwrite = overwrite_memory,
};
