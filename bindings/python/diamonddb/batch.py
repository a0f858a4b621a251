"""Batches: writes to any tables of a database, and expectations of what records still are, all or none."""

from __future__ import annotations

from ctypes import byref, c_uint64, c_void_p
from typing import TYPE_CHECKING, Any, List, Optional, Tuple

from . import _native as native
from ._handle import Gate, Handle
from .errors import ClosedError, check

if TYPE_CHECKING:
    from ._waiter import Waiter
    from .table import Record, Table


class Batch:
    """Writes that are committed together. `with database.batch() as batch:` commits at its end, unless it raises.

    Nothing is written, and no id given, before the commit. One thread at a time. A verb that raises adds nothing.
    """

    def __init__(self, gate: Gate, waiter: "Waiter", kept: object = None) -> None:
        batch = c_void_p()
        check(gate.call(native.diamond_batch_open, byref(batch)))
        self._waiter = waiter
        self._kept = kept
        self._handle: Optional[Handle] = Handle(batch, native.diamond_batch_close)
        self._save_count = 0
        self.ids: List[int] = []
        """The ids of the last commit's saves, over all tables, in the order in which they were added."""

    def save(self, table: "Table[Any]", record: "Record[Any]") -> None:
        """Adds the saving of a record; its id comes with the commit, in `ids`."""
        packed, nulls = table._form.pack(record)
        batch, handle = self._open(), table._open()
        check(native.diamond_batch_save(batch.pointer, handle.pointer, packed, len(packed), nulls))
        self._save_count += 1

    def replace(self, table: "Table[Any]", id: int, record: "Record[Any]") -> None:
        """Adds the replacing of a record."""
        packed, nulls = table._form.pack(record)
        batch, handle = self._open(), table._open()
        check(native.diamond_batch_replace(
            batch.pointer, handle.pointer, table._id(id), packed, len(packed), nulls))

    def delete(self, table: "Table[Any]", id: int) -> None:
        """Adds the deleting of a record."""
        batch, handle = self._open(), table._open()
        check(native.diamond_batch_delete(batch.pointer, handle.pointer, table._id(id)))

    def expect(self, table: "Table[Any]", id: int, record: "Record[Any]") -> None:
        """Adds an expectation: when the batch is committed the record is this, else ConflictError."""
        packed, nulls = table._form.pack(record)
        batch, handle = self._open(), table._open()
        check(native.diamond_batch_expect(
            batch.pointer, handle.pointer, table._id(id), packed, len(packed), nulls))

    def commit(self, *, wait: bool = True) -> int:
        """Commits all of it or nothing, and tells the commit's place in the order of all commits, its lsn.

        The ids of the saves are in `ids`, and the batch is empty and can be used again. With `wait=False` it does not
        wait until the commit is durable: Database.wait_durable does, with the lsn, for it and all before it.

        ConflictError: an expectation does not hold. NotFoundError, OutOfRangeError: a record to replace or delete is
        not there. After these the batch is as it was.
        """
        self.ids, lsn = self._commit(0 if wait else native.DIAMOND_COMMIT_NO_WAIT)
        return lsn

    async def acommit(self) -> List[int]:
        """commit, awaited; gives the ids of the saves."""
        self.ids, lsn = self._commit(native.DIAMOND_COMMIT_NO_WAIT)
        await self._waiter.wait(lsn)
        return self.ids

    def _commit(self, flags: int) -> Tuple[List[int], int]:
        batch, lsn, count = self._open(), c_uint64(), self._save_count
        ids: Any = (c_uint64 * count)()
        check(native.diamond_batch_commit(batch.pointer, flags, ids, count, byref(lsn)))
        self._save_count = 0
        return ids[:], lsn.value

    def close(self) -> None:
        """Closes the batch. What was not committed is given up and leaves no trace."""
        self._handle = None

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        try:
            if kind is None and self._handle is not None:
                self.commit()
        finally:
            self.close()

    def _open(self) -> Handle:
        handle = self._handle
        if handle is None:
            raise ClosedError("The batch was closed.")
        return handle
