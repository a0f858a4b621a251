"""The rows of a scan as columns: the Arrow C stream interface, with nothing but the standard library.

A batch of rows is copied out of the cursor, and each column out of the batch by one strided copy. What Arrow's C data
interface asks of an exporter, here:

1. Structs that a consumer holds stay where they are, with all that they point to, until their release is called.
   `_kept` holds them by a number, which is their private_data.
2. The functions that C calls are made once and never go away, not even while the interpreter ends.
3. A consumer may move a child out of a batch and release it later: each child is kept by a number of its own.
"""

from __future__ import annotations

import errno
import itertools
import struct
from array import array
from ctypes import CFUNCTYPE, PYFUNCTYPE, Structure, addressof, c_char_p, c_int, c_int64, c_void_p
from ctypes import cast, memmove, py_object, pythonapi, sizeof
from itertools import accumulate, repeat
from typing import Any, Callable, Dict, List, Literal, Optional, Sequence, Tuple

from ._handle import Handle
from ._memory import address_of
from .layout import Field, Layout
from .scan import Chunk

BATCH_COUNT = 8192
NULLABLE = 2


class ArrowSchema(Structure):
    """struct ArrowSchema of the Arrow C data interface."""


class ArrowArray(Structure):
    """struct ArrowArray of the Arrow C data interface."""


class ArrowArrayStream(Structure):
    """struct ArrowArrayStream of the Arrow C stream interface."""


# Pointers to functions are c_void_p here: what lies in them is never called by their type.
ArrowSchema._fields_ = [
    ("format", c_char_p), ("name", c_char_p), ("metadata", c_void_p), ("flags", c_int64), ("n_children", c_int64),
    ("children", c_void_p), ("dictionary", c_void_p), ("release", c_void_p), ("private_data", c_void_p),
]
ArrowArray._fields_ = [
    ("length", c_int64), ("null_count", c_int64), ("offset", c_int64), ("n_buffers", c_int64), ("n_children", c_int64),
    ("buffers", c_void_p), ("children", c_void_p), ("dictionary", c_void_p), ("release", c_void_p),
    ("private_data", c_void_p),
]
ArrowArrayStream._fields_ = [
    ("get_schema", c_void_p), ("get_next", c_void_p), ("get_last_error", c_void_p), ("release", c_void_p),
    ("private_data", c_void_p),
]

_FORMATS = {
    "string": b"u", "number": b"g", "i8": b"c", "i16": b"s", "i32": b"i", "i64": b"l", "u8": b"C", "u16": b"S",
    "u32": b"I", "u64": b"L", "f32": b"f", "f64": b"g", "bool": b"b", "timestamp": b"tsu:UTC",
}
_WORDS: Dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}

# Tables for bytes.translate: from a byte to the text of one of its bits, and of its opposite.
_BITS = [bytes(48 + (byte >> bit & 1) for byte in range(256)) for bit in range(8)]
_OPPOSITE_BITS = [bytes(49 - (byte >> bit & 1) for byte in range(256)) for bit in range(8)]


def packed_bits(texts: bytes) -> bytes:
    """A text of "0" and "1" as bits, the first the lowest of the first byte."""
    return int(texts[::-1], 2).to_bytes((len(texts) + 7) // 8, "little")


class Columns:
    """Makes columns of the rows in a chunk: of each its null count and its Arrow buffers, the validity first."""

    def __init__(self, layout: Layout, capacity: int) -> None:
        self._layout = layout
        self.chunk = Chunk(layout.record_size, layout.nulls_size, capacity)
        self._texts = [field for field in layout.fields if field.type in ("string", "bytes")]
        self._text_format = _text_format(self._texts, layout.record_size)
        self._text_struct = struct.Struct("")
        self._text_count = 0

    def make(self) -> List[Tuple[int, List[Optional[bytes]]]]:
        """The columns in the order of the fields."""
        count = self.chunk.count
        rows = self.chunk.filled_records()
        nulls = [self.chunk.nulls[at:count * self._layout.nulls_size:self._layout.nulls_size]
                 for at in range(self._layout.nulls_size)]
        texts = self._split_texts(rows)
        columns: List[Tuple[int, List[Optional[bytes]]]] = []
        for field in self._layout.fields:
            null_count, validity = _validity(nulls[field.index // 8], field.index % 8)
            columns.append((null_count, [validity, *self._values(field, rows, texts)]))
        return columns

    def _split_texts(self, rows: memoryview) -> Dict[int, Tuple[bytes, ...]]:
        """The texts of each field that has some. All rows in one tuple: many would wake the garbage collector."""
        if not self._texts:
            return {}
        if self._text_count != self.chunk.count:
            self._text_struct = struct.Struct("<" + self._text_format * self.chunk.count)
            self._text_count = self.chunk.count
        texts = self._text_struct.unpack(rows)
        return {field.index: texts[at::len(self._texts)] for at, field in enumerate(self._texts)}

    def _values(self, field: Field, rows: memoryview, texts: Dict[int, Tuple[bytes, ...]]) -> List[bytes]:
        if field.type == "string":
            return _text_buffers(texts[field.index])
        if field.type == "bytes":
            return [b"".join(texts[field.index])]
        size = field.size
        column = rows.cast(_WORDS[size])[field.offset // size::self._layout.record_size // size].tobytes()
        return [packed_bits(column.translate(_BITS[0]))] if field.type == "bool" else [column]


def _text_format(fields: Sequence[Field], record_size: int) -> str:
    parts, end = [""], 0
    for field in fields:
        parts.append(f"{field.offset - end}x{field.size}s")
        end = field.offset + field.size
    return "".join(parts) + f"{record_size - end}x"


def _text_buffers(column: Tuple[bytes, ...]) -> List[bytes]:
    """Offsets and bytes of texts that are padded by zeros, and have none inside."""
    texts = list(map(bytes.rstrip, column, repeat(b"\0")))
    offsets = array("i", accumulate(map(len, texts), initial=0))
    return [offsets.tobytes(), b"".join(texts)]


def _validity(nulls: bytearray, bit: int) -> Tuple[int, Optional[bytes]]:
    """How many of the rows are null, by one byte of each row's null bitmap, and the bits of those that are not."""
    if nulls == bytes(len(nulls)):
        return 0, None
    texts = bytes(nulls).translate(_OPPOSITE_BITS[bit])
    null_count = texts.count(b"0")
    return null_count, packed_bits(texts) if null_count else None


# What consumers hold.

_kept: Dict[int, Any] = {}
_numbers = itertools.count(1)


def _keep(*what: Any) -> int:
    number = next(_numbers)
    _kept[number] = what
    return number


def _for_ever(callback: Any) -> int:
    """The address of a function that C may call until the process ends."""
    pythonapi.Py_IncRef(py_object(callback))
    return cast(callback, c_void_p).value or 0


def _release(kind: Any) -> Callable[[int], None]:
    """Releases a struct with its children, but for those that were moved elsewhere."""

    # Bound here, since the last consumers release while the interpreter ends, when modules are empty already.
    def release(address: int, kept: Dict[int, Any] = _kept, pointers: Any = c_void_p) -> None:
        held = kind.from_address(address)
        if held.children:
            for child in (pointers * held.n_children).from_address(held.children):
                if kind.from_address(child).release:
                    release(child)
        held.release = None
        kept.pop(held.private_data, None)

    return release


_release_schema = _for_ever(CFUNCTYPE(None, c_void_p)(_release(ArrowSchema)))
_release_array = _for_ever(CFUNCTYPE(None, c_void_p)(_release(ArrowArray)))


def _pointers(structs: Sequence[Structure]) -> Any:
    return (c_void_p * len(structs))(*map(addressof, structs))


def _make_schema(layout: Layout) -> ArrowSchema:
    children = []
    for field in layout.fields:
        text = _FORMATS.get(field.type) or b"w:%d" % field.size
        name = field.name.encode()
        child = ArrowSchema(format=text, name=name, flags=0 if field.required else NULLABLE, release=_release_schema)
        child.private_data = _keep(child, text, name)
        children.append(child)
    pointers = _pointers(children)
    schema = ArrowSchema(format=b"+s", name=b"", n_children=len(children), children=addressof(pointers),
                         release=_release_schema)
    schema.private_data = _keep(schema, pointers, children)
    return schema


def _make_array(count: int, columns: Sequence[Tuple[int, List[Optional[bytes]]]]) -> ArrowArray:
    children = []
    for null_count, buffers in columns:
        places = (c_void_p * len(buffers))(*[None if data is None else address_of(data)[0] for data in buffers])
        child = ArrowArray(length=count, null_count=null_count, n_buffers=len(buffers), buffers=addressof(places),
                           release=_release_array)
        child.private_data = _keep(child, places, buffers)
        children.append(child)
    pointers, no_validity = _pointers(children), (c_void_p * 1)()
    batch = ArrowArray(length=count, n_buffers=1, buffers=addressof(no_validity), n_children=len(children),
                       children=addressof(pointers), release=_release_array)
    batch.private_data = _keep(batch, pointers, no_validity, children)
    return batch


class _Stream:
    """A stream that a consumer draws batches from."""

    def __init__(self, cursor: Optional[Handle], layout: Layout, table: str) -> None:
        self._cursor = cursor
        self._layout = layout
        self._table = table
        self._columns: Optional[Columns] = None
        self.error: Optional[bytes] = None

    def get_schema(self, out: int) -> None:
        """Puts the schema at `out`. Moving a struct is copying it."""
        schema = _make_schema(self._layout)
        memmove(out, addressof(schema), sizeof(schema))

    def get_next(self, out: int) -> None:
        """Puts the next batch at `out`, or a released one at the end."""
        if self._columns is None:
            self._columns = Columns(self._layout, BATCH_COUNT)
        count = self._columns.chunk.fill(self._cursor)
        batch = _make_array(count, self._columns.make()) if count else ArrowArray()
        memmove(out, addressof(batch), sizeof(batch))

    def fail(self, error: BaseException) -> int:
        """Keeps the sentence for get_last_error."""
        self.error = f"table {self._table}: {error}".encode("utf-8", "replace")
        return errno.EIO


def _stream_at(address: int) -> _Stream:
    stream: _Stream = _kept[ArrowArrayStream.from_address(address).private_data][0]
    return stream


def _told(method: Callable[[_Stream, int], None]) -> Callable[[int, int], int]:
    """Around both methods: what they raise is kept and told by a number of errno."""

    def call(address: int, out: int) -> int:
        try:
            stream = _stream_at(address)
        except BaseException:
            return errno.EINVAL
        try:
            method(stream, out)
            return 0
        except BaseException as error:
            return stream.fail(error)

    return call


def _last_error(address: int) -> Optional[int]:
    error = _stream_at(address).error
    return None if error is None else address_of(error)[0]


def _release_stream(address: int, kept: Dict[int, Any] = _kept, kind: Any = ArrowArrayStream) -> None:
    held = kind.from_address(address)
    held.release = None
    kept.pop(held.private_data, None)


_get_schema_at = _for_ever(CFUNCTYPE(c_int, c_void_p, c_void_p)(_told(_Stream.get_schema)))
_get_next_at = _for_ever(CFUNCTYPE(c_int, c_void_p, c_void_p)(_told(_Stream.get_next)))
_last_error_at = _for_ever(CFUNCTYPE(c_void_p, c_void_p)(_last_error))
_release_stream_at = _for_ever(CFUNCTYPE(None, c_void_p)(_release_stream))

# The capsule: the consumer moves the struct out of it, or the capsule's end releases it.

_NAME = c_char_p(b"arrow_array_stream")
_capsules: Dict[int, ArrowArrayStream] = {}


def _end_capsule(capsule: int, capsules: Dict[int, ArrowArrayStream] = _capsules) -> None:
    exported = capsules.pop(capsule)
    if exported.release:
        _release_stream(addressof(exported))


_end_capsule_at = _for_ever(PYFUNCTYPE(None, c_void_p)(_end_capsule))
_new_capsule = PYFUNCTYPE(py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", pythonapi))


def stream(cursor: Optional[Handle], layout: Layout, table: str) -> object:
    """A capsule with the stream of all records that the cursor has still to give. A cursor of None gives none."""
    exported = ArrowArrayStream(
        get_schema=_get_schema_at, get_next=_get_next_at, get_last_error=_last_error_at, release=_release_stream_at
    )
    exported.private_data = _keep(_Stream(cursor, layout, table))
    capsule: object = _new_capsule(addressof(exported), _NAME, _end_capsule_at)
    _capsules[id(capsule)] = exported
    return capsule
