"""Where a client tries to connect, and when. PURE."""

from __future__ import annotations

from collections.abc import Callable

from logship._settings import Endpoint

UNANSWERED_SECONDS = 1.0
"""An attempt that failed after so long had no answer: a server that refuses does so at once."""

UNANSWERED_FAILURES = 32
"""The wait after it is that after so many failures: any time up to the longest.

All clients of a server that is gone give up at the same time. With the short waits of the first
failures they would all try again at the same time too, once in each connect timeout.
"""

DRAIN_WAIT_SECONDS_MAX = 0.25
"""The longest wait between two attempts once the process is to end."""

_REASONS_MAX = 16
"""How many reasons of failures are told apart."""


class Attempts:
    """One client's attempts to connect.

    Args:
        endpoints: Where to connect, in order of preference.
        retry_wait_seconds: The wait after the n-th failure in a row (n from 1).
        return_wait_seconds: Draws how long another endpoint is used before the first one is tried
            again, while no chunk is in flight.

    Attributes:
        failures: Attempts and connections in a row that brought no ack.
        due_seconds: When the next attempt is made.
        return_due_seconds: From when on the first endpoint is tried again.
    """

    def __init__(
        self,
        endpoints: tuple[Endpoint, ...],
        retry_wait_seconds: Callable[[int], float],
        return_wait_seconds: Callable[[], float],
    ) -> None:
        self.failures: int = 0
        self.due_seconds: float = 0.0
        self.return_due_seconds: float = float("inf")
        self._endpoints = endpoints
        self._index = 0
        self._retry_wait_seconds = retry_wait_seconds
        self._return_wait_seconds = return_wait_seconds
        self._wait_seconds_max = float("inf")
        self._outage_began_seconds: float | None = None
        self._reasons: list[str] = []
        self._began_at_seconds = float("inf")  # the first attempt is never taken for unanswered

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the connection, or of the next attempt."""
        return self._endpoints[self._index]

    @property
    def is_at_first(self) -> bool:
        """Whether that is the first endpoint."""
        return self._index == 0

    @property
    def has_untried(self) -> bool:
        """Whether there are several endpoints, and not every one of them has failed yet."""
        return 1 < len(self._endpoints) > self.failures

    def begin(self, now_seconds: float) -> None:
        """Note that an attempt begins after a wait."""
        self._began_at_seconds = now_seconds

    def succeeded(self, now_seconds: float) -> None:
        """Draw when to leave an endpoint that is not the first."""
        if not self.is_at_first:
            self.return_due_seconds = now_seconds + self._return_wait_seconds()

    def failed(self, now_seconds: float) -> None:
        """Wait, then try the next endpoint."""
        is_answer = now_seconds < self._began_at_seconds + UNANSWERED_SECONDS
        self.try_next(now_seconds, 0 if is_answer else UNANSWERED_FAILURES)

    def warning_kind(self, reason: str) -> str:
        """Return the kind of the warning of a failure: one reason is not to hold back another."""
        if reason not in self._reasons:
            self._reasons = [*self._reasons, reason][-_REASONS_MAX:]
        return f"connect {self._reasons.index(reason)}"

    def try_next(self, now_seconds: float, as_after_failures: int = 0) -> None:
        """Wait, then try the next endpoint: a connection that brings no ack is a failure too."""
        self._index = (self._index + 1) % len(self._endpoints)
        self.failures += 1
        wait_seconds = self._retry_wait_seconds(max(self.failures, as_after_failures))
        self.due_seconds = now_seconds + min(wait_seconds, self._wait_seconds_max)

    def note_outage(self, now_seconds: float) -> None:
        """Note that an operator is told of an outage, which may have begun earlier."""
        if self._outage_began_seconds is None:
            self._outage_began_seconds = now_seconds

    def end_outage(self, now_seconds: float) -> float | None:
        """Return how long the outage took that an ack has ended; None if there was none."""
        began, self._outage_began_seconds = self._outage_began_seconds, None
        return None if began is None else now_seconds - began

    def try_at_once(self, now_seconds: float, *, has_stalled: bool = False) -> None:
        """Try the first endpoint at once, or the next one if the last one has stalled."""
        self._index = (self._index + 1) % len(self._endpoints) if has_stalled else 0
        self.due_seconds = now_seconds

    def wait_until(self, seconds: float) -> None:
        """Make no attempt before."""
        self.due_seconds = max(self.due_seconds, seconds)

    def look_often(self, now_seconds: float) -> None:
        """Wait less from now on, because the process is to end."""
        self._wait_seconds_max = DRAIN_WAIT_SECONDS_MAX
        self.due_seconds = min(self.due_seconds, now_seconds + DRAIN_WAIT_SECONDS_MAX)
