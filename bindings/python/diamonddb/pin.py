"""Pins: a table open in memory, as numpy and others read it in place.

A pin's memory is only as good as the pin, and an array cannot be taken back from who holds it. So views are counted:
each refers to the C handle, which is closed with the last of them.
"""

from __future__ import annotations

import weakref
from ctypes import byref, c_ubyte, c_void_p, sizeof
from typing import TYPE_CHECKING, Any, Optional

from . import _native as native
from ._handle import Handle
from .errors import BusyError, ClosedError, check
from .layout import Layout

if TYPE_CHECKING:
    import numpy


class Pin:
    """All slots of a table at one moment, those of deleted records among them. Index i is id i.

    The memory is read-only, and stays as it is, whatever is written, also after the table was dropped or the database
    closed, until the pin is closed and the last view of it is gone. A fork of the process does not have it: reading a
    view there ends the child by a segmentation fault.
    """

    def __init__(self, table: Handle, layout: Layout, name: str) -> None:
        slots = native.diamond_slots(struct_size=sizeof(native.diamond_slots))
        pin = c_void_p()
        check(native.diamond_pin_open(table.pointer, byref(slots), byref(pin)))
        self._handle: Optional[Handle] = Handle(pin, native.diamond_pin_close)
        self._memory: Optional[weakref.ref[Any]] = None
        self._slots = slots
        self._layout = layout
        self._name = name

    def __len__(self) -> int:
        """How many slots there are: the table's next id at the moment of the pin."""
        return int(self._slots.count)

    @property
    def stride(self) -> int:
        """Bytes from one slot to the next."""
        return int(self._slots.stride)

    @property
    def buffer(self) -> memoryview:
        """All slots as bytes, in place; record i begins at i * stride."""
        memory = self._view()
        return memoryview(memory).cast("B").toreadonly() if len(self) else memoryview(b"")

    @property
    def array(self) -> "numpy.ndarray[Any, Any]":
        """All slots as a read-only numpy structured array, in place. Deleted records and null fields are zeros."""
        import numpy

        return numpy.frombuffer(self.buffer, self._layout.dtype(self.stride))

    @property
    def present(self) -> "numpy.ndarray[Any, Any]":
        """Which slots hold a record, as a read-only numpy array of bool, in place. The others were deleted."""
        import numpy

        dtype = {"names": ["present"], "formats": ["?"], "offsets": [self._slots.state_offset],
                 "itemsize": self.stride}
        return numpy.frombuffer(self.buffer, numpy.dtype(dtype))["present"]  # type: ignore[call-overload,no-any-return]

    def null(self, name: str) -> "numpy.ndarray[Any, Any]":
        """In which slots the field is null, as a numpy array of bool: a copy. KeyError: there is no such field."""
        import numpy

        field = self._layout.field(name)
        dtype = {"names": ["bits"], "formats": ["u1"], "offsets": [self._slots.nulls_offset + field.index // 8],
                 "itemsize": self.stride}
        bits = numpy.frombuffer(self.buffer, numpy.dtype(dtype))["bits"]  # type: ignore[call-overload]
        return (bits >> field.index % 8 & 1).astype(bool)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Closes the pin and gives its memory back.

        BusyError: there are views of it. It stays open: let go of them, or leave it to the last of them by `with`.
        """
        if self._memory is not None and self._memory() is not None:
            raise BusyError(
                f"Views of the pin of table {self._name} are in use: its memory cannot be given back. Let go of the "
                "arrays first (del), or use `with`, which leaves the memory to the last of them."
            )
        self._handle = None

    def __enter__(self) -> "Pin":
        return self

    def __exit__(self, *exception: object) -> None:
        self._handle = None

    def __repr__(self) -> str:
        return f"<diamonddb.Pin of {self._name!r}, {len(self)} slots{'' if self._handle else ', closed'}>"

    def _view(self) -> Any:
        """The slots as an object that keeps the handle. One for all views, so that one look tells if there are any."""
        handle = self._handle
        if handle is None:
            raise ClosedError(f"The pin of table {self._name} was closed.")
        memory = self._memory() if self._memory is not None else None
        if memory is None:
            kind = c_ubyte * (self.stride * len(self))
            memory = kind.from_address(self._slots.base) if len(self) else kind()
            setattr(memory, "handle", handle)  # A name of ours on an array of ctypes.
            self._memory = weakref.ref(memory)
        return memory
