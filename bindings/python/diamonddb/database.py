"""Databases: a folder with tables, open in this process."""

from __future__ import annotations

import asyncio
import json
import os
import warnings
from ctypes import byref, c_int32, c_size_t, c_void_p, pointer, sizeof
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, TypeVar, Union, overload

from . import _native as native
from ._handle import Gate, Handle, taken, text_of
from ._waiter import FOREVER, Waiter
from .batch import Batch
from .errors import InvalidError, check, failure
from .layout import Schema, schema_text
from .modules import Cache, Store, lend_cache, lend_store, take_back
from .snapshot import Snapshot
from .table import Table

T = TypeVar("T")

DURABILITIES = {
    "sync": native.DIAMOND_DURABILITY_SYNC,
    "os": native.DIAMOND_DURABILITY_OS,
    "async": native.DIAMOND_DURABILITY_ASYNC,
}


def open(
    path: Union[str, bytes, "os.PathLike[str]"],
    *,
    durability: str = "sync",
    must_exist: bool = False,
    read_only: bool = False,
    threads: bool = True,
    force_network: bool = False,
    read_with_pread: bool = False,
    in_memory: bool = False,
    interval_ms: int = 0,
    dirty_soft: int = 0,
    dirty_hard: int = 0,
    cache_bytes: int = 0,
    store: Optional[Store] = None,
    cache: Optional[Cache] = None,
) -> "Database":
    """Opens the database in the folder at `path`, and makes both where they are missing.

    durability: what a commit survives. "sync" a power cut, "os" the end of the process, "async" neither until the
        next interval (`interval_ms`, 0: 1,000 ms), flush or close.
    must_exist: NotFoundError where there is no database. read_only: verbs that write are UnsupportedError.
    threads: False starts no thread; call `step` now and then. force_network: also on a network file system.
    read_with_pread: slower, but a bad sector is IoError and not a SIGBUS. in_memory: nothing on disk.
    dirty_soft, dirty_hard: bytes of changed memory that start a checkpoint, or at which writers wait for it; 0: an
        eighth and a quarter of the machine's memory.
    cache_bytes: memory for the built-in cache, for a store that is slow. store, cache: modules of your own; the
        database then belongs to the thread that opens it.

    A second open in this process shares what the first opened. BusyError: it has other options. LockedError: another
    process has it open. NotFoundError, FormatError, CorruptError: the folder is not, or no longer, a database.
    """
    if durability not in DURABILITIES:
        raise InvalidError(f'durability is "sync", "os" or "async", not {durability!r}.')
    flags = sum(flag for wanted, flag in (
        (must_exist, native.DIAMOND_OPEN_MUST_EXIST),
        (read_only, native.DIAMOND_OPEN_READ_ONLY),
        (not threads, native.DIAMOND_OPEN_NO_THREADS),
        (force_network, native.DIAMOND_OPEN_FORCE_NETWORK),
        (read_with_pread, native.DIAMOND_OPEN_READ_WITH_PREAD),
        (in_memory, native.DIAMOND_OPEN_IN_MEMORY),
    ) if wanted)
    options = native.diamond_options(
        struct_size=sizeof(native.diamond_options), flags=flags, durability=DURABILITIES[durability],
        interval_ms=_unsigned("interval_ms", interval_ms, 32), dirty_soft=_unsigned("dirty_soft", dirty_soft, 64),
        dirty_hard=_unsigned("dirty_hard", dirty_hard, 64), cache_bytes=_unsigned("cache_bytes", cache_bytes, 64),
    )
    place, db = os.fsencode(path), c_void_p()
    lent: List[Any] = []
    if store is not None:
        lent.append(lend_store(store))
        options.store = pointer(lent[-1])
    if cache is not None:
        lent.append(lend_cache(cache))
        options.cache = pointer(lent[-1])
    status = native.diamond_open(place, len(place), byref(options), byref(db))
    if status:
        error = failure(status)
        take_back(lent)
        raise error
    return Database(db, os.fsdecode(place), is_bound=bool(lent), is_promised=durability != "async")


def _unsigned(name: str, value: int, bits: int) -> int:
    if not 0 <= value < 1 << bits:
        raise InvalidError(f"{name} is a number from 0 to 2**{bits} - 1, not {value}.")
    return value


class Database:
    """An open database: `diamonddb.open` makes one, `with` or `close` closes it.

    It may be used from every thread at once. In a fork of the process every verb is ForkedError; open it there anew
    once this process has closed it, with `threads=False`.
    """

    def __init__(self, pointer: c_void_p, path: str, *, is_bound: bool, is_promised: bool) -> None:
        self.path = path
        self._gate = Gate(pointer, f"database {path}" if path else "database")
        self._waiter = Waiter(pointer, self._gate, is_bound=is_bound, is_promised=is_promised)
        self._batches: List[Batch] = []
        self._process = os.getpid()

    # Tables

    @overload
    def table(self, name: str, schema: Union[str, Schema, None] = None) -> Table[Dict[str, Any]]: ...

    @overload
    def table(self, name: str, schema: Type[T]) -> Table[T]: ...

    def table(self, name: str, schema: Union[str, Schema, Type[Any], None] = None) -> Table[Any]:
        """Opens a table; given a schema, makes it where there is none by that name.

        The schema is a dict, its JSON text, or a dataclass, whose instances the records then are.
        NotFoundError: it is not there, and no schema was given. SchemaDiffersError: it exists with another schema; a
        dataclass for a table made otherwise comes by `table(name).typed(kind)`.
        """
        text, table = name.encode(), c_void_p()
        if schema is None:
            self._call(native.diamond_table_open, text, len(text), byref(table))
        else:
            shape = schema_text(schema)
            self._call(native.diamond_table_make, text, len(text), shape, len(shape), byref(table))
        kind = schema if isinstance(schema, type) else None
        return Table(self, Handle(table, native.diamond_table_close), kind)

    def tables(self) -> List[Dict[str, Any]]:
        """All tables by name: of each "name", "next_id", "count", "record_size" and "slot_size", sizes in bytes."""
        listed: List[Dict[str, Any]] = json.loads(self._text(native.diamond_table_list))
        return listed

    def drop_table(self, name: str) -> None:
        """Deletes the table with all its records. NotFoundError: there is none by that name."""
        text = name.encode()
        self._call(native.diamond_table_drop, text, len(text))

    def rename_table(self, name: str, new_name: str) -> None:
        """Gives the table another name. ConflictError: it is taken. NotFoundError: there is none by the old one."""
        text, new_text = name.encode(), new_name.encode()
        self._call(native.diamond_table_rename, text, len(text), new_text, len(new_text))

    # All tables at once

    def batch(self) -> Batch:
        """An empty batch of writes that are committed together."""
        return Batch(self._gate, self._waiter, kept=self)

    def snapshot(self) -> Snapshot:
        """All tables as they are now."""
        return Snapshot(self)

    # Upkeep

    def flush(self) -> None:
        """Makes all that was committed before durable against a power cut, whatever the durability."""
        self._call(native.diamond_flush)

    def checkpoint(self) -> None:
        """Writes changed pages to their files, so that the next opening is quick. It also happens by itself."""
        self._call(native.diamond_checkpoint)

    def step(self, budget_us: int = 1000) -> bool:
        """Upkeep for about so many microseconds: what a database without threads asks for. Whether work is left."""
        more = c_int32()
        self._call(native.diamond_step, _unsigned("budget_us", budget_us, 32), byref(more))
        return bool(more.value)

    def wait_durable(self, lsn: int = 0, timeout: Optional[float] = None) -> None:
        """Waits until the commit `lsn`, and every earlier one, is on disk, in "os" handed over; 0: all visible.

        timeout: in seconds; 0 only asks, None waits for ever. TimeoutError: not yet. CommitUnknownError,
        PoisonedError: it will not become durable any more.
        """
        milliseconds = FOREVER if timeout is None else min(round(timeout * 1000), FOREVER - 1)
        self._call(native.diamond_wait_durable, _unsigned("lsn", lsn, 64), milliseconds, None, 0)

    def verify(self) -> Dict[str, Any]:
        """Reads everything and checks it: {"tables": 1, "pages": 2, "records": 3, "findings": []}.

        CorruptError: there are findings; they are in its `report`.
        """
        text, size = c_void_p(), c_size_t()
        status = self._gate.call(native.diamond_verify, byref(text), byref(size))
        error = failure(status) if status else None
        report: Optional[Dict[str, Any]] = json.loads(taken(text, size)) if text.value else None
        if error is not None:
            if report is not None:
                error.report = report  # type: ignore[attr-defined]
            raise error
        assert report is not None
        return report

    def backup(self, path: Union[str, bytes, "os.PathLike[str]"],
               progress: Optional[Callable[[int, int], object]] = None) -> None:
        """Copies the database as it is now to the folder at `path`, which must be empty or not there yet.

        progress: called now and then with (done_bytes, total_bytes); what it raises calls the backup off and comes out
        here. It must not use this database. InvalidError: the folder is not empty, or lies in the database's.
        """
        interrupted: List[BaseException] = []

        def report(context: object, done: int, total: int) -> int:
            try:
                if progress is not None:
                    progress(done, total)
                return native.DIAMOND_MODULE_OK
            except BaseException as error:
                interrupted.append(error)
                return 0

        place, callback = os.fsencode(path), native.backup_progress(report)
        options = native.diamond_backup_options(
            struct_size=sizeof(native.diamond_backup_options), progress=callback
        )
        status = self._gate.call(native.diamond_backup, place, len(place), byref(options))
        if interrupted:
            raise interrupted[0]
        check(status)

    def stats(self) -> Dict[str, Any]:
        """What the database has done and holds. The keys may grow with versions."""
        stats: Dict[str, Any] = json.loads(self._text(native.diamond_stats))
        return stats

    # Awaited

    async def aflush(self) -> None:
        """flush, on another thread."""
        await _elsewhere(self.flush)

    async def acheckpoint(self) -> None:
        """checkpoint, on another thread."""
        await _elsewhere(self.checkpoint)

    async def averify(self) -> Dict[str, Any]:
        """verify, on another thread."""
        report: Dict[str, Any] = await _elsewhere(self.verify)
        return report

    async def abackup(self, path: Union[str, bytes, "os.PathLike[str]"],
                      progress: Optional[Callable[[int, int], object]] = None) -> None:
        """backup, on another thread, which calls `progress`, too."""
        await _elsewhere(self.backup, path, progress)

    async def aclose(self) -> None:
        """close, on another thread; a database with modules closes on this one."""
        if self._waiter.is_bound:
            self.close()
        else:
            await _elsewhere(self.close)

    def _take_batch(self) -> Batch:
        """An empty batch for one awaited call, which `_commit_durably` puts back."""
        try:
            return self._batches.pop()
        except IndexError:
            return Batch(self._gate, self._waiter)

    async def _commit_durably(self, batch: Batch) -> List[int]:
        def commit(_: object) -> "Tuple[List[int], asyncio.Future[None]]":
            ids, lsn = batch._commit(native.DIAMOND_COMMIT_NO_WAIT)
            return ids, self._waiter.register(lsn)

        ids, future = self._gate.call(commit)
        self._batches.append(batch)
        await future
        return ids

    # Life

    def close(self) -> None:
        """Closes it: waits for running calls, makes all that was committed durable, and says whether that went well.

        Its tables, batches, scans and snapshots are ClosedError from now on; pins go on. A second close does nothing.
        WrongThreadError: a module works only on the thread that opened it. It stays open, to be closed there.
        """
        pointer = self._gate.shut()
        if pointer is None:
            return
        if os.getpid() == self._process:  # A fork has neither the thread nor, for certain, its locks.
            self._waiter.stop()
        status = native.diamond_close(pointer)
        if status == native.DIAMOND_STATUS_WRONG_THREAD:
            self._gate.reopen(pointer)
        check(status)
        self._batches.clear()

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._gate.is_shut or os.getpid() != self._process:
            return
        warnings.warn(f"The {self._gate.what} was not closed.", ResourceWarning, source=self)
        self.close()

    def __repr__(self) -> str:
        return f"<diamonddb.Database {self.path!r}{', closed' if self._gate.is_shut else ''}>"

    def _call(self, function: Callable[..., int], *arguments: Any) -> None:
        check(self._gate.call(function, *arguments))

    def _text(self, function: Callable[..., int]) -> str:
        return self._gate.call(lambda pointer: text_of(function, pointer))


async def _elsewhere(function: Callable[..., Any], *arguments: Any) -> Any:
    """On a thread of the loop's pool."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
