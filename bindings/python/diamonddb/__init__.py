"""DiamondDB: tables of fixed-width records in crash-safe files, inside your process.

    import diamonddb

    with diamonddb.open("people.db") as db:
        people = db.table("people", {"name": ["string", 15], "age": ["number", 3]})
        id = people.save({"name": "Abby", "age": 29})
        print(people[id])

Start at `open`, then `Database` and `Table`. What goes wrong is a `DiamondError`, one class for each status of the
library, with its own sentence. `_native.py` mirrors the C header, which is the manual of all below.
"""

from __future__ import annotations

from . import _native
from .batch import Batch
from .database import Database, open
from .errors import (
    BusyError,
    CancelledError,
    ClosedError,
    CommitUnknownError,
    ConflictError,
    CorruptError,
    DiamondError,
    EndError,
    ForkedError,
    FormatError,
    FullError,
    InvalidError,
    IoError,
    LockedError,
    MisuseError,
    ModuleError,
    NoMemoryError,
    NotFoundError,
    OutOfRangeError,
    PanicError,
    PoisonedError,
    SchemaDiffersError,
    TimeoutError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
    WrongThreadError,
)
from .layout import Field, Layout, Schema, schema_of
from .modules import Cache, Change, Entry, Store, Stored, check_cache, check_store
from .pin import Pin
from .scan import Scan
from .snapshot import Snapshot
from .table import Table

__version__: str = _native.diamond_version().decode()
"""The version of the library, and of this package."""

__all__ = [
    "Batch", "BusyError", "Cache", "CancelledError", "Change", "ClosedError", "CommitUnknownError", "ConflictError",
    "CorruptError", "Database", "DiamondError", "EndError", "Entry", "Field", "ForkedError", "FormatError",
    "FullError", "InvalidError", "IoError", "Layout", "LockedError", "MisuseError", "ModuleError", "NoMemoryError",
    "NotFoundError", "OutOfRangeError", "PanicError", "Pin", "PoisonedError", "Scan", "Schema", "SchemaDiffersError",
    "Snapshot", "Store", "Stored", "Table", "TimeoutError", "TooLargeError", "UnavailableError", "UnsupportedError",
    "WrongThreadError", "check_cache", "check_store", "open", "schema_of",
]
