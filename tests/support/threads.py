"""Calls in threads of their own; every wait for one is bounded, so that a hang is a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

HANGS_AFTER_SECONDS = 30.0


class Later:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.result: Any = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self.result = call()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.result = error

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> Any:
        """Wait for its end; return what it returned, or the error that it raised."""
        self._thread.join(HANGS_AFTER_SECONDS)
        assert self.is_done, "it hangs"
        return self.result


def in_threads(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Make the call in so many threads at once; return what came of each, or its error."""
    barrier = threading.Barrier(count)

    def run(index: int) -> Any:
        barrier.wait(20)
        return call(index)

    calls = [Later(lambda index=index: run(index)) for index in range(count)]  # type: ignore[misc]
    return [each.join() for each in calls]
