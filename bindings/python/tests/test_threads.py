"""Threads: one database, every thread at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import diamonddb
from conftest import PEOPLE

THREADS = 8


def together(work):
    """Runs work(number) on several threads at once, and raises what any of them raises."""
    start = threading.Barrier(THREADS)

    def run(number):
        start.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def test_threads_never_find_anothers_record_in_theirs(tmp_path):
    with diamonddb.open(tmp_path / "db", durability="async") as db:
        numbers = db.table("numbers", {"n": ["u64"], "twice": ["u64"]})
        numbers.save_many((n, 2 * n) for n in range(1000))

        def work(seed):
            for step in range(3000):
                id = (step * 7 + seed * 131) % 1000
                assert numbers.fetch_tuple(id) == (id, 2 * id)
                assert int.from_bytes(numbers.fetch_bytes(id)[:8], "little") == id

        together(work)


def test_threads_save_each_its_own(tmp_path):
    with diamonddb.open(tmp_path / "db", durability="os") as db:
        people = db.table("people", PEOPLE)

        def work(number):
            return [(people.save({"name": f"{number}.{step}", "age": number}), f"{number}.{step}")
                    for step in range(300)]

        saved = [pair for pairs in together(work) for pair in pairs]
        assert len({id for id, _ in saved}) == len(saved) == len(people) == THREADS * 300
        assert all(people[id]["name"] == name for id, name in saved)


def test_closing_a_table_under_other_threads_is_a_sentence(tmp_path):
    with diamonddb.open(tmp_path / "db", durability="async") as db:
        for _ in range(20):
            people = db.table("people", PEOPLE)
            people.save({"name": "Abby"})

            def work(number, people=people):
                try:
                    while True:
                        people[0]
                        people.save({"name": "Bob"})
                        list(people.scan(0, 3))
                        if number == 0:
                            people.close()
                except diamonddb.ClosedError as error:
                    return str(error)

            assert all("closed" in sentence for sentence in together(work))


def test_closing_a_database_under_other_threads_is_a_sentence(tmp_path):
    for _ in range(10):
        db = diamonddb.open(tmp_path / "db", durability="async")
        people = db.table("people", PEOPLE)
        people.save({"name": "Abby"})

        def work(number, db=db, people=people):
            try:
                while True:
                    people[0]
                    db.stats()
                    db.tables()
                    with db.batch() as batch:
                        batch.save(people, {"name": "Bob"})
                    list(people.scan(0, 3))
                    with db.snapshot() as then:
                        then.table("people")[0]
                    if number == 0:
                        db.close()
            except diamonddb.ClosedError as error:
                return str(error)

        assert all("closed" in sentence for sentence in together(work))


def test_a_batch_in_use_elsewhere_is_misuse_and_no_crash(db, people):
    batch = db.batch()

    def work(number):
        for _ in range(2000):
            try:
                batch.save(people, {"name": "Abby"})
            except diamonddb.MisuseError:
                pass

    together(work)
    batch.close()
    assert len(people) == 0


def test_a_fetch_of_a_signal_handler_does_not_disturb_the_fetch_under_way(tmp_path, child):
    program = """
        import signal
        import diamonddb
        with diamonddb.open("db", durability="async") as db:
            numbers = db.table("numbers", {"n": ["u64"]})
            numbers.save_many((n,) for n in range(10))
            seen = []
            def on_alarm(*_):
                seen.append(numbers.fetch_tuple(9))
            signal.signal(signal.SIGALRM, on_alarm)
            signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
            while len(seen) < 300:
                assert numbers.fetch_tuple(3) == (3,)
                assert numbers.fetch_bytes(4)[0] == 4
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert set(seen) == {(9,)}
    """
    child(program)
