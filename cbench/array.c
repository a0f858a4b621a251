/*
 * What the machine can do: records in an array in memory, on huge pages, copied in and out.
 *
 * It keeps nothing on disk, except where being on disk is what is measured: a load also writes the array to a file
 * and syncs that, and a durable overwrite also writes 4 KiB into a zeroed, preallocated file and syncs that, which is
 * the least that any durable commit can do. (With many threads each syncs for itself: that is no limit then, since
 * one sync can serve many commits.)
 */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK_SIZE 4096
#define LOG_SIZE (16 << 20)
#define HUGE_PAGE_SIZE ((size_t)2 << 20)

struct store {
    char *records;
    uint64_t count;
    enum durability durability;
    char folder[4096];
    int log;
};

struct context {
    struct store *store;
    uint64_t random;
};

/* It outlives closing, as a file would. */
static struct store the_store = {.log = -1};

static int open_file(const char *name)
{
    char path[sizeof the_store.folder + 16];
    snprintf(path, sizeof path, "%s/%s", the_store.folder, name);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0) fail("array: %s cannot be opened", path);
    return file;
}

static void write_all(int file, const char *bytes, size_t size, off_t offset)
{
    while (size > 0) {
        size_t piece = size < HUGE_PAGE_SIZE ? size : HUGE_PAGE_SIZE;
        ssize_t count = pwrite(file, bytes, piece, offset);
        if (count <= 0) fail("array: a write failed");
        bytes += count;
        size -= (size_t)count;
        offset += count;
    }
}

static struct store *array_open(const char *folder, enum durability durability, uint64_t record_count)
{
    struct store *store = &the_store;
    snprintf(store->folder, sizeof store->folder, "%s", folder);
    store->durability = durability;
    if (store->count != record_count) {
        size_t size = (record_count * RECORD_SIZE + HUGE_PAGE_SIZE - 1) / HUGE_PAGE_SIZE * HUGE_PAGE_SIZE;
        free(store->records);
        store->records = aligned_alloc(HUGE_PAGE_SIZE, size);
        if (!store->records) fail("array: no memory");
        madvise(store->records, size, MADV_HUGEPAGE);
        store->count = record_count;
    }
    if (durability == DURABLE) {
        char *zeros = calloc(1, LOG_SIZE);
        if (!zeros) fail("array: no memory");
        store->log = open_file("log");
        write_all(store->log, zeros, LOG_SIZE, 0);
        free(zeros);
        if (fsync(store->log) != 0) fail("array: a sync failed");
    }
    return store;
}

static void array_close(struct store *store)
{
    if (store->log >= 0) close(store->log);
    store->log = -1;
}

static void array_load(struct store *store, uint64_t count)
{
    int file = open_file("data");
    const uint64_t piece = HUGE_PAGE_SIZE / RECORD_SIZE;
    for (uint64_t first = 0; first < count; first += piece) {
        uint64_t end = first + piece < count ? first + piece : count;
        for (uint64_t id = first; id < end; id++) make_record(id, 0, store->records + id * RECORD_SIZE);
        uint64_t offset = first * RECORD_SIZE;
        write_all(file, store->records + offset, (end - first) * RECORD_SIZE, (off_t)offset);
    }
    if (fdatasync(file) != 0) fail("array: a sync failed");
    close(file);
}

static struct context *array_enter(struct store *store)
{
    struct context *context = allocate(sizeof *context);
    *context = (struct context){store, (uint64_t)(uintptr_t)context};
    return context;
}

static void array_leave(struct context *context)
{
    free(context);
}

static const char *array_read(struct context *context, uint64_t id, char *room)
{
    memcpy(room, context->store->records + id * RECORD_SIZE, RECORD_SIZE);
    return room;
}

static void array_read_many(struct context *context, const uint64_t *ids, size_t count, char *room,
    const char **records)
{
    for (size_t i = 0; i < count; i++) {
        records[i] = memcpy(room + i * RECORD_SIZE, context->store->records + ids[i] * RECORD_SIZE, RECORD_SIZE);
    }
}

static void array_scan(struct context *context, visitor *visit, void *argument)
{
    const struct store *store = context->store;
    for (uint64_t id = 0; id < store->count; id++) visit(argument, id, store->records + id * RECORD_SIZE);
}

static void array_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    struct store *store = context->store;
    for (size_t i = 0; i < count; i++) {
        memcpy(store->records + ids[i] * RECORD_SIZE, records + i * RECORD_SIZE, RECORD_SIZE);
    }
    if (store->durability == DURABLE) {
        char block[BLOCK_SIZE] = {0};
        memcpy(block, records, count * RECORD_SIZE < BLOCK_SIZE ? count * RECORD_SIZE : BLOCK_SIZE);
        off_t place = (off_t)(context->random++ % (LOG_SIZE / BLOCK_SIZE)) * BLOCK_SIZE;
        write_all(store->log, block, BLOCK_SIZE, place);
        if (fdatasync(store->log) != 0) fail("array: a sync failed");
    }
}

const struct engine array_engine = {
    .name = "array",
    .settings = "memory on huge pages; load: write and fdatasync; durable: 4 KiB overwrite and fdatasync",
    .is_limit = true,
    .open = array_open,
    .close = array_close,
    .load = array_load,
    .enter = array_enter,
    .leave = array_leave,
    .read = array_read,
    .read_many = array_read_many,
    .scan = array_scan,
    .overwrite = array_overwrite,
};
