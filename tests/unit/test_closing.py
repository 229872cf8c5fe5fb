"""The end, step by step on a clock that the test moves: what is waited for, spilled, and said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from logship.buffer.buffer import Buffer, Outcome
from logship.closing import Closing, empty_report
from logship.drain import DrainPlan, Progress
from logship.testing import ManualClock
from tests.unit.accounts import Sink, a_buffer, body
from tests.unit.clients import Stderr


class Shipper:
    """A client as its end sees it."""

    def __init__(self, clock: ManualClock) -> None:
        self.buffer: Buffer = a_buffer(monotonic=clock)
        self.sink = Sink(self.buffer)
        self.broken = False
        self.last_ack_seconds: float | None = None
        self.hurried: list[DrainPlan] = []

    def progress(self) -> Progress:
        return Progress(self.last_ack_seconds, True, self.buffer.bytes_held)

    def hurry(self, plan: DrainPlan) -> None:
        self.hurried.append(plan)


class End:
    """An end under way."""

    def __init__(self, stderr: Stderr, **options: Any) -> None:
        self.clock = ManualClock(0.0)
        self.shipper = Shipper(self.clock)
        for number in range(1, 11):
            assert self.shipper.buffer.offer("t", body(number)) is Outcome.ACCEPTED
        plan = options.pop("plan", DrainPlan.until(0.0, 30.0))
        self.closing = Closing(
            self.shipper,
            plan,
            reason="test",
            last_resort=options.pop("last_resort", stderr.last_resort()),
            spills=options.pop("spills", True),
            always_report=options.pop("always_report", False),
            monotonic=self.clock,
        )
        self.steps = self.closing.steps()

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


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[Stderr]:
    file = Stderr(tmp_path / "stderr")
    yield file
    file.close()


def test_it_is_over_when_all_is_acked_and_nothing_is_said(stderr: Stderr) -> None:
    end = End(stderr)
    assert end.run(ack_at_seconds=1.0) < 2.0
    assert end.closing.report is not None
    assert end.closing.report.all_acked
    assert end.closing.report.reason == "test"
    assert stderr.lines() == []


def test_the_report_is_printed_if_it_was_asked_for(stderr: Stderr) -> None:
    End(stderr, always_report=True).run(ack_at_seconds=1.0)
    assert len(stderr.json("drain report")) == 1


def test_intake_is_closed_first_and_sending_is_hurried(stderr: Stderr) -> None:
    end = End(stderr)
    next(end.steps)
    assert end.shipper.buffer.offer("t", body(99)) is Outcome.CLOSED
    assert len(end.shipper.hurried) == 1


def test_a_stall_begins_the_spill_early_and_sending_goes_on(stderr: Stderr) -> None:
    """Nothing acked for 20 % of the budget: to stderr, numbers first; acks still count."""
    end = End(stderr)
    over = end.run(ack_at_seconds=10.0)
    assert 10.0 <= over < 11.0
    assert len(stderr.json("spilled")) == 11
    first = stderr.lines()[0]
    assert '"spill begins"' in first
    assert '"unacked": [[1, 11]]' in first
    assert end.closing.report is not None
    assert end.closing.report.all_acked


def test_at_the_deadline_it_is_over_whatever_comes(stderr: Stderr) -> None:
    end = End(stderr)
    assert 30.0 <= end.run() < 31.0
    (report,) = stderr.json("drain report")
    assert (report["spilled"], report["unacked"]) == (10, 0)


def test_a_program_that_ends_by_itself_does_not_wait_after_the_spill(stderr: Stderr) -> None:
    end = End(stderr, plan=DrainPlan.by_itself(0.0, 15.0, 120.0))
    assert 15.0 <= end.run() < 16.0
    assert len(stderr.json("spilled")) == 11
    assert "giving up on the sidecar" in stderr.warnings()[0]


def test_without_a_shipper_there_is_nothing_to_wait_for(stderr: Stderr) -> None:
    end = End(stderr)
    end.shipper.broken = True
    assert end.run() < 1.0
    assert len(stderr.json("spilled")) == 11


def test_without_leave_to_spill_records_are_only_named(stderr: Stderr) -> None:
    end = End(stderr, spills=False)
    end.run()
    assert stderr.json("spilled") == []
    (report,) = stderr.json("drain report")
    assert (report["spilled"], report["unacked"]) == (0, 10)
    assert report["streams"][0]["unacked"] == [[1, 11]]


def test_a_sooner_deadline_counts_and_a_later_one_does_not(stderr: Stderr) -> None:
    end = End(stderr)
    next(end.steps)
    end.closing.limit(DrainPlan.until(0.0, 100.0))
    assert end.closing.seconds_left() == 30.0
    end.closing.limit(DrainPlan.until(0.0, 5.0))
    assert end.closing.seconds_left() == 5.0
    assert len(end.shipper.hurried) == 2
    assert 5.0 <= end.run() < 6.0


class Stalled:
    """A standard error that takes nothing."""

    torn = False

    def __init__(self) -> None:
        self.tries = 0

    def write_line(self, _: bytes) -> bool:
        self.tries += 1
        return False

    def go_first(self, line: bytes) -> bool:
        return self.write_line(line)

    def step_back(self) -> None:
        pass

    def write_lines(self, _: Sequence[bytes]) -> int:
        self.tries += 1
        return 0

    def warn(self, *_: Any) -> None:
        pass


def test_a_stalled_stderr_is_tried_until_the_deadline_and_not_counted(stderr: Stderr) -> None:
    stalled = Stalled()
    end = End(stderr, last_resort=stalled)
    assert 30.0 <= end.run() < 31.0
    assert stalled.tries > 100
    assert end.closing.report is not None
    assert (end.closing.report.spilled, end.closing.report.unacked) == (0, 10)


class Slow(Stalled):
    """A standard error that takes a line at every second try."""

    def go_first(self, _: bytes) -> bool:
        return True

    def write_lines(self, lines: Sequence[bytes]) -> int:
        self.tries += 1
        return self.tries % 2


def test_a_full_stderr_is_asked_again_soon_while_somebody_reads_it(stderr: Stderr) -> None:
    """With a fixed pause a pipe of 64 KiB would take that much in each, whoever reads it."""
    end = End(stderr, last_resort=Slow(), plan=DrainPlan.until(0.0, 1.0))
    pauses = [wait_seconds for wait_seconds in end.walk() if wait_seconds < 0.05]
    assert len(pauses) >= 10
    assert max(pauses[:10]) <= 0.002
    stalled = End(stderr, last_resort=Stalled(), plan=DrainPlan.until(0.0, 1.0))
    assert max(wait_seconds for wait_seconds in stalled.walk() if wait_seconds < 0.05) == 0.02


def test_cut_short_it_says_what_it_knows(stderr: Stderr) -> None:
    end = End(stderr)
    next(end.steps)
    report = end.closing.cut_short()
    assert report.unacked == 10
    assert len(stderr.json("drain report")) == 1


def test_the_report_of_a_client_that_took_nothing() -> None:
    report = empty_report("close")
    assert (report.accepted, report.streams, report.reason) == (0, (), "close")
    assert report.all_acked
