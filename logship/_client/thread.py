"""The thread with an event loop that a shipper runs on, in programs without a loop and all others.

It inherits nothing: its context is empty, and its loop does not log in development mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import NoReturn

from logship._client.schedule import last_turns, new_loop
from logship._client.shipper import Shipper
from logship._hooks.interruptions import is_interruption
from logship._hooks.threads import OwnThread

_RETRY_SECONDS = 0.2
_LOOK_SECONDS = 1.0
"""How often a loop without work wakes. Where the program has closed its descriptors, the kernel
lets it sleep on, and nothing else could wake it."""

_failed_loops: list[asyncio.AbstractEventLoop] = []
"""Loops that nothing may close. A program may close all descriptors, as daemons do. Their numbers
then stand for its own files, and a loop's destructor would close these."""


class ShipperThread(OwnThread):
    """A daemon thread for one shipper.

    Args:
        shipper: Runs here.
    """

    def __init__(self, shipper: Shipper) -> None:
        super().__init__(self._ship, "shipper")
        self._shipper = shipper
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_ending = False

    def start(self) -> None:
        """Start it. Where that is impossible, the shipper breaks down.

        The loop is made before, so that `is_shipping` is true at once. Where there are no
        descriptors for it, the thread makes it as soon as there are.
        """
        self._make_loop()
        try:
            self._shipper.prepare()
            super().start()
        except (RuntimeError, OSError) as error:  # at interpreter exit, and out of threads
            if is_interruption(error):
                raise
            if self._loop is not None:
                self._loop.close()
            self._shipper.break_down(f"cannot start the shipper's threads: {error}")

    @property
    def is_shipping(self) -> bool:
        """Whether its loop runs, and nothing has told it to end."""
        return self._loop is not None and self.is_alive() and not self._is_ending

    def stop(self, seconds_max: float) -> None:
        """End it, and wait for that a moment, because application code may hold it for ever."""
        self._is_ending = True
        if self.is_alive():
            self._stop_soon()
            if threading.current_thread() is not self:
                self.join(seconds_max)

    def _make_loop(self) -> None:
        """Make the loop, unless there are no descriptors for it."""
        try:
            self._loop = new_loop()
        except OSError as error:
            text = f"cannot ship yet: {error}; it tries again, and records wait in the buffer"
            self._shipper.last_resort.warn("loop", text)

    def _ship(self) -> None:
        loop = self._wait_for_loop()
        if loop is None:
            return
        asyncio.set_event_loop(loop)
        loop.call_soon(self._shipper.start)
        loop.call_soon(_wake_often, loop)
        if self._is_ending:  # `stop` may have found no loop
            self._stop_soon()
        try:
            loop.run_forever()
            loop.run_until_complete(_cancel_others())
        except BaseException as error:  # noqa: BLE001 - the program may have closed its descriptors
            self._abandon(loop, error)
        else:
            loop.close()

    def _wait_for_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the loop; None where this thread is to end before there is one."""
        while self._loop is None:
            time.sleep(_RETRY_SECONDS)
            if self._is_ending:
                self._shipper.shut()
                return None
            self._make_loop()
        return self._loop

    def _abandon(self, loop: asyncio.AbstractEventLoop, error: BaseException) -> None:
        """Have nothing use a loop any more that has failed, and let calls go that wait for it."""
        _failed_loops.append(loop)
        self._loop = None
        loop.call_soon_threadsafe = _refuse  # type: ignore[method-assign]
        self._shipper.break_down(f"the shipper's event loop has failed: {error}")

    def _stop_soon(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(self._stop_here)

    def _stop_here(self) -> None:
        """End the loop, once: a second thread that ends the client may have asked for it too."""
        loop, self._loop = self._loop, None
        if loop is not None:
            self._shipper.shut()
            loop.stop()


def _wake_often(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop ask its selector again and again: a closed one fails."""
    loop.call_later(_LOOK_SECONDS, _wake_often, loop)


def _refuse(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("the event loop has failed")


async def _cancel_others() -> None:
    """End what still waits on this loop, and let closed sockets go."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await last_turns()
