"""What the calls cost, beside py-lmdb and sqlite3 doing the same work in the same run.

    python bench.py [--quick] [--folder FOLDER] [--results FILE]

Records have 96 bytes and 15 fields; py-lmdb and sqlite3 keep the same bytes under an integer key. FILE gets a line of
work, column and nanoseconds for each figure that other languages have too.

    fetch           one record of 100,000 by a random id, as bytes; py-lmdb in one read transaction held open
    fetch, decoded  the same as a tuple of 15 values; sqlite3 has them as 15 columns
    fetch_many      1,000 random ids in one call, into a numpy structured array; py-lmdb by getmulti
    save            one record a commit, nothing synced ("async")
    save, synced    one record a commit, durable against a power cut
    save_many       1,000 records in one commit, not synced
    callback        one call of Python out of the library: a fetch from a store written in Python; in sqlite3 a
                    function in SQL
    asyncio         1,000 awaited saves at once, durable; beside 32 threads of C that save one by one
    sum             numpy over one column of 10,000,000 records in place, beside an array of the same stride
    Arrow           values a second out of the table into pyarrow

Figures are medians of seven runs. What must hold is marked with what was asked for; the program says what did not.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# What is installed is measured, and not the source beside this file.
sys.path.remove(str(Path(__file__).resolve().parent))

import numpy  # noqa: E402
import pyarrow  # noqa: E402

import diamonddb  # noqa: E402

try:
    import lmdb  # noqa: E402
except ImportError:
    lmdb = None

SCHEMA = {
    "a": ["i64"], "b": ["i64"], "c": ["f64"], "d": ["f64"], "e": ["f64"], "f": ["timestamp"], "g": ["i32"],
    "h": ["i32"], "i": ["u32"], "j": ["f32"], "k": ["i16"], "l": ["i16"], "m": ["bool"], "n": ["string", 12],
    "o": ["string", 15],
}
ROW = (1, 2, 3.0, 4.0, 5.0, 6, 7, 8, 9, 10.0, 11, 12, True, "carrier", "somewhere")
RUNS = 7


def timed(work, count, prepare=lambda: None):
    """Nanoseconds for one of `count` that work() does: the median of some runs."""
    times = []
    for _ in range(RUNS):
        prepare()
        begun = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - begun) / count)
    return statistics.median(times)


def each(function, arguments):
    """A loop that costs as little as a loop can."""
    def work():
        for argument in arguments:
            function(argument)

    return work


class Results:
    """The table, and what it was to hold."""

    def __init__(self):
        self.lines, self.missed = [], []

    def add(self, what, ours, peers=(), unit="ns", limit=None, ratio=None, work=None):
        """`limit` is the most that ours may be, `ratio` the most that it may be of the first peer's. `work` is what
        it is called where languages are compared."""
        shown = {name: figure for name, figure in peers if figure is not None}
        if work is not None:
            figures = {"Python": ours, **shown}
            self.lines += [f"{work}\t{name}\t{figure:.1f}\n" for name, figure in figures.items()]
        asked = []
        if limit is not None:
            asked.append((f"at most {limit:,} {unit}", ours <= limit))
        if ratio is not None and shown:
            name, figure = next(iter(shown.items()))
            asked.append((f"at most {ratio} x {name}", ours <= ratio * figure))
        for sentence, holds in asked:
            if not holds:
                self.missed.append(f"{what}: {sentence}")
        figures = "  ".join(f"{name} {figure:,.0f}" for name, figure in shown.items())
        marks = "  ".join(f"[{sentence}: {'yes' if holds else 'NO'}]" for sentence, holds in asked)
        print(f"{what:28} {ours:12,.0f} {unit:9} {figures}  {marks}", flush=True)


class Bench:
    """All workloads over one folder."""

    def __init__(self, folder, quick):
        self.folder = folder
        self.quick = quick
        self.count = 20_000 if quick else 100_000
        self.calls = 20_000 if quick else 200_000
        self.results = Results()
        self.random = random.Random(1)

    def run(self):
        with diamonddb.open(self.folder / "ours", durability="async") as db:
            self.table = db.table("records", SCHEMA)
            rows = numpy.zeros(self.count, self.table.layout.dtype())
            for name, value in zip(SCHEMA, ROW):
                rows[name] = value.encode() if isinstance(value, str) else value
            self.table.save_many(rows)
            db.checkpoint()
            self.record = self.table.fetch_bytes(0)
            self.open_peers()
            self.fetches()
            self.saves()
            self.callbacks()
            self.arrow()
        self.synced()
        self.awaited()
        self.sums()
        for sentence in self.results.missed:
            print(f"MISSED: {sentence}")
        return 1 if self.results.missed else 0

    def open_peers(self):
        self.sqlite = sqlite3.connect(self.folder / "sqlite", isolation_level=None)
        self.sqlite.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")
        columns = ", ".join(SCHEMA)
        self.sqlite.execute("CREATE TABLE packed (id INTEGER PRIMARY KEY, record BLOB)")
        self.sqlite.execute(f"CREATE TABLE decoded (id INTEGER PRIMARY KEY, {columns})")
        self.sqlite.execute("BEGIN")
        self.sqlite.executemany("INSERT INTO packed VALUES (?, ?)", ((id, self.record) for id in range(self.count)))
        self.sqlite.executemany(f"INSERT INTO decoded VALUES ({', '.join('?' * 16)})",
                                ((id, *ROW) for id in range(self.count)))
        self.sqlite.execute("COMMIT")
        if lmdb is None:
            print("py-lmdb is not installed, and is left out.")
            return
        self.lmdb = lmdb.open(str(self.folder / "lmdb"), map_size=4 << 30, sync=False, metasync=False)
        with self.lmdb.begin(write=True) as transaction:
            for id in range(self.count):
                transaction.put(struct.pack(">Q", id), self.record)

    def fetches(self):
        ids = [self.random.randrange(self.count) for _ in range(self.calls)]
        pack = struct.Struct(">Q").pack
        peers = []
        if lmdb is not None:
            transaction = self.lmdb.begin()
            get = transaction.get

            def work():
                for id in ids:
                    get(pack(id))

            peers.append(("py-lmdb", timed(work, len(ids))))
        select = self.sqlite.execute
        peers.append(("sqlite3", timed(each(
            lambda id: select("SELECT record FROM packed WHERE id = ?", (id,)).fetchone()[0], ids[:20_000]), 20_000)))
        self.results.add("fetch", timed(each(self.table.fetch_bytes, ids), len(ids)), peers, limit=1000, ratio=1,
                         work="fetch, as bytes")

        decoded = timed(each(
            lambda id: select("SELECT * FROM decoded WHERE id = ?", (id,)).fetchone(), ids[:20_000]), 20_000)
        self.results.add("fetch, decoded", timed(each(self.table.fetch_tuple, ids), len(ids)), [("sqlite3", decoded)],
                         work="fetch, as an object")
        self.results.add("fetch as a dict", timed(each(self.table.fetch, ids), len(ids)))

        groups = [numpy.array(ids[at:at + 1000], "u8") for at in range(0, len(ids), 1000)]
        peers = []
        if lmdb is not None:
            cursor = transaction.cursor()
            keys = [[pack(id) for id in group.tolist()] for group in groups]
            peers.append(("py-lmdb", timed(each(cursor.getmulti, keys), len(ids))))
            transaction.abort()
        self.results.add("fetch_many, a record", timed(each(self.table.fetch_array, groups), len(ids)), peers, limit=50,
                         work="fetch of 1000, a record")

    def saves(self):
        calls, pack = self.calls // 4, struct.Struct(">Q").pack
        records = [self.record] * calls

        def into_lmdb(id):
            with self.lmdb.begin(write=True) as transaction:
                transaction.put(pack(id), self.record)

        def into_sqlite(record):
            self.sqlite.execute("INSERT INTO packed (record) VALUES (?)", (record,))

        peers = []
        if lmdb is not None:
            peers.append(("py-lmdb", timed(each(into_lmdb, range(10**6, 10**6 + 10_000)), 10_000)))
        peers.append(("sqlite3", timed(each(into_sqlite, records[:10_000]), min(calls, 10_000))))
        self.results.add("save", timed(each(self.table.save_bytes, records), calls), peers, work="save, async")
        row = dict(zip(SCHEMA, ROW))
        self.results.add("save of a dict", timed(each(self.table.save, [row] * calls), calls))

        packed, batches = self.record * 1000, 20

        def thousand_into_lmdb(first):
            with self.lmdb.begin(write=True) as transaction:
                transaction.cursor().putmulti([(pack(first + id), self.record) for id in range(1000)])

        def thousand_into_sqlite(first):
            self.sqlite.execute("BEGIN")
            self.sqlite.executemany("INSERT INTO packed (record) VALUES (?)", [(self.record,)] * 1000)
            self.sqlite.execute("COMMIT")

        starts, peers = [2 * 10**6 + 1000 * n for n in range(batches)], []
        if lmdb is not None:
            peers.append(("py-lmdb", timed(each(thousand_into_lmdb, starts), 1000 * batches)))
        peers.append(("sqlite3", timed(each(thousand_into_sqlite, starts), 1000 * batches)))
        ours = timed(each(self.table.save_many, [packed] * batches), 1000 * batches)
        self.results.add("save_many, a record", ours, peers, work="batch of 1000, async, a record")

    def callbacks(self):
        class Nothing(diamonddb.Store):
            is_atomic = is_immediate = True

            def initialize(self):
                return diamonddb.Stored()

            def make_table(self, table, meta):
                pass

            def update_meta(self, tables):
                pass

            def store(self, changes):
                self.entry = changes[-1].entry

            def fetch(self, table, ids):
                return [self.entry]

            def persist_all(self):
                pass

        self.sqlite.create_function("back", 1, lambda value: value)
        call = self.sqlite.execute
        peer = timed(lambda: call("SELECT sum(back(a)) FROM decoded LIMIT 20000").fetchone(), self.count)
        with diamonddb.open("", store=Nothing(), durability="async") as db:
            table = db.table("records", SCHEMA)
            id = table.save_bytes(self.record)
            self.results.add("callback, a fetch", timed(each(table.fetch_bytes, [id] * 20_000), 20_000),
                             [("sqlite3", peer)], work="callback")

    def arrow(self):
        values = len(self.table) * len(SCHEMA)
        taken = timed(lambda: pyarrow.table(self.table), 1)
        rate = values / taken * 1000
        self.results.add("Arrow, million values/s", rate, unit="M/s")
        if rate < 20:
            self.results.missed.append("Arrow: at least 20 M values a second")

    def synced(self):
        calls = 200
        with diamonddb.open(self.folder / "synced") as db:
            table = db.table("records", SCHEMA)
            ours = timed(each(table.save_bytes, [self.record] * calls), calls)
        self.sqlite.execute("PRAGMA synchronous = FULL")
        sqlite = timed(each(lambda record: self.sqlite.execute("INSERT INTO packed (record) VALUES (?)", (record,)),
                            [self.record] * calls), calls)
        peers = []
        if lmdb is not None:
            with lmdb.open(str(self.folder / "lmdb-synced"), map_size=1 << 30) as environment:
                def save(id):
                    with environment.begin(write=True) as transaction:
                        transaction.put(struct.pack(">Q", id), self.record)

                peers.append(("py-lmdb", timed(each(save, range(calls)), calls)))
        self.results.add("save, synced", ours, [*peers, ("sqlite3", sqlite)], work="save, sync")

    def awaited(self):
        row = dict(zip(SCHEMA, ROW))
        with diamonddb.open(self.folder / "awaited") as db:
            table = db.table("records", SCHEMA)

            async def thousand():
                await asyncio.gather(*(table.asave(row) for _ in range(1000)))

            ours = timed(lambda: asyncio.run(thousand()), 1000)
        self.results.add("asyncio, a save", ours, [("32 C threads", self.c_threads())], ratio=3,
                         work="1,000 awaited saves, sync, a save")

    def c_threads(self):
        """Nanoseconds for one save by 32 threads of C that wait each for its own; None without a C compiler."""
        here = Path(__file__).resolve().parent
        header, library = here.parent.parent / "include", Path(diamonddb.__file__).parent
        compiler, program = shutil.which("cc"), self.folder / "threads"
        if compiler is None or not header.is_dir():
            return None
        # The program asks for the library by its soname, a file that the package does not have.
        links = self.folder / "links"
        links.mkdir()
        (links / "libdiamonddb.so").symlink_to(library / "libdiamonddb.so")
        (links / f"libdiamonddb.so.{'.'.join(diamonddb.__version__.split('.')[:2])}").symlink_to("libdiamonddb.so")
        subprocess.run([compiler, "-O2", f"-I{header}", "-o", program, here / "bench_threads.c", f"-L{links}",
                        "-ldiamonddb", "-lpthread", f"-Wl,-rpath,{links}"], check=True)
        runs = [subprocess.run([program, self.folder / f"threads-{run}"], check=True, capture_output=True, text=True)
                for run in range(RUNS)]
        return statistics.median(float(run.stdout) for run in runs)

    def sums(self):
        count = 1_000_000 if self.quick else 10_000_000
        with diamonddb.open(self.folder / "sums", durability="async") as db:
            table = db.table("points", {"x": ["f64"], "y": ["f64"], "n": ["i32"]})
            rows = numpy.zeros(count // 10, table.layout.dtype())
            rows["x"] = numpy.arange(len(rows))
            for _ in range(10):
                table.save_many(rows)
            with table.pin() as pin:
                in_place, same_stride = pin.array, pin.array.copy()
                assert in_place.strides == same_stride.strides
                assert in_place["x"].sum() == same_stride["x"].sum()
                beside = timed(lambda: same_stride["x"].sum(), count) * 1000
                ours = timed(lambda: in_place["x"].sum(), count) * 1000
                self.results.add("sum, a record", ours, [("same stride", beside)], unit="ps", ratio=1.2)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="a tenth of the work")
    arguments.add_argument("--results", type=Path, help="a file for the figures")
    arguments.add_argument("--folder", help="where to put the databases: a disk as you use it, not a tmpfs")
    options = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="diamonddb-bench-", dir=options.folder))
    bench = Bench(folder, options.quick)
    try:
        missed = bench.run()
        if options.results is not None:
            options.results.write_text("".join(bench.results.lines))
        return missed
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
