/*
 * A limit of memory for one turn, by a control group of version 1 or 2. What a file has in memory counts for the group
 * that read it first, so the store's files, which are synced by then, are dropped before.
 */
#include "limit.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

static const struct {
    const char *group, *limit;
} kinds[] = {
    {"/sys/fs/cgroup/memory/cbench", "memory.limit_in_bytes"},
    {"/sys/fs/cgroup/cbench", "memory.max"},
};

static bool write_number(const char *group, const char *name, uint64_t number)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", group, name);
    FILE *file = fopen(path, "w");
    if (!file) return false;
    bool written = fprintf(file, "%llu", (unsigned long long)number) > 0;
    return fclose(file) == 0 && written;
}

static int drop_file(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status, (void)place;
    if (kind != FTW_F) return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
    return 0;
}

void enter_limit(const char *folder, uint64_t bytes)
{
    nftw(folder, drop_file, 16, FTW_PHYS);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        mkdir(kinds[i].group, 0755);
        if (!write_number(kinds[i].group, kinds[i].limit, bytes)) {
            rmdir(kinds[i].group);
            continue;
        }
        if (write_number(kinds[i].group, "cgroup.procs", (uint64_t)getpid())) return;
    }
    fail("a memory limit needs root, and control groups that may be made");
}

void leave_limit(void)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) rmdir(kinds[i].group);
}
