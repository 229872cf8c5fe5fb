"""Decides when a drain goes on, when it begins to spill, and when it is over. PURE.

Three things limit a drain: the stop deadline, where a clock runs; the patience with a sidecar that
acks nothing; and the time that it takes to write the rest to stderr, which is reserved before the
deadline. While the application logs, that time grows, and it may grow faster than what is left. So
the spill may begin before intake closes. If the sidecar comes back, what was written early is only
a second copy. All of this is arithmetic on a few numbers, apart from threads and loops, so that a
test can show every case.
"""

from enum import Enum, auto
from typing import NamedTuple, Self

from logship._spelling import many

SPILL_SECONDS_PER_BYTE = 5e-8
"""The least cost of a spill: 24 µs for a line of 480 bytes. Without a load it takes 12 µs."""

RESERVE_SECONDS_MIN = 0.5
RESERVE_SECONDS_MIN_ACKING = 0.2
"""The same while acks come in. It is then for the few chunks in flight, in case the acks stop."""

CLOSE_SECONDS_ACKING = 0.1
"""While acks come in, intake closes so long before the reserve begins, so that the last chunk can
be sent and acked."""

NEVER_CONNECTED_SECONDS = 3.0
"""How long a program that ends by itself waits for a sidecar that it has never reached, once it has
tried all endpoints."""

ENDS_SECONDS_MAX = 3.0
"""How long end records are waited for, from the last ack on. Nothing of the application is lost
with them, and a client looks for a sidecar that is gone four times a second."""

EARLY_SPILL_SECONDS_MIN = 3.0
EARLY_SPILL_SHARE = 0.2

SILENCE_SECONDS_MIN = 0.3
SILENCE_SHARE = 0.05
"""A sidecar that takes nothing for this time, although chunks are sent, may be gone."""

SILENCE_INTERVALS = 3.0
"""A pause of up to this many times the usual time between two acks is not silence: a slow sidecar
needs half a second for a chunk. At most `EARLY_SPILL_SHARE` of the time."""

AHEAD_FACTOR = 4.0
"""The spill of what will not be acked by the deadline begins when this many times its cost just
fits in the time that is left."""

ACKED_SHARE = 0.8
"""The share that counts as acked of what a sidecar would take by the deadline at its present rate.
The rest is for its pauses."""

AHEAD_FACTOR_ACKED = 2.0
"""If acks stop, what counted as acked must be written too. So the spill begins at the latest when
this many times the cost of all just fits in the time that is left."""

AHEAD_FACTOR_SILENT = 10.0
"""The same while the sidecar takes nothing. Then stderr is the only way out, and until the spill is
under way its cost is an estimate from quieter times. On a busy machine it was five times as high,
and half of the time belongs to the application's own threads."""

FULL_SHARE_SILENT = 0.5
"""A buffer that is this full is written at once while the sidecar takes nothing. Records on stderr
make room, so that no sender waits for long or is refused."""

CLOSE_FACTOR_SILENT = 2.0
CLOSE_SECONDS_SILENT = 0.25
"""Intake closes when this many times the spill's cost, plus this many seconds, are left. Each
thread then writes what it logs by itself, no faster than stderr takes it, and the spill writes all
older records. The constant allows for how late a busy machine wakes a thread."""

CHECK_SECONDS_MAX = 0.5
CHECK_SECONDS_MIN = 0.01
CHECK_SHARE = 0.02
"""While the application logs, this share of the time left passes between two checks."""


class Step(Enum):
    """What to do now."""

    WAIT = auto()
    SPILL = auto()  # and go on sending
    OVER = auto()


class Progress(NamedTuple):
    """How sending goes.

    Attributes:
        last_ack_seconds: When the last ack came, or None; monotonic.
        is_hopeful: Whether this process ever reached a sidecar, or one of several endpoints was not
            tried yet.
        bytes_to_spill: Bytes of entries that are neither acked nor on stderr.
        spill_seconds_per_byte: What writing one of them to stderr costs.
        silent_seconds: How long the sidecar has taken nothing of what it is to take.
        full_share: How full the buffer is, of one.
        acked_bytes_per_second: What the sidecar took lately, while it had something to take.
        ack_interval_seconds: The usual time between two acks.
        unanswered: What to tell of an attempt to connect that is under way; empty if none is.
        only_ends: Whether neither a record waits nor a gap record: no number is missing without the
            rest.
    """

    last_ack_seconds: float | None
    is_hopeful: bool
    bytes_to_spill: int
    spill_seconds_per_byte: float = SPILL_SECONDS_PER_BYTE
    silent_seconds: float = 0.0
    full_share: float = 0.0
    acked_bytes_per_second: float = 0.0
    ack_interval_seconds: float = 0.0
    unanswered: str = ""
    only_ends: bool = False

    @property
    def spill_seconds(self) -> float:
        """How long the spill of all that would take."""
        return self.bytes_to_spill * self.spill_seconds_per_byte


class DrainPlan(NamedTuple):
    """The limits of one drain; times are monotonic seconds.

    Attributes:
        started_seconds: When the drain began.
        deadline_seconds: When it must be over, spill included.
        stall_seconds: How long it goes on without an ack before it spills early.
        give_up_when_stalled: Whether it ends after an early spill instead of waiting for the
            deadline. A program that ends by itself should end.
        ends_process: Whether the process is to be over at the deadline.
    """

    started_seconds: float
    deadline_seconds: float
    stall_seconds: float
    give_up_when_stalled: bool = False
    ends_process: bool = False

    @classmethod
    def until(
        cls, now_seconds: float, deadline_seconds: float, *, ends_process: bool = False
    ) -> Self:
        """Return the plan of a drain with a deadline: a stop clock, or a caller's timeout."""
        budget = max(0.0, deadline_seconds - now_seconds)
        return cls(
            started_seconds=now_seconds,
            deadline_seconds=deadline_seconds,
            stall_seconds=max(EARLY_SPILL_SECONDS_MIN, EARLY_SPILL_SHARE * budget),
            ends_process=ends_process,
        )

    @classmethod
    def by_itself(cls, now_seconds: float, stall_seconds: float, seconds_max: float) -> Self:
        """Return the plan of a program that ends by itself: it goes on while acks come in."""
        return cls(
            started_seconds=now_seconds,
            deadline_seconds=now_seconds + seconds_max,
            stall_seconds=stall_seconds,
            give_up_when_stalled=True,
        )

    def step_while_logging(self, now_seconds: float, progress: Progress) -> Step:
        """Return what to do while intake is open; `OVER` means that it must close."""
        left = self.deadline_seconds - now_seconds
        if now_seconds >= self._intake_ends_seconds(progress):
            return Step.OVER
        closing_seconds = CLOSE_SECONDS_SILENT + CLOSE_FACTOR_SILENT * progress.spill_seconds
        if self.is_silent(progress) and left <= closing_seconds:
            return Step.OVER
        is_full = self.is_silent(progress) and progress.full_share >= FULL_SHARE_SILENT
        return Step.SPILL if is_full or left <= self._ahead_seconds(progress) else Step.WAIT

    def wait_seconds_while_logging(self, now_seconds: float) -> float:
        """Return how long the next check may wait while intake is open."""
        share = CHECK_SHARE * (self.deadline_seconds - now_seconds)
        return min(max(CHECK_SECONDS_MIN, share), CHECK_SECONDS_MAX)

    def limited(self, progress: Progress) -> Self:
        """Return the plan of what waits now: a shorter one if that is only end records."""
        if not progress.only_ends:
            return self
        ends = self._last_ack_seconds(progress) + ENDS_SECONDS_MAX
        return self._replace(deadline_seconds=min(self.deadline_seconds, ends))

    def step(self, now_seconds: float, progress: Progress) -> Step:
        """Return what to do now, once intake is closed."""
        if now_seconds >= self.deadline_seconds:
            return Step.OVER
        if now_seconds >= self.spill_at_seconds(progress):
            return Step.SPILL
        return Step.WAIT

    @property
    def has_only_the_reserve(self) -> bool:
        """Whether it began so late before a process's end that all its time is for the spill."""
        budget = self.deadline_seconds - self.started_seconds
        return self.ends_process and budget <= RESERVE_SECONDS_MIN

    def spill_at_seconds(self, progress: Progress) -> float:
        """Return when to begin the spill, if no further ack comes."""
        if self.has_only_the_reserve and self.is_silent(progress):
            return self.started_seconds
        stalled_at = self._stalled_at_seconds(progress)
        ahead = self._ahead_seconds(progress)
        kept = max(self.reserve_seconds(progress), ahead)
        kept_acking = max(self.reserve_seconds(progress, RESERVE_SECONDS_MIN_ACKING), ahead)
        return min(stalled_at, self._begins_seconds(progress, kept, kept_acking))

    def gives_up(self, now_seconds: float, progress: Progress) -> bool:
        """Return whether a program that ends by itself waits for this sidecar no longer."""
        return self.give_up_when_stalled and now_seconds >= self._stalled_at_seconds(progress)

    def reserve_seconds(
        self, progress: Progress, least_seconds: float = RESERVE_SECONDS_MIN
    ) -> float:
        """Return the time to keep for the spill, at most half of all there is."""
        wanted = max(least_seconds, progress.spill_seconds)
        return min(wanted, (self.deadline_seconds - self.started_seconds) / 2)

    def wait_seconds(self, now_seconds: float, progress: Progress) -> float:
        """Return how long the next check may wait."""
        due = min(self.spill_at_seconds(progress), self.deadline_seconds)
        if not self.is_silent(progress):
            due = min(due, now_seconds + SILENCE_SECONDS_MIN)
        return min(max(0.0, due - now_seconds), CHECK_SECONDS_MAX)

    def reason_to_spill(self, now_seconds: float, progress: Progress, records: int) -> str:
        """Return in one line how many of the waiting records go to stderr early, and why."""
        if self.give_up_when_stalled:
            waited = f"giving up on the sidecar after {now_seconds - self.started_seconds:.1f} s"
            what = "what is left goes to stderr"
            if not records:
                what = "only control records are left, and go to stderr"
            is_new = progress.last_ack_seconds is None
            hint = " (is none meant to run here? set LOGSHIP_DISABLED=1)" if is_new else ""
            return f"{waited}{progress.unanswered}; {what}{hint}"
        left, rate = self.deadline_seconds - now_seconds, progress.acked_bytes_per_second
        if not records:
            return f"{left:.1f} s are left: only control records wait; they are written to stderr"
        if self.is_silent(progress):
            why = f"the sidecar acknowledges nothing{progress.unanswered}"
            return f"{why}: {_written(records)}"
        if left <= self.reserve_seconds(progress):
            return f"{left:.1f} s are left: {_written(records)}"
        acked = min(1.0, ACKED_SHARE * rate * left / max(1, progress.bytes_to_spill))
        if acked == 1.0:
            return (
                f"writing the {records:,} records that wait would take half of the {left:.1f} s "
                "that are left; some go to stderr now, in case the sidecar takes no more"
            )
        return (
            f"in the {left:.1f} s that are left the sidecar will not take about "
            f"{records * (1 - acked):,.0f} of the {records:,} waiting records (it takes "
            f"{rate:,.0f} bytes a second): those are written to stderr"
        )

    def is_acking(self, progress: Progress) -> bool:
        """Return whether acks come in. They begin at the oldest record, so a spill does not."""
        return progress.acked_bytes_per_second > 0 and not self.is_silent(progress)

    def is_silent(self, progress: Progress) -> bool:
        """Return whether the sidecar may be gone."""
        budget = self.deadline_seconds - self.started_seconds
        pause = min(SILENCE_INTERVALS * progress.ack_interval_seconds, EARLY_SPILL_SHARE * budget)
        return progress.silent_seconds >= max(SILENCE_SECONDS_MIN, SILENCE_SHARE * budget, pause)

    def _intake_ends_seconds(self, progress: Progress) -> float:
        kept = self.reserve_seconds(progress)
        least = RESERVE_SECONDS_MIN_ACKING + CLOSE_SECONDS_ACKING
        return self._begins_seconds(progress, kept, self.reserve_seconds(progress, least))

    def _begins_seconds(self, progress: Progress, kept: float, kept_acking: float) -> float:
        """Return when `kept` seconds are left, or `kept_acking` ones while acks come in."""
        begins = self.deadline_seconds - kept
        if progress.last_ack_seconds is None:
            return begins
        no_longer_acking = progress.last_ack_seconds + SILENCE_SECONDS_MIN
        return max(begins, min(no_longer_acking, self.deadline_seconds - kept_acking))

    def _last_ack_seconds(self, progress: Progress) -> float:
        """Return when the last ack of this drain came; when it began, if there was none."""
        return max(self.started_seconds, progress.last_ack_seconds or self.started_seconds)

    def _stalled_at_seconds(self, progress: Progress) -> float:
        return self._last_ack_seconds(progress) + self._patience_seconds(progress)

    def _ahead_seconds(self, progress: Progress) -> float:
        if self.give_up_when_stalled:  # the spill ends this drain
            return 0.0
        if self.is_silent(progress):
            return AHEAD_FACTOR_SILENT * progress.spill_seconds
        wanted = AHEAD_FACTOR * progress.spill_seconds
        # Less time is wanted for the bytes that are acked during that time: the solution of
        # wanted = AHEAD_FACTOR * (the cost of all - the cost of what is acked in `wanted` seconds).
        acked_cost = ACKED_SHARE * progress.acked_bytes_per_second * progress.spill_seconds_per_byte
        wanted /= 1 + AHEAD_FACTOR * acked_cost
        return max(wanted, AHEAD_FACTOR_ACKED * progress.spill_seconds)

    def _patience_seconds(self, progress: Progress) -> float:
        if self.give_up_when_stalled and not progress.is_hopeful:
            return min(NEVER_CONNECTED_SECONDS, self.stall_seconds)
        return self.stall_seconds


def _written(records: int) -> str:
    verb = "is" if records == 1 else "are"
    return f"{many(records, 'waiting record')} {verb} written to stderr"
