"""polars, pandas and DuckDB read a table: each where it is installed (`pip install polars pandas duckdb`)."""

from __future__ import annotations

import pytest

COUNT = 20_000


@pytest.fixture
def rows(db):
    table = db.table("rows", {"n": ["i32"], "text": ["string", 5]})
    table.save_many((n if n % 3 else None, str(n)) for n in range(COUNT))
    return table


SUM, NULLS = sum(n for n in range(COUNT) if n % 3), len(range(0, COUNT, 3))


def test_polars_reads_a_table(rows):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(rows.arrow())
    assert (frame.height, frame["n"].sum(), frame["n"].null_count(), frame["text"].max()) == (COUNT, SUM, NULLS, "9999")


def test_pandas_reads_a_table(rows):
    pandas = pytest.importorskip("pandas", "3")
    frame = pandas.DataFrame.from_arrow(rows)
    assert (len(frame), frame["n"].sum(), frame["n"].isna().sum(), frame["text"].max()) == (COUNT, SUM, NULLS, "9999")


def test_duckdb_reads_a_table(rows):
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql("SELECT count(*), sum(n), count(n), max(text) FROM rows").fetchall()
    assert found == [(COUNT, SUM, COUNT - NULLS, "9999")]
