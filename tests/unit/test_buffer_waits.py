"""When the buffer wakes the shipper, and the calls that wait for space."""

from __future__ import annotations

import pytest

from logship._buffer.buffer import Buffer
from logship._buffer.entrance import Outcome
from logship._reasons import QUARANTINED
from tests.unit.accounts import (
    ENTRY_BYTES,
    Sink,
    a_buffer,
    body,
    drained,
    full_buffer,
    holding,
    offer_many,
    taken,
    wakes_of,
)

# -- wake-ups --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bytes_max", [100_000, 1 << 24])
def test_the_first_record_wakes_and_those_behind_it_do_not(bytes_max: int) -> None:
    buffer = holding(10, bytes_max=bytes_max, chunk_bytes_max=100_000)
    assert wakes_of(buffer) == 1
    buffer.departure.next_deadline_seconds()  # which arms a timer
    offer_many(buffer, 10, first=11)
    assert wakes_of(buffer) == 1


def test_with_a_timer_armed_only_a_sealed_chunk_wakes() -> None:
    buffer = holding(1, chunk_bytes_max=5 * ENTRY_BYTES)
    buffer.departure.next_deadline_seconds()
    offer_many(buffer, 3, first=2)
    assert wakes_of(buffer) == 1
    offer_many(buffer, 1, first=5)
    assert buffer.departure.has_sealed()
    assert wakes_of(buffer) == 2


def test_a_shipper_that_was_woken_is_not_woken_again_before_it_has_looked() -> None:
    buffer = holding(40, chunk_bytes_max=2 * ENTRY_BYTES)
    assert wakes_of(buffer) == 1
    Sink(buffer).take_all()
    buffer.departure.next_deadline_seconds()
    offer_many(buffer, 40)
    assert wakes_of(buffer) == 2


def test_nothing_is_woken_for_what_the_shipper_has_seen() -> None:
    buffer = a_buffer(chunk_bytes_max=2 * ENTRY_BYTES)
    buffer.unsettled()
    assert wakes_of(buffer) == 0
    offer_many(buffer, 2)
    Sink(buffer).take_all()
    before = wakes_of(buffer)
    assert buffer.departure.next_deadline_seconds() is None
    buffer.unsettled()
    assert wakes_of(buffer) == before


@pytest.mark.parametrize("bytes_max", [100_000, 1 << 24])
def test_a_record_wakes_a_shipper_that_rests_without_a_timer(bytes_max: int) -> None:
    buffer = a_buffer(bytes_max=bytes_max)
    assert buffer.departure.next_deadline_seconds() is None
    offer_many(buffer, 1)
    assert wakes_of(buffer) == 1


def test_closing_wakes_where_there_is_something_to_send() -> None:
    buffer = holding(1)
    buffer.departure.next_deadline_seconds()
    before = wakes_of(buffer)
    buffer.close_intake()
    assert wakes_of(buffer) == before + 1


# -- space -----------------------------------------------------------------------------------------


def test_a_waiting_call_is_told_once_when_a_chunk_is_released() -> None:
    buffer = full_buffer(chunk_bytes_max=5 * ENTRY_BYTES)
    told: list[int] = []
    buffer.when_space(lambda: told.append(1))
    take_back = buffer.when_space(lambda: told.append(2))
    take_back()
    sink = Sink(buffer)
    sink.take_all()
    sink.ack(sink.taken[0])
    sink.ack(sink.taken[0])
    assert told == [1]


def test_a_waiting_call_is_not_told_where_nothing_was_freed(buffer: Buffer) -> None:
    told: list[int] = []
    buffer.when_space(lambda: told.append(1))
    offer_many(buffer, 1)
    buffer.seal_all()
    assert told == []


def test_a_call_that_waits_after_the_end_is_told_of_space_alone() -> None:
    buffer = full_buffer()
    buffer.close_intake()
    told: list[int] = []
    buffer.when_space(lambda: told.append(1))
    buffer.unsettled()
    assert told == []
    drained(buffer)
    assert told == [1]


def test_the_callback_may_offer_at_once() -> None:
    buffer = full_buffer()
    outcomes: list[Outcome] = []
    buffer.when_space(lambda: outcomes.append(buffer.offer("t", body(99))))
    drained(buffer)
    assert outcomes == [Outcome.ACCEPTED]


@pytest.mark.parametrize("how", ["close", "drop", "quarantine", "tell"])
def test_a_waiting_call_is_told_too_when(how: str) -> None:
    buffer = full_buffer(chunk_bytes_max=5 * ENTRY_BYTES)
    told: list[int] = []
    buffer.when_space(lambda: told.append(1))
    if how == "close":
        buffer.close_intake()
    elif how == "drop":
        buffer.drop_oldest()
    elif how == "tell":
        buffer.tell_waiters()
    else:
        chunk = buffer.departure.take()
        assert chunk is not None
        buffer.give_up(chunk, QUARANTINED)
    assert told == [1]


def test_an_ack_that_comes_twice_counts_once() -> None:
    buffer = holding(3)
    chunk = taken(buffer)
    buffer.release(chunk)
    buffer.release(chunk)
    assert buffer.report("", 0.0).acked == 3
    assert buffer.bytes_held == 0


def test_flush_target_is_reached_when_all_chunks_up_to_it_are_settled_in_any_order() -> None:
    buffer = holding(3, chunk_bytes_max=ENTRY_BYTES)
    target = buffer.seal_all()
    offer_many(buffer, 1, first=4)
    sink = Sink(buffer)
    sink.take_all()
    assert buffer.settled_through() == 0
    for chunk in reversed(sink.taken[:3]):
        assert buffer.settled_through() < target
        buffer.release(chunk)
    assert buffer.settled_through() == target
