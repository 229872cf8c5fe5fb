"""Chunks that outlive the process, ours and those of dead processes, as the buffer sees them."""

from __future__ import annotations

import os
from typing import Any

import pytest

from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk, ChunkState, HalfChunk, MemoryChunk, MemoryStorage
from logship._buffer.chunks import ADOPTED_TAKEN_MAX
from logship._buffer.entrance import Outcome
from logship._buffer.stream import Stream
from logship._reasons import QUARANTINED
from tests.unit.accounts import Sink, a_buffer, body, entries_of, split, taken

pytestmark = pytest.mark.usefixtures("changes_are_made")


class KeptChunk(MemoryChunk):
    """A chunk that outlives the process, or so it says."""

    __slots__ = ()
    spooled = True


class KeptStorage(MemoryStorage):
    """Notes what it is told."""

    outlives_process = True
    has_place = False

    def __init__(self) -> None:
        super().__init__(os.urandom, 1000)
        self.room = True
        self.asked: list[int] = []
        self.released: list[Chunk] = []
        self.given: set[int] = set()

    def has_room(self, size: int) -> bool:
        self.asked.append(size)
        return self.room

    def open_chunk(self, stream: Stream, serial: int, size: int) -> Chunk:
        chunk = KeptChunk(stream, serial, f"id {serial}", bytearray())
        chunk.capacity = 1000
        return chunk

    def release(self, chunk: Chunk) -> None:
        self.released.append(chunk)

    def note_given(self, stream: Stream, next_number: int) -> None:
        self.given.add(next_number - 1)


@pytest.fixture
def storage() -> KeptStorage:
    return KeptStorage()


@pytest.fixture
def buffer(storage: KeptStorage) -> Buffer:
    return a_buffer(storage=storage, bytes_max=1 << 24)


def a_taken_chunk(buffer: Buffer, count: int) -> Chunk:
    for number in range(1, count + 1):
        assert buffer.offer("t", body(number)) is Outcome.ACCEPTED
    return taken(buffer)


def is_done(chunk: Chunk) -> bool:
    return not chunk.parts  # asked anew: the type checker would take it for settled


@pytest.mark.parametrize("has_place", [True, False])
def test_each_record_is_kept_before_the_call_returns(
    buffer: Buffer, storage: KeptStorage, *, has_place: bool
) -> None:
    storage.has_place = has_place
    for number in range(1, 4):
        buffer.offer("t", body(number))
        assert buffer._section.inbox.items == []
        assert buffer._section.accumulator.counters.accepted == number
    assert buffer.unspooled == 0


def test_there_must_be_room_for_the_gap_records_of_a_stream_too(
    buffer: Buffer, storage: KeptStorage
) -> None:
    buffer.offer("u", body(1))
    entry_bytes = storage.asked[-1]
    buffer.number_and_drop("t", body(1))
    buffer.offer("t", body(2))
    (chunk,) = (each for each in buffer.unsettled() if each.gaps)
    assert entry_bytes + 100 < chunk.size <= storage.asked[-1]
    buffer.give_up(taken(buffer), QUARANTINED)
    assert storage.asked[-1] > 100


def test_records_are_named_as_spooled_but_for_those_on_stderr(buffer: Buffer) -> None:
    chunk = a_taken_chunk(buffer, 3)
    buffer.spilling.note_spilled(chunk, 1, 1)
    report = buffer.report("exit", 2.5)
    assert (report.accepted, report.spooled, report.spilled) == (3, 2, 1)
    assert (report.acked, report.dropped, report.unacked) == (0, 0, 0)
    assert (report.reason, report.seconds) == ("exit", 2.5)
    (part,) = report.streams
    assert (part.stream, part.tag, part.last, part.end) == (chunk.stream.id, "t", 3, None)
    assert (part.spilled, part.spooled, part.unacked, part.dropped) == ([(1, 1)], [(2, 3)], [], [])
    assert (part.accepted, part.refused) == (3, 0)
    assert buffer.spilling.to_spill() == []
    assert buffer.spilling.bytes_to_spill == 0
    assert buffer.records_waiting == 3


def test_the_account_counts_what_is_kept(buffer: Buffer) -> None:
    chunk = a_taken_chunk(buffer, 3)
    account = buffer.account()
    assert account is not None
    assert account.counters.accepted == 3
    assert (account.waiting, account.spooled, account.unspooled) == (3, 3, 0)
    assert account.bytes_held == chunk.size
    in_memory = a_buffer(bytes_max=1 << 24)
    a_taken_chunk(in_memory, 2)
    account = in_memory.account()
    assert account is not None
    assert (account.waiting, account.spooled, account.unspooled) == (2, 0, 0)


def test_without_a_place_on_the_storage_it_is_full(buffer: Buffer, storage: KeptStorage) -> None:
    storage.room = False
    assert buffer.offer("t", body(1)) is Outcome.FULL
    storage.room = True
    assert buffer.offer("t", body(1)) is Outcome.ACCEPTED
    assert storage.asked == [buffer.bytes_held] * 2
    storage.room = False
    assert buffer.offer("t", body(2)) is Outcome.ACCEPTED, "the open chunk has room"
    assert buffer.offer("t", body(3, 900)) is Outcome.FULL


def test_a_small_entry_that_surely_finds_a_place_is_not_asked_about(storage: KeptStorage) -> None:
    storage.small_bytes = 1000
    buffer = a_buffer(storage=storage, bytes_max=1 << 24)
    storage.has_place = True
    buffer.unsettled()
    small = 1000 - buffer._section.accumulator.stamp_bytes - len(body(1, 900))
    assert buffer.offer("t", body(1, 900 + small)) is Outcome.ACCEPTED
    assert storage.asked == []
    assert buffer.offer("u", body(2, 900 + small + 1)) is Outcome.ACCEPTED
    assert storage.asked == [1001]
    storage.has_place = False
    buffer.unsettled()
    assert buffer.offer("v", body(3)) is Outcome.ACCEPTED
    assert len(storage.asked) == 2


def test_near_the_bound_it_is_full_though_it_surely_finds_a_place(storage: KeptStorage) -> None:
    storage.has_place = True
    buffer = a_buffer(storage=storage, bytes_max=1000)
    while buffer.offer("t", body(1)) is Outcome.ACCEPTED:
        assert buffer.bytes_held <= 1000
    assert buffer.bytes_held > 1000 - 100


def test_a_change_that_the_storage_did_not_come_to_the_end_of_is_made_again(
    buffer: Buffer, storage: KeptStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(stream: Stream, number: int) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "note_given", interrupted)
    with pytest.raises(KeyboardInterrupt):
        buffer.number_and_drop("t", body(1))
    report = buffer.report("", 0.0)
    assert (report.accepted, report.dropped) == (1, 1)
    assert storage.given == {1}


def test_an_entry_whose_commit_was_interrupted_is_there_once(
    buffer: Buffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(KeptChunk, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        buffer.offer("t", body(1))
    (chunk,) = buffer.unsettled()
    assert [record["n"] for record in entries_of(chunk.data)] == [1]
    assert (chunk.entries, chunk.records, buffer.counters.accepted) == (1, 1, 1)


def test_an_entry_that_just_fits_needs_no_other_place(buffer: Buffer, storage: KeptStorage) -> None:
    buffer.offer("t", body(1))
    storage.room = False
    stamp_bytes = buffer._section.accumulator.stamp_bytes
    left = 1000 - buffer.bytes_held - len(body(2, 400)) - stamp_bytes
    assert buffer.offer("t", body(2, 400 + left + 1)) is Outcome.FULL
    assert buffer.offer("t", body(2, 400 + left)) is Outcome.ACCEPTED
    assert buffer.bytes_held == 1000


def test_a_whole_is_kept_until_all_that_it_was_split_into_is_settled(
    buffer: Buffer, storage: KeptStorage
) -> None:
    whole = a_taken_chunk(buffer, 4)
    halves = split(buffer, whole)
    left, right = halves
    assert left.spooled
    assert left.whole is right.whole is whole.whole is whole
    assert not left.adopted
    assert storage.given == set()
    buffer.release(left)
    assert storage.given == {2}, "it may have been in memory alone"
    assert whole not in storage.released
    assert whole.is_settled
    assert not is_done(whole)
    quarters = split(buffer, right)
    assert quarters[0].whole is whole
    assert storage.given == {2}
    buffer.release(quarters[0])
    assert whole not in storage.released
    buffer.release(quarters[1])
    assert storage.given == {2, 3}, "the storage notes the rest as it frees the whole"
    assert is_done(whole)
    assert whole in storage.released
    assert buffer.unsettled() == []
    assert buffer.bytes_held == 0
    assert buffer.report("", 0.0).acked == 4


def test_a_stream_knows_the_size_of_its_last_chunk(buffer: Buffer) -> None:
    assert Stream("t", None, os.urandom).sealed_bytes == 0
    for count in (1, 3):
        chunk = a_taken_chunk(buffer, count)
        assert chunk.stream.sealed_bytes == chunk.size


# -- chunks of dead processes ----------------------------------------------------------------------


class AdoptedChunk(MemoryChunk):
    """A chunk of a dead process.

    Attributes:
        told: What it was told of its end, and how many parts were left then.
    """

    __slots__ = ("told",)
    adopted = True
    spooled = True

    def __init__(self, stream: Stream, name: str) -> None:
        super().__init__(stream, 0, name, bytearray())
        self.opened_seconds = 7.0
        self.told: list[object] = []

    def before_giving_up(self, part: Chunk, reason: str) -> None:
        self.told.append((part, reason, self.parts))

    def after_settling(self) -> None:
        self.told.append(self.parts)


def an_adopted_chunk(buffer: Buffer, name: str, count: int = 2) -> AdoptedChunk:
    stream = Stream("dead", "logship_id", os.urandom)
    chunk = AdoptedChunk(stream, name)
    data = b"".join(stream.stamped([body(n)]) for n in range(1, count + 1))
    chunk.write(data)
    chunk.advance(len(data), count)
    chunk.state = ChunkState.SEALED
    buffer.adopt(chunk)
    return chunk


def taken_ids(buffer: Buffer) -> list[str]:
    sink = Sink(buffer)
    sink.take_all()
    return [chunk.id for chunk in sink.taken]


def test_adopted_chunks_follow_our_own_a_few_at_a_time(buffer: Buffer) -> None:
    adopted = [an_adopted_chunk(buffer, f"adopted {number}") for number in range(4)]
    assert buffer.departure.has_sealed()
    buffer.offer("t", body(1))
    buffer.seal_all()
    assert taken_ids(buffer) == ["id 1", *[each.id for each in adopted[:ADOPTED_TAKEN_MAX]]]
    assert not buffer.departure.has_sealed()
    buffer.release(adopted[0])
    assert buffer.adopted == adopted[1:]
    assert buffer.departure.has_sealed()
    assert taken_ids(buffer) == [adopted[2].id]


def test_adopted_chunks_fill_the_window_where_there_is_nothing_of_our_own(buffer: Buffer) -> None:
    for number in range(4):
        an_adopted_chunk(buffer, f"adopted {number}")
    assert len(taken_ids(buffer)) == 4


def test_none_is_taken_any_more_once_we_close(buffer: Buffer) -> None:
    an_adopted_chunk(buffer, "adopted")
    assert buffer.departure.has_sealed()
    buffer.close_intake()
    assert not buffer.departure.has_sealed()
    assert buffer.departure.take() is None


def test_adopted_chunks_are_none_of_our_account(buffer: Buffer, storage: KeptStorage) -> None:
    chunk = an_adopted_chunk(buffer, "adopted", 4)
    assert buffer.departure.take() is chunk
    halves = split(buffer, chunk)
    assert chunk.is_settled
    assert buffer.adopted == [*halves]
    for half in halves:
        assert isinstance(half, HalfChunk)
        assert half.adopted
        assert half.spooled
        assert (half.records, half.own_records) == (2, 0)
        assert half.state is ChunkState.TAKEN
    assert [r["n"] for half in halves for r in entries_of(half.data)] == [1, 2, 3, 4]
    buffer.release(halves[0])
    assert not is_done(chunk)
    buffer.release(halves[1])
    assert is_done(chunk)
    assert buffer.adopted == []
    assert buffer.bytes_held == 0
    assert storage.given == set()
    report: Any = buffer.report("", 0.0)
    assert (report.accepted, report.acked, report.streams) == (0, 0, ())


def test_an_adopted_chunk_is_told_how_each_part_of_it_ends(buffer: Buffer) -> None:
    chunk = an_adopted_chunk(buffer, "adopted")
    assert buffer.departure.take() is chunk
    acked, given_up = split(buffer, chunk)
    buffer.release(acked)
    were_given_up = [chunk.is_given_up]
    buffer.give_up(given_up, QUARANTINED)
    assert [*were_given_up, chunk.is_given_up] == [False, True]
    assert chunk.told == [1, (given_up, QUARANTINED, 1), 0]
    assert buffer.adopted == []
    assert not buffer.counters.dropped.total()
    assert chunk.stream.undeclared == [(2, 2, QUARANTINED)]


def test_halves_are_as_old_as_their_whole(buffer: Buffer) -> None:
    chunk = an_adopted_chunk(buffer, "adopted", 3)
    _, right = split(buffer, chunk)
    assert {each.opened_seconds for each in (right, *split(buffer, right))} == {7.0}
