/*
 * What every file needs: the clock, memory, and how the program ends.
 */
#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

double now_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory) fail("no memory for %zu bytes", size);
    return memory;
}

/* Without the exit handlers of libraries, whose threads may be in the midst of things. */
_Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(1);
}
