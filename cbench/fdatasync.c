/*
 * What the device can do: 4 KiB written into a zeroed, preallocated file, and fdatasync, which is the least that a
 * durable commit can do. Each thread syncs for itself: with many threads that is no limit, since one sync can serve
 * many commits.
 */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCK_SIZE 4096
#define LOG_SIZE (16 << 20)

struct store {
    int file;
    uint64_t next_thread;
};

struct context {
    int file;
    uint64_t place;
};

static void write_block(int file, const char *block, uint64_t place)
{
    off_t offset = (off_t)(place % (LOG_SIZE / BLOCK_SIZE)) * BLOCK_SIZE;
    if (pwrite(file, block, BLOCK_SIZE, offset) != BLOCK_SIZE) fail("fdatasync: a write failed");
}

static struct store *fdatasync_open(const struct setup *setup)
{
    struct store *store = allocate(sizeof *store);
    char path[4096], block[BLOCK_SIZE] = {0};
    snprintf(path, sizeof path, "%s/log", setup->folder);
    store->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (store->file < 0) fail("fdatasync: %s cannot be opened", path);
    for (uint64_t place = 0; place < LOG_SIZE / BLOCK_SIZE; place++) write_block(store->file, block, place);
    if (fsync(store->file) != 0) fail("fdatasync: a sync failed");
    return store;
}

static void fdatasync_close(struct store *store)
{
    close(store->file);
    free(store);
}

static struct context *fdatasync_enter(struct store *store)
{
    struct context *context = allocate(sizeof *context);
    *context = (struct context){store->file, store->next_thread++ << 7};
    return context;
}

static void fdatasync_leave(struct context *context)
{
    free(context);
}

static void fdatasync_overwrite(struct context *context, const uint64_t *ids, size_t count, const char *records)
{
    (void)ids;
    char block[BLOCK_SIZE] = {0};
    size_t size = count * record_size;
    memcpy(block, records, size < BLOCK_SIZE ? size : BLOCK_SIZE);
    write_block(context->file, block, context->place++);
    if (fdatasync(context->file) != 0) fail("fdatasync: a sync failed");
}

static const char *fdatasync_version(void)
{
    return "";
}

const struct engine fdatasync_engine = {
    .name = "fdatasync",
    .settings = "4 KiB written into a zeroed, preallocated file, and fdatasync; each thread for itself",
    .version = fdatasync_version,
    .abilities = WRITES_DURABLE,
    .is_limit = true,
    .open = fdatasync_open,
    .close = fdatasync_close,
    .enter = fdatasync_enter,
    .leave = fdatasync_leave,
    .overwrite = fdatasync_overwrite,
};
