"""What a spill writes to standard error, and what it counts as written.

Every test here would hang, not fail, if a write could block: pytest's timeout is the judge.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import logship
from logship._buffer.buffer import Buffer
from logship._stderr.last_resort import LastResort
from logship._stderr.spill import Spill, SpillCost
from tests.unit.accounts import a_buffer, body, taken
from tests.unit.clients import Stderr
from tests.unit.interruptions import Interruption, every_point, interrupted_by_a_handler
from tests.unit.pipes import PIPE_BYTES, Pipe


def a_filled_buffer(count: int, characters: int = 300) -> Buffer:
    buffer = a_buffer(bytes_max=10**6, chunk_bytes_max=1500)
    for number in range(1, count + 1):
        buffer.offer("t", body(number, characters))
    return buffer


def a_closed_buffer(count: int, characters: int = 300) -> Buffer:
    buffer = a_filled_buffer(count, characters)
    buffer.close_intake()
    return buffer


def spilled_numbers(data: bytes) -> list[int]:
    records = [json.loads(line)["record"] for line in data.splitlines()]
    return [record["n"] for record in records if "n" in record]


def forever() -> float:
    return 0.0


def a_spill(buffer: Buffer, stderr: Stderr, monotonic: Callable[[], float] = forever) -> Spill:
    return Spill(buffer.spilling, stderr.last_resort(), monotonic)


def test_a_spill_writes_everything_once_and_stops_where_stderr_stalls(pipe: Pipe) -> None:
    buffer = a_closed_buffer(60)
    resort = LastResort(descriptor=pipe.writing)
    spill = Spill(buffer.spilling, resort, forever)
    got = b""
    for _ in range(100):
        finished = spill.step(1.0)
        report = buffer.report("", 0.0)
        got += pipe.read()
        if finished and not resort.torn:
            break
        whole = len(spilled_numbers(got[: got.rfind(b"\n") + 1]))
        assert whole <= report.spilled <= whole + 1
    got += pipe.read()
    assert spilled_numbers(got) == [*range(1, 61)]
    report = buffer.report("", 0.0)
    assert (report.spilled, report.unacked) == (60, 0)
    assert report.streams[0].spilled == [(1, 61)]


def test_a_line_that_is_only_begun_is_not_counted(pipe: Pipe) -> None:
    """Whatever the pipe held before: what a reader can use is what is counted."""
    for already in range(0, PIPE_BYTES, 97):
        pipe.fill()
        pipe.read(PIPE_BYTES - already)
        buffer = a_closed_buffer(30, 5000)
        resort = LastResort(descriptor=pipe.writing)
        spill = Spill(buffer.spilling, resort, forever)
        spill.step(1.0)
        whole = pipe.read().lstrip(b"#")
        whole = whole[: whole.rfind(b"\n") + 1]
        report = buffer.report("", 0.0)
        assert report.spilled == len(spilled_numbers(whole))
        assert report.spilled + report.unacked == 30


def test_a_torn_line_of_another_writer_takes_nothing_back(pipe: Pipe) -> None:
    """The announcement is long; where only its beginning came out, no record was written."""
    buffer = a_closed_buffer(3)
    resort = LastResort(descriptor=pipe.writing)
    assert resort.write_line(b"a" * (2 * PIPE_BYTES) + b"\n")
    spill = Spill(buffer.spilling, resort, forever)
    assert not spill.step(1.0)
    report = buffer.report("", 0.0)
    assert (report.spilled, report.unacked) == (0, 3)
    assert report.streams[0].unacked == [(1, 4)]


def test_the_last_line_of_a_chunk_may_be_the_torn_one(pipe: Pipe) -> None:
    buffer = a_buffer(bytes_max=10**6, chunk_bytes_max=100, stamp_key=None)
    for number in (1, 2):
        buffer.offer("t", body(number, 2 * PIPE_BYTES, stamped=False))
    buffer.close_intake()
    resort = LastResort(descriptor=pipe.writing)
    spill = Spill(buffer.spilling, resort, forever)
    assert not spill.step(1.0)
    assert (buffer.report("", 0.0).spilled, buffer.report("", 0.0).unacked) == (0, 2)
    assert [chunk.spilled_entries for chunk in buffer.unsettled()] == [0, 0]


def test_a_torn_line_counts_once_stderr_has_its_end(pipe: Pipe) -> None:
    """Whichever chunk is written next: no line is written twice, and none is counted too early."""
    buffer = a_closed_buffer(12, 2 * PIPE_BYTES)
    spill = Spill(buffer.spilling, LastResort(descriptor=pipe.writing), forever)
    got = b""
    for turn in range(100):
        is_over = spill.step(1.0, newest_first=turn % 3 == 0)
        got += pipe.read()
        numbers = spilled_numbers(got[: got.rfind(b"\n") + 1])
        assert len(numbers) - 1 <= buffer.report("", 0.0).spilled <= len(numbers)
    assert is_over
    assert sorted(spilled_numbers(got)) == [*range(1, 13)]
    report = buffer.report("", 0.0)
    assert (report.spilled, report.unacked) == (12, 0)


@pytest.mark.parametrize("characters", [300, PIPE_BYTES])
def test_after_an_exception_anywhere_in_a_step_the_rest_is_written_and_counted(
    pipe: Pipe, characters: int
) -> None:
    """Nothing is counted that stderr does not have. The line that was interrupted may be torn."""
    scene: list[tuple[Buffer, Spill]] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        pipe.read()
        buffer = a_filled_buffer(5, characters)
        buffer.seal_all()
        spill = Spill(buffer.spilling, LastResort(descriptor=pipe.writing), forever)
        scene[:] = [(buffer, spill)]
        return lambda: spill.step(1.0), interrupted_by_a_handler

    for run in every_point(prepare, step=25, room=str(Path(logship.__file__).parent)):
        with contextlib.suppress(Interruption):
            run()
        ((buffer, spill),) = scene
        got = pipe.read()
        for _ in range(20):
            is_over = spill.step(1.0)
            got += pipe.read()
        assert is_over
        assert whole_numbers(got) >= {1, 2, 3, 4, 5}
        report = buffer.report("", 0.0)
        assert (report.spilled, report.unacked) == (5, 0)
        assert buffer.spilling.drop_spilled(), "what stderr has makes room"


def whole_numbers(data: bytes) -> set[int]:
    """Return which records are there, in lines that a reader can use."""
    numbers: set[int] = set()
    for line in data.splitlines():
        with contextlib.suppress(ValueError):
            numbers.update(spilled_numbers(line))
    return numbers


def test_what_is_acked_before_its_turn_is_not_spilled(stderr: Stderr) -> None:
    buffer = a_closed_buffer(30)
    first = taken(buffer)
    records = first.records
    spill = a_spill(buffer, stderr)
    spill.step(0.0)  # no time: it only looks
    buffer.release(first)
    assert spill.step(1.0)
    assert spilled_numbers(stderr.path.read_bytes()) == [*range(records + 1, 31)]
    assert buffer.report("", 0.0).spilled == 30 - records


def test_the_newest_chunk_may_go_first(stderr: Stderr) -> None:
    """Acks come in for the oldest: so the two ends do not do the same work."""
    buffer = a_closed_buffer(30)
    newest = buffer.unsettled()[-1]
    spill = a_spill(buffer, stderr, once_in_time())
    assert not spill.step(1.0, newest_first=True)
    assert newest.spilled_entries == newest.entries
    assert spill.step(3.0)
    numbers = spilled_numbers(stderr.path.read_bytes())
    assert sorted(numbers) == [*range(1, 31)], "each of them once, whatever the order"
    assert numbers[0] > numbers[-1]


def once_in_time() -> Callable[[], float]:
    """A clock by which there is time for one write."""
    times = iter([0.0, 0.0, 0.0])
    return lambda: next(times, 2.0)


def test_nothing_of_an_open_chunk_is_spilled_while_intake_is_open(stderr: Stderr) -> None:
    buffer = a_buffer(bytes_max=10**6, chunk_bytes_max=10**5)
    buffer.offer("t", body(1))
    spill = a_spill(buffer, stderr)
    assert spill.step(1.0)
    assert spill.bytes_written == 0
    buffer.seal_all()
    buffer.offer("t", body(2))
    assert spill.step(1.0)
    assert spill.bytes_written > 0
    assert 0 < buffer.spilling.bytes_to_spill < buffer.bytes_held
    buffer.close_intake()
    assert spill.step(1.0)
    assert spilled_numbers(stderr.path.read_bytes()) == [1, 2]
    assert buffer.spilling.bytes_to_spill == 0


def test_a_spill_that_is_under_way_is_not_entered_again(stderr: Stderr) -> None:
    """The thread that ends the client may come while another thread still spills ahead."""
    buffer = a_closed_buffer(10)
    inner: list[bool] = []

    def clock() -> float:
        inner.append(spill.step(1.0))
        return 0.0

    spill = a_spill(buffer, stderr, clock)
    assert spill.step(1.0)
    assert spill.step(1.0)
    assert inner
    assert not any(inner)
    assert spilled_numbers(stderr.path.read_bytes()) == [*range(1, 11)]


def test_what_a_spill_took_counts_more_than_the_sample() -> None:
    cost = SpillCost(forever)
    cost.note(10**6, 1.0)
    assert cost.seconds_per_byte > 4e-7
    for _ in range(20):
        cost.note(10**6, 1.0)
    assert cost.seconds_per_byte == pytest.approx(1e-6, rel=0.01)
    cost.note(1000, 1.0)
    assert cost.seconds_per_byte == pytest.approx(1e-6, rel=0.01), "too little to say anything"
    for _ in range(20):
        cost.note(10**6, 0.001)
    assert cost.seconds_per_byte == 5e-8, "never less than is reckoned with"


def test_halves_of_a_split_chunk_are_spilled_too(stderr: Stderr) -> None:
    buffer = a_closed_buffer(3)
    whole = taken(buffer)
    spill = a_spill(buffer, stderr)
    spill.step(0.0)
    buffer.departure.split(whole)
    assert spill.step(1.0)
    assert spilled_numbers(stderr.path.read_bytes()) == [1, 2, 3]


def test_a_chunk_that_is_acked_while_it_is_copied_is_not_spilled(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory may hold another chunk's records by then."""
    buffer = a_closed_buffer(3)
    chunk = taken(buffer)
    others = a_closed_buffer(6).unsettled()[-1].data

    def acked_meanwhile(_: object) -> bytes:
        buffer.release(chunk)
        return bytes(others)

    monkeypatch.setattr(type(chunk), "data", property(acked_meanwhile))
    assert Spill(buffer.spilling, LastResort(descriptor=pipe.writing), forever).step(1.0)
    assert pipe.read() == b""
