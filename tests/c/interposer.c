/* Stands between the library and the C library, and fails the calls that it makes for one folder.
 *
 * Preloaded into a program. It counts the calls for files below the folder FAULTS_FOLDER, and of memory mapped at
 * all (the program and the C library itself do not get here), and lets those that FAULTS_ERROR fits fail:
 *
 *     FAULTS_AT       the number of the first call to fail, counted over all that fit
 *     FAULTS_LASTING  1: also all after it; EINTR strikes every third one, or whoever tries one or two calls again
 *                     would never end
 *     FAULTS_ERROR    EIO, ENOSPC, EINTR, ENOMEM, or SHORT: half of what was asked for is read or written
 *     FAULTS_REPORT   where to say, at the end: how many calls fit, how many failed, and what the first was */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* What a call is, as far as failing it goes. */
enum { LOOK = 1, CHANGE = 2, WRITE = 4, READ = 8, SYNC = 16, MEMORY = 32, NEVER_WAITS = 64 };

enum { FILES = 65536 };

static char folder[PATH_MAX];
static size_t folder_size;
static const char *report;
static int error_number, is_short, lasting, kinds, without;
static long at;
static atomic_long count, struck;
static char first[64];
/* 1 for a file of the folder, 2 for its lock. */
static atomic_char ours[FILES];

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("FAULTS_FOLDER"), *error = getenv("FAULTS_ERROR");
    if (!text || !error) return;
    snprintf(folder, sizeof folder, "%s", text);
    folder_size = strlen(folder);
    report = getenv("FAULTS_REPORT");
    at = atol(getenv("FAULTS_AT"));
    lasting = atoi(getenv("FAULTS_LASTING"));
    if (!strcmp(error, "EIO")) error_number = EIO, kinds = ~MEMORY;
    if (!strcmp(error, "ENOSPC")) error_number = ENOSPC, kinds = CHANGE | WRITE | SYNC;
    if (!strcmp(error, "EINTR")) error_number = EINTR, kinds = ~MEMORY, without = NEVER_WAITS;
    if (!strcmp(error, "ENOMEM")) error_number = ENOMEM, kinds = MEMORY;
    if (!strcmp(error, "SHORT")) is_short = 1, kinds = WRITE | READ;
}

__attribute__((destructor)) static void end(void) {
    FILE *file = report ? fopen(report, "w") : NULL;
    if (!file) return;
    fprintf(file, "%ld %ld %s\n", atomic_load(&count), atomic_load(&struck), first);
    fclose(file);
}

/* Counts a call, and says whether it is to fail. */
static int strikes(int kind, const char *name, int lock) {
    long number;
    if (!(kind & kinds & ~NEVER_WAITS) || kind & without) return 0;
    number = atomic_fetch_add(&count, 1);
    if (number < at || (number > at && !lasting)) return 0;
    if (error_number == EINTR && (number - at) % 3) return 0;
    if (atomic_fetch_add(&struck, 1) == 0) snprintf(first, sizeof first, "%s%s", name, lock ? " LOCK" : "");
    errno = error_number;
    return 1;
}

static int is_ours(int file) { return file >= 0 && file < FILES && atomic_load(&ours[file]); }

static int of_file(int kind, int file, const char *name) {
    return is_ours(file) && strikes(kind, name, atomic_load(&ours[file]) == 2);
}

static int is_below(const char *path) {
    return folder_size && !strncmp(path, folder, folder_size) && (path[folder_size] == 0 || path[folder_size] == '/');
}

static int made(int file, const char *path) {
    if (file >= 0 && file < FILES) atomic_store(&ours[file], strcmp(path, "LOCK") ? 1 : 2);
    return file;
}

int openat(int base, const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;
    va_start(arguments, flags);
    mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (!is_ours(base)) return REAL(openat)(base, path, flags, mode);
    if (strikes(flags & O_CREAT ? CHANGE : LOOK, "openat", !strcmp(path, "LOCK"))) return -1;
    return made(REAL(openat)(base, path, flags, mode), path);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;
    va_start(arguments, flags);
    mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (!is_below(path)) return REAL(open64)(path, flags, mode);
    if (strikes(LOOK, "open64", 0)) return -1;
    return made(REAL(open64)(path, flags, mode), path);
}

int close(int file) {
    if (is_ours(file)) atomic_store(&ours[file], 0);
    return REAL(close)(file);
}

ssize_t pread64(int file, void *bytes, size_t size, off64_t offset) {
    if (of_file(READ, file, "pread64")) {
        if (!is_short) return -1;
        size = size > 1 ? size / 2 : size;
    }
    return REAL(pread64)(file, bytes, size, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t offset) {
    if (of_file(WRITE, file, "pwrite64")) {
        if (!is_short) return -1;
        size = size > 1 ? size / 2 : size;
    }
    return REAL(pwrite64)(file, bytes, size, offset);
}

int fdatasync(int file) { return of_file(SYNC, file, "fdatasync") ? -1 : REAL(fdatasync)(file); }

int fsync(int file) { return of_file(SYNC, file, "fsync") ? -1 : REAL(fsync)(file); }

int sync_file_range(int file, off64_t offset, off64_t size, unsigned flags) {
    return of_file(LOOK, file, "sync_file_range") ? -1 : REAL(sync_file_range)(file, offset, size, flags);
}

int fallocate(int file, int mode, off_t offset, off_t size) {
    return of_file(CHANGE, file, "fallocate") ? -1 : REAL(fallocate)(file, mode, offset, size);
}

int ftruncate64(int file, off64_t size) {
    return of_file(CHANGE, file, "ftruncate64") ? -1 : REAL(ftruncate64)(file, size);
}

int fstat64(int file, struct stat64 *facts) {
    return of_file(LOOK | NEVER_WAITS, file, "fstat64") ? -1 : REAL(fstat64)(file, facts);
}

int statx(int base, const char *path, int flags, unsigned mask, struct statx *facts) {
    return of_file(LOOK | NEVER_WAITS, base, "statx") ? -1 : REAL(statx)(base, path, flags, mask, facts);
}

int fstatfs(int file, struct statfs *facts) { return of_file(LOOK, file, "fstatfs") ? -1 : REAL(fstatfs)(file, facts); }

int renameat(int from, const char *old, int to, const char *new) {
    return of_file(CHANGE | NEVER_WAITS, from, "renameat") ? -1 : REAL(renameat)(from, old, to, new);
}

int unlinkat(int base, const char *path, int flags) {
    return of_file(CHANGE | NEVER_WAITS, base, "unlinkat") ? -1 : REAL(unlinkat)(base, path, flags);
}

int mkdirat(int base, const char *path, mode_t mode) {
    return of_file(CHANGE | NEVER_WAITS, base, "mkdirat") ? -1 : REAL(mkdirat)(base, path, mode);
}

int mkdir(const char *path, mode_t mode) {
    if (is_below(path) && strikes(CHANGE | NEVER_WAITS, "mkdir", 0)) return -1;
    return REAL(mkdir)(path, mode);
}

int fcntl(int file, int command, ...) {
    va_list arguments;
    void *argument;
    va_start(arguments, command);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    if ((command == F_OFD_SETLK || command == F_OFD_GETLK) && of_file(LOOK, file, "fcntl")) return -1;
    return REAL(fcntl)(file, command, argument);
}

DIR *fdopendir(int file) { return of_file(LOOK | NEVER_WAITS, file, "fdopendir") ? NULL : REAL(fdopendir)(file); }

struct dirent64 *readdir64(DIR *stream) {
    return of_file(LOOK | NEVER_WAITS, dirfd(stream), "readdir64") ? NULL : REAL(readdir64)(stream);
}

int closedir(DIR *stream) {
    int file = dirfd(stream);
    if (is_ours(file)) atomic_store(&ours[file], 0);
    return REAL(closedir)(stream);
}

void *mmap64(void *address, size_t size, int protection, int flags, int file, off64_t offset) {
    if (strikes(MEMORY, "mmap64", 0)) return MAP_FAILED;
    return REAL(mmap64)(address, size, protection, flags, file, offset);
}

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset) {
    if (strikes(MEMORY, "mmap", 0)) return MAP_FAILED;
    return REAL(mmap)(address, size, protection, flags, file, offset);
}

int madvise(void *address, size_t size, int advice) {
    if (strikes(MEMORY, "madvise", 0)) return -1;
    return REAL(madvise)(address, size, advice);
}
