"""The end, step by step on a clock that the test moves: what is waited for, counted, and said."""

from __future__ import annotations

from typing import Any

import pytest

from logship._buffer.chunk import MemoryChunk, MemoryStorage
from logship._buffer.entrance import Outcome
from logship._delivery.drain import DrainPlan, Progress
from logship._protocol.entries import unpack_unstamped
from tests.support.raising import raising
from tests.unit.accounts import body
from tests.unit.clients import Stderr
from tests.unit.ends import End, Gone, Stalled
from tests.unit.interruptions import Interruption


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


def test_a_stop_signal_gives_it_no_new_patience(stderr: Stderr) -> None:
    end = End(stderr, plan=DrainPlan.by_itself(0.0, 15.0, 120.0))
    for _ in end.walk():
        if end.clock() >= 12.0 and not end.shipper.hurried[1:]:
            end.closing.join(DrainPlan.until(end.clock(), 30.0, ends_process=True), "SIGTERM")
    assert len(end.shipper.hurried) == 2
    assert 15.0 <= end.clock() < 16.0
    assert len(stderr.json("spilled")) == 11


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


def test_cut_short_it_says_what_it_knows(stderr: Stderr) -> None:
    end = End(stderr)
    next(end.steps)
    report = end.closing.cut_short()
    assert report.unacked == 10
    assert len(stderr.json("drain report")) == 1


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


def test_not_each_ack_has_an_end_look_at_all_chunks(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ten thousands of chunks the shipper would hardly come to send."""
    end, looks = End(stderr), 0
    progress = end.shipper.progress

    def look() -> Progress:
        nonlocal looks
        looks += 1
        return progress()

    monkeypatch.setattr(end.shipper, "progress", look)
    waits = [next(end.steps) for _ in range(5)]  # each ack ends the wait
    assert looks == 1
    end.clock.advance(waits[-1])
    next(end.steps)
    assert looks == 2
