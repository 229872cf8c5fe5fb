"""The thread with an event loop that a shipper runs on, in programs without a loop and all others.

It inherits nothing: its context is empty, and its loop does not log in development mode.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from logship._client.shipper import Shipper
from logship._hooks.threads import OwnThread

_END_SECONDS_MAX = 1.0

_LAST_TURNS = 8
"""Turns of the loop before it is closed: an aborted TLS connection needs several to let go."""

T = TypeVar("T")


class ShipperThread(OwnThread):
    """A daemon thread for one shipper.

    Args:
        shipper: Runs here.
    """

    def __init__(self, shipper: Shipper) -> None:
        super().__init__(self._ship, "shipper")
        self._shipper = shipper
        self._loop = contextvars.Context().run(asyncio.SelectorEventLoop)
        self._loop.set_debug(False)
        self._lock = threading.RLock()
        self._is_ending = False

    def start(self) -> None:
        """Start it. Where that is impossible, the shipper breaks down."""
        try:
            self._shipper.prepare()
            super().start()
        except RuntimeError as error:  # at interpreter exit, and out of threads
            self._loop.close()
            self._shipper.break_down(f"cannot start the shipper's threads: {error}")

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T] | None:
        """Run a coroutine on the loop; None where that has ended or is about to."""
        with self._lock:  # whatever is submitted comes before the stop, and so will be cancelled
            if self.is_alive() and not self._is_ending:
                return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        coroutine.close()
        return None

    def stop(self) -> None:
        """End it, and wait for that a moment."""
        with self._lock:
            self._is_ending = True
            if not self.is_alive():
                return
            self._loop.call_soon_threadsafe(self._stop_here)
        if threading.current_thread() is not self:
            self.join(_END_SECONDS_MAX)

    def _ship(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._shipper.start)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(_cancel_others())
            self._loop.close()

    def _stop_here(self) -> None:
        self._shipper.shut()
        self._loop.stop()


async def _cancel_others() -> None:
    """End what still waits on this loop, and let closed sockets go."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for _ in range(_LAST_TURNS):
        await asyncio.sleep(0)
