"""How awaited commits become durable together.

A commit says NO_WAIT and gets its lsn; one thread waits for the highest lsn there is, and with it all earlier ones
are durable. So a thousand awaited saves share a few syncs of the disk, as those of a thousand threads would.
"""

from __future__ import annotations

import asyncio
import threading
from ctypes import c_void_p, create_string_buffer
from queue import Empty, SimpleQueue
from typing import Dict, List, NamedTuple, Optional

from . import _native as native
from ._handle import Gate
from .errors import DiamondError, failure

FOREVER = 2**32 - 1
ERROR_SIZE = 1024


class Waiting(NamedTuple):
    """Somebody awaits the commit."""

    lsn: int
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[None]"


class Waiter:
    """Waits for commits on behalf of event loops: on a thread of its own, or on the loop's if the database asks so."""

    def __init__(self, pointer: c_void_p, gate: Gate, *, is_bound: bool) -> None:
        self.is_bound = is_bound
        self._pointer = pointer
        self._gate = gate
        self._queue: "SimpleQueue[Optional[Waiting]]" = SimpleQueue()
        self._bound: List[Waiting] = []
        self._starting = threading.Lock()
        self._thread: Optional[threading.Thread] = None

    async def wait(self, lsn: int) -> None:
        """Until the commit is as durable as the database promises. Raises why it will not become so."""
        # Inside the gate, since whoever closes it then waits for all that is in the queue.
        with self._gate.passed():
            status, error = self._ask(lsn, 0)
            if error is not None:
                raise error
            if status == native.DIAMOND_STATUS_OK:
                return
            loop = asyncio.get_running_loop()
            waiting = Waiting(lsn, loop, loop.create_future())
            if self.is_bound:
                self._wait_later_here(waiting)
            else:
                self._wait_elsewhere(waiting)
        await waiting.future

    def stop(self) -> None:
        """Ends the thread, once it has waited for all that was asked for."""
        self._wait_here()
        if self._thread is not None:
            self._queue.put(None)
            if self._thread is not threading.current_thread():
                self._thread.join()

    def _wait_elsewhere(self, waiting: Waiting) -> None:
        self._queue.put(waiting)
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="diamonddb-waiter", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            group = [self._queue.get()]
            try:
                while True:
                    group.append(self._queue.get_nowait())
            except Empty:
                pass
            goes_on = None not in group
            self._wait_for([waiting for waiting in group if waiting is not None])

    def _wait_later_here(self, waiting: Waiting) -> None:
        """After all that is ready on this loop has run, since those commits can share the wait."""
        self._bound.append(waiting)
        if len(self._bound) == 1:
            waiting.loop.call_soon(self._wait_here)

    def _wait_here(self) -> None:
        group, self._bound = self._bound, []
        self._wait_for(group)

    def _wait_for(self, group: List[Waiting]) -> None:
        if not group:
            return
        status, error = self._ask(max(waiting.lsn for waiting in group), FOREVER)
        outcomes = {waiting.lsn: self._ask(waiting.lsn, 0)[1] if status else None for waiting in group}
        loops: Dict[asyncio.AbstractEventLoop, List[Waiting]] = {}
        for waiting in group:
            loops.setdefault(waiting.loop, []).append(waiting)
        for loop, members in loops.items():
            try:
                loop.call_soon_threadsafe(_settle, members, outcomes)
            except RuntimeError:
                pass  # The loop was closed, and nobody awaits there any more.

    def _ask(self, lsn: int, timeout_ms: int) -> "tuple[int, Optional[DiamondError]]":
        """The status, and its exception if it is neither OK nor for lack of time."""
        text = create_string_buffer(ERROR_SIZE)
        status = native.diamond_wait_durable(self._pointer, lsn, timeout_ms, text, ERROR_SIZE)
        if status in (native.DIAMOND_STATUS_OK, native.DIAMOND_STATUS_TIMEOUT):
            return status, None
        return status, failure(status, text.value.decode("utf-8", "replace"))


def _settle(members: List[Waiting], outcomes: "Dict[int, Optional[DiamondError]]") -> None:
    for lsn, _, future in members:
        if future.done():
            continue  # Its task was cancelled; the commit stays.
        error = outcomes[lsn]
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
