"""The Arrow C stream of a table, read by pyarrow."""

from __future__ import annotations

import gc

import numpy
import pytest

import diamonddb
from diamonddb import _arrow
from test_tables import NOON, VALUES

pyarrow = pytest.importorskip("pyarrow")

TYPES = {
    "text": "string", "units": "string", "raw": "fixed_size_binary[3]", "shown": "double", "i8": "int8",
    "i16": "int16", "i32": "int32", "i64": "int64", "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
    "f32": "float", "f64": "double", "truth": "bool", "moment": "timestamp[us, tz=UTC]",
}


def test_every_type_is_a_column(everything):
    everything.save(VALUES)
    everything.save({})
    table = pyarrow.table(everything)
    table.validate(full=True)
    assert {field.name: str(field.type) for field in table.schema} == TYPES
    assert table.to_pylist() == [{**VALUES, "moment": NOON}, dict.fromkeys(VALUES)]


@pytest.mark.parametrize("count", [0, 1, 8191, 8192, 8193, 20_000])
def test_all_rows_are_there_in_batches(db, count):
    table = db.table("numbers", {"n": ["u32"], "even": ["bool"], "text": ["string", 6], "small": ["i16"]})
    table.save_many((n, n % 2 == 0, str(n) if n % 3 else None, n % 100) for n in range(count))
    read = pyarrow.table(table)
    read.validate(full=True)
    assert read["n"].to_pylist() == list(range(count))
    assert read["even"].to_pylist() == [n % 2 == 0 for n in range(count)]
    assert read["text"].to_pylist() == [str(n) if n % 3 else None for n in range(count)]
    assert read["small"].to_pylist() == [n % 100 for n in range(count)]
    assert max((len(batch) for batch in read.to_batches()), default=0) <= 8192


def test_a_table_is_also_nothing_but_a_stream(db):
    table = db.table("numbers", {"n": ["u32"]})
    table.save_many((n,) for n in range(10))
    stream = table.arrow()
    assert not hasattr(stream, "keys")
    assert pyarrow.table(stream)["n"].to_pylist() == pyarrow.table(stream)["n"].to_pylist() == list(range(10))


def test_deleted_records_are_left_out(db):
    table = db.table("numbers", {"n": ["u32"]})
    table.save_many((n,) for n in range(100))
    table.delete_many(range(0, 100, 2))
    assert pyarrow.table(table)["n"].to_pylist() == list(range(1, 100, 2))


def test_a_scan_is_a_stream_of_its_range_and_is_then_used_up(db):
    table = db.table("numbers", {"n": ["u32"]})
    table.save_many((n,) for n in range(100))
    scan = table.scan(10, 20)
    assert pyarrow.table(scan)["n"].to_pylist() == list(range(10, 20))
    with pytest.raises(diamonddb.ClosedError, match="another has taken it over"):
        pyarrow.table(scan)
    assert pyarrow.table(table.scan(5, 5)).num_rows == 0


def test_nulls_come_through_in_more_than_eight_fields(db):
    schema = {f"f{n}": ["i32"] for n in range(20)}
    table = db.table("wide", schema)
    rows = [tuple(None if (row + n) % 7 == 0 else row * n for n in range(20)) for row in range(50)]
    table.save_many(rows)
    read = pyarrow.table(table)
    read.validate(full=True)
    assert [tuple(row.values()) for row in read.to_pylist()] == rows
    assert read["f3"].null_count == sum(row[3] is None for row in rows)


def test_required_fields_are_not_nullable(db):
    table = db.table("strict", {"a": ["i32", "required"], "b": ["i32"]})
    assert [field.nullable for field in pyarrow.table(table).schema] == [False, True]


def test_columns_outlive_table_and_database(tmp_path):
    with diamonddb.open(tmp_path / "db") as db:
        table = db.table("numbers", {"n": ["u32"], "text": ["string", 6]})
        table.save_many((n, str(n)) for n in range(10_000))
        batch = pyarrow.table(table).to_batches()[1]
        column = batch.column(1)
        del batch, table
    gc.collect()
    assert column[0].as_py() == "8192"
    assert numpy.array(column.to_pylist(), "i4").sum() == sum(range(8192, 10_000))


def test_all_that_was_lent_comes_back(db):
    table = db.table("numbers", {"n": ["u32"], "text": ["string", 6]})
    table.save_many((n, str(n)) for n in range(10_000))
    gc.collect()
    before = len(_arrow._kept), len(_arrow._capsules)
    capsule = table.__arrow_c_stream__()
    del capsule
    reader = pyarrow.RecordBatchReader.from_stream(table)
    first = reader.read_next_batch()
    column = first.column(0)
    del reader, first, column
    read = pyarrow.table(table)
    del read
    gc.collect()
    assert (len(_arrow._kept), len(_arrow._capsules)) == before


def test_a_failure_under_way_is_the_consumers_with_its_sentence(tmp_path):
    with diamonddb.open(tmp_path / "db") as db:
        table = db.table("numbers", {"n": ["u32"]})
        table.save_many((n,) for n in range(20_000))
        reader = pyarrow.RecordBatchReader.from_stream(table)
        reader.read_next_batch()
    with pytest.raises(Exception, match="table numbers: .*closed"):
        reader.read_next_batch()


def test_a_table_is_read_without_pyarrow_or_numpy(tmp_path, child):
    program = """
        import sys
        sys.modules["numpy"] = sys.modules["pyarrow"] = None
        import diamonddb
        with diamonddb.open("db") as db:
            table = db.table("numbers", {"n": ["u32"]})
            table.save_many((n,) for n in range(10))
            assert "arrow_array_stream" in repr(table.__arrow_c_stream__())
            assert len(table.pin().buffer) == 80
            assert [id for id, _ in table.scan()] == list(range(10))
    """
    child(program)
