"""What must not crash or hang the process: each in a child of its own, with a time limit, under -X dev."""

from __future__ import annotations

HEAD = """
import gc, os, sys, threading
import diamonddb
from diamonddb import Cache, Stored, Store

PEOPLE = {"name": ["string", 15], "age": ["number", 3]}

class Kept(Store):
    is_atomic = is_immediate = True
    def __init__(self): self.tables, self.meta = {}, None
    def initialize(self): return Stored(self.meta)
    def make_table(self, table, meta): self.tables[table] = {}
    def update_meta(self, tables): self.meta = tables
    def store(self, changes):
        for change in changes:
            self.tables[change.table][change.id] = None if change.is_deleted else change.entry
    def fetch(self, table, ids): return [self.tables[table].get(id) for id in ids]
    def persist_all(self): pass

def forked(work, meanwhile=lambda: None):
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
    meanwhile()
    assert os.waitpid(child, 0)[1] == 0
"""


def run(child, program, **options):
    import textwrap

    return child(HEAD + textwrap.dedent(program), **options)


def test_every_call_in_a_fork_is_a_plain_error(child):
    run(child, """
        import asyncio
        db = diamonddb.open("db")
        people = db.table("people", PEOPLE)
        people.save_many([{"name": "Abby"}] * 3)
        people[0]
        scan, batch, snapshot, pin = people.scan(), db.batch(), db.snapshot(), people.pin()
        next(scan)

        async def asave():
            await people.asave({"name": "Bob"})

        verbs = [
            lambda: people[0], lambda: people.fetch_bytes(0), lambda: people.save({}), lambda: len(people),
            lambda: people.fetch_many([0]), lambda: people.save_many([{}]), lambda: list(people.scan()),
            lambda: people.pin(), lambda: people.replace(0, {}), lambda: people.delete(0), lambda: people.next_id,
            lambda: people.name, lambda: batch.save(people, {}), lambda: batch.commit(),
            lambda: snapshot.table("people"),
            lambda: db.table("people"), db.tables, db.flush, db.checkpoint, db.stats, db.verify, db.batch, db.snapshot,
            lambda: db.backup("copy"), lambda: db.step(), lambda: db.wait_durable(), lambda: asyncio.run(asave()),
            lambda: 0 in people, db.close,
        ]

        def work():
            for number, verb in enumerate(verbs):
                try:
                    verb()
                except diamonddb.ForkedError as error:
                    assert "fork" in str(error), error
                else:
                    raise AssertionError(f"verb {number} did not say so")
            for handle in (scan, batch, snapshot, pin, people):
                handle.close()

        forked(work)
        assert people[0]["name"] == "Abby"
        people.save({"name": "Bob"})
        db.close()
    """)


def test_a_fork_opens_the_database_itself_once_the_parent_has_closed_it(child):
    run(child, """
        db = diamonddb.open("db")
        people = db.table("people", PEOPLE)
        people.save({"name": "Abby"})
        reader, writer = os.pipe()

        def work():
            os.read(reader, 1)
            with diamonddb.open("db", threads=False) as again:
                assert again.table("people")[0]["name"] == "Abby"
                again.table("people").save({"name": "Bob"})

        def close():
            db.close()
            os.write(writer, b"1")

        forked(work, close)
        with diamonddb.open("db") as db:
            assert len(db.table("people")) == 2
    """)


def test_a_fork_beside_threads_that_use_the_database_does_not_hang(child):
    run(child, """
        import asyncio
        db = diamonddb.open("db", durability="async")
        people = db.table("people", PEOPLE)
        people.save({"name": "Abby"})
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                db.stats(), people[0], asyncio.run(people.asave({"name": "Bob"}))

        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads: thread.start()

        def work():
            for verb in (lambda: people[0], db.stats, db.close):
                try:
                    verb()
                except diamonddb.ForkedError:
                    pass
                else:
                    raise AssertionError

        for _ in range(20): forked(work)
        stop.set()
        for thread in threads: thread.join()
        db.close()
    """)


def test_a_fork_that_ends_as_usual_says_nothing(child):
    done = run(child, """
        db = diamonddb.open("db")
        people = db.table("people", PEOPLE)
        people.save({"name": "Abby"})
        pin, scan = people.pin(), people.scan()
        next(scan)
        child = os.fork()
        if child == 0:
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert pin.array["name"][0] == b"Abby" if "numpy" in sys.modules else True
        pin.close(); scan.close(); db.close()
    """)
    assert done.stderr == ""


def test_a_process_may_end_with_everything_open(child):
    run(child, """
        db = diamonddb.open("db")
        people = db.table("people", PEOPLE)
        people.save_many([{"name": "Abby"}] * 3)
        pin, scan, batch, snapshot = people.pin(), people.scan(), db.batch(), db.snapshot()
        view, array, then = pin.buffer, pin.array, snapshot.table("people")
        next(scan)
        batch.save(people, {"name": "Bob"})
    """)


def test_a_process_may_end_with_arrow_data_and_an_unread_stream(child):
    run(child, """
        import pyarrow
        db = diamonddb.open("db")
        people = db.table("people", PEOPLE)
        people.save_many([{"name": "Abby"}] * 20000)
        read = pyarrow.table(people)
        column = read["name"].chunk(0)
        reader = pyarrow.RecordBatchReader.from_stream(people)
        first = reader.read_next_batch()
        capsule = people.__arrow_c_stream__()
        sys.keep = (read, column, reader, first, capsule)
    """)


def test_a_process_may_end_with_awaited_saves_under_way(child):
    run(child, """
        import asyncio
        db = diamonddb.open("db")
        people = db.table("people", PEOPLE)
        async def main():
            for _ in range(200):
                asyncio.ensure_future(people.asave({"name": "Abby"}))
            await asyncio.sleep(0)
        asyncio.run(main())
    """)


def test_a_view_after_close_is_still_what_it_was(child):
    run(child, """
        db = diamonddb.open("db")
        people = db.table("people", PEOPLE)
        people.save_many([{"name": "Abby", "age": 1}] * 100000)
        with people.pin() as pin:
            ages, raw = pin.array["age"], pin.buffer[5:]
        del pin
        people.close()
        db.close()
        del people, db
        gc.collect()
        assert ages.sum() == 100000
        assert len(bytes(raw)) == len(raw)
    """)


def test_closing_a_pin_under_a_reader_on_another_thread_is_a_sentence(child):
    run(child, """
        db = diamonddb.open("db")
        people = db.table("people", PEOPLE)
        people.save_many([{"name": "Abby", "age": 1}] * 100000)
        pin = people.pin()
        started = threading.Event()
        def read():
            ages = pin.array["age"]
            started.set()
            for _ in range(200):
                assert ages.sum() == 100000
        reader = threading.Thread(target=read)
        reader.start()
        started.wait()
        try:
            pin.close()
        except diamonddb.BusyError as error:
            assert "in use" in str(error)
        reader.join()
        gc.collect()
        pin.close()
        db.close()
    """)


def test_a_collected_module_is_no_dangling_callback(child):
    run(child, """
        def opened():
            return diamonddb.open("", store=Kept())
        db = opened()
        gc.collect()
        garbage = [bytearray(100) for _ in range(10000)]
        people = db.table("people", PEOPLE)
        for n in range(100):
            id = people.save({"name": f"n{n}"})
            gc.collect()
            assert people[id]["name"] == f"n{n}"
        db.close()
    """)


def test_a_collected_progress_is_no_dangling_callback(child):
    run(child, """
        with diamonddb.open("db") as db:
            db.table("people", PEOPLE).save_many([{"name": "Abby"}] * 200000)
            def copy():
                db.backup("copy", lambda done, total: gc.collect())
            copy()
            gc.collect()
        diamonddb.open("copy", must_exist=True).close()
    """)


def test_an_exit_in_a_callback_is_an_error_of_the_call(child):
    done = run(child, """
        class Leaving(Kept):
            def fetch(self, table, ids): sys.exit(7)
        db = diamonddb.open("", store=Leaving())
        people = db.table("people", PEOPLE)
        id = people.save({"name": "Abby"})
        try:
            people[id]
        except diamonddb.ModuleError as error:
            assert isinstance(error.__cause__, SystemExit)
            db.close()
            raise error.__cause__
    """, code=7)
    assert done.stderr == ""


def test_a_hard_exit_in_a_callback_ends_the_process(child):
    run(child, """
        class Leaving(Kept):
            def fetch(self, table, ids): os._exit(9)
        db = diamonddb.open("", store=Leaving())
        people = db.table("people", PEOPLE)
        people[people.save({"name": "Abby"})]
    """, code=9)


def test_an_exit_in_a_backups_progress_ends_the_process_in_order(child):
    run(child, """
        with diamonddb.open("db") as db:
            db.table("people", PEOPLE).save({"name": "Abby"})
            db.backup("copy", lambda done, total: sys.exit(5))
    """, code=5)


def test_a_module_that_uses_its_database_from_a_thread_is_refused_and_no_dead_lock(child):
    run(child, """
        class Entangled(Kept):
            seen = None
            def fetch(self, table, ids):
                def elsewhere():
                    try:
                        people.save({"name": "Bob"})
                    except diamonddb.DiamondError as error:
                        self.seen = error
                thread = threading.Thread(target=elsewhere)
                thread.start()
                thread.join()
                return super().fetch(table, ids)
        store = Entangled()
        db = diamonddb.open("", store=store)
        people = db.table("people", PEOPLE)
        people.save({"name": "Abby"})
        assert people[0]["name"] == "Abby"
        assert isinstance(store.seen, diamonddb.WrongThreadError), store.seen
        db.close()
    """)


def test_a_module_that_uses_another_database_works(child):
    run(child, """
        class Elsewhere(Kept):
            def fetch(self, table, ids):
                log.save({"name": "fetch"})
                return super().fetch(table, ids)
        other = diamonddb.open("db")
        log = other.table("log", PEOPLE)
        db = diamonddb.open("", store=Elsewhere())
        people = db.table("people", PEOPLE)
        people.save({"name": "Abby"})
        people[0], people[0]
        assert len(log) == 2
        db.close(); other.close()
    """)


def test_a_process_may_end_with_a_module_open(child):
    run(child, """
        db = diamonddb.open("", store=Kept())
        people = db.table("people", PEOPLE)
        people.save({"name": "Abby"})
        sys.keep = db, people
    """)


def test_what_destroy_raises_crashes_nothing(child):
    done = run(child, """
        class Sour(Kept):
            def destroy(self): raise OSError("sour to the end")
        db = diamonddb.open("", store=Sour())
        db.table("people", PEOPLE)
        db.close()
    """)
    assert "sour to the end" in done.stderr


def test_opening_and_closing_many_times_leaves_nothing_behind(child):
    run(child, """
        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * 4096
        def cycle():
            with diamonddb.open("db", durability="async") as db:
                people = db.table("people", PEOPLE)
                people.save({"name": "Abby"})
                with people.pin() as pin: pin.buffer[0]
                next(people.scan())
        for _ in range(100): cycle()
        descriptors, before = len(os.listdir("/proc/self/fd")), resident()
        for _ in range(500): cycle()
        assert len(os.listdir("/proc/self/fd")) == descriptors
        assert resident() - before < 8 << 20, (before, resident())
    """)


def test_an_interrupt_while_waiting_comes_out_and_all_goes_on(child):
    run(child, """
        import signal
        db = diamonddb.open("db", durability="async")
        people = db.table("people", PEOPLE)
        seen = 0
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        for _ in range(50):
            signal.setitimer(signal.ITIMER_REAL, 0.005)
            try:
                while True:
                    people.save({"name": "Abby"}), people[0], db.stats()
            except KeyboardInterrupt:
                seen += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert seen == 50
        assert people[people.save({"name": "Bob"})]["name"] == "Bob"
        db.close()
    """)
