"""The stop clock: when it began, and when the process will be killed.

A signal handler starts it, so it takes no lock: it is one attribute, assigned once.
"""

from collections.abc import Callable
from typing import NamedTuple

_MARGIN_SHARE = 0.1
_MARGIN_SECONDS_MAX = 1.0


def margin_seconds(stop_timeout_seconds: float) -> float:
    """Return the time before SIGKILL in which nothing is drained any more.

    It is for the orchestrator's own delay, and for the last lines of the process itself.
    """
    return min(_MARGIN_SECONDS_MAX, stop_timeout_seconds * _MARGIN_SHARE)


class Started(NamedTuple):
    """When a clock began (monotonic), and the reason in the report, such as `SIGTERM`."""

    at_seconds: float
    reason: str


class StopClock:
    """Runs from the first stop signal on; later ones change nothing.

    Args:
        stop_timeout_seconds: Between the stop signal and SIGKILL.
        told_deadline: Returns the true deadline if `logship run` has set one, else None.
    """

    def __init__(
        self, stop_timeout_seconds: float, told_deadline: Callable[[], float | None] = lambda: None
    ) -> None:
        self._stop_timeout_seconds = stop_timeout_seconds
        self.told_deadline = told_deadline
        self.started: Started | None = None

    def start(self, started: Started) -> None:
        """Start it, unless it runs already."""
        if self.started is None:
            self.started = started

    @property
    def deadline_seconds(self) -> float | None:
        """When the drain must be over, monotonic; None before the start."""
        if self.started is None:
            return None
        told = self.told_deadline()
        if told is not None:
            return told
        timeout = self._stop_timeout_seconds
        return self.started.at_seconds + timeout - margin_seconds(timeout)
