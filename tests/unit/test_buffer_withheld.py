"""What a buffer does with what was kept back on purpose: it counts, numbers and declares it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from logship._buffer import counters, section, stream
from logship._buffer.accumulator import WITHHELD_INTERVAL_SECONDS
from logship._buffer.buffer import Buffer
from logship._client.flush import Flush
from logship._reasons import OVERFLOW, RATE_LIMITED, SAMPLED, WITHHELD
from logship.testing import ManualClock
from tests.support.threads import Later
from tests.unit.accounts import a_buffer, body, drained, gaps_in, numbers_in, stamp_of
from tests.unit.interruptions import every_point

pytestmark = pytest.mark.usefixtures("changes_are_made")

LINGERING = 1 << 20
"""A chunk so large that what was kept back waits for its end."""


def declared(buffer: Buffer) -> list[list[Any]]:
    """End a buffer of one stream, and return the gaps that arrive: they name all that does not."""
    buffer.close_intake()
    sink = drained(buffer)
    gaps = gaps_in(sink.acked)
    named = [stamp_of(record)[1] for record in sink.acked] + numbers_in(gaps)
    (part,) = buffer.report("", 0.0).streams
    assert sorted(named) == [*range(1, part.last + 1)]
    return gaps


# -- counts ----------------------------------------------------------------------------------------


def test_what_is_kept_back_again_is_added_to_what_waits(buffer: Buffer) -> None:
    for amount, total in [(2, 2), (3, 5), (4, 9)]:
        buffer.note(SAMPLED, amount, "t")
        report = buffer.report("", 0.0)
        assert (report.accepted, report.dropped, report.withheld) == (total, total, total)
        assert report.streams[0].accepted == total
    assert declared(buffer) == [[1, 9, SAMPLED]]


def test_what_is_kept_back_at_once_is_counted_together(buffer: Buffer) -> None:

    def keep_back() -> None:
        buffer.note(SAMPLED, 2, "t")
        buffer.note(SAMPLED, 3, "t")
        buffer.note(SAMPLED, 4, "u")

    buffer.exclusively(keep_back)
    report = buffer.report("", 0.0)
    assert (report.accepted, report.withheld) == (9, 9)
    assert [(part.tag, part.accepted) for part in report.streams] == [("t", 5), ("u", 4)]


def test_what_another_thread_keeps_back_during_a_flush_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At each point of the count, which must be one of one moment."""
    monkeypatch.setattr(section, "LOCK_PATIENCE_SECONDS", 0.0)

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        buffer = a_buffer()
        return lambda: flush(buffer), lambda: Later(lambda: keep_back(buffer)).join()

    def flush(buffer: Buffer) -> None:
        assert Flush(buffer, 0.0, lambda: True).report().all_acked

    def keep_back(buffer: Buffer) -> None:
        buffer.note(SAMPLED, 1, "t")
        buffer.account()  # has it counted, where no other thread is in the section

    for run in every_point(prepare, room=counters.__file__):
        run()


def test_withheld_records_are_counted_behind_others(buffer: Buffer) -> None:
    buffer.offer("t", body(1))
    buffer.number_and_drop("t", body(2))
    buffer.note(SAMPLED, 3, "t")
    buffer.note(RATE_LIMITED, 4, "t")
    report = buffer.report("", 0.0)
    assert (report.accepted, report.dropped, report.withheld) == (9, 8, 7)
    assert buffer.counters.dropped == {OVERFLOW: 1, SAMPLED: 3, RATE_LIMITED: 4}


# -- numbers ---------------------------------------------------------------------------------------


def test_each_reason_is_declared_as_a_range_of_its_own(buffer: Buffer) -> None:
    buffer.note(SAMPLED, 2, "t")
    buffer.note(RATE_LIMITED, 3, "t")
    buffer.note(WITHHELD, 4, "t")
    assert declared(buffer) == [[1, 2, SAMPLED], [3, 5, RATE_LIMITED], [6, 9, WITHHELD]]


def test_a_stream_declares_once_a_minute_at_most() -> None:
    clock = ManualClock()
    buffer = a_buffer(monotonic=clock)
    last = []
    for _ in range(4):
        buffer.note(WITHHELD, 5, "t")
        buffer.offer("t", body(1))
        buffer.seal_all()
        last.append(buffer.report("now", 0.0).streams[0].last)
        clock.advance(WITHHELD_INTERVAL_SECONDS / 2)
    # 1-5 withheld, 6 declares, 7; then 8; then 9-18 withheld, 19 declares, 20; then 21
    assert last == [7, 8, 20, 21]
    report = buffer.report("now", 0.0)
    assert (report.accepted, report.withheld, report.streams[0].accepted) == (24, 20, 24)
    buffer.close_intake()
    (stream,) = buffer.report("end", 0.0).streams
    assert (stream.accepted, stream.dropped) == (
        24,
        [(1, 5, WITHHELD), (9, 18, WITHHELD), (22, 26, WITHHELD)],
    )


def test_the_first_declaration_is_due_at_once_on_a_clock_that_has_just_begun() -> None:
    buffer = a_buffer(monotonic=ManualClock(0.0))
    buffer.note(SAMPLED, 2, "t")
    buffer.offer("t", body(1))  # 3 declares, 4 is the record
    assert buffer.report("", 0.0).streams[0].last == 4


def test_a_declaration_that_is_dropped_is_named_until_it_is_made_again(buffer: Buffer) -> None:
    buffer.note(SAMPLED, 2, "t")
    buffer.offer("t", body(1))  # 3 declares, 4 is the record
    assert buffer.drop_oldest()
    (part,) = buffer.report("", 0.0).streams
    assert part.dropped == [(1, 2, SAMPLED), (3, 4, OVERFLOW)]
    assert declared(buffer) == [[1, 2, SAMPLED], [3, 4, OVERFLOW]]
    (part,) = buffer.report("", 0.0).streams
    assert part.dropped == [(3, 4, OVERFLOW)], "the sidecar knows the others"


# -- ends ------------------------------------------------------------------------------------------


def test_what_is_kept_back_in_the_middle_of_the_section_is_counted_by_its_end() -> None:
    buffer = a_buffer(chunk_bytes_max=LINGERING)
    buffer.offer("t", body(1))

    def keep_back_and_close() -> None:
        buffer.note(SAMPLED, 2, "t")
        buffer.note("refused", 1, "t")
        buffer.close_intake()

    buffer.exclusively(keep_back_and_close)
    sink = drained(buffer)
    end = sink.acked[-1]
    assert (end["logship_accepted"], end["logship_refused"]) == (3, 1)
    report = buffer.report("", 0.0)
    assert (report.accepted, report.withheld, report.refused) == (3, 2, 1)
    assert gaps_in(sink.acked) == [[2, 3, SAMPLED]]


def test_what_is_kept_back_after_the_end_is_refused(buffer: Buffer) -> None:
    buffer.offer("t", body(1))
    buffer.close_intake()
    buffer.note(SAMPLED, 2, "t")
    buffer.note(SAMPLED, 3, "another")
    report = buffer.report("", 0.0)
    assert (report.accepted, report.withheld, report.refused) == (1, 0, 5)
    assert [(part.tag, part.refused) for part in report.streams] == [("t", 2)]


def test_withheld_records_of_too_many_tags_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 3)
    buffer = a_buffer()
    for number in range(5):
        buffer.note(WITHHELD, 2, f"tag {number}")
    buffer.note(WITHHELD, 1, "tag 0")
    report = buffer.report("", 0.0)
    assert (report.withheld, report.refused) == (7, 4)
    assert [part.accepted for part in report.streams] == [3, 2, 2]
