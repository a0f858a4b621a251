"""Loads flights from a CSV file into a table, and asks twice how late each carrier was: numpy in place, and Arrow.

    python flights.py [flights.csv [folder]]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import numpy
import pyarrow  # type: ignore[import-untyped]

import diamonddb

TYPES: Dict[str, Tuple[Any, ...]] = {
    "year": ("i16",), "month": ("i8",), "day": ("i8",), "dep_time": ("i16",), "sched_dep_time": ("i16",),
    "dep_delay": ("i16",), "arr_time": ("i16",), "sched_arr_time": ("i16",), "arr_delay": ("i16",),
    "carrier": ("string", 2), "flight": ("i32",), "tailnum": ("string", 6), "origin": ("string", 3),
    "dest": ("string", 3), "air_time": ("i16",), "distance": ("i32",), "hour": ("i8",), "minute": ("i8",),
    "time_hour": ("string", 20),
}


def rows(path: Path) -> Iterator[Dict[str, Any]]:
    """The flights of the file; NA is null."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield {name: None if text == "NA" else text if TYPES[name][0] == "string" else int(text)
                   for name, text in row.items()}


def delays_in_place(flights: diamonddb.Table[Dict[str, Any]]) -> Dict[str, float]:
    """The mean delay by carrier, computed over the table's own memory."""
    with flights.pin() as pin:
        array, known = pin.array, pin.present & ~pin.null("dep_delay")
        return {
            carrier.decode(): float(array["dep_delay"][known & (array["carrier"] == carrier)].mean())
            for carrier in numpy.unique(array["carrier"][known])
        }


def delays_by_arrow(flights: diamonddb.Table[Dict[str, Any]]) -> Dict[str, float]:
    """The same by pyarrow, as polars, pandas and DuckDB would read it."""
    means = pyarrow.table(flights).group_by("carrier").aggregate([("dep_delay", "mean")])
    return {row["carrier"]: row["dep_delay_mean"] for row in means.to_pylist()}


def main() -> None:
    """Loads, asks, and prints."""
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("flights.csv")
    with diamonddb.open(sys.argv[2] if len(sys.argv) > 2 else "flights.db") as db:
        flights = db.table("flights", {name: list(kind) for name, kind in TYPES.items()})
        ids = flights.save_many(rows(source))
        print(f"{len(ids):,} flights; the last: {flights[ids[-1]]}")
        in_place, by_arrow = delays_in_place(flights), delays_by_arrow(flights)
        print("carrier  mean delay at departure, in minutes")
        for carrier, delay in sorted(in_place.items(), key=lambda item: -item[1]):
            assert abs(delay - by_arrow[carrier]) < 1e-9
            print(f"{carrier:7}  {delay:6.2f}")


if __name__ == "__main__":
    main()
