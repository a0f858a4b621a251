"""Batches: all or none."""

from __future__ import annotations

import pytest

import diamonddb
from conftest import PEOPLE


def test_a_batch_commits_at_its_end_over_all_tables(db, people):
    cities = db.table("cities", {"name": ["string", 20]})
    old = people.save({"name": "Abby"})
    with db.batch() as batch:
        batch.save(people, {"name": "Bob"})
        batch.save(cities, {"name": "Basel"})
        batch.replace(people, old, {"name": "Abigail"})
        assert len(people) == 1
    assert (people[old]["name"], people[batch.ids[0]]["name"], cities[batch.ids[1]]["name"]) == (
        "Abigail", "Bob", "Basel")


def test_a_batch_that_raises_leaves_no_trace(db, people):
    with pytest.raises(ZeroDivisionError), db.batch() as batch:
        batch.save(people, {"name": "Bob"})
        raise ZeroDivisionError
    assert (len(people), people.next_id) == (0, 0)
    with pytest.raises(diamonddb.ClosedError, match="batch was closed"):
        batch.save(people, {"name": "Bob"})


def test_an_expectation_that_does_not_hold_stops_all(db, people):
    id = people.save({"name": "Abby", "age": 29})
    batch = db.batch()
    batch.expect(people, id, {"name": "Abby", "age": 30})
    batch.delete(people, id)
    with pytest.raises(diamonddb.ConflictError):
        batch.commit()
    assert id in people
    # It is as it was, and can be tried again.
    people.replace(id, {"name": "Abby", "age": 30})
    batch.commit()
    assert id not in people
    batch.close()


def test_a_refused_addition_adds_nothing(db, people):
    with db.batch() as batch:
        batch.save(people, {"name": "Abby"})
        with pytest.raises(diamonddb.InvalidError):
            batch.save(people, {"name": "A" * 16})
    assert batch.ids == [0]
    with pytest.raises(diamonddb.OutOfRangeError), db.batch() as batch:
        batch.delete(people, 99)


def test_a_batch_is_used_again_after_its_commit(db, people):
    batch = db.batch()
    for name in ("Abby", "Bob"):
        batch.save(people, {"name": name})
        batch.commit()
    assert (batch.ids, len(people)) == ([1], 2)
    assert batch.commit() >= 0
    assert batch.ids == []


def test_a_table_of_another_database_is_refused(tmp_path, db, people):
    with diamonddb.open(tmp_path / "other") as other, other.batch() as batch:
        with pytest.raises(diamonddb.MisuseError):
            batch.save(people, {"name": "Abby"})
        batch.save(other.table("people", PEOPLE), {"name": "Abby"})
