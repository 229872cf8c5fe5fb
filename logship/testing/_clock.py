"""A clock that a test moves, so that a test of timing need not wait."""

from __future__ import annotations


class ManualClock:
    """Replaces `time.monotonic`: call it to read it.

    Args:
        seconds: The initial time.
    """

    def __init__(self, seconds: float = 1000.0) -> None:
        self.seconds: float = seconds

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            ValueError: `seconds` is negative; a monotonic clock does not go back.
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot be moved by {seconds} s; it must not be negative")
        self.seconds += seconds
