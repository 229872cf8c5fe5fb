"""Shows the spills of an end: ahead of it, against a stderr that is slow or gone, and behind it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from logship._buffer.entrance import Outcome
from logship._client.closing import Closing
from logship._delivery.drain import DrainPlan
from logship._stderr.last_resort import LastResort
from logship.testing import ManualClock
from tests.support.raising import raising
from tests.unit.accounts import body
from tests.unit.clients import Stderr
from tests.unit.ends import End, Gone, Shipper, Stalled
from tests.unit.pipes import PIPE_BYTES, Pipe


def test_a_stalled_stderr_is_tried_until_the_deadline_and_not_counted(stderr: Stderr) -> None:
    stalled = Stalled()
    end = End(stderr, last_resort=stalled)
    assert 30.0 <= end.run() < 31.0
    assert stalled.tries > 100
    assert end.closing.report is not None
    assert (end.closing.report.spilled, end.closing.report.unacked) == (0, 10)


def test_a_stderr_that_is_gone_does_not_end_sending_before_the_deadline(stderr: Stderr) -> None:
    end = End(stderr, last_resort=Gone())
    assert 20.0 <= end.run(ack_at_seconds=20.0) < 20.1


class GoneInTheSpill(Stalled):
    """A standard error whose reader ends behind the first line of the spill."""

    def go_first(self, _: bytes) -> bool:
        return not self.is_gone

    def write_lines(self, lines: Sequence[bytes]) -> int:
        self.is_gone = self.tries > 0
        self.tries += 1
        return 0 if self.is_gone else 1


def test_a_stderr_that_goes_in_the_middle_of_the_spill_ends_it(stderr: Stderr) -> None:
    plan = DrainPlan.by_itself(0.0, 15.0, 120.0)
    end = End(stderr, last_resort=GoneInTheSpill(), plan=plan)
    assert 15.0 <= end.run() < 15.1
    assert end.closing.report is not None
    assert (end.closing.report.spilled, end.closing.report.unacked) == (1, 9)


class BackLate(Stalled):
    """A standard error that takes nothing until so long after the deadline."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.clock = ManualClock(0.0)
        self.lines: list[bytes] = []

    def write_line(self, line: bytes) -> bool:
        self.tries += 1
        if self.clock() >= 30.0 + self.seconds:
            self.lines.append(line)
            return True
        return False


@pytest.mark.parametrize(("seconds", "is_told"), [(0.095, True), (0.2, False)])
def test_the_report_waits_a_moment_longer_than_the_deadline(
    stderr: Stderr, seconds: float, is_told: bool
) -> None:
    """On a busy machine what reads a full pipe comes late; but the kill does not."""
    late = BackLate(seconds)
    end = End(stderr, last_resort=late)
    late.clock = end.clock
    assert end.run() < 30.102, "no pause may reach past the last moment"
    assert len(late.lines) == is_told


def test_the_report_waits_that_moment_where_the_process_was_stopped_past_its_deadline(
    stderr: Stderr,
) -> None:
    """Its other threads go on at the same time, and may be writing a line of their own."""
    late = BackLate(10.05)
    end = End(stderr, last_resort=late)
    late.clock = end.clock
    next(end.steps)
    end.clock.advance(40.0)
    assert end.run() < 40.2
    assert len(late.lines) == 1


class Slow(Stalled):
    """A standard error that takes a line at every second try."""

    def go_first(self, _: bytes) -> bool:
        return True

    def write_lines(self, lines: Sequence[bytes]) -> int:
        self.tries += 1
        return self.tries % 2


def test_a_full_stderr_is_asked_again_soon_while_it_is_read(stderr: Stderr) -> None:
    """With a fixed pause a pipe would take only 64 KiB in each pause, however fast its reader."""
    end = End(stderr, last_resort=Slow(), plan=DrainPlan.until(0.0, 1.0))
    pauses = [wait_seconds for wait_seconds in end.walk() if wait_seconds < 0.05]
    assert len(pauses) >= 10
    assert max(pauses[:10]) <= 0.002
    stalled = End(stderr, last_resort=Stalled(), plan=DrainPlan.until(0.0, 1.0))
    assert max(wait_seconds for wait_seconds in stalled.walk() if wait_seconds < 0.05) == 0.02


class Ahead:
    """A stop clock of 30 seconds, a sidecar that is gone, and records that cost a second."""

    def __init__(self, last_resort: Any, *, spills: bool = True) -> None:
        self.clock = ManualClock(0.0)
        self.shipper = Shipper(self.clock, last_resort, spills=spills)
        self.buffer = self.shipper.buffer
        self.log(1, 10)
        self.shipper.silent_seconds = float("inf")
        self.shipper.spill_seconds_per_byte = 1.0 / self.buffer.bytes_held
        self.closing = Closing(self.shipper, always_report=False, monotonic=self.clock)

    def log(self, first: int, last: int) -> None:
        for number in range(first, last + 1):
            assert self.buffer.offer("t", body(number)) is Outcome.ACCEPTED
        self.buffer.seal_all()

    def run(self, until: float) -> float:
        """Step until then, or until intake must close; return when that was."""
        while self.clock() < until:
            wait_seconds = self.closing.spill_ahead(DrainPlan.until(0.0, 30.0), "test")
            if wait_seconds is None:
                break
            assert 0.0 < wait_seconds <= 0.5
            self.clock.advance(wait_seconds)
        return self.clock()


def test_what_the_sidecar_does_not_take_is_spilled_while_intake_is_open(stderr: Stderr) -> None:
    stop = Ahead(stderr.last_resort())
    assert stop.run(20.0) > 19.0
    assert stderr.lines() == [], "ten times the cost would just fit"
    assert stop.run(21.0) >= 21.0
    assert [line["record"]["n"] for line in stderr.json("spilled")] == [*range(1, 11)]
    assert '"unacked": [[1, 10]]' in stderr.lines()[0]
    (said,) = stderr.warnings()
    assert "the sidecar acknowledges nothing: 10 waiting records are written to stderr" in said
    stop.log(11, 12)
    assert stop.run(28.5) >= 28.5, "what is on stderr closes nothing"
    assert len(stderr.json("spilled")) == 12
    assert not stop.buffer.intake_closed
    stop.shipper.sink.drain()  # it is back: all that was spilled is delivered too
    assert stop.buffer.report("", 0.0).acked == 12
    assert 29.5 <= stop.run(30.0) < 29.6


def test_intake_closes_when_more_comes_in_than_stderr_takes() -> None:
    stop = Ahead(Stalled())
    assert 27.7 <= stop.run(30.0) < 27.8
    assert stop.buffer.report("", 0.0).spilled == 0


def test_what_stderr_does_not_take_is_tried_again_and_holds_up_nothing() -> None:
    stalled = Stalled()
    stop = Ahead(stalled)
    stop.clock.advance(21.0)
    waits = [stop.closing.spill_ahead(DrainPlan.until(0.0, 30.0), "test") for _ in range(8)]
    assert waits[-1] == 0.02
    assert stalled.tries == stalled.steps_back == 8


def test_where_nothing_may_be_spilled_intake_closes_at_the_end(stderr: Stderr) -> None:
    stop = Ahead(stderr.last_resort(), spills=False)
    stop.shipper.spill_seconds_per_byte = 0.0
    assert 29.5 <= stop.run(30.0) < 29.6
    assert stderr.lines() == []


def test_a_call_that_ends_the_client_goes_on_where_the_spill_ahead_was(stderr: Stderr) -> None:
    """The next caller names what came later, in another first line."""
    stop = Ahead(stderr.last_resort())
    stop.run(21.0)
    stop.log(11, 15)
    stop.closing.join(DrainPlan.until(stop.clock(), 30.0), "test")
    for wait_seconds in stop.closing.steps():
        stop.clock.advance(max(wait_seconds, 0.001))
    numbers = [line["record"].get("n") for line in stderr.json("spilled")]
    assert numbers == [*range(1, 16), None]
    first, second = stderr.json("spill begins")
    assert first["streams"][0]["unacked"] == [[1, 10]]
    assert second["streams"][0]["unacked"] == [[11, 16]]
    assert second["streams"][0]["spilled"] == [[1, 10]]
    (report,) = stderr.json("drain report")
    assert (report["spilled"], report["unacked"]) == (15, 0)


def test_a_spill_that_ran_out_of_time_goes_on_while_the_process_lives(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine may spill more slowly than the plan allows for."""
    end = End(stderr)
    run_without_spilling(end, monkeypatch)
    (report,) = stderr.json("drain report")
    assert (report["spilled"], report["unacked"]) == (0, 10)
    for _ in range(2):
        end.closing.correct_report(goes_on=True)
        assert len(stderr.json("spilled")) == 11  # with the end record
        (correction,) = stderr.json("report correction")
        assert (correction["spilled"], correction["unacked"]) == (10, 0)


def run_without_spilling(end: End, patch: pytest.MonkeyPatch) -> None:
    """Drive an end whose spill writes nothing until the deadline."""
    with patch.context() as spill:
        spill.setattr(end.shipper.spill, "step", lambda *_, **__: False)
        end.run()


def test_corrections_count_whole_lines_alone_and_never_fewer_than_before(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch, pipe: Pipe
) -> None:
    """A line is longer than the pipe, so each step of the spill ends in the middle of one."""
    last_resort = LastResort(descriptor=pipe.writing)
    end = End(stderr, last_resort=last_resort, characters=2 * PIPE_BYTES)
    run_without_spilling(end, monkeypatch)
    monkeypatch.setattr(last_resort, "wait_writable", lambda _: None)
    got: list[bytes] = []
    while end.closing.correct_report(goes_on=True):
        got.append(pipe.read())
    got.append(pipe.read())
    assert not last_resort.torn
    lines = [json.loads(line) for line in b"".join(got).splitlines() if line.startswith(b"{")]
    numbers = [each["record"].get("n") for each in lines if each["logship"] == "spilled"]
    assert numbers == [*range(1, 11), None]
    counts = [each["spilled"] for each in lines if each["logship"] == "report correction"]
    assert counts == sorted(counts)
    assert counts[-1] == 10


def test_a_spill_that_goes_on_waits_for_a_full_stderr(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch, pipe: Pipe
) -> None:
    last_resort = LastResort(descriptor=pipe.writing)
    end = End(stderr, last_resort=last_resort, characters=PIPE_BYTES)
    run_without_spilling(end, monkeypatch)
    got = [pipe.read()]
    monkeypatch.setattr(last_resort, "wait_writable", lambda _: got.append(pipe.read()))
    assert not end.closing.correct_report(goes_on=True)
    lines = b"".join([*got, pipe.read()]).splitlines()
    spilled = [line for line in lines if line.startswith(b'{"logship":"spilled"')]
    assert len(spilled) == 11  # with the end record


def test_a_report_is_final_once_no_spill_goes_on(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = End(stderr)
    end.shipper.last_resort.stop_others()
    run_without_spilling(end, monkeypatch)
    end.closing.correct_report(goes_on=True)
    (report,), (correction,) = stderr.json("drain report"), stderr.json("report correction")
    assert (report["final"], correction["final"]) == (False, True)


def test_an_error_of_a_spill_that_goes_on_is_told_and_keeps_no_caller_from_going_on(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = End(stderr)
    run_without_spilling(end, monkeypatch)
    monkeypatch.setattr(end.shipper.spill, "step", raising(MemoryError))
    for _ in range(2):
        end.closing.correct_report(goes_on=True)
    (warning,) = (each for each in stderr.warnings() if "an error of its own" in each)
    assert "in a spill" in warning
    assert stderr.json("report correction") == []
