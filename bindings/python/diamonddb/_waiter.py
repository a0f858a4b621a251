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
    """Waits for commits on behalf of event loops: on a thread of its own, or on the loop's if the database asks so.

    What is committed in one turn of a loop is handed over at its end, so that it is waited for together.
    """

    def __init__(self, pointer: c_void_p, gate: Gate, *, is_bound: bool, is_promised: bool) -> None:
        self.is_bound = is_bound
        # Else nothing is promised of a commit that has returned, so there is nothing to wait for.
        self._is_promised = is_promised
        self._pointer = pointer
        self._gate = gate
        self._turns: Dict[asyncio.AbstractEventLoop, List[Waiting]] = {}
        self._queue: "SimpleQueue[Optional[List[Waiting]]]" = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: Optional[threading.Thread] = None

    async def wait(self, lsn: int) -> None:
        """Until the commit is as durable as the database promises. Raises why it will not become so."""
        await self._gate.call(lambda _: self.register(lsn))

    def register(self, lsn: int) -> "asyncio.Future[None]":
        """What to await for the commit. Called inside the gate: whoever shuts it then serves all who are registered."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(lsn, loop, loop.create_future())
        if not self._is_promised:
            waiting.future.set_result(None)
            return waiting.future
        turn = self._turns.get(loop)
        if turn is None:
            self._turns[loop] = [waiting]
            loop.call_soon(self._hand_over, loop)
        else:
            turn.append(waiting)
        return waiting.future

    def stop(self) -> None:
        """Ends the thread, once it has waited for all who are registered."""
        for loop in list(self._turns):
            self._hand_over(loop)
        if self._thread is not None:
            self._queue.put(None)
            if self._thread is not threading.current_thread():
                self._thread.join()

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        turn = self._turns.pop(loop, None)
        if turn is None:
            return
        if self.is_bound:
            self._wait_for(turn)
            return
        self._queue.put(turn)
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="diamonddb-waiter", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            turns = [self._queue.get()]
            try:
                while True:
                    turns.append(self._queue.get_nowait())
            except Empty:
                pass
            goes_on = None not in turns
            self._wait_for([waiting for turn in turns if turn is not None for waiting in turn])

    def _wait_for(self, group: List[Waiting]) -> None:
        if not group:
            return
        error = self._outcome(max(waiting.lsn for waiting in group))
        # The highest cannot become durable; of each before it one must ask.
        outcomes = {waiting.lsn: self._outcome(waiting.lsn) if error else None for waiting in group}
        loops: Dict[asyncio.AbstractEventLoop, List[Waiting]] = {}
        for waiting in group:
            loops.setdefault(waiting.loop, []).append(waiting)
        for loop, members in loops.items():
            try:
                loop.call_soon_threadsafe(_settle, members, outcomes)
            except RuntimeError:
                pass  # The loop was closed, and nobody awaits there any more.

    def _outcome(self, lsn: int) -> Optional[DiamondError]:
        """Waits for the commit; the exception where that did not end well."""
        text = create_string_buffer(ERROR_SIZE)
        status = native.diamond_wait_durable(self._pointer, lsn, FOREVER, text, ERROR_SIZE)
        return failure(status, text.value.decode("utf-8", "replace")) if status else None


def _settle(members: List[Waiting], outcomes: "Dict[int, Optional[DiamondError]]") -> None:
    for lsn, _, future in members:
        if future.done():
            continue  # Its task was cancelled; the commit stays.
        error = outcomes[lsn]
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
