"""Databases: opening, closing, upkeep, copies."""

from __future__ import annotations

import warnings

import pytest

import diamonddb
from conftest import PEOPLE


def test_what_was_saved_is_there_after_opening_again(tmp_path):
    with diamonddb.open(tmp_path / "db") as db:
        id = db.table("people", PEOPLE).save({"name": "Abby"})
    with diamonddb.open(str(tmp_path / "db"), must_exist=True) as db:
        assert db.table("people")[id]["name"] == "Abby"


@pytest.mark.parametrize("durability", ["sync", "os", "async"])
def test_every_durability_keeps_what_is_closed_well(tmp_path, durability):
    with diamonddb.open(tmp_path / "db", durability=durability, interval_ms=10_000) as db:
        id = db.table("people", PEOPLE).save({"name": "Abby"})
        db.wait_durable(timeout=30)
    with diamonddb.open(tmp_path / "db") as db:
        assert id in db.table("people")


def test_a_database_in_memory_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with diamonddb.open("", in_memory=True) as db:
        people = db.table("people", PEOPLE)
        assert people[people.save({"name": "Abby"})]["name"] == "Abby"
        with pytest.raises(diamonddb.UnsupportedError):
            people.pin()
    assert list(tmp_path.iterdir()) == []


def test_options_without_meaning_are_refused(tmp_path):
    with pytest.raises(diamonddb.NotFoundError):
        diamonddb.open(tmp_path / "nothing", must_exist=True)
    with pytest.raises(diamonddb.InvalidError, match='"sync", "os" or "async", not \'fsync\''):
        diamonddb.open(tmp_path / "db", durability="fsync")
    with pytest.raises(diamonddb.InvalidError, match="interval_ms is a number from 0 to"):
        diamonddb.open(tmp_path / "db", interval_ms=-1)
    with pytest.raises(diamonddb.InvalidError, match="dirty_hard is a number"):
        diamonddb.open(tmp_path / "db", dirty_hard=2**64)
    assert not (tmp_path / "db").exists()


def test_a_read_only_database_takes_no_writes(tmp_path):
    with diamonddb.open(tmp_path / "db") as db:
        db.table("people", PEOPLE).save({"name": "Abby"})
    with diamonddb.open(tmp_path / "db", read_only=True) as db:
        people = db.table("people")
        assert people[0]["name"] == "Abby"
        with pytest.raises(diamonddb.UnsupportedError):
            people.save({"name": "Bob"})


def test_a_second_opening_shares_the_first(tmp_path, db, people):
    people.save({"name": "Abby"})
    with diamonddb.open(tmp_path / "db") as again:
        assert again.table("people")[0]["name"] == "Abby"
    assert people[0]["name"] == "Abby"
    with pytest.raises(diamonddb.BusyError):
        diamonddb.open(tmp_path / "db", durability="os")


def test_another_process_hears_who_has_it(db, child):
    import os

    program = """
        import diamonddb
        try:
            diamonddb.open("db")
        except diamonddb.LockedError as error:
            print(error)
    """
    assert str(os.getpid()) in child(program).stdout


def test_a_closed_database_says_so(tmp_path, child):
    db = diamonddb.open(tmp_path / "db")
    people = db.table("people", PEOPLE)
    people.save({"name": "Abby"})
    batch, scan, snapshot = db.batch(), people.scan(), db.snapshot()
    db.close()
    db.close()
    for verb in (db.tables, db.flush, db.stats, db.batch, db.snapshot, lambda: db.table("people"), db.verify, db.step):
        with pytest.raises(diamonddb.ClosedError, match="database .*db was closed"):
            verb()
    for verb in (lambda: people[0], lambda: people.save({}), lambda: next(scan), lambda: snapshot.table("people"),
                 lambda: batch.save(people, {})):
        with pytest.raises(diamonddb.ClosedError):
            verb()
    for handle in (people, batch, scan, snapshot):
        handle.close()
    child('import diamonddb; diamonddb.open("db").close()')


def test_a_forgotten_database_is_closed_with_a_warning(tmp_path):
    db = diamonddb.open(tmp_path / "db")
    with pytest.warns(ResourceWarning, match="database .*db was not closed"):
        del db


def test_an_open_table_keeps_its_database_open(tmp_path):
    people = diamonddb.open(tmp_path / "db").table("people", PEOPLE)
    people.save({"name": "Abby"})
    assert people[0]["name"] == "Abby"
    with pytest.warns(ResourceWarning):
        del people


def test_upkeep_is_done_when_asked_for(tmp_path):
    with diamonddb.open(tmp_path / "db", threads=False, durability="async") as db:
        db.table("people", PEOPLE).save_many([{"name": "Abby"}] * 1000)
        db.flush()
        db.checkpoint()
        while db.step(1000):
            pass
        assert db.stats()


def test_a_commit_is_waited_for_by_its_number(db, people):
    batch = db.batch()
    batch.save(people, {"name": "Abby"})
    lsn = batch.commit(wait=False)
    db.wait_durable(lsn)
    db.wait_durable(lsn, timeout=0)
    db.wait_durable()


def test_a_sound_database_verifies(db, people):
    people.save({"name": "Abby"})
    report = db.verify()
    assert (report["tables"], report["records"], report["findings"]) == (1, 1, [])


def test_damage_is_reported_with_its_findings(tmp_path):
    with diamonddb.open(tmp_path / "db") as db:
        db.table("people", PEOPLE).save_many([{"name": "Abby"}] * 5000)
    largest = max((tmp_path / "db" / "data").iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    with diamonddb.open(tmp_path / "db") as db, pytest.raises(diamonddb.CorruptError) as damage:
        db.verify()
    assert damage.value.report["findings"][0]["file"]


def test_a_backup_is_a_database_of_its_own(tmp_path, db, people):
    people.save({"name": "Abby"})
    seen = []
    db.backup(tmp_path / "copy", lambda done, total: seen.append((done, total)))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1]
    people.save({"name": "Bob"})
    with diamonddb.open(tmp_path / "copy", must_exist=True) as copy:
        assert [record["name"] for record in copy.table("people").values()] == ["Abby"]
    with pytest.raises(diamonddb.InvalidError):
        db.backup(tmp_path / "copy")


@pytest.mark.parametrize("stop", [ZeroDivisionError("enough"), KeyboardInterrupt(), SystemExit(3)])
def test_what_progress_raises_calls_the_backup_off_and_comes_out(tmp_path, db, people, stop):
    def progress(done, total):
        raise stop

    people.save({"name": "Abby"})
    with pytest.raises(type(stop)) as raised:
        db.backup(tmp_path / "copy", progress)
    assert raised.value is stop
    assert not (tmp_path / "copy" / "MANIFEST").exists()
    db.backup(tmp_path / "copy")


def test_opening_and_closing_gives_all_warnings_a_chance(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            with diamonddb.open(tmp_path / "db") as db:
                db.table("people", PEOPLE)
