"""Shows that chunks without a known tag wait for it, alone, and lose nothing by it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from logship._buffer import accumulator
from logship._buffer.buffer import Buffer
from logship._buffer.entrance import Outcome
from logship.testing import ManualClock
from tests.support.raising import raising
from tests.unit.accounts import Sink, Wakes, a_buffer, body, check, drained
from tests.unit.interruptions import Interruption, every_point

TAG = "app-firelens-5f0c"


def awaiting(**options: Any) -> Buffer:
    """Return a buffer that does not know its default tag."""
    return a_buffer(awaited_tag="program", **options)


@pytest.fixture
def buffer() -> Buffer:
    return awaiting()


def offer(buffer: Buffer, count: int, tag: str | None = None, first: int = 0) -> None:
    for number in range(first, first + count):
        assert buffer.offer(tag, body(number)) is Outcome.ACCEPTED


def tags(sink: Sink) -> set[str]:
    return {chunk.stream.tag for chunk in sink.taken}


def test_what_has_no_tag_is_numbered_at_once_and_waits(buffer: Buffer) -> None:
    sink = Sink(buffer)
    offer(buffer, 100)  # several chunks of them
    buffer.seal_all()
    sink.take_all()
    assert sink.taken == []
    assert not buffer.departure.has_sealed()
    assert buffer.counters.accepted == 100
    buffer.resolve_tag(TAG)
    assert buffer.departure.has_sealed()
    sink.take_all()
    assert tags(sink) == {TAG}
    assert [chunk.first for chunk in sink.taken] == sorted(chunk.first for chunk in sink.taken)
    sink.drain()
    assert [record["n"] for record in sink.acked] == list(range(100))
    check(buffer, sink.acked)


def test_records_with_a_tag_of_their_own_do_not_wait(buffer: Buffer) -> None:
    sink = Sink(buffer)
    offer(buffer, 40)
    offer(buffer, 40, tag="web")
    buffer.seal_all()
    assert buffer.departure.has_sealed()
    sink.take_all()
    assert tags(sink) == {"web"}
    assert not any(chunk.stream.is_provisional for chunk in sink.taken)
    sink.drain()
    assert len(sink.acked) == 40


def test_they_are_due_in_their_time_though_older_ones_wait() -> None:
    clock, wakes = ManualClock(), Wakes()
    buffer = awaiting(monotonic=clock, wake=wakes)
    offer(buffer, 1)
    assert buffer.departure.next_deadline_seconds() == clock() + 0.2
    clock.advance(1.0)
    offer(buffer, 1, tag="web", first=1)
    assert buffer.departure.next_deadline_seconds() == clock() + 0.2
    clock.advance(0.3)
    buffer.departure.seal_due(clock())
    sink = Sink(buffer)
    sink.take_all()
    assert tags(sink) == {"web"}


def test_without_a_linger_the_shipper_does_not_spin_until_the_tag_is_known() -> None:
    clock = ManualClock()
    buffer = awaiting(monotonic=clock, linger_seconds=0.0)
    offer(buffer, 1)
    deadline_seconds = buffer.departure.next_deadline_seconds()
    assert deadline_seconds is not None
    assert deadline_seconds > clock()


def test_what_waits_grows_and_is_due_once_the_tag_is_known() -> None:
    clock = ManualClock()
    buffer = awaiting(monotonic=clock)
    offer(buffer, 1)
    clock.advance(1.0)
    buffer.departure.seal_due(clock())
    offer(buffer, 1, first=1)
    buffer.resolve_tag(TAG)
    assert buffer.departure.next_deadline_seconds() is not None
    buffer.departure.seal_due(clock())
    (chunk,) = buffer.unsettled()
    assert chunk.entries == 2
    assert buffer.departure.take() is chunk


def test_without_an_answer_the_provisional_tag_has_to_do(buffer: Buffer) -> None:
    sink = Sink(buffer)
    offer(buffer, 30)
    buffer.resolve_tag(None)
    offer(buffer, 30, first=30)
    sink.drain()
    assert len(sink.acked) == 60
    (stream,) = buffer.report("end", 0.0).streams
    assert stream.tag == "program"


def test_producers_go_on_as_before_and_keep_their_stream(buffer: Buffer) -> None:
    offer(buffer, 3)
    buffer.resolve_tag(TAG)
    offer(buffer, 3, first=3)
    buffer.close_intake()
    (stream,) = buffer.report("end", 0.0).streams
    assert (stream.tag, stream.accepted, stream.last) == (TAG, 6, 7)


def test_the_route_of_a_tag_is_told_as_far_as_it_is_known(buffer: Buffer) -> None:
    assert (buffer.tag_of(None), buffer.tag_of("web")) == ("program", "web")
    buffer.resolve_tag(TAG)
    assert (buffer.tag_of(None), buffer.tag_of("web")) == (TAG, "web")


def test_a_tag_is_provisional_until_the_right_one_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accumulator, "ROLLOVER_NUMBER", 3)
    buffer = awaiting()
    offer(buffer, 4)
    assert [chunk.stream.is_provisional for chunk in buffer.unsettled()] == [True, True]
    buffer.resolve_tag(TAG)
    offer(buffer, 4, first=4)
    streams = {chunk.stream for chunk in buffer.unsettled()}
    assert len(streams) == 4
    assert {(stream.tag, stream.is_provisional) for stream in streams} == {(TAG, False)}
    offer(buffer, 1, "web")
    assert not buffer.unsettled()[-1].stream.is_provisional


def test_a_stream_that_ended_meanwhile_gets_the_tag_too(buffer: Buffer) -> None:
    sink = Sink(buffer)
    offer(buffer, 3)
    buffer.close_intake()
    sink.take_all()
    assert sink.taken == []
    buffer.resolve_tag(TAG)
    sink.take_all()
    assert tags(sink) == {TAG}


def test_the_oldest_may_be_dropped_while_it_waits(buffer: Buffer) -> None:
    offer(buffer, 40)
    assert buffer.drop_oldest()
    offer(buffer, 1, first=40)
    buffer.resolve_tag(TAG)
    sink = drained(buffer)
    check(buffer, sink.acked)
    assert any("logship_gap" in record for record in sink.acked)


@pytest.mark.parametrize("tag", [TAG, None])
def test_interrupted_anywhere_it_can_be_done_again(tag: str | None) -> None:
    scenes: list[Buffer] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        buffer = awaiting()
        offer(buffer, 40)
        scenes.append(buffer)
        return lambda: buffer.resolve_tag(tag), raising(Interruption)

    for run in every_point(prepare):
        with contextlib.suppress(Interruption):
            run()
        buffer = scenes[-1]
        buffer.resolve_tag(tag)
        offer(buffer, 1, first=40)
        sink = Sink(buffer)
        buffer.seal_all()
        sink.take_all()
        assert tags(sink) == {tag or "program"}
        sink.drain()
        assert [record["n"] for record in sink.acked] == list(range(41))
        check(buffer, sink.acked)
