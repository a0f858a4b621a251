"""Makes one table of what the programs of `run` have measured: report.py FILE... > RESULTS.md"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

COLUMNS = ["C", "C++", "Python", "py-lmdb", "sqlite3", "Node", "Node, ffi-napi", "lmdb-js", "better-sqlite3"]
HEAD = """\
# What calls cost, by language

Written by `make bench-bindings`; nanoseconds, medians. Records have 96 bytes and 15 fields, 100,000 of them, in memory
once they were read, and read by random ids. `async` waits for no disk, `sync` until the commit survives a power cut.
py-lmdb and sqlite3 are Python's, lmdb-js and better-sqlite3 Node's; what each of them does for the same work is said at
the head of [python/bench.py](python/bench.py) and [node/bench.js](node/bench.js).

Python's callback is a whole fetch out of a store written in Python; in C, C++ and Node it is half of what a cache that
has nothing adds to a fetch; the SQLites' is a function in SQL. C's awaited saves are 32 threads that wait each for its
own.
"""


def main() -> None:
    figures: dict[str, dict[str, float]] = {}
    for name in sys.argv[1:]:
        for line in Path(name).read_text().splitlines():
            work, column, time = line.split("\t")
            figures.setdefault(work, {})["C" if column == "32 C threads" else column] = float(time)
    columns = [column for column in COLUMNS if any(column in row for row in figures.values())]
    print(HEAD)
    print(f"| ns | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for work, row in figures.items():
        print(f"| {work} | {' | '.join(f'{row[column]:,.0f}' if column in row else '' for column in columns)} |")
    print(f"\nPython {platform.python_version()}, {platform.machine()}.")


if __name__ == "__main__":
    main()
