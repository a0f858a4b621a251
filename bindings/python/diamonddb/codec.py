"""Records to bytes and back, as Python values.

| type | in Python |
|---|---|
| string | str |
| bytes | bytes |
| number, f32, f64 | float (an int is taken, too) |
| i8 ... u64 | int |
| bool | bool |
| timestamp | datetime with a time zone, in UTC when it comes out; an int of microseconds since 1970 is taken, too |

null is None. What is only the library's to know (how long a number's text is, whether it is finite) it checks itself.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from typing import Any, Callable, Dict, FrozenSet, Generic, Iterator, List, Optional, Sequence, Tuple, Type, TypeVar
from typing import get_type_hints

from .errors import InvalidError
from .layout import Field, Layout, wants_integer

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)


class Codec:
    """The records of one table as tuples of values, in the order of its fields."""

    def __init__(self, table: str, layout: Layout, integers: FrozenSet[str] = frozenset()) -> None:
        """`integers` are the timestamps that come out as microseconds."""
        self.table = table
        self.layout = layout
        self.names = layout.names
        self._struct = struct.Struct(layout.struct_format)
        self._no_nulls = bytes(layout.nulls_size)
        self._packers = [(field.index, packer) for field in layout.fields for packer in _packers(field)]
        self._unpackers = [(field.index, unpacker) for field in layout.fields
                           if not (field.type == "timestamp" and field.name in integers)
                           for unpacker in _unpackers(field)]
        self._empty = [_empty(field) for field in layout.fields]

    def pack(self, values: Sequence[Any]) -> Tuple[bytes, Optional[bytes]]:
        """A record and its null bitmap, None where no field is null. InvalidError names the field that does not fit."""
        row = list(values)
        if len(row) != len(self.names):
            raise InvalidError(f"A record of table {self.table} has {len(self.names)} fields, not {len(row)}.")
        nulls = self._take_nulls(row) if None in row else None
        try:
            for index, packer in self._packers:
                row[index] = packer(row[index])
            return self._struct.pack(*row), nulls
        except (struct.error, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise self._misfit(values, error) from None

    def _take_nulls(self, row: List[Any]) -> bytes:
        """Puts what packs to zeros in the place of each None, and tells which there were."""
        bits = 0
        for index, value in enumerate(row):
            if value is None:
                bits |= 1 << index
                row[index] = self._empty[index]
        return bits.to_bytes(self.layout.nulls_size, "little")

    def _misfit(self, values: Sequence[Any], error: Exception) -> InvalidError:
        """Says which value does not fit its field, after packing all together has failed."""
        for field, value in zip(self.layout.fields, values):
            if value is None:
                continue
            try:
                for packer in _packers(field):
                    value = packer(value)
                struct.pack("<" + field.struct_code, value)
            except (struct.error, ValueError, TypeError, AttributeError, OverflowError):
                given = values[field.index]
                return InvalidError(
                    f"Field {field.name} of table {self.table} takes {_expected(field)}, not {_shown(given)}."
                )
        return InvalidError(f"A record does not fit table {self.table}: {error}.")

    def unpack(self, record: Any, nulls: bytes, offset: int = 0) -> Tuple[Any, ...]:
        """The values of the record at `offset`."""
        return self._finish(self._struct.unpack_from(record, offset), nulls)

    def unpack_many(self, records: Any, nulls: bytes) -> Iterator[Tuple[Any, ...]]:
        """The values of each of many records, which lie one behind the other."""
        size = self.layout.nulls_size
        for index, values in enumerate(self._struct.iter_unpack(records)):
            yield self._finish(values, nulls[index * size:index * size + size])

    def _finish(self, values: Tuple[Any, ...], nulls: bytes) -> Tuple[Any, ...]:
        if not self._unpackers and nulls == self._no_nulls:
            return values
        row = list(values)
        for index, unpacker in self._unpackers:
            row[index] = unpacker(row[index])
        if nulls != self._no_nulls:
            bits = int.from_bytes(nulls, "little")
            for index in range(len(row)):
                if bits >> index & 1:
                    row[index] = None
        return tuple(row)


def _empty(field: Field) -> Any:
    """A value that packs to zeros."""
    if field.type == "string":
        return ""
    return bytes(field.size) if field.type == "bytes" else 0


def _packers(field: Field) -> List[Callable[[Any], Any]]:
    """What a value goes through before the struct module takes it: nothing, or one function."""
    size = field.size
    if field.type == "string":
        return [lambda value: _text_bytes(value, size)]
    if field.type == "bytes":
        return [lambda value: _exact_bytes(value, size)]
    if field.type == "timestamp":
        return [_microseconds]
    if field.type == "bool":
        return [_truth]
    return []


def _text_bytes(value: Any, size: int) -> bytes:
    encoded: bytes = value.encode()
    if len(encoded) > size or b"\0" in encoded:
        raise ValueError
    return encoded


def _exact_bytes(value: Any, size: int) -> bytes:
    if isinstance(value, int) or len(bytes(value)) != size:
        raise ValueError
    return bytes(value)


def _microseconds(value: Any) -> int:
    if isinstance(value, datetime):
        return (value - EPOCH) // MICROSECOND  # TypeError where it has no time zone.
    return int(value.__index__())


def _truth(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError
    return bool(value)


def _unpackers(field: Field) -> List[Callable[[Any], Any]]:
    """What a value of the struct module goes through: nothing, or one function."""
    if field.type == "string":
        return [lambda value: value.rstrip(b"\0").decode()]
    if field.type == "timestamp":
        return [lambda value: _moment(field.name, value)]
    return []


def _moment(name: str, value: int) -> datetime:
    try:
        return EPOCH + timedelta(microseconds=value)
    except OverflowError:
        raise InvalidError(
            f"Field {name} holds {value} microseconds since 1970, beyond what a datetime can say. "
            f'Read it as an integer: Annotated[int, "timestamp"] in a dataclass, or fetch_bytes.'
        ) from None


_RANGES = {f"{sign}{bits}": (0 if sign == "u" else -(1 << bits - 1), (1 << bits - (sign == "i")) - 1)
           for sign in "iu" for bits in (8, 16, 32, 64)}


def _expected(field: Field) -> str:
    if field.type == "string":
        limit = f"{field.width} UTF-16 units" if field.characters else f"{field.width} bytes of UTF-8"
        return f"a str of at most {limit} without NUL"
    if field.type == "bytes":
        return f"exactly {field.size} bytes"
    if field.type == "timestamp":
        return "a datetime with a time zone, or an int of microseconds since 1970"
    if field.type == "bool":
        return "True or False"
    if field.type in _RANGES:
        low, high = _RANGES[field.type]
        return f"an int from {low} to {high}"
    return "a float" + (f" whose text has at most {field.width} characters" if field.width else "")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


class Form(Generic[T]):
    """How the records of a table look to its user: as dicts, or as a dataclass."""

    def __init__(self, table: str, layout: Layout, kind: Optional[Type[T]] = None) -> None:
        self.table = table
        self.kind = kind
        self._keys = frozenset(layout.names)
        self._readers: Dict[type, Callable[[Any], Sequence[Any]]] = {}
        self._order: List[Tuple[str, int]] = []
        integers: FrozenSet[str] = frozenset()
        if kind is not None:
            names = self._names(kind)
            hints = get_type_hints(kind, include_extras=True)
            integers = frozenset(name for name in names if wants_integer(hints[name]))
            self._order = [(name, layout.field(name).index) for name in names]
        self.codec = Codec(table, layout, integers)

    def _names(self, kind: type) -> List[str]:
        """The fields of a dataclass, which are those of the table, in any order."""
        if not dataclasses.is_dataclass(kind):
            raise InvalidError(
                f"A record of table {self.table} is a dict, a dataclass, or a tuple of all its values, "
                f"not {kind.__name__}."
            )
        names = [field.name for field in dataclasses.fields(kind)]
        odd = ", ".join(sorted(self._keys.symmetric_difference(names)))
        if odd:
            raise InvalidError(f"{kind.__name__} and table {self.table} differ in their fields: {odd}.")
        return names

    def values(self, record: Any) -> Sequence[Any]:
        """The values of a record in the order of the fields: of a dict, a dataclass, or a sequence in that order."""
        if isinstance(record, (tuple, list)):
            return record
        if isinstance(record, (dict, Mapping)):
            if not record.keys() <= self._keys:
                raise InvalidError(
                    f"Table {self.table} has no field {', '.join(sorted(map(repr, record.keys() - self._keys)))}; "
                    f"its fields are {', '.join(self.codec.names)}."
                )
            return [record.get(name) for name in self.codec.names]
        reader = self._readers.get(type(record))
        if reader is None:
            reader = self._readers[type(record)] = self._reader(type(record))
        return reader(record)

    def _reader(self, kind: type) -> Callable[[Any], Sequence[Any]]:
        self._names(kind)
        names = self.codec.names
        return attrgetter(*names) if len(names) > 1 else lambda record: (getattr(record, names[0]),)

    def pack(self, record: Any) -> Tuple[bytes, Optional[bytes]]:
        """A record of the user as bytes, and its null bitmap, None where no field is null."""
        return self.codec.pack(self.values(record))

    def record(self, values: Sequence[Any]) -> T:
        """A record as the user sees it."""
        if self.kind is None:
            return dict(zip(self.codec.names, values))  # type: ignore[return-value]
        return self.kind(**{name: values[index] for name, index in self._order})
