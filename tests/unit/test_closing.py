"""The end, step by step on a clock that the test moves: what is waited for, spilled, and said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from logship._buffer.buffer import Buffer
from logship._buffer.chunk import MemoryChunk, MemoryStorage
from logship._buffer.entrance import Outcome
from logship._client.closing import Closing
from logship._delivery.drain import SPILL_SECONDS_PER_BYTE, DrainPlan, Progress
from logship._protocol.entries import unpack_unstamped
from logship._stderr.last_resort import LastResort
from logship._stderr.spill import Spill
from logship.testing import ManualClock
from tests.support.raising import raising
from tests.unit.accounts import Sink, a_buffer, body
from tests.unit.clients import Stderr
from tests.unit.interruptions import Interruption
from tests.unit.pipes import PIPE_BYTES, Pipe


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


def test_intake_is_closed_first_and_sending_is_hurried(stderr: Stderr) -> None:
    end = End(stderr)
    next(end.steps)
    assert end.shipper.buffer.offer("t", body(99)) is Outcome.REFUSED
    assert len(end.shipper.hurried) == 1


@pytest.mark.parametrize("has_acked", [False, True])
def test_a_program_that_ends_by_itself_does_not_wait_after_the_spill(
    stderr: Stderr, has_acked: bool
) -> None:
    end = End(stderr, plan=DrainPlan.by_itself(0.0, 15.0, 120.0))
    end.shipper.last_ack_seconds = 0.0 if has_acked else None
    assert 15.0 <= end.run() < 16.0
    assert len(stderr.json("spilled")) == 11
    (said,) = stderr.warnings()
    assert said.startswith("logship: giving up on the sidecar after 15.0 s; what is left goes to")
    assert ("LOGSHIP_DISABLED" in said) == (not has_acked)


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (DrainPlan.until(0.0, 30.0), "0.5 s are left: only control records wait; they are"),
        (DrainPlan.by_itself(0.0, 15.0, 120.0), "2.5 s; only control records are left, and go"),
    ],
)
def test_where_all_records_were_acked_the_end_record_is_given_up_soon(
    stderr: Stderr, plan: DrainPlan, says: str
) -> None:
    """And nothing that is said speaks of waiting records."""
    end = End(stderr, plan=plan)
    end.ack_all()
    assert 2.5 <= end.run() < 3.1
    (spilled,) = stderr.json("spilled")
    assert spilled["record"]["logship_end"]
    (said,) = stderr.warnings()
    assert says in said


def test_the_end_record_waits_for_no_stderr_that_takes_nothing(stderr: Stderr) -> None:
    end = End(stderr, last_resort=Stalled())
    end.ack_all()
    assert end.run() < 3.2


@pytest.mark.parametrize("is_dropped", [True, False])
def test_gap_records_are_waited_for_as_records_are(stderr: Stderr, is_dropped: bool) -> None:
    """Without them a loss would be one in silence."""
    end = End(stderr)
    end.ack_all()
    if is_dropped:
        assert end.shipper.buffer.number_and_drop("t", body(11))
    else:
        assert end.shipper.buffer.offer("t", body(11)) is Outcome.ACCEPTED
    assert end.run() >= 30.0


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


def test_a_stalled_stderr_is_tried_until_the_deadline_and_not_counted(stderr: Stderr) -> None:
    stalled = Stalled()
    end = End(stderr, last_resort=stalled)
    assert 30.0 <= end.run() < 31.0
    assert stalled.tries > 100
    assert end.closing.report is not None
    assert (end.closing.report.spilled, end.closing.report.unacked) == (0, 10)


class Gone(Stalled):
    """A standard error that no process will ever read again."""

    is_gone = True


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
    """And names what came later in a first line of his own."""
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


def test_cut_short_it_says_what_it_knows(stderr: Stderr) -> None:
    end = End(stderr)
    next(end.steps)
    report = end.closing.cut_short()
    assert report.unacked == 10
    assert len(stderr.json("drain report")) == 1


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


# -- records that could not be numbered ------------------------------------------------------------


@pytest.fixture
def no_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no chunk be opened, so that all records stay in the inbox."""
    monkeypatch.setattr(MemoryStorage, "open_chunk", raising(MemoryError))


def counts_of_refused(report: dict[str, Any]) -> tuple[int, int, int]:
    return report["refused"], report["refused_lines"], report["refused_unwritten"]


def refused_numbers(stderr: Stderr) -> list[int]:
    return [line["record"]["n"] for line in stderr.json("refused")]


@pytest.mark.usefixtures("no_chunks")
def test_where_nothing_may_be_spilled_it_is_counted(stderr: Stderr) -> None:
    end = End(stderr, spills=False)
    end.run()
    assert refused_numbers(stderr) == []
    (report,) = stderr.json("drain report")
    assert counts_of_refused(report) == (10, 10, 10)


@pytest.mark.usefixtures("no_chunks")
def test_where_stderr_is_gone_they_are_counted_at_once(stderr: Stderr) -> None:
    end = End(stderr, last_resort=Gone())
    assert end.run() < 1.0
    assert end.closing.report is not None
    assert end.closing.report.refused_unwritten == 10


@pytest.mark.usefixtures("no_chunks")
def test_cut_short_it_writes_what_could_not_be_numbered(stderr: Stderr) -> None:
    """The end is cut short while the first of the lines waits for stderr."""
    end = End(stderr)
    write_line = end.shipper.last_resort.write_line
    end.shipper.last_resort.write_line = lambda _: False
    next(end.steps)
    end.shipper.last_resort.write_line = write_line
    end.closing.cut_short()
    assert refused_numbers(stderr) == [*range(1, 11)]
    (report,) = stderr.json("drain report")
    assert counts_of_refused(report) == (10, 10, 0)


@pytest.mark.usefixtures("no_chunks")
def test_a_call_that_hung_while_another_one_cut_the_end_short_says_nothing_more(
    stderr: Stderr,
) -> None:
    end = End(stderr)
    write_line = end.shipper.last_resort.write_line

    def hang(line: bytes) -> Any:
        end.shipper.last_resort.write_line = write_line
        end.closing.cut_short()
        return write_line(line)

    end.shipper.last_resort.write_line = hang
    end.run()
    (report,) = stderr.json("drain report")
    assert counts_of_refused(report) == (10, 10, 0)


@pytest.mark.usefixtures("no_chunks")
def test_an_entry_that_cannot_be_read_is_counted_and_holds_up_none(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(entry: bytes, stamp_key: str | None) -> tuple[int, dict[str, Any]]:
        return unpack_unstamped(entry[: 5 if entry == body(3) else None], stamp_key)

    monkeypatch.setattr("logship._client.closing.unpack_unstamped", unpack)
    end = End(stderr)
    end.run()
    assert refused_numbers(stderr) == [1, 2, *range(4, 11)]
    (report,) = stderr.json("drain report")
    assert counts_of_refused(report) == (10, 10, 1)
    assert len(stderr.warnings()) == 1


@pytest.mark.usefixtures("no_chunks")
def test_a_handler_that_raises_while_they_are_handed_over_loses_none(stderr: Stderr) -> None:
    """Its exception comes when they are out of the inbox, on the way out of the section."""
    end = End(stderr)
    buffer, left = end.shipper.buffer, [Interruption()]

    def be_interrupted() -> None:
        if buffer.bytes_held:
            buffer.when_space(be_interrupted)
        elif left:
            raise left.pop()

    buffer.when_space(be_interrupted)
    with pytest.raises(Interruption):
        end.run()
    end.closing.cut_short()
    assert refused_numbers(stderr) == [*range(1, 11)]
    (report,) = stderr.json("drain report")
    assert counts_of_refused(report) == (10, 10, 0)


def test_end_records_that_waited_for_them_are_delivered(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only some entries cannot be kept."""
    write = MemoryChunk.write

    def write_all_but_large_ones(chunk: MemoryChunk, data: bytes) -> None:
        if len(data) > 500:
            raise MemoryError
        write(chunk, data)

    monkeypatch.setattr(MemoryChunk, "write", write_all_but_large_ones)
    end = End(stderr)
    assert end.shipper.buffer.offer("t", body(11, 500)) is Outcome.ACCEPTED
    assert end.run(ack_at_seconds=0.0) < 2.0
    assert refused_numbers(stderr) == [11]
    assert end.shipper.sink.acked[-1]["logship_end"] is True
    assert end.shipper.sink.acked[-1]["logship_refused"] == 1
