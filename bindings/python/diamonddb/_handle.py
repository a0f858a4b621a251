"""Who holds a C handle, and when it is closed.

Using a handle during or after its own close is undefined in C. Here it cannot happen:

1. A `Handle` is closed when the last object that refers to it is gone. A call that is under way refers to it, and so
   does a view of memory that it stands for. To close a table is therefore only to let go of its handle.
2. A `Gate` counts the calls under way on a database. Its close has an answer that must be heard, so it waits for them.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import contextmanager
from ctypes import byref, c_size_t, c_void_p, string_at
from typing import Any, Callable, Iterator

from . import _native as native
from .errors import ClosedError, check, failure


class Handle:
    """A C handle, closed with this object."""

    __slots__ = ("pointer", "_close", "__weakref__")

    def __init__(self, pointer: c_void_p, close: Callable[[c_void_p], int]) -> None:
        self.pointer = pointer
        self._close = close

    def __del__(self) -> None:
        status = self._close(self.pointer)
        # In a fork of the process nothing is touched, and nothing is amiss.
        if status and status != native.DIAMOND_STATUS_FORKED:
            raise failure(status)  # Python reports what a __del__ raises, and goes on.


class Gate:
    """Lets calls in until it is shut, and knows when the last has left."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.is_shut = False
        self._renew()
        _gates.add(self)

    def _renew(self) -> None:
        """In a fork none of the threads is there that were inside, and one may have held the lock."""
        self._changed = threading.Condition()
        self._inside = 0

    @contextmanager
    def passed(self) -> Iterator[None]:
        """Around a call. ClosedError once the gate is shut."""
        with self._changed:
            if self.is_shut:
                raise ClosedError(f"The {self.what} was closed.")
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if self.is_shut:
                    self._changed.notify_all()

    def shut(self) -> bool:
        """Shuts it and waits until everybody has left. False if it was shut before."""
        with self._changed:
            if self.is_shut:
                return False
            self.is_shut = True
            while self._inside:
                self._changed.wait()
        return True

    def reopen(self) -> None:
        """What stood behind the gate could not be closed."""
        with self._changed:
            self.is_shut = False


_gates: "weakref.WeakSet[Gate]" = weakref.WeakSet()


def _renew_gates() -> None:
    for gate in list(_gates):
        gate._renew()


os.register_at_fork(after_in_child=_renew_gates)


def text_of(function: Callable[..., int], *arguments: Any) -> str:
    """The text that a function of the library gives for these arguments."""
    text, size = c_void_p(), c_size_t()
    status = function(*arguments, byref(text), byref(size))
    check(status)
    return taken(text, size)


def taken(text: c_void_p, size: c_size_t) -> str:
    """A text of the library, freed there."""
    try:
        return string_at(text, size.value).decode("utf-8")
    finally:
        native.diamond_free(text)
