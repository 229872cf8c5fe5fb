"""What happens to a record when the buffer is full: each policy, and who waits for how long."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from logship._buffer import overflow, stream
from logship._buffer.buffer import Buffer
from logship._buffer.entrance import Outcome
from logship._buffer.overflow import Admission, offer_or_wait
from logship._hooks.threads import OwnThread
from logship._reasons import OVERFLOW
from logship.testing import ManualClock
from tests.support.threads import Later
from tests.support.waiting import wait_until
from tests.unit.accounts import Sink, a_buffer, admit, body, check, drained, taken


class Lines:
    """A last resort that takes what it has room for."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.lines: list[dict[str, Any]] = []

    def offer_line(self, line: bytes) -> bool:
        if len(self.lines) == self.room:
            return False
        self.lines.append(json.loads(line))
        return True


def full_buffer() -> Buffer:
    buffer = a_buffer(bytes_max=1000, chunk_bytes_max=300)
    number = 0
    while buffer.offer("t", body(number)) is Outcome.ACCEPTED:
        number += 1
    return buffer


@pytest.fixture
def buffer() -> Buffer:
    return full_buffer()


def admission(buffer: Buffer, policy: Any, lines: Lines | None = None, **options: Any) -> Admission:
    return Admission(
        buffer, policy=policy, **{"block_seconds_max": 0.0, "last_resort": lines, **options}
    )


def outcome_of(buffer: Buffer) -> tuple[int, int, int]:
    report = buffer.report("", 0.0)
    assert {part.tag for part in report.streams} == {"t"}
    return report.dropped, report.spilled, report.unacked


def test_drop_newest_loses_the_record_and_says_so(buffer: Buffer) -> None:
    before = outcome_of(buffer)[2]
    assert not admit(admission(buffer, "drop_newest", Lines()), "t", body(99))
    assert outcome_of(buffer) == (1, 0, before)
    check(buffer, [])


def test_drop_oldest_makes_room(buffer: Buffer) -> None:
    assert admit(admission(buffer, "drop_oldest"), "t", body(99))
    dropped, spilled, unacked = outcome_of(buffer)
    assert dropped > 0
    assert (spilled, unacked) == (0, buffer.report("", 0.0).accepted - dropped)
    assert buffer.bytes_held <= buffer.bytes_max
    check(buffer, [])


def test_block_diverts_to_the_last_resort_what_found_no_place() -> None:
    buffer, lines = full_buffer(), Lines(room=2)
    block = admission(buffer, "block", lines)
    assert [admit(block, "t", body(n)) for n in (97, 98, 99)] == [False] * 3
    assert [line["record"]["n"] for line in lines.lines] == [97, 98]
    assert lines.lines[0]["logship"] == "spilled"
    dropped, spilled, _ = outcome_of(buffer)
    assert (dropped, spilled) == (1, 2)
    check(buffer, [])


@pytest.mark.parametrize(
    ("policy", "room", "dropped"),
    [("block", 0, True), ("block", 1, False), ("drop_oldest", 1, True), ("drop_newest", 1, True)],
)
def test_a_person_is_told_that_records_are_dropped(
    buffer: Buffer, policy: str, room: int, dropped: bool
) -> None:
    said: list[tuple[str, str]] = []

    def warn(kind: str, text: str) -> None:
        said.append((kind, text))

    admit(admission(buffer, policy, Lines(room), warn=warn), "t", body(99))
    assert (outcome_of(buffer)[0] > 0) == dropped
    told = ("overflow", "the buffer is full: records are dropped, counted and declared")
    assert said == [told] * dropped


@pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest"])
def test_a_closed_buffer_refuses_whatever_the_policy(buffer: Buffer, policy: str) -> None:
    buffer.close_intake()
    assert not admit(admission(buffer, policy, Lines()), "t", body(99))
    assert buffer.number_and_drop("t", body(100)) is None
    report = buffer.report("", 0.0)
    assert (report.refused, report.dropped) == (2, 0)
    assert [(part.tag, part.refused) for part in report.streams] == [("t", 2)]


@pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest"])
@pytest.mark.parametrize("lines", [None, Lines()])
def test_what_became_of_a_record_that_found_no_place(
    buffer: Buffer, policy: str, lines: Lines | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer.seal_all()
    Sink(buffer).take_all()
    chosen = admission(buffer, policy, lines)
    assert chosen.admit_after(Outcome.FULL, "t", body(98)) is Outcome.FULL
    assert chosen.admit_after(Outcome.ACCEPTED, "t", body(99)) is Outcome.ACCEPTED
    assert outcome_of(buffer)[0] + outcome_of(buffer)[1] == 1
    monkeypatch.setattr(stream, "STREAMS_MAX", 1)
    assert chosen.admit_after(Outcome.FULL, "one tag too many", body(99)) is Outcome.REFUSED
    assert buffer.report("", 0.0).refused == 1
    check(buffer, [])


@pytest.mark.parametrize("is_written", [True, False])
def test_a_record_counts_as_dropped_once_that_is_certain(buffer: Buffer, is_written: bool) -> None:
    """Not while it is written: a count must not go down."""
    told: list[tuple[int, int]] = []

    def counts() -> None:
        account = buffer.account()
        assert account is not None
        told.append((account.counters.dropped[OVERFLOW], account.counters.spilled))

    class Slow(Lines):
        def offer_line(self, line: bytes) -> bool:
            counts()
            return is_written

    assert not admit(admission(buffer, "block", Slow()), "t", body(99))
    counts()
    assert told == [(0, 0), (0, 1) if is_written else (1, 0)]


def waiting(buffer: Buffer, count: int) -> Callable[[], bool]:
    # One more waits without a thread: the end of the outage.
    return lambda: len(buffer._section.chunks.waiters._callbacks) >= count + 1


def test_a_thread_that_waits_is_let_go_when_the_buffer_closes() -> None:
    buffer, lines = full_buffer(), Lines()
    block = admission(buffer, "block", lines, block_seconds_max=100.0)
    waiter = Later(lambda: admit(block, "t", body(99)))
    wait_until(waiting(buffer, 1), "it waits")
    buffer.close_intake()
    assert waiter.join() is False
    assert buffer.report("", 0.0).refused == 1
    assert not lines.lines


def test_space_that_comes_free_before_the_wait_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = full_buffer()
    when_space = buffer.when_space

    def freed(callback: Callable[[], None]) -> Callable[[], None]:
        assert buffer.drop_oldest()
        return when_space(callback)

    monkeypatch.setattr(buffer, "when_space", freed)
    assert admit(admission(buffer, "block", block_seconds_max=60.0), "t", body(99))
    assert outcome_of(buffer)[0] > 0


def test_an_outage_has_one_wait_and_the_next_has_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer, clock = full_buffer(), ManualClock()
    block = admission(buffer, "block", Lines(), block_seconds_max=0.05, monotonic=clock)
    waits: list[float] = []

    def timed_out(space: Buffer, offer: Callable[[], Outcome], timeout_seconds: float) -> Outcome:
        waits.append(timeout_seconds)
        outcome = offer_or_wait(space, offer, 0.0)
        clock.advance(timeout_seconds)
        return outcome

    monkeypatch.setattr(overflow, "offer_or_wait", timed_out)
    for number in range(97, 100):
        assert not admit(block, "t", body(number))
    assert waits == [pytest.approx(0.05)], "only the first record of the outage waited"
    sink = Sink(buffer)
    sink.take_all()
    sink.ack(sink.taken[0])
    filler = 200
    while buffer.offer("t", body(filler)) is Outcome.ACCEPTED:
        filler += 1
    assert not admit(block, "t", body(100))
    assert len(waits) == 2, "space had been freed: a new outage"
    assert buffer.counters.blocked_seconds == pytest.approx(0.1)


def test_space_that_comes_free_as_an_outage_begins_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer, clock = full_buffer(), ManualClock()
    block = admission(buffer, "block", block_seconds_max=60.0, monotonic=clock)
    when_space, waits = buffer.when_space, []

    def freed(callback: Callable[[], None]) -> Callable[[], None]:
        take_back = when_space(callback)
        assert buffer.drop_oldest()
        return take_back

    def timed_out(space: Buffer, offer: Callable[[], Outcome], timeout_seconds: float) -> Outcome:
        waits.append(timeout_seconds)
        clock.advance(timeout_seconds)
        return offer_or_wait(space, offer, 0.0)

    monkeypatch.setattr(buffer, "when_space", freed)
    monkeypatch.setattr(overflow, "offer_or_wait", timed_out)
    assert admit(block, "t", body(99))
    monkeypatch.setattr(buffer, "when_space", when_space)
    while buffer.offer("t", body(100)) is Outcome.ACCEPTED:
        pass
    assert not admit(block, "t", body(101))
    assert waits == [60.0, 60.0]


def test_nothing_waits_on_a_thread_of_our_own() -> None:
    """The garbage collector may run an application's `__del__` in it, and that may log."""
    buffer, lines = full_buffer(), Lines()
    block = admission(buffer, "block", lines, block_seconds_max=1000.0)
    thread = OwnThread(lambda: admit(block, "t", body(99)), "test")
    thread.start()
    thread.join(20.0)
    assert not thread.is_alive()
    assert [line["record"]["n"] for line in lines.lines] == [99]


def test_a_handler_that_logs_while_its_own_thread_waits_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer, lines = full_buffer(), Lines()
    block = admission(buffer, "block", lines, block_seconds_max=1000.0)
    interrupted: list[bool] = []
    inner: list[bool] = []
    offer = buffer.offer

    def offer_interrupted(tag: str | None, packed: bytes) -> Outcome:
        outcome = offer(tag, packed)
        if block._waiting_threads and not interrupted:
            interrupted.append(True)
            inner.append(admit(block, "t", body(98)))  # here the thread is about to wait
            drained(buffer)
        return outcome

    monkeypatch.setattr(buffer, "offer", offer_interrupted)
    assert admit(block, "t", body(99))
    assert inner == [False]
    assert [line["record"]["n"] for line in lines.lines] == [98]


def test_an_entry_that_interrupts_an_offer_is_taken_without_waiting(buffer: Buffer) -> None:

    def log() -> None:  # in the middle of another call
        assert admit(admission(buffer, "block", Lines(), block_seconds_max=1e3), "t", body(99))
        assert buffer.number_and_drop("t", body(100)) is None

    buffer.exclusively(log)
    assert buffer.report("", 0.0).refused == 1
    assert any(b"n" in chunk.data for chunk in buffer.unsettled())
    check(buffer, [])


def write_all_of(buffer: Buffer, chunk: Any) -> None:
    """Note what a spill does that wrote a whole chunk."""
    buffer.spilling.note_spilled(chunk, chunk.entries, chunk.records)


@pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest"])
def test_what_is_on_stderr_already_makes_room(buffer: Buffer, policy: str) -> None:
    """While a clock runs the spill is ahead: records need not be dropped unread."""
    oldest = buffer.spilling.to_spill()[0]
    write_all_of(buffer, oldest)
    records = outcome_of(buffer)[2] + outcome_of(buffer)[1]
    assert admit(admission(buffer, policy, Lines()), "t", body(99))
    assert outcome_of(buffer) == (0, oldest.records, records - oldest.records + 1)
    check(buffer, [])


def test_what_is_on_stderr_and_on_its_way_keeps_its_place(buffer: Buffer) -> None:
    first = taken(buffer)
    write_all_of(buffer, first)
    assert not buffer.spilling.drop_spilled()
    write_all_of(buffer, first)
    chunk = buffer.spilling.to_spill()[1]
    write_all_of(buffer, chunk)
    told: list[bool] = []
    buffer.when_space(lambda: told.append(True))
    assert buffer.spilling.drop_spilled()
    assert told == [True]
    assert first in buffer.unsettled()
    assert chunk not in buffer.unsettled()
    assert not buffer.spilling.drop_spilled()


def test_a_waiting_call_goes_on_when_a_chunk_is_on_stderr(buffer: Buffer) -> None:
    waiting = admission(buffer, "block", Lines(), block_seconds_max=60.0, monotonic=ManualClock())
    producer = Later(lambda: admit(waiting, "t", body(99)))
    wait_until(lambda: bool(buffer._section.chunks.waiters._callbacks), "the producer waits")
    write_all_of(buffer, buffer.spilling.to_spill()[0])
    assert producer.join() is True
    assert outcome_of(buffer)[0] == 0


def test_a_waiting_call_is_told_when_a_single_byte_is_freed() -> None:
    buffer = a_buffer(stamp_key=None)
    told: list[bool] = []
    buffer.when_space(lambda: told.append(True))
    assert buffer.offer("t", b"x") is Outcome.ACCEPTED
    assert buffer.bytes_held == 1
    assert buffer.drop_oldest()
    assert told == [True]


def test_a_waiting_call_is_not_told_of_a_split(buffer: Buffer) -> None:
    chunk = taken(buffer)
    told: list[bool] = []
    buffer.when_space(lambda: told.append(True))
    held = buffer.bytes_held
    assert buffer.departure.split(chunk) is not None
    assert (buffer.bytes_held, told) == (held, [])
