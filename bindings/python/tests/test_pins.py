"""Pins: tables in place."""

from __future__ import annotations

import gc

import numpy
import pytest

import diamonddb
from conftest import PEOPLE


@pytest.fixture
def pinned(people):
    people.save_many([{"name": f"n{n}", "age": n} for n in range(1000)])
    del people[3]
    people[4] = {"name": "four"}
    return people


def test_a_pinned_table_is_an_array_in_place(pinned):
    with pinned.pin() as pin:
        array = pin.array
        assert (len(pin), len(array), array["age"].sum()) == (1000, 1000, sum(range(1000)) - 3 - 4)
        assert array["name"][5] == b"n5"
        assert not array["age"].flags.owndata
        assert numpy.shares_memory(array, numpy.frombuffer(pin.buffer, "u1"))
        assert pin.present.tolist() == [n != 3 for n in range(1000)]
        assert pin.null("age").nonzero()[0].tolist() == [4]
        with pytest.raises(KeyError, match="no field 'height'"):
            pin.null("height")
        del array


def test_a_pin_cannot_be_written(pinned):
    with pinned.pin() as pin:
        for array in (pin.array, pin.array["age"], pin.present):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
        with pytest.raises(TypeError, match="read-only"):
            pin.buffer[0] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            pin.array.flags.writeable = True


def test_a_pin_stays_as_it_was(db, pinned):
    pin = pinned.pin()
    pinned[0] = {"name": "new", "age": 1}
    pinned.save({"name": "more"})
    assert (pin.array["name"][0], len(pin)) == (b"n0", 1000)
    db.drop_table("people")
    assert pin.array["name"][0] == b"n0"
    pin.close()


def test_a_pin_with_views_says_so_and_stays_open(pinned):
    pin = pinned.pin()
    for view in (lambda: pin.array, lambda: pin.array["age"][5:7], lambda: pin.buffer[3:],
                 lambda: memoryview(pin.array)):
        held = view()
        with pytest.raises(diamonddb.BusyError, match="Views of the pin of table people are in use"):
            pin.close()
        del held
    gc.collect()
    pin.close()
    pin.close()
    with pytest.raises(diamonddb.ClosedError, match="pin of table people was closed"):
        pin.array


def test_the_last_view_gives_the_memory_back(db, pinned):
    with pinned.pin() as pin:
        ages = pin.array["age"]
    assert db.stats()["pins"] == 1
    assert ages.sum() == sum(range(1000)) - 3 - 4
    del ages, pin
    gc.collect()
    assert db.stats()["pins"] == 0


def test_views_outlive_the_database(tmp_path, child):
    with diamonddb.open(tmp_path / "db") as db:
        people = db.table("people", PEOPLE)
        people.save({"name": "Abby", "age": 29})
        with people.pin() as pin:
            array = pin.array
    assert array["age"].tolist() == [29]
    del array, pin
    gc.collect()
    # And with the last of them the folder is unlocked.
    child('import diamonddb; diamonddb.open("db").close()')


def test_an_empty_table_has_an_empty_pin(people):
    with people.pin() as pin:
        assert (len(pin), len(pin.array), len(pin.present), len(pin.null("age")), len(pin.buffer)) == (0, 0, 0, 0, 0)


def test_packed_and_pinned_records_are_the_same_bytes(everything):
    from test_tables import VALUES

    everything.save(VALUES)
    with everything.pin() as pin:
        assert bytes(pin.buffer[:everything.layout.record_size])[:8] == everything.fetch_bytes(0)[:8]
        row = everything.fetch_array([0])[0]
        assert all(pin.array[0][name] == row[name] for name in everything.layout.names)
