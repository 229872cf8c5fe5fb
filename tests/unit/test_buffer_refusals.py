"""Shows what a buffer counts and refuses, and which memory it uses again."""

from __future__ import annotations

import os

import pytest

from logship._buffer import entrance
from logship._buffer.buffer import Buffer
from logship._buffer.chunk import SPARES_MAX, Chunk, ChunkState, MemoryChunk, MemoryStorage
from logship._buffer.counters import DrainReport
from logship._buffer.entrance import Outcome
from logship._buffer.stream import Stream
from tests.unit.accounts import FAR_AWAY, Sink, a_buffer, body, check, drained, entries_of, taken

# -- counts and refusals ---------------------------------------------------------------------------


def test_notes_are_counted_before_there_are_too_many_of_them(buffer: Buffer) -> None:
    for _ in range(entrance.INBOX_MAX - 1):
        buffer.note("truncated", 1)
    assert buffer.counters.truncated == 0
    buffer.note("truncated", 1)
    assert buffer.counters.truncated == entrance.INBOX_MAX


def test_what_a_closed_buffer_refuses_does_not_grow_the_process(buffer: Buffer) -> None:
    buffer.close_intake()
    for number in range(3 * entrance.INBOX_MAX):
        assert buffer.offer("t", body(number)) is Outcome.REFUSED
    assert buffer.counters.refused == 3 * entrance.INBOX_MAX


@pytest.mark.parametrize("what", ["offer", "refuse", "note", "nothing"])
def test_a_buffer_is_used_once_something_was_logged(what: str) -> None:
    buffer = a_buffer(bytes_max=FAR_AWAY)
    if what == "offer":
        buffer.offer("t", body(1))
    elif what == "refuse":
        buffer.close_intake()
        buffer.offer("t", body(1))
        buffer.unsettled()
    elif what == "note":
        buffer.note("refused", 1)
    assert buffer.is_used == (what != "nothing")
    buffer.unsettled()
    assert buffer.is_used == (what != "nothing")


# -- memory ----------------------------------------------------------------------------------------


class TightStorage(MemoryStorage):
    """Opens chunks, and has no memory for what is written into them, for a while."""

    has_memory = False

    def open_chunk(self, stream: Stream, serial: int, size: int) -> Chunk:
        storage = self

        class TightChunk(MemoryChunk):
            __slots__ = ()

            def write(self, data: bytes) -> None:
                if not storage.has_memory:
                    raise MemoryError
                super().write(data)

        chunk = TightChunk(stream, serial, f"id {serial}", bytearray())
        chunk.capacity = 1000
        return chunk


def test_a_chunk_without_entries_is_forgotten_when_it_is_sealed() -> None:
    storage = TightStorage(os.urandom, 1000)
    buffer = a_buffer(storage=storage)
    assert buffer.offer("t", body(1)) is Outcome.ACCEPTED
    (chunk,) = buffer.unsettled()
    assert chunk.entries == 0
    assert buffer.report("", 0.0).streams[0].unacked == []
    buffer.seal_all()
    assert chunk.state is ChunkState.SETTLED
    assert not buffer.departure.has_sealed()
    storage.has_memory = True
    sink = drained(buffer)
    assert [record["n"] for record in sink.acked] == [1]
    check(buffer, sink.acked)


@pytest.mark.parametrize(("entry_bytes", "is_kept"), [(65_535, False), (65_536, True)])
def test_memory_is_used_again_unless_it_is_small_or_still_viewed(
    entry_bytes: int, is_kept: bool
) -> None:
    buffer = a_buffer(bytes_max=FAR_AWAY, chunk_bytes_max=100_000)
    characters = entry_bytes - len(body(1, 40_000)) - buffer._section.accumulator.stamp_bytes

    def a_sealed_chunk(number: int) -> Chunk:
        buffer.offer("t", body(number, 40_000 + characters))
        chunk = taken(buffer)
        assert chunk.size == entry_bytes
        return chunk

    first = a_sealed_chunk(1)
    view = memoryview(first.data)
    sent = bytes(view)
    buffer.release(first)
    second = a_sealed_chunk(2)
    assert bytes(view) == sent
    memory = second.data
    assert isinstance(memory, bytearray)
    buffer.release(second)
    third = a_sealed_chunk(3)
    assert (third.data is memory) == is_kept
    assert [record["n"] for record in entries_of(third.data)] == [3]


def test_memory_is_kept_for_so_many_chunks_to_come() -> None:
    buffer = a_buffer(bytes_max=FAR_AWAY, chunk_bytes_max=100_000)

    def memory_of_many() -> list[bytes | bytearray | memoryview]:
        for number in range(SPARES_MAX + 3):
            buffer.offer("t", body(number, 70_000))
            buffer.seal_all()
        sink = Sink(buffer)
        sink.take_all()
        memory = [chunk.data for chunk in sink.taken]
        for chunk in list(sink.taken):
            buffer.release(chunk)
        return memory

    before, after = memory_of_many(), memory_of_many()
    assert sum(any(each is old for old in before) for each in after) == SPARES_MAX


# -- lines of refused records ----------------------------------------------------------------------


def test_each_line_of_a_refused_record_has_a_number_and_is_counted(buffer: Buffer) -> None:
    lines = [buffer.number_refused() for _ in range(3)]
    report = buffer.report("", 0.0)
    assert lines == [f"{report.refused_id}:{number:010d}" for number in (1, 2, 3)]
    assert report.late_counts == (0, 3, 0, 0)


@pytest.mark.parametrize("is_in_the_middle", [False, True])
def test_a_report_counts_what_was_refused_until_then(is_in_the_middle: bool) -> None:
    """In the middle of the section, as a signal handler asks for it, the last are only noted."""
    buffer = a_buffer()

    def refuse() -> DrainReport:
        for _ in range(2):
            buffer.number_refused()
        for _ in range(3):
            buffer.note("refused_unwritten", 1)
        for _ in range(4):
            buffer.note("refused", 1)
        return buffer.report("", 0.0)

    assert refuse().late_counts == (4, 2, 3, 0)
    report = buffer.exclusively(refuse) if is_in_the_middle else refuse()
    assert report.late_counts == (8, 4, 6, 0)
