"""Snapshots: all tables as they were at one moment."""

from __future__ import annotations

from ctypes import byref, c_void_p
from typing import TYPE_CHECKING, Any, Dict, Optional, Type, TypeVar, Union, overload

from . import _native as native
from ._handle import Handle
from .errors import ClosedError, check
from .table import Table

if TYPE_CHECKING:
    from .database import Database

T = TypeVar("T")


class Snapshot:
    """All tables as they were when it was opened, for every verb that reads; those that write are UnsupportedError."""

    def __init__(self, database: "Database") -> None:
        snapshot = c_void_p()
        check(database._gate.call(native.diamond_snapshot_open, byref(snapshot)))
        self._database = database
        self._handle: Optional[Handle] = Handle(snapshot, native.diamond_snapshot_close)

    @overload
    def table(self, name: str) -> Table[Dict[str, Any]]: ...

    @overload
    def table(self, name: str, kind: Type[T]) -> Table[T]: ...

    def table(self, name: str, kind: Optional[Type[Any]] = None) -> Union[Table[Any], Table[Dict[str, Any]]]:
        """A table as of the snapshot, by the name that it had then; with a dataclass, records are of that.

        It holds the moment until it is closed, even where the snapshot is closed before. NotFoundError: there was
        none by that name, or it was dropped since.
        """
        handle = self._handle
        if handle is None:
            raise ClosedError("The snapshot was closed.")
        table, text = c_void_p(), name.encode()
        check(native.diamond_snapshot_table(handle.pointer, text, len(text), byref(table)))
        return Table(self._database, Handle(table, native.diamond_table_close), kind)

    def close(self) -> None:
        """Lets go of the moment, which its open tables still hold."""
        self._handle = None

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
