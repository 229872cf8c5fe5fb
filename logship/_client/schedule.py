"""Calls back on an event loop, each callback guarded: an error in one must not vanish there.

A callback does not run in the context of the code that asked for it, which may hold the objects of
a request. Each has an empty context of its own, since one that is entered cannot be entered again.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
import socket
from collections.abc import Callable

from logship._hooks.interruptions import is_from_outside, is_interruption
from logship._hooks.locking import SectionLock

_LAST_TURNS = 8
"""Turns of a loop after which nothing of an ended connection is left; an aborted TLS connection
needs several."""


async def last_turns() -> None:
    """Let ended attempts, closed sockets and cancelled tasks go, in case the loop is closed now."""
    for _ in range(_LAST_TURNS):
        await asyncio.sleep(0)


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop that has inherited nothing.

    Its descriptors are tried before: asyncio leaves a loop that it could not make to a destructor,
    which complains on stderr.

    Raises:
        OSError: The system has no descriptors for it, or refuses to watch them.
    """
    first, second = socket.socketpair()
    with first, second, selectors.DefaultSelector() as selector:
        first.setblocking(False)
        selector.register(first, selectors.EVENT_READ)
    loop = contextvars.Context().run(asyncio.SelectorEventLoop)
    loop.set_debug(False)
    return loop


class LoopSchedule:
    """The schedule of a pump that runs on an event loop; `failed` is told what a callback raised.

    Attributes:
        loop: The loop, once there is one; until then nothing is called.
        is_of_parent: Whether this is a forked child's copy, which calls nothing any more.
    """

    def __init__(
        self, monotonic: Callable[[], float], failed: Callable[[BaseException], None]
    ) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.is_of_parent = False
        self._monotonic = monotonic
        self._failed = failed
        self._lock = SectionLock()

    @property
    def is_running(self) -> bool:
        """Whether its loop runs."""
        return self.loop is not None and self.loop.is_running()

    def move_here(self) -> bool:
        """Use the running loop from now on, unless another one runs; return whether this is new.

        Loops of several threads may ask for it at the same time.
        """
        return self._lock.run(self._move_here, False)

    def _move_here(self) -> bool:
        if self.is_running:
            return False
        self.loop = asyncio.get_running_loop()
        return True

    def soon(self, callback: Callable[[], None]) -> bool:
        """Call back soon; from any thread. Return whether there is a loop that is not closed."""
        if self.loop is not None:
            try:
                context = contextvars.Context()
                self.loop.call_soon_threadsafe(self.guarded, callback, context=context)
                return True
            except RuntimeError as error:  # the loop is closed
                if is_interruption(error):
                    raise
        return False

    def soon_here(self, callback: Callable[[], None]) -> bool:
        """Call back soon on the loop that runs in this thread; return whether one does."""
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            return False
        here.call_soon_threadsafe(callback, context=contextvars.Context())
        return True

    def on_loop(self, callback: Callable[[], None]) -> None:
        """Call at once, or soon where another thread runs the loop."""
        loop = self.loop
        if loop is None or not loop.is_running() or loop is asyncio.get_running_loop():
            callback()
        else:
            self.soon(callback)

    def at(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back at this time (monotonic seconds); return what takes it back."""
        if self.loop is None or self.loop.is_closed():
            return lambda: None
        wait_seconds = max(0.0, seconds - self._monotonic())
        timer = self.loop.call_later(
            wait_seconds, self.guarded, callback, context=contextvars.Context()
        )
        return timer.cancel

    def drive(self, step: Callable[[], float | None]) -> None:
        """Have the loop do steps until one returns None; others say how long to wait (seconds)."""

        def do_next() -> None:
            wait_seconds = step()
            if wait_seconds is not None:
                self.at(self._monotonic() + wait_seconds, do_next)

        self.soon(do_next)

    def guarded(self, callback: Callable[[], None]) -> None:
        """Call, and tell of an exception: it may have come in the middle of a decision.

        What a signal handler of the application raised here passes to the application.
        """
        if self.is_of_parent:
            return
        try:
            callback()
        except BaseException as error:
            self._failed(error)
            if is_from_outside(error):
                raise
