"""When a drain goes on, when it begins to spill, and when it is over. PURE.

Three things limit a drain: the stop deadline, where a clock runs; the patience with a sidecar
that acks nothing; and the time that writing the rest to stderr needs, which must be reserved
before the deadline or it is not there. All of that is arithmetic on a few numbers, kept apart
from threads and loops so that every case can be shown in a test.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

SPILL_SECONDS_PER_BYTE = 5e-8
"""What a spill costs at least: 24 µs for a line of 480 bytes; without a load it takes 12."""

RESERVE_SECONDS_MIN = 0.5
NEVER_CONNECTED_SECONDS = 3.0
"""So long a program that ends by itself waits for a sidecar that it has never reached."""

EARLY_SPILL_SECONDS_MIN = 3.0
EARLY_SPILL_SHARE = 0.2

CHECK_SECONDS_MAX = 0.5


class Step(Enum):
    """What to do now."""

    WAIT = auto()
    SPILL = auto()  # and go on sending
    OVER = auto()


class Progress(NamedTuple):
    """How sending goes.

    Attributes:
        last_ack_seconds: When the last ack came, or None; monotonic.
        ever_connected: Whether this process ever reached a sidecar.
        bytes_held: Bytes of entries that are not acked.
        spill_seconds_per_byte: What writing one of them to stderr costs.
    """

    last_ack_seconds: float | None
    ever_connected: bool
    bytes_held: int
    spill_seconds_per_byte: float = SPILL_SECONDS_PER_BYTE


class DrainPlan(NamedTuple):
    """The limits of one drain; times are monotonic seconds.

    Attributes:
        started_seconds: When the drain began.
        deadline_seconds: When it must be over, spill included.
        stall_seconds: So long without an ack it goes on before it spills early.
        give_up_when_stalled: Whether it ends after an early spill instead of waiting for the
            deadline: a program that ends by itself has no clock, and should end.
    """

    started_seconds: float
    deadline_seconds: float
    stall_seconds: float
    give_up_when_stalled: bool = False

    @classmethod
    def until(cls, now_seconds: float, deadline_seconds: float) -> DrainPlan:
        """Return the plan of a drain with a deadline: a stop clock, or a caller's timeout."""
        budget = max(0.0, deadline_seconds - now_seconds)
        return cls(
            started_seconds=now_seconds,
            deadline_seconds=deadline_seconds,
            stall_seconds=max(EARLY_SPILL_SECONDS_MIN, EARLY_SPILL_SHARE * budget),
        )

    @classmethod
    def by_itself(cls, now_seconds: float, stall_seconds: float, seconds_max: float) -> DrainPlan:
        """Return the plan of a program that ends by itself: as long as acks make progress."""
        return cls(
            started_seconds=now_seconds,
            deadline_seconds=now_seconds + seconds_max,
            stall_seconds=stall_seconds,
            give_up_when_stalled=True,
        )

    def step(self, now_seconds: float, progress: Progress) -> Step:
        """Return what to do now."""
        if now_seconds >= self.deadline_seconds:
            return Step.OVER
        if now_seconds >= self.spill_at_seconds(progress):
            return Step.SPILL
        return Step.WAIT

    def spill_at_seconds(self, progress: Progress) -> float:
        """Return when to begin the spill, if no further ack comes."""
        last = max(self.started_seconds, progress.last_ack_seconds or self.started_seconds)
        stalled_at = last + self._patience_seconds(progress)
        return min(stalled_at, self.deadline_seconds - self.reserve_seconds(progress))

    def reserve_seconds(self, progress: Progress) -> float:
        """Return the time to keep for the spill, at most half of all there is."""
        wanted = max(RESERVE_SECONDS_MIN, progress.bytes_held * progress.spill_seconds_per_byte)
        return min(wanted, (self.deadline_seconds - self.started_seconds) / 2)

    def wait_seconds(self, now_seconds: float, progress: Progress) -> float:
        """Return how long the next check may wait."""
        due = min(self.spill_at_seconds(progress), self.deadline_seconds)
        return min(max(0.0, due - now_seconds), CHECK_SECONDS_MAX)

    def _patience_seconds(self, progress: Progress) -> float:
        if self.give_up_when_stalled and not progress.ever_connected:
            return min(NEVER_CONNECTED_SECONDS, self.stall_seconds)
        return self.stall_seconds
