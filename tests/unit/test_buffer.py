"""Shows the buffer's rules one by one: bound, numbers, sealing, wake-ups, gaps, ends, account."""

from __future__ import annotations

import base64
import itertools
import json

import msgpack
import pytest

from logship._buffer import accumulator, stream
from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk, MemoryChunk
from logship._buffer.entrance import Outcome
from logship._buffer.inbox import Run, Tag
from logship._buffer.ranges import merge_ranges
from logship._reasons import QUARANTINED
from logship.testing import ManualClock
from tests.support.raising import raising
from tests.support.strict_msgpack import decode_all
from tests.unit.accounts import (
    ENTRY_BYTES,
    Sink,
    a_buffer,
    body,
    check,
    check_declared,
    drained,
    ended,
    entries_of,
    full_buffer,
    gaps_in,
    holding,
    numbers_in,
    offer_many,
    stamp_of,
    taken,
)


def test_a_chunk_says_which_one_it_is() -> None:
    chunk = taken(holding(3))
    assert repr(chunk) == f"<Chunk {chunk.serial} t 1-3 TAKEN>"


# -- the bound -------------------------------------------------------------------------------------


def test_the_bound_is_exact_to_the_byte() -> None:
    buffer = holding(3, bytes_max=3 * ENTRY_BYTES)
    assert buffer.bytes_held == buffer.bytes_max
    assert buffer.offer("t", body(4)) is Outcome.FULL
    one_short = a_buffer(bytes_max=3 * ENTRY_BYTES - 1)
    offer_many(one_short, 2)
    assert one_short.offer("t", body(3)) is Outcome.FULL


def test_the_bound_holds_where_entries_may_wait_far_away_from_it() -> None:
    buffer = a_buffer(bytes_max=1 << 20)
    outcomes = {buffer.offer("t", body(number)) for number in range(20_000)}
    assert outcomes == {Outcome.ACCEPTED, Outcome.FULL}
    buffer.seal_all()
    assert buffer.bytes_max - 100 < buffer.bytes_held <= buffer.bytes_max


@pytest.mark.parametrize("tags", [("a", "b"), (None, "")])
def test_entries_that_wait_keep_the_order_of_their_tag(tags: tuple[Tag, Tag]) -> None:
    buffer = a_buffer(bytes_max=1 << 24, chunk_bytes_max=100_000, awaited_tag="awaited")
    for number in range(40, 0, -1):
        buffer.offer(tags[number % 2], body(number))
    in_chunks = [[r["n"] for r in entries_of(chunk.data)] for chunk in buffer.unsettled()]
    assert in_chunks == [[*range(40, 0, -2)], [*range(39, 0, -2)]]


# -- numbers and stamps ----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["i", "k" * 31, "k" * 32, "k" * 255, "100%", "schlüssel"])
def test_a_stamp_key_of_any_length_makes_a_valid_entry(key: str) -> None:
    buffer = a_buffer(stamp_key=key, chunk_bytes_max=10_000)
    buffer.offer("t", body(7))
    buffer.number_and_drop("t", body(8))
    buffer.close_intake()
    chunk = taken(buffer)
    first, gap, end = entries_of(chunk.data)
    assert first[key] == f"{chunk.stream.id}:0000000001"
    assert gap[key].endswith(":0000000003")
    assert end[key].endswith(":0000000004")
    assert buffer.bytes_held == len(chunk.data)


def test_without_stamps_entries_are_left_as_they_are_and_nothing_is_declared() -> None:
    buffer = a_buffer(stamp_key=None)
    buffer.offer("t", body(1, stamped=False))
    buffer.number_and_drop("t", body(2, stamped=False))
    buffer.offer("t", body(3, stamped=False))
    buffer.close_intake()
    chunk = taken(buffer)
    assert bytes(chunk.data) == body(1, stamped=False) + body(3, stamped=False)
    report = buffer.report("", 0.0)
    assert (report.accepted, report.dropped, report.unacked) == (3, 1, 2)
    assert report.streams[0].end is None


def test_a_stream_that_has_used_its_numbers_ends_and_another_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accumulator, "ROLLOVER_NUMBER", 5)
    buffer = holding(3)
    assert buffer.number_and_drop("t", body(4)) is not None
    assert buffer.number_and_drop("t", body(5)) is not None  # this one begins the next stream
    offer_many(buffer, 3, first=6)
    buffer.close_intake()
    sink = Sink(buffer)
    check(buffer, [])
    sink.drain()
    check(buffer, sink.acked)
    check_declared(buffer, sink.acked)
    streams = {stamp_of(record)[0] for record in sink.acked}
    assert len(streams) == 3
    assert sum("logship_end" in record for record in sink.acked) == 3


def test_no_record_is_numbered_where_the_next_stream_must_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accumulator, "ROLLOVER_NUMBER", 5)
    buffer = holding(13, bytes_max=1 << 24)
    buffer.departure.seal_due(0.0)  # which combines
    offer_many(buffer, 2, first=14)
    buffer.departure.seal_due(0.0)
    offer_many(buffer, 3, first=16)
    sink = ended(buffer)
    numbers = [stamp_of(record)[1] for record in sink.acked if "n" in record]
    assert numbers == [1, 2, 3, 4] * 4 + [1, 2]
    check(buffer, sink.acked)


def test_more_tags_than_streams_end_the_oldest_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 3)
    buffer = a_buffer()
    sink = Sink(buffer)
    for number in range(10):
        buffer.offer(f"tag {number}", body(number))
        ends = [part.end for part in buffer.report("", 0.0).streams]
        assert ends.count(None) == min(number + 1, 3)
    check(buffer, [])
    buffer.close_intake()
    sink.drain()
    check(buffer, sink.acked)
    assert sum("logship_end" in record for record in sink.acked) == 10


@pytest.mark.parametrize("is_lost", [True, False])
def test_ended_streams_are_kept_while_there_is_something_to_report(
    buffer: Buffer, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 1)
    buffer.offer("first", body(1))
    if is_lost:
        buffer.number_and_drop("first", body(2))
    for number in range(3, 6):
        buffer.offer(f"tag {number}", body(number))
        if is_lost:
            drained(buffer)
    assert "first" in [part.tag for part in buffer.report("", 0.0).streams]


def test_a_full_buffer_and_ever_new_tags_do_not_grow_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tags made of user data while the sidecar is down: nothing may be kept for each of them."""
    monkeypatch.setattr(stream, "STREAMS_MAX", 3)
    buffer = full_buffer()
    for number in range(100):
        assert buffer.offer(f"tag {number}", body(number)) is Outcome.FULL
        buffer.number_and_drop(f"tag {number}", body(number))
    report = buffer.report("", 0.0)
    assert len(report.streams) <= 4
    assert buffer.bytes_held <= buffer.bytes_max
    assert report.refused + report.dropped == 100
    check(buffer, [])


# -- sealing ---------------------------------------------------------------------------------------


def test_a_chunks_id_is_128_random_bits() -> None:
    buffer = holding(3, chunk_bytes_max=1)
    ids = {base64.b64decode(chunk.id) for chunk in buffer.unsettled()}
    assert [len(each) for each in ids] == [16] * 3


@pytest.mark.parametrize("before", [0, 1, 5, 10])
def test_what_is_combined_at_once_fills_no_chunk_beyond_its_capacity(before: int) -> None:
    for count in range(1, 40):
        buffer = a_buffer(bytes_max=1 << 24, chunk_bytes_max=12 * ENTRY_BYTES - 1)
        offer_many(buffer, before)
        buffer.departure.seal_due(0.0)  # which combines
        offer_many(buffer, count, first=before + 1)
        check(buffer, [])
        entries = [chunk.entries for chunk in buffer.unsettled()]
        assert max(entries) <= 11
        assert all(each == 11 for each in entries[:-1])


@pytest.mark.parametrize("comes_next", ["an entry", "a gap and an entry", "a gap and the end"])
def test_a_chunk_is_sealed_when_the_next_entry_would_exceed_its_capacity(comes_next: str) -> None:
    for capacity in range(60, 400):
        buffer = a_buffer(chunk_bytes_max=capacity)
        buffer.offer("t", body(1))
        if "gap" in comes_next:
            buffer.number_and_drop("t", body(2))
        if "end" in comes_next:
            buffer.close_intake()
        else:
            buffer.offer("t", body(3))
        buffer.seal_all()
        check(buffer, [])
        for chunk, behind in itertools.pairwise(buffer.unsettled()):
            is_one = comes_next == "a gap and an entry"
            begins = behind.size if is_one else first_entry_bytes(behind)
            assert chunk.size + begins > chunk.capacity


def first_entry_bytes(chunk: Chunk) -> int:
    unpacker = msgpack.Unpacker()
    unpacker.feed(bytes(chunk.data))
    unpacker.skip()
    return int(unpacker.tell())


def test_a_chunk_that_is_exactly_full_is_sealed_at_once() -> None:
    buffer = holding(3, chunk_bytes_max=3 * ENTRY_BYTES)
    assert buffer.departure.has_sealed()


def test_an_entry_longer_than_a_chunk_goes_alone() -> None:
    buffer = holding(2)
    buffer.offer("t", body(3, 5000))
    offer_many(buffer, 2, first=4)
    buffer.seal_all()
    sink = Sink(buffer)
    sink.take_all()
    assert [chunk.entries for chunk in sink.taken] == [2, 1, 2]


def test_a_chunk_is_due_in_the_moment_that_was_named() -> None:
    buffer = holding(1)
    due_seconds = buffer.departure.next_deadline_seconds()
    assert due_seconds is not None
    buffer.departure.seal_due(due_seconds - 0.001)
    assert not buffer.departure.has_sealed()
    buffer.departure.seal_due(due_seconds)
    assert buffer.departure.has_sealed()


def test_linger_seals_what_has_waited_and_nothing_else() -> None:
    clock = ManualClock()
    buffer = a_buffer(monotonic=clock)
    offer_many(buffer, 1, "a")
    clock.advance(0.1)
    offer_many(buffer, 1, "b")
    assert buffer.departure.next_deadline_seconds() == clock() + 0.1
    clock.advance(0.15)
    buffer.departure.seal_due(clock())
    chunk = buffer.departure.take()
    assert chunk is not None
    assert chunk.stream.tag == "a"
    assert buffer.departure.take() is None
    assert buffer.departure.next_deadline_seconds() == pytest.approx(clock() + 0.05)


def test_a_busy_stream_does_not_hold_a_quiet_one_back() -> None:
    """More sealed chunks of the busy one wait each time than leave: they go in order of opening."""
    clock = ManualClock()
    buffer = a_buffer(monotonic=clock, bytes_max=1 << 24)
    offer_many(buffer, 1, "quiet")
    offer_many(buffer, 40, "busy")
    assert buffer.departure.next_deadline_seconds() == clock() + 0.2
    sent = []
    for first in range(41, 841, 40):
        clock.advance(0.1)
        buffer.departure.seal_due(clock())
        chunk = buffer.departure.take()
        assert chunk is not None
        buffer.release(chunk)
        sent.append(chunk.stream.tag)
        offer_many(buffer, 40, "busy", first=first)
    assert sent == ["busy", "quiet", *["busy"] * 18]
    assert buffer.departure.next_deadline_seconds() is None


def test_an_open_chunk_grows_while_a_sealed_one_waits() -> None:
    buffer = holding(5, chunk_bytes_max=4 * ENTRY_BYTES)
    assert buffer.departure.next_deadline_seconds() is None
    buffer.departure.seal_due(1e9)
    offer_many(buffer, 2, first=6)
    buffer.seal_all()
    sink = Sink(buffer)
    sink.take_all()
    assert [chunk.entries for chunk in sink.taken] == [4, 3]


# -- gaps ------------------------------------------------------------------------------------------


def test_a_dropped_number_is_declared_before_the_next_entry() -> None:
    buffer = full_buffer()
    dropped = [buffer.number_and_drop("t", body(n)) for n in (11, 12)]
    assert [each.number for each in dropped if each is not None] == [11, 12]
    sink = drained(buffer)
    offer_many(buffer, 1, first=13)
    sink.drain()
    gap, after = sink.acked[-2:]
    assert gap["logship_gap"] == [11, 12, "overflow"]
    assert gap["message"] == "logship: records will not arrive"
    assert (stamp_of(gap)[1], stamp_of(after)[1]) == (13, 14)
    check(buffer, sink.acked)


def test_a_numbered_and_dropped_entry_is_whole_and_carries_its_stamp() -> None:
    buffer = full_buffer()
    dropped = buffer.number_and_drop("t", body(11))
    assert dropped is not None
    (record,) = entries_of(dropped.entry)
    assert record["n"] == 11
    assert stamp_of(record) == (dropped.stream.id, 11)


def test_what_was_spilled_after_all_is_reported_and_declared_so() -> None:
    buffer = full_buffer()
    dropped = [buffer.number_and_drop("t", body(n)) for n in range(11, 16)]
    assert dropped[2] is not None
    buffer.dropped_was_spilled(dropped[2])
    report = buffer.report("", 0.0)
    assert (report.dropped, report.spilled) == (4, 1)
    (part,) = report.streams
    assert part.dropped == [(11, 12, "overflow"), (14, 15, "overflow")]
    assert part.spilled == [(13, 13)]
    sink = drained(buffer)
    buffer.close_intake()
    sink.drain()
    gaps = gaps_in(sink.acked)
    assert gaps == [[11, 12, "overflow"], [13, 13, "spilled"], [14, 15, "overflow"]]


def test_what_is_on_stderr_already_is_not_counted_as_dropped() -> None:
    buffer = full_buffer(chunk_bytes_max=5 * ENTRY_BYTES)
    first, second = buffer.unsettled()
    buffer.spilling.note_spilled(first, 5, 5)
    buffer.spilling.note_spilled(second, 4, 4)
    assert buffer.drop_oldest()
    assert buffer.drop_oldest()
    report = buffer.report("", 0.0)
    assert (report.spilled, report.dropped) == (5, 5)
    offer_many(buffer, 1, first=11)
    sink = ended(buffer)
    gaps = gaps_in(sink.acked)
    assert gaps == [[1, 5, "spilled"], [6, 10, "overflow"]]


def test_chunks_of_an_ended_stream_are_not_dropped() -> None:
    """Their gap could not be declared any more."""
    buffer = holding(9, chunk_bytes_max=2 * ENTRY_BYTES)
    buffer.close_intake()
    assert not buffer.drop_oldest()


def test_gaps_are_declared_in_the_chunk_of_the_entry_behind_them() -> None:
    """A chunk of gap records alone would keep its place as long as there are others to drop."""
    buffer = a_buffer(chunk_bytes_max=1000)
    for number in (1, 3, 5):
        buffer.offer("t", body(number))
        buffer.seal_all()
        buffer.number_and_drop("t", body(number + 1))
    assert buffer.drop_oldest()
    assert buffer.offer("t", body(7, 900)) is Outcome.ACCEPTED  # too long for a chunk with a gap
    assert [chunk.records for chunk in buffer.unsettled()] == [1, 1, 1]
    assert {len(chunk.gaps) for chunk in buffer.unsettled()} == {1, 2}


def test_control_records_alone_are_dropped_last() -> None:
    buffer = holding(2)
    buffer.seal_all()
    buffer.give_up(taken(buffer), QUARANTINED)  # which is declared at once
    buffer.seal_all()
    buffer.offer("t", body(3))
    assert [chunk.records for chunk in buffer.unsettled()] == [0, 1]
    assert buffer.drop_oldest()
    assert [chunk.records for chunk in buffer.unsettled()] == [0]
    assert buffer.drop_oldest()
    assert not buffer.drop_oldest()
    buffer.offer("t", body(4))
    buffer.close_intake()
    check(buffer, [])
    assert buffer.report("", 0.0).streams[0].dropped == [
        (1, 2, "quarantined"),
        (3, 4, "overflow"),
    ]


def test_what_is_wholly_on_stderr_is_not_spilled_again() -> None:
    buffer = holding(4)
    buffer.seal_all()
    (chunk,) = buffer.unsettled()
    buffer.spilling.note_spilled(chunk, 3, 3)
    assert buffer.spilling.to_spill() == [chunk]
    buffer.spilling.note_spilled(chunk, 4, 4)
    assert buffer.spilling.to_spill() == []


# -- the end ---------------------------------------------------------------------------------------


def test_a_control_record_has_the_time_of_its_writing() -> None:
    buffer = holding(1, time_ns=lambda: 7_000_000_009)
    buffer.close_intake()
    chunk = taken(buffer)
    (_, (time, record)) = decode_all(bytes(chunk.data))
    assert record["logship_end"] is True
    assert time.data == (7).to_bytes(4, "big") + (9).to_bytes(4, "big")


def test_the_last_record_of_a_stream_counts_it() -> None:
    buffer = full_buffer()
    buffer.number_and_drop("t", body(11))
    sink = ended(buffer)
    end = sink.acked[-1]
    assert end["message"] == "logship: stream closed"
    assert (end["logship_end"], end["logship_accepted"], end["logship_refused"]) == (True, 11, 0)
    check_declared(buffer, sink.acked)


def test_spilled_entries_are_reported_as_spilled_until_they_are_acked() -> None:
    buffer = holding(4)
    buffer.close_intake()
    chunk = taken(buffer)
    buffer.spilling.note_spilled(chunk, 3, 3)
    report = buffer.report("", 0.0)
    assert (report.spilled, report.unacked) == (3, 1)
    assert (report.streams[0].spilled, report.streams[0].unacked) == ([(1, 3)], [(4, 5)])
    buffer.release(chunk)
    report = buffer.report("", 0.0)
    assert (report.acked, report.spilled, report.unacked) == (4, 0, 0)
    assert report.all_acked


def test_the_report_is_one_line_of_json() -> None:
    buffer = holding(2)
    buffer.number_and_drop("t", body(3))
    report = buffer.report("SIGTERM", 1.23456)
    line = report.to_json()
    assert "\n" not in line
    told = json.loads(line)
    assert told.pop("logship") == "drain report"
    assert told.pop("seconds") == 1.235
    (part,) = told.pop("streams")
    assert told == {
        "reason": "SIGTERM", "accepted": 3, "acked": 0, "spooled": 0, "spilled": 0, "dropped": 1,
        "unacked": 2, "refused": 0, "refused_lines": 0, "refused_unwritten": 0,
        "refused_id": report.refused_id, "truncated": 0, "withheld": 0,
    }  # fmt: skip
    assert part == {
        "stream": report.streams[0].stream, "tag": "t", "last": 3, "end": None, "accepted": 3,
        "refused": 0, "spilled": [], "dropped": [[3, 3, "overflow"]], "unacked": [[1, 2]],
        "spooled": [],
    }  # fmt: skip
    assert line.startswith('{"logship": "drain report", "reason": ')


def test_the_report_names_what_is_on_stderr_whatever_holes_a_chunk_has() -> None:
    buffer = a_buffer(bytes_max=1 << 24, chunk_bytes_max=10_000)
    for first in (1, 11, 21):
        offer_many(buffer, 3, first=first)
        buffer.number_and_drop("t", body(first + 3))
        buffer.number_and_drop("t", body(first + 4))
    buffer.close_intake()
    (chunk,) = buffer.unsettled()
    numbers = numbers_in(chunk.ranges())
    assert len(numbers) == chunk.entries
    for count in range(chunk.entries + 1):
        buffer.spilling.note_spilled(chunk, count, 0)
        (part,) = buffer.report("", 0.0).streams
        assert part.spilled == merge_ranges([(n, n) for n in numbers[:count]])
        assert part.unacked == merge_ranges([(n, n) for n in numbers[count:]])


def test_a_number_is_dropped_beside_a_chunk_that_was_opened_in_vain() -> None:
    """An exception from outside may come between a chunk and its first entry."""
    held = a_buffer()._accumulator
    run: Run = ("t", body(1)), [body(1)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MemoryChunk, "write", raising(MemoryError))
        with pytest.raises(MemoryError):
            held.append(run, lambda *_: None)
    (empty,) = held.chunks.open.values()
    numbered = held.number_and_drop("t", body(1))
    assert numbered is not None
    assert numbered.number == 1
    assert not held.chunks.open
    held.append(run, lambda *_: None)
    (chunk,) = held.chunks.open.values()
    assert empty.entries == 0
    assert chunk.ranges() == [(2, 3)], "the gap's record, and the entry"
