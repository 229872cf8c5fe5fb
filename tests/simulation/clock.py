"""Virtual time: a queue of what happens when, in an order that depends on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

_EPOCH_NS = 1_700_000_000_000_000_000


class VirtualClock:
    """Seconds that pass only when the next event is due.

    Attributes:
        now: Virtual seconds.
        events: How many events have happened; a timer that was set anew is none.
    """

    __slots__ = ("_queue", "_serial", "events", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self._serial = 0
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return _EPOCH_NS + int(self.now * 1e9)

    def at(self, seconds: float, do: Callable[..., None], *arguments: Any) -> None:
        """Arrange for `do` at this time; what is due at the same time keeps its order."""
        self._serial += 1
        heappush(self._queue, (seconds, self._serial, do, arguments))

    def after(self, seconds: float, do: Callable[..., None], *arguments: Any) -> None:
        self._serial += 1
        heappush(self._queue, (self.now + seconds, self._serial, do, arguments))

    def step(self) -> bool:
        """Let the next event happen; False if there is none."""
        if not self._queue:
            return False
        due, _, do, arguments = heappop(self._queue)
        if due > self.now:  # noqa: PLR1730 - `max` costs a call; it is less where an event took time itself
            self.now = due
        self.events += 1
        do(*arguments)
        return True
