"""Calls back later on the simulated clock, as the event loop does for the product."""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.simulation.clock import VirtualClock


class SimulatedSchedule:
    """The pump's schedule (`pump.Schedule`) of one process life.

    Args:
        clock: The history's.
        late: Returns how many seconds later the next timer rings than it should.

    Attributes:
        timer_seconds: When the last timer that was set rings; infinite once it has rung.
        is_dead: Whether the process was killed: nothing is called back any more.
    """

    def __init__(self, clock: VirtualClock, late: Callable[[], float] = lambda: 0.0) -> None:
        self._clock = clock
        self._late = late
        self.timer_seconds = math.inf
        self.is_dead = False

    def soon(self, callback: Callable[[], None]) -> None:
        self.after(0.0, callback)

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back after a while, if the process still lives then."""
        self._clock.after(seconds, self._unless_dead, callback)

    def at(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back at this time; return what takes it back."""
        timer = [callback]
        self.timer_seconds = seconds
        self._clock.at(max(seconds, self._clock.now) + self._late(), self._ring, timer)
        return timer.clear

    def _ring(self, timer: list[Callable[[], None]]) -> None:
        if timer and not self.is_dead:
            self.timer_seconds = math.inf
            timer[0]()
        else:
            self._clock.events -= 1  # it was taken back

    def _unless_dead(self, callback: Callable[[], None]) -> None:
        if not self.is_dead:
            callback()
