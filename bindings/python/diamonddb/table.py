"""Tables: mappings from ids to records.

A fetch or a save goes through a prepared request, which one call has for itself while it is under way:

1. A table keeps the requests that nobody uses. A call takes one away or makes one, and puts it back. So threads,
   signal handlers and finalizers never find another's bytes in theirs.
2. A request refers to the table's handle. A call that is under way keeps the handle open, whoever closes the table.
"""

from __future__ import annotations

import json
from ctypes import addressof, byref, c_char, c_int32, c_uint64, sizeof
from operator import index as as_integer
from typing import TYPE_CHECKING, Any, Dict, Generic, Iterable, Iterator, List, Mapping, Optional, Tuple, Type, TypeVar
from typing import Union

from . import _native as native
from ._handle import Handle, text_of
from ._memory import address_of, ids_of
from .codec import Form
from .errors import ClosedError, InvalidError, OutOfRangeError, check, failure
from .layout import Layout
from .pin import Pin
from .scan import Scan

if TYPE_CHECKING:
    import numpy

    from .database import Database

T = TypeVar("T")
S = TypeVar("S")
Buffer = Union[bytes, bytearray, "memoryview[int]"]
Record = Union[T, Mapping[str, Any], Tuple[Any, ...]]
"""What a verb takes as a record: a dataclass, a dict, or a tuple of all values in the order of the fields."""
Records = Union[Iterable[Record[T]], Buffer, "numpy.ndarray[Any, Any]"]
"""What a verb takes as many: an iterable of such, packed records as bytes, or a numpy structured array."""

LAST_ID = 2**64 - 1

# Prepared requests go in by one reference made once, and need no conversion of arguments.
_fetch_by = native.library["diamond_table_fetch_by"]
_fetch_by.restype = c_int32
_save_by = native.library["diamond_table_save_by"]
_save_by.restype = c_int32


_Fetch = Tuple[Any, Any, Any, Any, Handle]
"""A prepared diamond_table_fetch_by: the request, the reference to it, the record and nulls that it fills, the handle.

A tuple, since taking one apart is quicker than looking for attributes.
"""


def _make_fetch(handle: Handle, layout: Layout) -> _Fetch:
    record, nulls = (c_char * layout.record_size)(), (c_char * layout.nulls_size)()
    request = native.diamond_fetch_request(
        struct_size=sizeof(native.diamond_fetch_request), table=handle.pointer,
        record=addressof(record), record_size=layout.record_size, nulls=addressof(nulls),
    )
    return request, byref(request), record, nulls, handle


class _Save:
    """A prepared diamond_table_save_by, with the memory that it reads."""

    __slots__ = ("handle", "record", "nulls", "request", "reference")

    def __init__(self, handle: Handle, layout: Layout) -> None:
        self.handle = handle
        self.record = memoryview((c_char * layout.record_size)()).cast("B")
        self.nulls = memoryview((c_char * layout.nulls_size)()).cast("B")
        self.request = native.diamond_save_request(
            struct_size=sizeof(native.diamond_save_request), table=handle.pointer,
            record=address_of(self.record)[0], record_size=layout.record_size, nulls=address_of(self.nulls)[0],
        )
        self.reference = byref(self.request)


class Table(Mapping[int, T], Generic[T]):
    """An open table, a mapping from ids to records: dicts, or dataclasses where it was opened with one.

    `table[id]`, `table[id] = record`, `del table[id]`, `id in table`, `len(table)`, iteration and `items()` do what
    they say; new records come by `save`, which gives them their id. It may be used from every thread at once, and
    closes with its last user.
    """

    def __init__(self, database: "Database", handle: Handle, kind: Optional[Type[T]] = None) -> None:
        self._database = database
        self._handle: Optional[Handle] = handle
        self.layout = Layout.parse(text_of(native.diamond_table_layout, handle.pointer))
        """Where everything in a packed record lies."""
        self._name = text_of(native.diamond_table_name, handle.pointer)
        self._form: Form[T] = Form(self._name, self.layout, kind)
        self._no_nulls = bytes(self.layout.nulls_size)
        self._fetches: List[_Fetch] = []
        self._saves: List[_Save] = []

    # Life

    @property
    def name(self) -> str:
        """The table's name at this moment."""
        return text_of(native.diamond_table_name, self._open().pointer)

    @property
    def schema(self) -> Dict[str, List[Any]]:
        """The table's schema, as Database.table takes it."""
        schema: Dict[str, List[Any]] = json.loads(text_of(native.diamond_table_schema, self._open().pointer))
        return schema

    @property
    def next_id(self) -> int:
        """The id that the next save will get, if no other save comes before it."""
        next_id = c_uint64()
        handle = self._open()
        check(native.diamond_table_next_id(handle.pointer, byref(next_id)))
        return next_id.value

    def typed(self, kind: Type[S]) -> "Table[S]":
        """The same table with records of a dataclass, which has its fields, in any order."""
        return Table(self._database, self._open(), kind)

    def close(self) -> None:
        """Lets go of the table. Calls that are under way on other threads end as usual; later ones are ClosedError."""
        self._handle = None
        # New lists: a call that is under way puts its request back into the old ones.
        self._fetches = []
        self._saves = []

    def __enter__(self) -> "Table[T]":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<diamonddb.Table {self._name!r}{'' if self._handle else ', closed'}>"

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def _open(self) -> Handle:
        handle = self._handle
        if handle is None:
            raise ClosedError(f"The table {self._name} was closed.")
        return handle

    # One record

    def fetch_bytes(self, id: int) -> bytes:
        """The packed record, without telling which fields are null: those are zeros.

        NotFoundError: it was deleted. OutOfRangeError: the id was never given. Both are KeyErrors.
        """
        fetches = self._fetches
        try:
            fetch = fetches.pop()
        except IndexError:
            fetch = _make_fetch(self._open(), self.layout)
        request, reference, buffer, _, _ = fetch
        try:
            request.id = id if 0 <= id <= 0xFFFF_FFFF_FFFF_FFFF else self._id(id)
        except TypeError:
            request.id = self._id(id)
        status = _fetch_by(reference)
        if status:
            raise failure(status)
        record: bytes = buffer.raw
        fetches.append(fetch)
        return record

    def fetch_tuple(self, id: int) -> Tuple[Any, ...]:
        """The record's values in the order of its fields, None where null. Errors as fetch_bytes."""
        fetches = self._fetches
        try:
            fetch = fetches.pop()
        except IndexError:
            fetch = _make_fetch(self._open(), self.layout)
        request, reference, buffer, nulls, _ = fetch
        request.id = self._id(id)
        check(_fetch_by(reference))
        values = self._form.codec.unpack(buffer, nulls.raw)
        fetches.append(fetch)
        return values

    def fetch(self, id: int) -> T:
        """The record. Errors as fetch_bytes."""
        return self._form.record(self.fetch_tuple(id))

    def save(self, record: Record[T]) -> int:
        """Saves a record, commits it, and tells its id.

        A field that a dict leaves out is null. InvalidError: a value does not fit its field; nothing was saved.
        """
        return self.save_bytes(*self._form.pack(record))

    def save_bytes(self, record: Buffer, nulls: Optional[Buffer] = None) -> int:
        """Saves a packed record, commits it, and tells its id. `nulls` is its null bitmap, None where none is null."""
        saves = self._saves
        try:
            save = saves.pop()
        except IndexError:
            save = _Save(self._open(), self.layout)
        try:
            save.record[:] = record
            save.nulls[:] = self._no_nulls if nulls is None else nulls
        except (TypeError, ValueError):
            raise self._wrong_size(record, nulls) from None
        status = _save_by(save.reference)
        if status:
            raise failure(status)
        id: int = save.request.id
        saves.append(save)
        return id

    def replace(self, id: int, record: Record[T], *, expected: Optional[Record[T]] = None) -> None:
        """Replaces the record by another, and commits; with `expected`, only if it still is that.

        ConflictError: it is not; fetch it again and decide. Other errors as fetch and save.
        """
        id, size, handle = self._id(id), self.layout.record_size, self._open()
        packed, nulls = self._form.pack(record)
        if expected is None:
            check(native.diamond_table_replace(handle.pointer, id, packed, size, nulls))
        else:
            before, before_nulls = self._form.pack(expected)
            check(native.diamond_table_replace_if(
                handle.pointer, id, before, size, before_nulls, packed, size, nulls))

    def delete(self, id: int, *, expected: Optional[Record[T]] = None) -> None:
        """Deletes the record, and commits; with `expected`, only if it still is that. Errors as replace."""
        id, size, handle = self._id(id), self.layout.record_size, self._open()
        if expected is None:
            check(native.diamond_table_delete(handle.pointer, id))
        else:
            before, nulls = self._form.pack(expected)
            check(native.diamond_table_delete_if(handle.pointer, id, before, size, nulls))

    def _id(self, id: int) -> int:
        number = as_integer(id)
        if not 0 <= number <= LAST_ID:
            raise OutOfRangeError(f"Table {self._name} has no id {number}: ids go from 0 to 2**64 - 1.")
        return number

    def _wrong_size(self, record: Any, nulls: Any) -> InvalidError:
        try:
            sizes = [memoryview(part).nbytes for part in (record, nulls) if part is not None]
        except TypeError:
            return InvalidError(f"A packed record of table {self._name} is bytes, not {type(record).__name__}.")
        given = f"{sizes[0]} bytes" + (f" and a null bitmap of {sizes[1]}" if len(sizes) > 1 else "")
        return InvalidError(
            f"A packed record of table {self._name} has {self.layout.record_size} bytes and a null bitmap of "
            f"{self.layout.nulls_size}, not {given}."
        )

    # Many records

    def fetch_many(self, ids: Iterable[int]) -> List[T]:
        """The records with these ids, in their order. Raises the first failure, as fetch."""
        records, nulls, _ = self._fetch_all(ids)
        return [self._form.record(values) for values in self._form.codec.unpack_many(records, bytes(nulls))]

    def fetch_many_tuples(self, ids: Iterable[int]) -> List[Tuple[Any, ...]]:
        """The records as tuples, else as fetch_many."""
        records, nulls, _ = self._fetch_all(ids)
        return list(self._form.codec.unpack_many(records, bytes(nulls)))

    def fetch_many_bytes(self, ids: Iterable[int]) -> bytearray:
        """The packed records one behind the other, else as fetch_many."""
        return self._fetch_all(ids)[0]

    def fetch_array(self, ids: Iterable[int], *, nulls: Optional[Buffer] = None) -> "numpy.ndarray[Any, Any]":
        """The records as a numpy structured array, else as fetch_many. Needs numpy.

        Null fields are zeros there. To know them, give `nulls`, a writable buffer of `layout.nulls_size` bytes a
        record: bit f % 8 of byte f // 8 is set where field f is null.
        """
        import numpy

        numbers = ids_of(ids)
        array = numpy.empty(len(numbers), self.layout.dtype())
        self._fetch_into(numbers, array, nulls)
        return array

    def save_many(self, records: Records[T], *, nulls: Optional[Buffer] = None) -> range:
        """Saves records in one commit, all or none, and tells their ids.

        They are an iterable of records as save takes them; or packed records one behind the other as bytes, or a numpy
        structured array, with `nulls`, `layout.nulls_size` bytes a record, for which fields are null (None: none).
        An array is read in place where its fields lie as the table's do.
        """
        many = self._gather(records, nulls)
        first, handle = c_uint64(), self._open()
        check(native.diamond_table_save_many(handle.pointer, byref(many.records), many.count, byref(first)))
        return range(first.value, first.value + many.count)

    def replace_many(self, ids: Iterable[int], records: Records[T], *, nulls: Optional[Buffer] = None) -> None:
        """Replaces the records with these ids in one commit, all or none. Records as save_many, errors as replace."""
        numbers, many, handle = ids_of(ids), self._gather(records, nulls), self._open()
        if len(numbers) != many.count:
            raise InvalidError(f"{len(numbers)} ids came with {many.count} records for table {self._name}.")
        place, kept = address_of(numbers)
        check(native.diamond_table_replace_many(handle.pointer, place, many.count, byref(many.records)))
        del kept

    def delete_many(self, ids: Iterable[int]) -> None:
        """Deletes the records with these ids in one commit, all or none. Errors as delete."""
        numbers, handle = ids_of(ids), self._open()
        place, kept = address_of(numbers)
        check(native.diamond_table_delete_many(handle.pointer, place, len(numbers)))
        del kept

    def _fetch_all(self, ids: Iterable[int]) -> Tuple[bytearray, bytearray, int]:
        numbers = ids_of(ids)
        count = len(numbers)
        records, nulls = bytearray(count * self.layout.record_size), bytearray(count * self.layout.nulls_size)
        self._fetch_into(numbers, records, nulls)
        return records, nulls, count

    def _fetch_into(self, ids: "memoryview[int]", records: Any, nulls: Optional[Buffer]) -> None:
        handle, count = self._open(), len(ids)
        many = Many(self.layout, records, count, nulls, is_written=True)
        place, kept = address_of(ids)
        check(native.diamond_table_fetch_many(handle.pointer, place, count, byref(many.records), None))
        del kept

    def _gather(self, records: Any, nulls: Optional[Buffer]) -> Many:
        """Packed records in memory, from whatever the caller has."""
        if isinstance(records, (bytes, bytearray, memoryview)):
            return self._gather_bytes(records, nulls)
        if hasattr(records, "__array_interface__"):
            return self._gather_array(records, nulls)
        if nulls is not None:
            raise InvalidError("nulls goes with packed records; in other records a null field is None.")
        packed, bitmaps, count = bytearray(), bytearray(), 0
        for record in records:
            data, bitmap = self._form.pack(record)
            packed += data
            bitmaps += bitmap or self._no_nulls
            count += 1
        return Many(self.layout, packed, count, bitmaps)

    def _gather_bytes(self, records: Buffer, nulls: Optional[Buffer]) -> Many:
        size = memoryview(records).nbytes
        count, rest = divmod(size, self.layout.record_size)
        if rest:
            raise InvalidError(
                f"{size} bytes are no whole number of records of table {self._name}, of "
                f"{self.layout.record_size} each."
            )
        return Many(self.layout, records, count, nulls)

    def _gather_array(self, array: Any, nulls: Optional[Buffer]) -> Many:
        from .arrays import conform

        array = conform(array, self.layout, self._name)
        return Many(self.layout, array, len(array), nulls, stride=array.strides[0])

    # All records

    def scan(self, first: int = 0, end: Optional[int] = None, *, reverse: bool = False) -> Scan[T]:
        """Walks the records with ids from `first` to before `end` as they are at this moment, in order of ids."""
        return Scan(self._open(), self._form, self._id(first), end, reverse)

    def pin(self) -> Pin:
        """Lays all slots of the table open in one piece of memory, as they are at this moment."""
        return Pin(self._open(), self.layout, self._name)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The whole table as it is at this moment, for pyarrow.table, DuckDB, pandas and others."""
        return self.scan().__arrow_c_stream__(requested_schema)

    def arrow(self) -> "ArrowStream":
        """The same and nothing else, for polars, which takes a mapping, as a table is too, for a dict of columns."""
        return ArrowStream(self)

    def __getitem__(self, id: int) -> T:
        return self._form.record(self.fetch_tuple(id))

    def __setitem__(self, id: int, record: Record[T]) -> None:
        self.replace(id, record)

    def __delitem__(self, id: int) -> None:
        self.delete(id)

    def __contains__(self, id: object) -> bool:
        try:
            self.fetch_bytes(id)  # type: ignore[arg-type]
        except (KeyError, TypeError):
            return False
        return True

    def __len__(self) -> int:
        count, handle = c_uint64(), self._open()
        check(native.diamond_table_count(handle.pointer, byref(count)))
        return count.value

    def __iter__(self) -> Iterator[int]:
        with self.scan() as scan:
            for id, _ in scan.packed():
                yield id

    def items(self) -> Scan[T]:  # type: ignore[override]
        """All ids with their records, as they are at this moment: `scan()`."""
        return self.scan()

    def values(self) -> Iterator[T]:  # type: ignore[override]
        """All records, as they are at this moment."""
        with self.scan() as scan:
            for _, record in scan:
                yield record

    # Awaited

    async def asave(self, record: Record[T]) -> int:
        """save, awaited: whatever else is committed meanwhile becomes durable in one go with it."""
        batch = self._database._take_batch()
        batch.save(self, record)
        ids = await self._database._commit_durably(batch)
        return ids[0]

    async def asave_many(self, records: Iterable[Record[T]]) -> List[int]:
        """save_many of an iterable of records, awaited."""
        batch = self._database._take_batch()
        for record in records:
            batch.save(self, record)
        return await self._database._commit_durably(batch)

    async def areplace(self, id: int, record: Record[T], *, expected: Optional[Record[T]] = None) -> None:
        """replace, awaited."""
        batch = self._database._take_batch()
        if expected is not None:
            batch.expect(self, id, expected)
        batch.replace(self, id, record)
        await self._database._commit_durably(batch)

    async def adelete(self, id: int, *, expected: Optional[Record[T]] = None) -> None:
        """delete, awaited."""
        batch = self._database._take_batch()
        if expected is not None:
            batch.expect(self, id, expected)
        batch.delete(self, id)
        await self._database._commit_durably(batch)


class ArrowStream:
    """A table as nothing but an Arrow stream; each consumer reads the table as it is then."""

    def __init__(self, table: Table[Any]) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


class Many:
    """A diamond_records over the caller's memory, and what keeps that memory there."""

    def __init__(self, layout: Layout, records: Any, count: int, nulls: Any, *, stride: int = 0,
                 is_written: bool = False) -> None:
        if nulls is not None and memoryview(nulls).nbytes != count * layout.nulls_size:
            raise InvalidError(
                f"The null bitmaps of {count} records take {count * layout.nulls_size} bytes, "
                f"{layout.nulls_size} each, not {memoryview(nulls).nbytes}."
            )
        if is_written and nulls is not None and memoryview(nulls).readonly:
            raise InvalidError("nulls is filled here, and this buffer cannot be written.")
        records_at, kept_records = address_of(records)
        nulls_at, kept_nulls = address_of(nulls) if nulls is not None else (None, None)
        self.count = count
        self.records = native.diamond_records(
            struct_size=sizeof(native.diamond_records), records=records_at, record_stride=stride, nulls=nulls_at
        )
        self._kept = (kept_records, kept_nulls)
