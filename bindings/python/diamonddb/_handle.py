"""Who holds a C handle, and when it is closed.

Using a handle during or after its own close is undefined in C. Here it cannot happen:

1. A `Handle` is closed when the last object that refers to it is gone. A call that is under way refers to it, and so
   does a view of memory that it stands for. To close a table is therefore only to let go of its handle.
2. A `Gate` knows the calls under way on a database. Its close has an answer that must be heard, so it waits for them.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from ctypes import byref, c_size_t, c_void_p, string_at
from typing import Any, Callable, Dict, Optional, TypeVar

from . import _native as native
from .errors import ClosedError, check, failure

T = TypeVar("T")


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
    """The pointer of a database. Lends it to calls until it is shut, and then waits until they have returned.

    A KeyboardInterrupt may come between any two steps: whatever is entered below is left in a `finally` of one frame.
    """

    def __init__(self, pointer: c_void_p, what: str) -> None:
        self.what = what
        self._pointers = [pointer]  # Taken out of here once, whoever shuts it.
        self._inside: Dict[object, int] = {}  # A token of each call, with its thread.
        _gates.add(self)

    @property
    def is_shut(self) -> bool:
        """Whether calls are refused."""
        return not self._pointers

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls the function with the pointer and the arguments. ClosedError once the gate is shut."""
        token = object()
        try:
            self._inside[token] = threading.get_ident()
            try:
                pointer = self._pointers[0]
            except IndexError:
                raise ClosedError(f"The {self.what} was closed.") from None
            return function(pointer, *arguments)
        finally:
            self._inside.pop(token, None)

    def shut(self) -> Optional[c_void_p]:
        """Refuses calls from now on, and gives the pointer when all have left. None if somebody else has shut it.

        Calls of this thread do not count: a signal handler interrupts them when they have returned.
        """
        try:
            pointer = self._pointers.pop()
        except IndexError:
            return None
        try:
            while any(thread != threading.get_ident() for thread in list(self._inside.values())):
                time.sleep(0.0005)
        except BaseException:
            self.reopen(pointer)
            raise
        return pointer

    def reopen(self, pointer: c_void_p) -> None:
        """What the pointer stands for was not closed."""
        self._pointers.append(pointer)

    def forget_other_threads(self) -> None:
        """In a fork of the process none of them is there."""
        self._inside.clear()


_gates: "weakref.WeakSet[Gate]" = weakref.WeakSet()


def _in_fork() -> None:
    for gate in list(_gates):
        gate.forget_other_threads()


os.register_at_fork(after_in_child=_in_fork)


def text_of(function: Callable[..., int], pointer: c_void_p) -> str:
    """The text that a function of the library gives for a handle."""
    text, size = c_void_p(), c_size_t()
    check(function(pointer, byref(text), byref(size)))
    return taken(text, size)


def taken(text: c_void_p, size: c_size_t) -> str:
    """A text of the library, freed there."""
    try:
        return string_at(text, size.value).decode("utf-8")
    finally:
        native.diamond_free(text)
