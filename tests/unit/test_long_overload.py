"""A program that drops records for weeks, while others arrive, keeps a bounded account of them."""

from __future__ import annotations

import pytest

from logship._buffer import losses, stream
from logship._buffer.buffer import Buffer
from logship._buffer.ranges import GAPS_MAX
from logship._reasons import OVERFLOW
from tests.unit.accounts import Sink, a_buffer, body, check_declared, gaps_in, numbers_in

LOST_MAX = 100
GAPS = 3 * LOST_MAX
CHUNK_RECORDS = 20


@pytest.fixture(autouse=True)
def _few_gaps_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "LOST_MAX", LOST_MAX)


def drop_each_second(buffer: Buffer, sink: Sink | None) -> None:
    """Log records of which each second one is dropped; with a sink, the others arrive meanwhile."""
    for number in range(GAPS):
        buffer.offer("t", body(number))
        buffer.number_and_drop("t", body(number))
        if sink is not None and number % CHUNK_RECORDS == 0:
            buffer.seal_all()
            sink.drain()


@pytest.mark.usefixtures("changes_are_made")
def test_old_gaps_that_the_sidecar_was_told_of_are_not_told_again() -> None:
    buffer = a_buffer(bytes_max=1 << 24)
    sink = Sink(buffer)
    drop_each_second(buffer, sink)
    buffer.close_intake()
    sink.drain()
    report = buffer.report("", 0.0)
    (part,) = report.streams
    assert LOST_MAX // 2 < len(part.dropped) <= LOST_MAX
    assert report.dropped == GAPS, "the count is of all"
    gaps = gaps_in(sink.acked)
    dropped = numbers_in(gaps)
    assert len(dropped) == GAPS, "the sidecar was told of each"
    assert numbers_in(part.dropped) == sorted(dropped)[-len(part.dropped) :], "the newest stay"
    check_declared(buffer, sink.acked)


def test_gaps_that_the_sidecar_was_not_told_of_are_all_reported() -> None:
    buffer = a_buffer(bytes_max=1 << 24)
    drop_each_second(buffer, None)
    (part,) = buffer.report("", 0.0).streams
    assert len(part.dropped) == GAPS


@pytest.mark.parametrize(("gaps", "kept"), [(100, 100), (101, 50), (151, 100), (152, 50)])
def test_the_newest_half_stays_of_too_many_gaps(gaps: int, kept: int) -> None:
    buffer = a_buffer()
    sink = Sink(buffer)
    dropped = []
    for number in range(gaps):
        buffer.offer("t", body(number))
        numbered = buffer.number_and_drop("t", body(number))
        assert numbered is not None
        dropped.append(numbered.number)
        buffer.seal_all()
        sink.drain()
    (part,) = buffer.report("", 0.0).streams
    assert part.dropped == [(number, number, OVERFLOW) for number in dropped[-kept:]]


def test_ended_streams_that_are_not_known_to_the_end_are_all_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 3)
    monkeypatch.setattr(stream, "ENDED_MAX", 10)
    buffer = a_buffer()
    tags = [f"tag {number}" for number in range(40)]
    for number, tag in enumerate(tags):
        buffer.offer(tag, body(number))
        buffer.number_and_drop(tag, body(number))
    report = buffer.report("", 0.0)
    assert report.dropped == 40
    assert [stream.tag for stream in report.streams] == tags


@pytest.mark.parametrize(("ended", "kept"), [(10, 10), (11, 6), (15, 10), (16, 6)])
def test_the_newest_half_stays_of_too_many_ended_streams(
    ended: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 1)
    monkeypatch.setattr(stream, "ENDED_MAX", 10)
    buffer = a_buffer()
    sink = Sink(buffer)
    for number in range(ended + 1):
        buffer.offer(f"tag {number}", body(number))
        buffer.number_and_drop(f"tag {number}", body(number))
        buffer.seal_all()
        sink.drain()
    named = [stream.tag for stream in buffer.report("", 0.0).streams]
    assert named == [f"tag {number}" for number in range(ended - kept, ended + 1)]


@pytest.mark.parametrize("turn", ["drop spill", "drop spill drop", "drop drop spill", "spill drop"])
@pytest.mark.parametrize("delivers", [True, False])
def test_reasons_that_take_turns_leave_a_bounded_account(turn: str, delivers: bool) -> None:
    """A dropped record may be spilled after all: that makes two gaps more, and is no merge."""
    buffer = a_buffer(bytes_max=1 << 24)
    sink = Sink(buffer)
    buffer.offer("t", body(0))
    for number in range(400):
        for how in turn.split():
            dropped = buffer.number_and_drop("t", body(number))
            assert dropped is not None
            if how == "spill":
                buffer.dropped_was_spilled(dropped)
        if delivers:
            buffer.offer("t", body(number))
            buffer.seal_all()
            sink.drain()
    (part,) = buffer.report("", 0.0).streams
    most = LOST_MAX + LOST_MAX // 2 if delivers else 3 * GAPS_MAX // 2
    assert len(part.dropped) + len(part.spilled) <= most
    assert len(buffer._section.accumulator.streams.open["t"].undeclared) <= 3 * GAPS_MAX // 2
