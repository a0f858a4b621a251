/*
 * What the machine can do in memory: records in an array on huge pages, copied in and out.
 *
 * It keeps nothing on disk and is filled again at each opening, which is not timed; but a load also writes the array
 * to a file and syncs that.
 */
#include "memory.h"

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
    return enter_memory(store->records, store->count);
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
    .leave = leave_memory,
    .read = read_memory,
    .read_many = read_many_memory,
    .scan = scan_memory,
    .overwrite = overwrite_memory,
};
