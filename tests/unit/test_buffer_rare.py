"""Shows what happens rarely in a buffer: calls in the middle of calls, interruptions, forks."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

import pytest

from logship._buffer import entrance
from logship._buffer.buffer import Buffer
from logship._buffer.chunk import MemoryStorage
from logship._buffer.entrance import COMBINE_AT, Outcome
from logship._buffer.section import LOCK_PATIENCE_SECONDS
from tests.unit.accounts import FAR_AWAY, Wakes, a_buffer, body, check, ended, entries_of
from tests.unit.interruptions import Interruption


class Middle:
    """What the buffer asks for random bytes, in the middle of the section.

    Attributes:
        calls: Made there, once.
        has_memory: Whether there are any.
    """

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []
        self.has_memory = True

    def __call__(self, size: int) -> bytes:
        while self.calls:
            self.calls.pop(0)()
        if not self.has_memory:
            raise MemoryError
        return os.urandom(size)


def numbers_in(buffer: Buffer) -> list[int]:
    records = [record for chunk in buffer.unsettled() for record in entries_of(chunk.data)]
    return [record["n"] for record in records if "n" in record]


# -- in the middle of the section ------------------------------------------------------------------


def test_a_call_in_the_middle_that_ends_intake_and_logs_is_told_the_truth() -> None:
    middle, outcomes = Middle(), []
    buffer = a_buffer(random_bytes=middle, chunk_bytes_max=1)
    buffer.offer("t", body(0))

    def close_and_log() -> None:
        buffer.close_intake()
        outcomes.append(buffer.offer("t", body(2)))

    middle.calls = [close_and_log]
    assert buffer.offer("t", body(1)) is Outcome.ACCEPTED
    assert outcomes == [Outcome.REFUSED]
    assert numbers_in(buffer) == [0, 1]
    report = buffer.report("", 0.0)
    assert report.refused == report.streams[0].refused == 1
    check(buffer, [])


def test_a_record_that_waits_for_memory_when_intake_ends_is_refused_alone() -> None:
    """The one before it was promised a place, and has it once there is memory."""
    middle = Middle()
    buffer = a_buffer(random_bytes=middle, bytes_max=FAR_AWAY, combine_at=2)
    assert buffer.offer("t", body(0)) is Outcome.ACCEPTED
    buffer.seal_all()
    assert buffer.offer("t", body(1)) is Outcome.ACCEPTED
    middle.calls, middle.has_memory = [buffer.close_intake], False
    assert buffer.offer("t", body(2)) is Outcome.REFUSED
    assert buffer.offer("t", body(3)) is Outcome.REFUSED
    middle.has_memory = True
    assert numbers_in(buffer) == [0, 1]
    report = buffer.report("", 0.0)
    assert report.refused == report.streams[0].refused == 2


def test_a_record_that_the_end_of_intake_numbers_is_accepted() -> None:
    def wake() -> None:
        buffer.close_intake()

    buffer: Buffer = a_buffer(bytes_max=FAR_AWAY, wake=wake)
    assert buffer.offer("t", body(1)) is Outcome.ACCEPTED
    assert numbers_in(buffer) == [1]


def test_an_end_that_there_was_no_memory_for_is_made_by_the_next_call() -> None:
    middle = Middle()
    buffer = a_buffer(random_bytes=middle)
    buffer.offer("t", body(1))
    buffer.seal_all()
    middle.has_memory = False
    buffer.close_intake()
    middle.has_memory = True
    assert buffer.offer("t", body(2)) is Outcome.REFUSED
    sink = ended(buffer)
    assert [record["n"] for record in sink.acked if "n" in record] == [1]
    assert sink.acked[-1]["logship_end"] is True


def test_a_call_on_an_event_loop_does_not_wait_for_the_section(
    monkeypatch: pytest.MonkeyPatch, buffer: Buffer
) -> None:
    monkeypatch.setattr(entrance, "LOCK_PATIENCE_SECONDS", 3600.0)
    is_inside, may_leave = threading.Event(), threading.Event()

    def stay() -> None:
        is_inside.set()
        may_leave.wait()

    async def log() -> Outcome:
        return buffer.offer("t", body(1))

    holder = threading.Thread(target=buffer.exclusively, args=(stay,))
    holder.start()
    is_inside.wait()
    try:
        assert asyncio.run(log()) is Outcome.ACCEPTED
    finally:
        may_leave.set()
        holder.join()
    assert numbers_in(buffer) == [1]


def test_sealing_in_the_middle_of_the_section_seals_nothing(buffer: Buffer) -> None:
    buffer.offer("t", body(1))
    assert buffer.exclusively(buffer.seal_all) == 1
    assert not buffer.departure.has_sealed()
    assert buffer.exclusively(lambda: buffer.is_held_here)
    assert not buffer.is_held_here


def test_nothing_is_dropped_in_the_middle_of_the_section(buffer: Buffer) -> None:
    buffer.offer("t", body(1))
    buffer.seal_all()
    (chunk,) = buffer.unsettled()
    assert buffer.exclusively(buffer.drop_oldest) is False
    buffer.spilling.note_spilled(chunk, 1, 1)
    assert buffer.exclusively(buffer.spilling.drop_spilled) is False
    assert buffer.exclusively(buffer.account) is None
    assert buffer.unsettled() == [chunk]


def test_so_many_are_promised_a_place_while_the_section_is_not_left(
    buffer: Buffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrance, "PROMISES_MAX", 4)
    buffer.offer("t", body(0))

    def log() -> list[Outcome]:
        return [buffer.offer("t", body(number)) for number in range(1, 6)]

    assert buffer.exclusively(log) == [Outcome.ACCEPTED] * 4 + [Outcome.REFUSED]
    assert numbers_in(buffer) == [0, 1, 2, 3, 4]
    report = buffer.report("", 0.0)
    assert report.refused == report.streams[0].refused == 1


class HeldLock:
    """The section's lock as it is while another thread is inside for long."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.release = threading.RLock().release

    def acquire(self, blocking: bool, timeout: float = -1) -> bool:
        if blocking:
            self.waited.append(timeout)
        return False


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[Buffer], HeldLock]:
    def hold(buffer: Buffer) -> HeldLock:
        lock = HeldLock()
        monkeypatch.setattr(buffer._section._lock, "_lock", lock)
        return lock

    return hold


def test_no_call_that_logs_into_memory_waits_for_another_thread(
    held: Callable[[Buffer], HeldLock],
) -> None:
    buffer = a_buffer(bytes_max=FAR_AWAY)
    buffer.unsettled()
    lock = held(buffer)
    for number in range(3 * COMBINE_AT):
        assert buffer.offer("t", body(number)) is Outcome.ACCEPTED
    for _ in range(entrance.INBOX_MAX):
        buffer.note("truncated", 1)
    assert lock.waited == []


@pytest.mark.parametrize(
    "options",
    [
        {"bytes_max": 8 * 1000 * 100, "inbox_max": 1000},
        {"bytes_max": FAR_AWAY, "inbox_max": 1000, "inbox_bytes_max": 1000 * 100},
    ],
)
def test_a_small_entry_waits_in_the_inbox_and_a_larger_one_is_looked_at(
    options: dict[str, int], held: Callable[[Buffer], HeldLock]
) -> None:
    """All entries that may wait fit into the part of the bound that is left for them."""
    buffer = a_buffer(**options)
    small = 140 - buffer._section.accumulator.stamp_bytes - len(body(1, 40))
    lock = held(buffer)
    assert buffer.offer("t", body(1, small)) is Outcome.ACCEPTED
    assert lock.waited == []
    assert buffer.offer("t", body(1, small + 1)) is Outcome.ACCEPTED
    assert lock.waited == [LOCK_PATIENCE_SECONDS]


def test_only_so_many_wait_in_the_inbox(held: Callable[[Buffer], HeldLock]) -> None:
    buffer = a_buffer(bytes_max=FAR_AWAY, inbox_max=2)
    lock = held(buffer)
    for number in range(2):
        buffer.offer("t", body(number))
    assert lock.waited == []
    buffer.offer("t", body(2))
    assert lock.waited == [LOCK_PATIENCE_SECONDS]


@pytest.mark.parametrize("where", ["near the bound", "a spool", "a spool that may be full"])
def test_a_call_waits_a_little_and_then_wakes_the_shipper(
    held: Callable[[Buffer], HeldLock], where: str
) -> None:
    storage = MemoryStorage(os.urandom, 1000)
    storage.outlives_process, storage.has_place = where != "near the bound", where == "a spool"
    wakes = Wakes()
    bytes_max = FAR_AWAY if storage.outlives_process else 100_000
    buffer = a_buffer(wake=wakes, bytes_max=bytes_max, storage=storage)
    assert buffer.offer("t", body(0)) is Outcome.ACCEPTED
    assert buffer.departure.next_deadline_seconds() is not None  # it would come only then
    before = wakes.count
    lock = held(buffer)
    assert buffer.offer("t", body(1)) is Outcome.ACCEPTED
    assert lock.waited == [LOCK_PATIENCE_SECONDS]
    assert wakes.count == before + 1
    assert buffer.unspooled == storage.outlives_process


def test_one_call_combines_once_and_leaves_the_rest_to_the_shipper() -> None:
    """Whatever logs in the middle of the section would else keep the call there for ever."""
    rounds = 0

    def log_as_many_again() -> float:
        nonlocal rounds
        rounds += 1
        if rounds < 100:
            offer_many(rounds * COMBINE_AT, f"tag {rounds}")
        return 0.0

    def offer_many(first: int, tag: str) -> None:
        for number in range(first, first + COMBINE_AT):
            assert buffer.offer(tag, body(number)) is Outcome.ACCEPTED

    buffer = a_buffer(monotonic=log_as_many_again, bytes_max=FAR_AWAY, chunk_bytes_max=100_000)
    offer_many(0, "tag 0")
    assert rounds == 1
    while rounds < 100:
        buffer.seal_all()
    assert numbers_in(buffer) == [*range(100 * COMBINE_AT)]


# -- what interrupts -------------------------------------------------------------------------------


class Interrupted:
    """A wake-up that is interrupted the first time."""

    def __init__(self, error: type[BaseException]) -> None:
        self.count = 0
        self._error = error

    def __call__(self) -> None:
        self.count += 1
        if self.count == 1:
            raise self._error


def test_what_interrupts_a_wake_up_passes_and_the_shipper_is_woken() -> None:
    wake = Interrupted(Interruption)
    buffer = a_buffer(wake=wake, bytes_max=FAR_AWAY)
    with pytest.raises(Interruption):
        buffer.offer("t", body(1))
    assert wake.count == 2
    assert numbers_in(buffer) == [1]


def test_a_wake_up_without_memory_is_made_by_the_next_call() -> None:
    wake = Interrupted(MemoryError)
    buffer = a_buffer(wake=wake, bytes_max=FAR_AWAY)
    assert buffer.offer("t", body(1)) is Outcome.ACCEPTED
    assert buffer.offer("t", body(2)) is Outcome.ACCEPTED
    assert wake.count == 2


def test_a_wake_up_that_woke_nothing_is_made_by_the_next_call() -> None:
    """So it is while the loop of an asyncio client does not run."""
    answers = iter([False, False, True])
    buffer = a_buffer(wake=lambda: next(answers), bytes_max=FAR_AWAY)
    for number in range(4):  # the last one finds the shipper awake
        assert buffer.offer("t", body(number)) is Outcome.ACCEPTED
    assert next(answers, None) is None
    assert numbers_in(buffer) == [0, 1, 2, 3]


def test_what_interrupts_a_callback_passes_and_the_others_are_told_later(buffer: Buffer) -> None:
    told: list[int] = []

    def interrupted() -> None:
        if not told:
            told.append(1)
            raise Interruption

    buffer.when_space(interrupted)
    buffer.when_space(lambda: told.append(2))
    with pytest.raises(Interruption):
        buffer.tell_waiters()
    assert told == [1]
    buffer.unsettled()
    assert told == [1, 2]
    buffer.tell_waiters()
    assert told == [1, 2]


# -- forks -----------------------------------------------------------------------------------------


def test_a_forked_child_begins_anew() -> None:
    """The parent's thread may be in the section, and its records are the parent's to deliver."""
    buffer = a_buffer(bytes_max=FAR_AWAY)
    told: list[int] = []
    for number in range(3):
        buffer.offer("t", body(number))
    buffer.note("truncated", 1)
    buffer.when_space(lambda: told.append(1))
    buffer.exclusively(lambda: buffer.after_fork_in_child(refuses=False))
    assert not buffer.is_used
    assert buffer.unsettled() == []
    assert buffer.offer("t", body(9)) is Outcome.ACCEPTED
    sink = ended(buffer)
    assert told == []
    assert [record["n"] for record in sink.acked if "n" in record] == [9]
    check(buffer, sink.acked)


@pytest.mark.parametrize("bytes_max", [100_000, FAR_AWAY])
def test_a_child_that_is_about_to_exec_refuses_all_records(bytes_max: int) -> None:
    buffer = a_buffer(bytes_max=bytes_max)
    assert buffer.offer("t", body(1)) is Outcome.ACCEPTED
    buffer.after_fork_in_child(refuses=True)
    assert [buffer.offer("t", body(number)) for number in (2, 3)] == [Outcome.REFUSED] * 2
    assert not buffer.intake_closed
    assert buffer.report("", 0.0).refused == 2
    assert buffer.offer("t", body(4)) is Outcome.REFUSED
    assert numbers_in(buffer) == []
