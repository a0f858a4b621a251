"""Scans: a table as it was at one moment, record by record, in arrays, or as an Arrow stream."""

from __future__ import annotations

from array import array
from ctypes import byref, c_size_t, c_void_p, sizeof
from typing import TYPE_CHECKING, Any, Generic, Iterator, Optional, Tuple, TypeVar

from . import _native as native
from ._handle import Handle
from ._memory import address_of
from .codec import Form
from .errors import ClosedError, InvalidError, check, failure

if TYPE_CHECKING:
    import numpy

T = TypeVar("T")

BATCH_BYTES = 1 << 20
"""How much of a table an iteration copies at once, at most."""
BATCH_COUNT = 1024


class Scan(Generic[T]):
    """Walks a table as it was when the scan was opened: an iterator of (id, record).

    Goes from one end to the other once; close it, or use `with`, where you stop before. One thread at a time.
    """

    def __init__(self, table: Handle, form: Form[T], first: int, end: Optional[int], reverse: bool) -> None:
        if end is not None and not 0 <= end < 1 << 64:
            raise InvalidError(f"The end of a scan is an id from 0 to 2**64 - 1, not {end}.")
        self._form = form
        self._cursor: Optional[Handle] = None
        self._chunk: Optional[Chunk] = None
        self._ready: Iterator[Tuple[int, Tuple[Any, ...]]] = iter(())
        self._is_open = True
        if end is not None and end <= first:
            return  # Nothing lies between; to the library an end of 0 means "all".
        options = native.diamond_scan_options(
            struct_size=sizeof(native.diamond_scan_options), flags=native.DIAMOND_SCAN_REVERSE if reverse else 0,
            first_id=first, end_id=end or 0,
        )
        cursor = c_void_p()
        check(native.diamond_table_scan(table.pointer, byref(options), byref(cursor)))
        self._cursor = Handle(cursor, native.diamond_cursor_close)

    def __iter__(self) -> "Scan[T]":
        return self

    def __next__(self) -> Tuple[int, T]:
        # No generator of its own methods: that would keep a scan that is left early until the garbage is collected.
        while True:
            for id, values in self._ready:
                return id, self._form.record(values)
            if self._chunk is None:
                self._chunk = self._make_chunk()
            if not self._chunk.fill(self._open()):
                raise StopIteration
            self._ready = self._chunk.tuples(self._form)

    def tuples(self) -> Iterator[Tuple[int, Tuple[Any, ...]]]:
        """Each id with its record's values, None where null."""
        chunk = self._make_chunk()
        while chunk.fill(self._open()):
            yield from chunk.tuples(self._form)

    def packed(self) -> Iterator[Tuple[int, bytes]]:
        """Each id with its packed record."""
        chunk, size = self._make_chunk(), self._form.codec.layout.record_size
        while chunk.fill(self._open()):
            records = bytes(chunk.filled_records())
            yield from ((id, records[at * size:at * size + size]) for at, id in enumerate(chunk.ids[:chunk.count]))

    def arrays(self, count: int = 8192) -> "Iterator[Tuple[numpy.ndarray[Any, Any], numpy.ndarray[Any, Any]]]":
        """Up to `count` records at a time: their ids, and themselves as a structured array. Needs numpy."""
        import numpy

        dtype = self._form.codec.layout.dtype()
        while True:
            chunk = Chunk(self._form.codec.layout.record_size, self._form.codec.layout.nulls_size, count)
            if not chunk.fill(self._open()):
                return
            yield (numpy.frombuffer(chunk.ids, numpy.uint64, chunk.count),
                   numpy.frombuffer(chunk.records, dtype, chunk.count))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """What is left of the scan as an Arrow C stream, in batches of 8,192 records. It takes the scan over."""
        from ._arrow import stream

        cursor, self._cursor = self._open(), None
        self._is_open = False
        return stream(cursor, self._form.codec.layout, self._form.table)

    def close(self) -> None:
        """Ends the scan. Later calls are ClosedError."""
        self._cursor = None
        self._is_open = False

    def __enter__(self) -> "Scan[T]":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _open(self) -> Optional[Handle]:
        """The cursor; None where there is nothing to walk over."""
        if not self._is_open:
            raise ClosedError(f"The scan of table {self._form.table} was closed, or another has taken it over.")
        return self._cursor

    def _make_chunk(self) -> "Chunk":
        layout = self._form.codec.layout
        count = max(1, min(BATCH_COUNT, BATCH_BYTES // layout.record_size))
        return Chunk(layout.record_size, layout.nulls_size, count)


class Chunk:
    """Memory for some records of a scan, with their ids and nulls, filled again and again."""

    def __init__(self, record_size: int, nulls_size: int, capacity: int) -> None:
        if capacity < 1:
            raise InvalidError(f"A scan gives at least one record at a time, not {capacity}.")
        self.capacity = capacity
        self.count = 0
        self.ids = array("Q", bytes(8 * capacity))
        self.records = bytearray(record_size * capacity)
        self.nulls = bytearray(nulls_size * capacity)
        self._record_size, self._nulls_size = record_size, nulls_size
        self._ids_at, *kept_ids = address_of(self.ids)
        records_at, *kept_records = address_of(self.records)
        nulls_at, *kept_nulls = address_of(self.nulls)
        self._kept = (kept_ids, kept_records, kept_nulls)
        self._into = native.diamond_records(
            struct_size=sizeof(native.diamond_records), records=records_at, nulls=nulls_at
        )

    def fill(self, cursor: Optional[Handle]) -> int:
        """How many records came next: 0 at the end."""
        count = c_size_t()
        if cursor is None:
            return 0
        status = native.diamond_cursor_next_many(
            cursor.pointer, self._ids_at, self.capacity, byref(self._into), byref(count)
        )
        if status and status != native.DIAMOND_STATUS_END:
            raise failure(status)
        self.count = count.value
        return self.count

    def tuples(self, form: Form[Any]) -> Iterator[Tuple[int, Tuple[Any, ...]]]:
        """The ids and values that came last."""
        return zip(self.ids[:self.count], form.codec.unpack_many(self.filled_records(), self.filled_nulls()))

    def filled_records(self) -> memoryview:
        """The packed records that came last."""
        return memoryview(self.records)[:self.count * self._record_size]

    def filled_nulls(self) -> bytes:
        """Their null bitmaps."""
        return bytes(self.nulls[:self.count * self._nulls_size])
