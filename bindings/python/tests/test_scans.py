"""Scans and snapshots: a table, or all, as of one moment."""

from __future__ import annotations

import numpy
import pytest

import diamonddb

COUNT = 2500


@pytest.fixture
def numbers(db):
    table = db.table("numbers", {"n": ["u32"]})
    table.save_many((n,) for n in range(COUNT))
    return table


def test_a_scan_walks_in_the_order_of_ids(numbers):
    assert [record["n"] for _, record in numbers.scan()] == list(range(COUNT))
    assert [id for id, _ in numbers.scan(reverse=True)] == list(reversed(range(COUNT)))
    assert [id for id, _ in numbers.scan(10, 13)] == [10, 11, 12]
    assert [id for id, _ in numbers.scan(10, 13, reverse=True)] == [12, 11, 10]
    assert [id for id, _ in numbers.scan(COUNT - 1)] == [COUNT - 1]
    assert list(numbers.scan(0, 0)) == list(numbers.scan(5, 5)) == list(numbers.scan(6, 5)) == []


def test_a_scan_gives_records_in_every_shape(numbers):
    assert next(numbers.scan(7).tuples()) == (7, (7,))
    assert list(numbers.scan(7, 9).packed()) == [(7, b"\7\0\0\0"), (8, b"\10\0\0\0")]
    pieces = list(numbers.scan().arrays(1000))
    assert [len(ids) for ids, _ in pieces] == [1000, 1000, 500]
    assert numpy.concatenate([rows["n"] for _, rows in pieces]).tolist() == list(range(COUNT))
    assert all((ids == rows["n"]).all() for ids, rows in pieces)


def test_a_scan_sees_nothing_that_is_written_meanwhile(numbers):
    scan = numbers.scan()
    next(scan)
    numbers.delete_many(range(COUNT))
    numbers.save((1,))
    assert [record["n"] for _, record in scan] == list(range(1, COUNT))
    assert [id for id, _ in numbers.scan()] == [COUNT]


def test_a_scan_that_is_left_early_is_closed(numbers):
    with numbers.scan() as scan:
        next(scan)
    with pytest.raises(diamonddb.ClosedError, match="scan of table numbers was closed"):
        next(scan.tuples())


def test_an_end_without_meaning_is_refused(numbers):
    with pytest.raises(diamonddb.InvalidError, match="end of a scan"):
        numbers.scan(0, -1)
    with pytest.raises(diamonddb.OutOfRangeError):
        numbers.scan(-1)
    with pytest.raises(diamonddb.InvalidError, match="at least one record"):
        next(numbers.scan().arrays(0))


def test_a_snapshot_is_all_tables_as_they_were(db, numbers):
    people = db.table("people", {"name": ["string", 15]})
    people.save({"name": "Abby"})
    with db.snapshot() as snapshot:
        people.save({"name": "Bob"})
        del numbers[0]
        then = snapshot.table("numbers")
        assert (len(then), then[0]["n"], len(snapshot.table("people"))) == (COUNT, 0, 1)
        with pytest.raises(diamonddb.UnsupportedError):
            then.save((1,))
        with pytest.raises(diamonddb.NotFoundError):
            snapshot.table("nobody")
    # A table of it holds the moment.
    assert 0 in then
    assert then.pin().array["n"][0] == 0
    with pytest.raises(diamonddb.ClosedError, match="snapshot was closed"):
        snapshot.table("numbers")
