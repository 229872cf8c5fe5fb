"""Ends of a client, step by step on a clock that the test moves, and what they write to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from logship._buffer.buffer import Buffer
from logship._buffer.entrance import Outcome
from logship._client.closing import Closing
from logship._delivery.drain import SPILL_SECONDS_PER_BYTE, DrainPlan, Progress
from logship._stderr.spill import Spill
from logship.testing import ManualClock
from tests.unit.accounts import Sink, a_buffer, body
from tests.unit.clients import Stderr


class Shipper:
    """A client as its end sees it."""

    def __init__(self, clock: ManualClock, last_resort: Any, *, spills: bool = True) -> None:
        self.buffer: Buffer = a_buffer(monotonic=clock)
        self.last_resort = last_resort
        spill = Spill(self.buffer.spilling, last_resort, clock)
        self.spill = spill if spills else None
        self.sink = Sink(self.buffer)
        self.broken = False
        self.last_ack_seconds: float | None = None
        self.silent_seconds = 0.0
        self.spill_seconds_per_byte = SPILL_SECONDS_PER_BYTE
        self.hurried: list[DrainPlan] = []

    def progress(self) -> Progress:
        return Progress(
            self.last_ack_seconds,
            True,
            self.buffer.spilling.bytes_to_spill,
            self.spill_seconds_per_byte,
            self.silent_seconds,
            only_ends=self.buffer.only_ends_wait,
        )

    def hurry(self, plan: DrainPlan) -> None:
        self.hurried.append(plan)


class End:
    """An end under way."""

    def __init__(self, stderr: Stderr, **options: Any) -> None:
        self.clock = ManualClock(0.0)
        last_resort = options.pop("last_resort", None) or stderr.last_resort()
        self.shipper = Shipper(self.clock, last_resort, spills=options.pop("spills", True))
        characters = options.pop("characters", 20)
        for number in range(1, 11):
            assert self.shipper.buffer.offer("t", body(number, characters)) is Outcome.ACCEPTED
        plan = options.pop("plan", DrainPlan.until(0.0, 30.0))
        self.closing = Closing(
            self.shipper, always_report=options.pop("always_report", False), monotonic=self.clock
        )
        self.closing.join(plan, "test")
        self.steps = self.closing.steps()

    def ack_all(self) -> None:
        """Have the sidecar ack all that was logged so far; the end record comes later."""
        self.shipper.buffer.seal_all()
        self.shipper.sink.drain()
        self.shipper.last_ack_seconds = self.clock()

    def walk(self) -> Iterator[float]:
        """Drive it, waiting as told; yield each wait."""
        for wait_seconds in self.steps:
            yield wait_seconds
            self.clock.advance(max(wait_seconds, 0.001))

    def run(self, *, ack_at_seconds: float | None = None) -> float:
        """Drive it, waiting as told; return when it was over."""
        for wait_seconds in self.steps:
            assert 0 <= wait_seconds <= 0.5
            self.clock.advance(max(wait_seconds, 0.001))
            if ack_at_seconds is not None and self.clock() >= ack_at_seconds:
                self.shipper.sink.drain()
        return self.clock()


class Stalled:
    """A standard error that takes nothing."""

    torn = False
    is_gone = False
    has_stopped_others = False

    def __init__(self) -> None:
        self.tries = 0
        self.steps_back = 0

    def write_line(self, _: bytes) -> bool:
        self.tries += 1
        return False

    def go_first(self, line: bytes) -> bool:
        return self.write_line(line)

    def step_back(self) -> None:
        self.steps_back += 1

    def begin_spill(self, *, all_callers_wait: bool) -> None:
        pass

    def end_spill(self) -> None:
        pass

    def write_lines(self, _: Sequence[bytes]) -> int:
        self.tries += 1
        return 0

    def warn(self, *_: Any) -> None:
        pass


class Gone(Stalled):
    """A standard error that no process will ever read again."""

    is_gone = True
