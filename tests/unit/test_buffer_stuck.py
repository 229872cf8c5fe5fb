"""The buffer where entries cannot be numbered, for want of memory or because of a bug."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from logship._buffer import entrance, section
from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk, MemoryChunk, MemoryStorage
from logship._buffer.entrance import Outcome
from logship._buffer.inbox import Item
from logship._buffer.stream import Stream
from logship._hooks.locking import SectionLock
from logship._protocol.entries import unpack_unstamped
from tests.support.raising import raising
from tests.unit.accounts import FAR_AWAY, Sink, a_buffer, body, check, drained
from tests.unit.interruptions import Interruption, every_point, interrupted_by_a_handler

BYTES_MAX = [pytest.param(100_000, id="with care"), pytest.param(FAR_AWAY, id="through the inbox")]
each_way = pytest.mark.parametrize("bytes_max", BYTES_MAX)


class Storage(MemoryStorage):
    """Opens and links chunks, or raises."""

    error: Exception | None = None
    link_errors: Iterator[Exception] = iter(())

    def open_chunk(self, stream: Stream, serial: int, size: int) -> Chunk:
        if self.error is not None:
            raise self.error
        return super().open_chunk(stream, serial, size)

    def link(self, chunk: Chunk) -> None:
        for error in self.link_errors:
            raise error


class Stuck:
    """A buffer whose storage raises, until told otherwise.

    Attributes:
        told: The errors that the buffer told of, each with whether its thread was in the section.
    """

    def __init__(self, error: Exception, **options: Any) -> None:
        self.storage = Storage(os.urandom, 1000)
        self.storage.error = error
        self.told: list[tuple[Exception, bool]] = []
        self.buffer: Buffer = a_buffer(storage=self.storage, failed=self._tell, **options)

    def _tell(self, error: Exception) -> None:
        self.told.append((error, self.buffer.is_held_here))

    def log(self, *numbers: int) -> list[Outcome]:
        return [self.buffer.offer("t", body(number)) for number in numbers]

    def refused(self) -> list[Item]:
        """Give up what could not be numbered; return it."""
        rest: deque[Item] = deque()
        self.buffer.refuse_rest(rest)
        return [*rest]

    def delivered(self) -> list[int]:
        """Deliver everything; return which records that were."""
        sink = Sink(self.buffer)
        sink.drain()
        check(self.buffer, sink.acked)
        return [record["n"] for record in sink.acked if "n" in record]


def test_a_buffer_is_stuck_until_it_can_number_again() -> None:
    stuck = Stuck(ValueError("a bug"))
    states = [stuck.buffer.is_stuck]
    stuck.log(0)
    for error in (stuck.storage.error, None):
        stuck.storage.error = error
        assert stuck.buffer.records_waiting == 1  # which looks whether it can be numbered
        states.append(stuck.buffer.is_stuck)
    assert states == [False, True, False]


@each_way
def test_entries_that_a_bug_keeps_from_being_numbered_wait_for_its_end(bytes_max: int) -> None:
    stuck = Stuck(ValueError("a bug"), bytes_max=bytes_max, combine_at=2)
    assert stuck.log(*range(10)) == [Outcome.ACCEPTED] * 10
    assert stuck.buffer.records_waiting == 10
    stuck.storage.error = None
    assert stuck.log(10) == [Outcome.ACCEPTED]
    assert stuck.delivered() == list(range(11))


@each_way
def test_a_bug_is_told_outside_of_the_section(bytes_max: int) -> None:
    error = ValueError("a bug")
    stuck = Stuck(error, bytes_max=bytes_max, combine_at=1)
    stuck.log(0)
    assert stuck.told
    assert all(each == (error, False) for each in stuck.told)


def test_for_want_of_memory_nothing_is_told() -> None:
    stuck = Stuck(MemoryError(), bytes_max=FAR_AWAY, combine_at=1)
    assert stuck.log(0) == [Outcome.ACCEPTED]
    assert stuck.buffer.is_stuck
    assert stuck.told == []


def test_a_call_that_finds_no_memory_in_the_section_does_not_refuse_what_it_left() -> None:
    """The record is delivered later, so it must not be counted as refused, or logged again."""
    scenes: list[tuple[Buffer, list[Outcome]]] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        outcomes: list[Outcome] = []
        scenes.append((a_buffer(bytes_max=FAR_AWAY, combine_at=1), outcomes))
        return lambda: outcomes.append(scenes[-1][0].offer("t", body(0))), raising(MemoryError)

    for run in every_point(prepare, room=section.__file__):
        run()
        buffer, outcomes = scenes[-1]
        assert outcomes == [Outcome.ACCEPTED]
        assert [each["n"] for each in drained(buffer).acked] == [0]


def test_a_record_that_there_is_no_memory_to_append_is_not_accepted() -> None:
    class Full(list[Any]):
        def append(self, item: Any) -> NoReturn:
            raise MemoryError(item)

    buffer = a_buffer(bytes_max=FAR_AWAY)
    buffer._section.inbox.items = Full()
    with pytest.raises(MemoryError):
        buffer.offer("t", body(0))


def test_a_record_that_there_is_no_memory_to_number_waits() -> None:
    buffer = a_buffer(bytes_max=FAR_AWAY, combine_at=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SectionLock, "attempt", raising(MemoryError))
        assert buffer.offer("t", body(0)) is Outcome.ACCEPTED
    assert [each["n"] for each in drained(buffer).acked] == [0]


def test_a_bug_found_by_a_call_in_the_middle_is_told_after_the_section() -> None:
    stuck = Stuck(ValueError("a bug"), combine_at=1, bytes_max=FAR_AWAY)
    told_inside: list[int] = []

    def log_inside() -> None:
        stuck.log(1)
        told_inside.append(len(stuck.told))

    stuck.log(0)
    before = len(stuck.told)
    stuck.buffer.exclusively(log_inside)
    assert told_inside == [before]
    assert len(stuck.told) == before + 1


@each_way
def test_so_many_wait_and_more_are_refused(bytes_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "PROMISES_MAX", 10)
    stuck = Stuck(ValueError("a bug"), bytes_max=bytes_max, inbox_max=5)
    outcomes = stuck.log(*range(20))
    assert outcomes == [Outcome.ACCEPTED] * 10 + [Outcome.REFUSED] * 10
    report = stuck.buffer.report("", 0.0)
    assert (report.refused, [stream.refused for stream in report.streams]) == (10, [10])


@each_way
@pytest.mark.parametrize("error", [ValueError("a bug"), MemoryError()], ids=repr)
def test_the_end_hands_over_what_could_not_be_numbered(bytes_max: int, error: Exception) -> None:
    stuck = Stuck(error, bytes_max=bytes_max)
    bodies = [body(number) for number in range(10)]
    for each in bodies:
        assert stuck.buffer.offer("t", each) is Outcome.ACCEPTED
    stuck.buffer.close_intake()
    rest = stuck.refused()
    assert rest == [("t", each) for each in bodies]
    read = [unpack_unstamped(each, stuck.buffer.stamp_key)[1]["n"] for _, each in rest]
    assert read == list(range(10))
    assert stuck.refused() == []
    # A whole number: the audit takes no other one from a report.
    assert repr(stuck.buffer.report("", 0.0).refused) == "10"
    stuck.storage.error = None
    assert stuck.delivered() == []


def test_an_end_record_counts_what_was_handed_over() -> None:
    stuck = Stuck(ValueError("a bug"))
    stuck.storage.error = None
    stuck.log(0)
    stuck.buffer.seal_all()
    stuck.storage.error = ValueError("a bug")
    stuck.log(1, 2)
    stuck.buffer.close_intake()
    assert len(stuck.refused()) == 2
    stuck.storage.error = None
    sink = Sink(stuck.buffer)
    sink.drain()
    assert sink.acked[-1]["logship_end"] is True
    assert sink.acked[-1]["logship_refused"] == 2


def test_calls_that_wait_for_space_learn_of_an_end_that_cannot_be_made() -> None:
    stuck = Stuck(ValueError("a bug"))
    stuck.log(0)
    called: list[bool] = []
    stuck.buffer.when_space(lambda: called.append(True))
    stuck.buffer.close_intake()
    assert called


def test_a_change_that_failed_is_made_before_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that finds it torn goes on with changes of its own."""
    stuck = Stuck(MemoryError(), bytes_max=FAR_AWAY)
    stuck.storage.error = None
    stuck.buffer.offer("other", body(1))
    stuck.buffer.unsettled()
    errors = [MemoryError()]
    advance = MemoryChunk.advance

    def fail_behind(chunk: MemoryChunk, size: int, entries: int) -> None:
        advance(chunk, size, entries)
        if errors:
            raise errors.pop()

    monkeypatch.setattr(MemoryChunk, "advance", fail_behind)
    stuck.log(0)
    stuck.buffer.seal_all()
    assert not errors
    stuck.log(2)
    assert sorted(stuck.delivered()) == [0, 1, 2]


def test_what_a_signal_handler_raises_passes() -> None:
    stuck = Stuck(ValueError("a bug"), bytes_max=FAR_AWAY, combine_at=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stuck.storage, "open_chunk", interrupted_by_a_handler)
        with pytest.raises(Interruption):
            stuck.log(0)
    assert stuck.told == []
    stuck.storage.error = None
    assert stuck.delivered() == [0]


def test_it_passes_from_a_change_that_is_finished_too() -> None:
    """A bug comes first, in the middle of the change; the handler raises in its second attempt."""

    def errors() -> Iterator[Exception]:
        yield ValueError("a bug")
        interrupted_by_a_handler()

    stuck = Stuck(ValueError("a bug"), bytes_max=FAR_AWAY, combine_at=1)
    stuck.storage.error, stuck.storage.link_errors = None, errors()
    with pytest.raises(Interruption):
        stuck.log(0)
    assert stuck.delivered() == [0]


def test_a_change_that_always_fails_lets_nothing_else_be_changed() -> None:
    """The entries wait, and the end hands them over, counts them, and reports.

    The bug is told of before its consequence.
    """
    bug = ValueError("a bug")
    stuck = Stuck(bug, bytes_max=FAR_AWAY, combine_at=4)
    stuck.storage.error = None
    stuck.storage.link_errors = itertools.repeat(bug)
    assert stuck.log(*range(3)) == [Outcome.ACCEPTED] * 3
    with pytest.raises(RuntimeError, match=r"^the change before this one is not finished$"):
        stuck.buffer.number_and_drop("t", body(3))
    assert stuck.told == [(bug, False)]
    stuck.buffer.close_intake()
    assert len(stuck.refused()) == 3
    assert stuck.buffer.report("", 0.0).refused == 3


def test_a_hand_over_that_is_interrupted_anywhere_loses_no_entry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is numbered here, without an error that would be handled where it is interrupted."""
    monkeypatch.setattr(section.Section, "combine", lambda _: None)
    buffer, rest = a_buffer(), deque[Item]()

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        nonlocal buffer
        buffer = a_buffer()
        for number in range(3):
            buffer.offer("t", body(number))
        rest.clear()
        return lambda: buffer.refuse_rest(rest), raising(Interruption)

    for run in every_point(prepare):
        with contextlib.suppress(Interruption):
            run()
        buffer.refuse_rest(rest)
        assert {unpack_unstamped(each, "logship_id")[1]["n"] for _, each in rest} == {0, 1, 2}
        assert not buffer.records_waiting
        assert buffer.counters.refused >= 3
