/*
 * The list of workloads, in the order in which they run; the first fills the store. README.md says what each measures.
 */
#include "workloads.h"

#define MIXED (READS | WRITES_ASYNC | SHARES)

const struct workload workloads[] = {
    {"load, final sync", "k/s", ASYNC, 1, 0, load, LOADS, 0, 0},
    {"private memory, opened", "MiB", ASYNC, 1, 1, memory_opened, RESTS, LESS_IS_BETTER, 0},
    {"private memory, all read", "MiB", ASYNC, 1, 1, memory_read, RESTS, LESS_IS_BETTER, 0},
    {"mapped memory, all read", "MiB", ASYNC, 1, 1, memory_mapped, RESTS, ONLY_TOLD, 0},
    {"read, 1 thread", "k/s", ASYNC, 1, 1, read_one, READS, 0, 0},
    {"read, 2 threads", "k/s", ASYNC, 2, 1, read_one, READS, 0, 0},
    {"read 128 a call, 1 thread", "k/s", ASYNC, 1, 128, read_many, READS, 0, 0},
    {"read 128 a call, 2 threads", "k/s", ASYNC, 2, 128, read_many, READS, 0, 0},
    {"scan, copied", "k/s", ASYNC, 1, 0, scan_copied, READS, 0, 0},
    {"scan, in place", "k/s", ASYNC, 1, 0, scan_in_place, READS | SCANS_IN_PLACE, 0, 0},
    {"ycsb C, 2 threads", "k/s", ASYNC, 2, 1, mixed, READS, 0, 0},
    {"ycsb B, 2 threads", "k/s", ASYNC, 2, 1, mixed, MIXED, 0, 5},
    {"ycsb A, 2 threads", "k/s", ASYNC, 2, 1, mixed, MIXED, 0, 50},
    {"ycsb F, 2 threads", "k/s", ASYNC, 2, 1, mixed, MIXED, READ_MODIFY_WRITE, 50},
    {"overwrite, async", "k/s", ASYNC, 1, 1, overwrite, WRITES_ASYNC, 0, 0},
    {"overwrite 1000, async", "k/s", ASYNC, 1, 1000, overwrite, WRITES_ASYNC, 0, 0},
    {"overwrite, os", "k/s", OS, 1, 1, overwrite, WRITES_OS, 0, 0},
    {"overwrite 1000, os", "k/s", OS, 1, 1000, overwrite, WRITES_OS, 0, 0},
    {"durable, 1 thread", "k/s", DURABLE, 1, 1, overwrite, WRITES_DURABLE, 0, 0},
    {"durable, 2 threads", "k/s", DURABLE, 2, 1, overwrite, WRITES_DURABLE, 0, 0},
    {"durable, 8 threads", "k/s", DURABLE, 8, 1, overwrite, WRITES_DURABLE, 0, 0},
    {"durable, 32 threads", "k/s", DURABLE, 32, 1, overwrite, WRITES_DURABLE, 0, 0},
    {"checkpoint: p99.9 / p50 without", "", ASYNC, 1, 1, overwrite_beside_checkpoint, WRITES_ASYNC | CHECKPOINTS,
        LESS_IS_BETTER, 0},
    {"open, first read", "ms", ASYNC, 1, 1, open_clean, RESTS, LESS_IS_BETTER, 0},
    {"open, killed amid async", "ms", ASYNC, 1, 1, open_killed, RESTS | WRITES_ASYNC, LESS_IS_BETTER, 0},
    {"open, killed amid os", "ms", OS, 1, 1, open_killed, RESTS | WRITES_OS, LESS_IS_BETTER, 0},
    {"size on disk / raw", "", ASYNC, 1, 0, size_on_disk, RESTS, LESS_IS_BETTER, 0},
    {"open, killed after 256 MiB", "ms", OS, 1, 1000, recover, RESTS | WRITES_OS, LESS_IS_BETTER | BY_NAME, 0},
    {"sustained overwrite, async", "k/s", ASYNC, 1, 1, sustained, WRITES_ASYNC, BY_NAME, 0},
};
const size_t workload_count = sizeof workloads / sizeof *workloads;
