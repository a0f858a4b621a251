"""Many records at once: iterables, packed bytes, numpy arrays."""

from __future__ import annotations

from array import array

import numpy
import pytest

import diamonddb

COUNT = 1000


@pytest.fixture
def points(db):
    return db.table("points", {"x": ["f64"], "n": ["u32"], "tag": ["string", 4]})


def sample(points, count=COUNT):
    rows = numpy.zeros(count, points.layout.dtype())
    rows["x"] = numpy.arange(count) / 2
    rows["n"] = numpy.arange(count)
    rows["tag"] = b"ab"
    return rows


def test_an_iterable_of_records_is_saved_in_one_commit(points):
    ids = points.save_many({"x": n / 2, "n": n} for n in range(COUNT))
    assert ids == range(COUNT)
    assert points.fetch_many(ids)[7] == {"x": 3.5, "n": 7, "tag": None}
    with pytest.raises(diamonddb.InvalidError, match="Field n of table points"):
        points.save_many([{"n": 1}, {"n": -1}])
    assert len(points) == COUNT
    assert len(points.save_many([])) == 0


def test_an_array_goes_in_and_comes_out_as_it_was(points):
    rows = sample(points)
    ids = points.save_many(rows)
    assert (points.fetch_array(ids) == rows).all()
    assert bytes(points.fetch_many_bytes(ids)) == rows.tobytes()
    assert points.fetch_many_tuples([3, 1]) == [(1.5, 3, "ab"), (0.5, 1, "ab")]


def test_packed_bytes_go_in_as_they_are(points):
    rows = sample(points)
    for packed in (rows.tobytes(), bytearray(rows.tobytes()), memoryview(rows.tobytes())):
        ids = points.save_many(packed)
        assert (points.fetch_array(ids) == rows).all()
    with pytest.raises(diamonddb.InvalidError, match="no whole number of records of table points, of 16 each"):
        points.save_many(b"1234567")


def test_an_array_of_another_layout_is_converted_where_nothing_is_lost(points):
    other = numpy.zeros(3, [("tag", "S2"), ("n", "<u2"), ("x", "<f4")])
    other["n"] = [1, 2, 3]
    ids = points.save_many(other)
    assert points.fetch_array(ids)["n"].tolist() == [1, 2, 3]
    # Every second row, and from the end.
    rows = sample(points)
    assert (points.fetch_array(points.save_many(rows[::2])) == rows[::2]).all()
    assert (points.fetch_array(points.save_many(rows[::-1])) == rows[::-1]).all()
    rows.flags.writeable = False
    assert (points.fetch_array(points.save_many(rows)) == rows).all()


@pytest.mark.parametrize("dtype, sentence", [
    ([("x", "f8"), ("n", "i8"), ("tag", "S4")], "Field n of table points is uint32, and int64 does not go"),
    ([("x", "f8"), ("n", "u4"), ("tag", "S5")], "Field tag of table points"),
    ([("x", "f8"), ("n", "u4")], "differ in their fields: tag"),
    ("f8", "structured array of one dimension"),
])
def test_an_array_that_would_lose_something_is_refused(points, dtype, sentence):
    with pytest.raises(diamonddb.InvalidError, match=sentence):
        points.save_many(numpy.zeros(2, dtype))
    assert len(points) == 0


def test_nulls_travel_beside_packed_records(points):
    rows = sample(points, 3)
    ids = points.save_many(rows, nulls=bytes([0, 1, 4]))
    assert points.fetch_many(ids)[1:] == [{"x": None, "n": 1, "tag": "ab"}, {"x": 1.0, "n": 2, "tag": None}]
    nulls = bytearray(3)
    assert points.fetch_array(ids, nulls=nulls)["x"].tolist() == [0, 0, 1]
    assert nulls == bytes([0, 1, 4])
    with pytest.raises(diamonddb.InvalidError, match="null bitmaps of 3 records take 3 bytes, 1 each, not 2"):
        points.save_many(rows, nulls=b"12")
    with pytest.raises(diamonddb.InvalidError, match="cannot be written"):
        points.fetch_array(ids, nulls=b"123")
    with pytest.raises(diamonddb.InvalidError, match="nulls goes with packed records"):
        points.save_many([(1, 1, "a")], nulls=b"1")


@pytest.mark.parametrize("make", [
    list, tuple, iter, lambda ids: array("Q", ids), lambda ids: numpy.array(ids, "u8"),
    lambda ids: numpy.array(ids, "i4"), lambda ids: numpy.array(ids, "i8"),
    lambda ids: numpy.array(ids, "u8").repeat(2)[::2],
])
def test_ids_come_in_every_shape(points, make):
    points.save_many(sample(points))
    wanted = [5, 999, 0, 5]
    assert points.fetch_array(make(wanted))["n"].tolist() == wanted


@pytest.mark.parametrize("ids", [[-1], [2**64], ["1"], [1.5], numpy.array([-1])])
def test_what_is_no_id_is_refused(points, ids):
    with pytest.raises(diamonddb.InvalidError, match="Ids are integers from 0"):
        points.fetch_many(ids)


def test_the_first_failure_is_raised(points):
    points.save_many(sample(points))
    with pytest.raises(diamonddb.OutOfRangeError, match="1000"):
        points.fetch_many([1, 1000, 2])
    with pytest.raises(diamonddb.OutOfRangeError):
        points.delete_many([1, 1000])
    assert 1 in points


def test_many_are_replaced_and_deleted_at_once(points):
    ids = points.save_many(sample(points))
    points.replace_many(ids[:2], [{"n": 70}, {"n": 71}])
    points.delete_many(ids[2:])
    assert [(id, record["n"]) for id, record in points.items()] == [(0, 70), (1, 71)]
    with pytest.raises(diamonddb.InvalidError, match="2 ids came with 1 records for table points"):
        points.replace_many(ids[:2], [{"n": 1}])


def test_no_records_are_no_work(points):
    assert points.fetch_many([]) == []
    assert len(points.fetch_array([])) == 0
    points.delete_many([])


def test_types_of_numpy_are_those_of_the_schema(everything):
    dtype = everything.layout.dtype()
    assert {name: str(dtype[name]) for name in ("text", "raw", "moment", "truth", "i8", "u64", "f32")} == {
        "text": "|S8", "raw": "|V3", "moment": "datetime64[us]", "truth": "bool", "i8": "int8", "u64": "uint64",
        "f32": "float32"}
    assert dtype.itemsize == everything.layout.record_size
