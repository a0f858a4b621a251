"""Where the bytes of Python objects lie, for calls that read or write them in place."""

from __future__ import annotations

from array import array
from ctypes import addressof, c_char, c_char_p, c_void_p, cast
from typing import Any, Iterable, Optional, Tuple

from .errors import InvalidError


def address_of(buffer: Any) -> Tuple[int, object]:
    """The address of a buffer's bytes, and what keeps them there. A buffer that cannot be written is only for reading.

    Bytes that are read-only and whose place Python does not tell are copied.
    """
    if isinstance(buffer, bytes):
        return cast(c_char_p(buffer), c_void_p).value or 0, buffer
    interface = getattr(buffer, "__array_interface__", None)
    if interface is not None:
        return int(interface["data"][0]), buffer
    view = memoryview(buffer)
    if view.nbytes == 0:
        return 0, view
    if not view.readonly:
        first = c_char.from_buffer(view)
        return addressof(first), first
    return address_of(view.tobytes())


def ids_of(ids: Iterable[int]) -> "memoryview[int]":
    """The ids as 64-bit numbers one behind the other: in place where they lie so already, as in a numpy array."""
    view: Optional[memoryview] = None
    try:
        view = memoryview(ids)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pass
    if view is not None and view.ndim == 1 and view.format in ("Q", "L") and view.itemsize == 8 and view.c_contiguous:
        return view
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    try:
        # Not bytes themselves: an array would take them for its own memory.
        return memoryview(array("Q", ids if isinstance(ids, (list, tuple)) else iter(ids)))
    except (OverflowError, TypeError) as error:
        raise InvalidError(f"Ids are integers from 0 to 2**64 - 1: {error}.") from None
