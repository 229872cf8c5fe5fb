"""High-water records: what they state, when they are written, and that they change no account."""

from __future__ import annotations

from typing import Any

import pytest

from logship._audit.audit import Audit
from logship._audit.verdict import Outcome
from logship._buffer.accumulator import HIGH_WATER_TAG
from logship._buffer.buffer import Buffer
from logship._client.upkeep import HighWater
from logship._reasons import QUARANTINED
from logship.testing import Sidecar
from tests.audit.lines import received
from tests.unit.accounts import Sink, body, check, gaps_in, split
from tests.unit.clients import Stderr, a_client, until

KEY = "logship_high_water"


@pytest.fixture
def sink(buffer: Buffer) -> Sink:
    return Sink(buffer)


def stated(records: list[dict[str, Any]]) -> list[list[str]]:
    return [record[KEY] for record in records if KEY in record]


def stamps(records: list[dict[str, Any]]) -> list[str]:
    return [record["logship_id"] for record in records if "n" in record]


def log(buffer: Buffer, *numbers: int, tag: str = "a") -> None:
    for number in numbers:
        buffer.offer(tag, body(number))


# --- what they state ------------------------------------------------------------------------------


@pytest.mark.usefixtures("changes_are_made")
def test_only_the_streams_that_grew_are_stated(buffer: Buffer, sink: Sink) -> None:
    for tags in ("ab", "b", ""):
        for tag in tags:
            log(buffer, 1, 2, tag=tag)
        assert buffer.state_highest()
        check(buffer, sink.acked)
        sink.drain()
    [_, first_b, second_b] = stamps(sink.acked)[1::2]
    both, one = stated(sink.acked)
    assert len(both) == 2
    assert first_b in both
    assert one == [second_b]


def test_one_can_be_told_from_the_applications_records(buffer: Buffer, sink: Sink) -> None:
    log(buffer, 1)
    buffer.state_highest()
    sink.drain()
    record, statement = sink.acked
    assert statement == {
        "message": "logship: highest numbers",
        KEY: [record["logship_id"]],
        "logship_id": statement["logship_id"],
    }


def test_no_account_counts_them(buffer: Buffer, sink: Sink) -> None:
    log(buffer, 1, 2)
    buffer.state_highest()
    sink.drain()
    log(buffer, 3)
    buffer.close_intake()
    sink.drain()
    check(buffer, sink.acked)
    report = buffer.report("close", 0.0)
    assert (report.accepted, report.acked) == (3, 3)
    [highest] = [stream for stream in report.streams if stream.tag == HIGH_WATER_TAG]
    assert (highest.accepted, highest.last) == (0, 3)  # two statements and the end record
    audit = Audit()
    audit.feed([received(record) for record in sink.acked])
    assert audit.verdict().outcome is Outcome.COMPLETE


def test_the_last_one_is_written_at_the_end_of_intake(buffer: Buffer, sink: Sink) -> None:
    log(buffer, 1)
    buffer.state_highest()
    sink.drain()
    log(buffer, 2)
    buffer.close_intake()
    assert not buffer.state_highest()  # that would be after the end
    sink.drain()
    assert stated(sink.acked) == [[stamp] for stamp in stamps(sink.acked)]


def test_a_client_that_stated_nothing_states_nothing_at_its_end(buffer: Buffer, sink: Sink) -> None:
    log(buffer, 1)
    buffer.close_intake()
    sink.drain()
    assert stated(sink.acked) == []
    assert len(buffer.report("close", 0.0).streams) == 1


def test_one_at_a_time_is_on_its_way(buffer: Buffer, sink: Sink) -> None:
    for number in range(5):
        log(buffer, number)
        assert buffer.state_highest() is (number == 0)
    sink.drain()
    assert buffer.state_highest()
    sink.drain()
    assert stated(sink.acked) == [stamps(sink.acked)[:1], stamps(sink.acked)[-1:]]


def test_one_that_no_server_takes_becomes_a_declared_gap(buffer: Buffer, sink: Sink) -> None:
    log(buffer, 1)
    buffer.state_highest()
    buffer.seal_all()
    sink.take_all()
    record, statement = sink.taken
    sink.ack(record)
    buffer.give_up(statement, QUARANTINED)
    buffer.seal_all()
    sink.drain()
    log(buffer, 2)
    assert buffer.state_highest()
    buffer.close_intake()
    sink.drain()
    check(buffer, sink.acked)
    [gap] = gaps_in(sink.acked)
    assert gap == [1, 1, "quarantined"]


def test_a_chunk_of_them_can_be_taken_apart(buffer: Buffer, sink: Sink) -> None:
    log(buffer, 1)
    buffer.state_highest()
    buffer.close_intake()
    sink.take_all()
    [chunk] = [chunk for chunk in sink.taken if chunk.stream.tag == HIGH_WATER_TAG]
    halves = split(buffer, chunk)
    assert [half.records for half in halves] == [0, 0]
    check(buffer, sink.acked)


# --- when they are written ------------------------------------------------------------------------


def test_they_come_at_the_interval_while_records_come(buffer: Buffer, sink: Sink) -> None:
    high_water = HighWater(buffer, 10.0, 0.0)
    log(buffer, 1)
    buffer.seal_all()
    high_water.tend(9.9)
    assert high_water.deadline_seconds() == 10.0
    high_water.tend(10.0)
    high_water.tend(10.1)
    sink.drain()
    assert len(stated(sink.acked)) == 1
    assert high_water.deadline_seconds() is None  # nothing was logged since
    log(buffer, 2)
    buffer.seal_all()
    assert high_water.deadline_seconds() == 20.0


def test_an_interval_without_an_ack_waits_for_the_next(buffer: Buffer, sink: Sink) -> None:
    high_water = HighWater(buffer, 10.0, 0.0)
    for seconds in (10.0, 20.0):
        log(buffer, 1)
        buffer.seal_all()
        high_water.tend(seconds)
    assert high_water.deadline_seconds() == 30.0
    sink.drain()
    high_water.tend(30.0)
    sink.drain()
    assert len(stated(sink.acked)) == 2
    assert high_water.deadline_seconds() is None


def test_a_closed_buffer_wakes_nothing_for_them(buffer: Buffer) -> None:
    high_water = HighWater(buffer, 10.0, 0.0)
    log(buffer, 1)
    buffer.close_intake()
    assert high_water.deadline_seconds() is None


async def test_a_client_states_its_numbers(sidecar: Sidecar, stderr: Stderr) -> None:
    def highest() -> list[list[str]]:
        return stated([each.record for each in sidecar.delivered])

    async with a_client(sidecar, stderr, high_water_seconds=0.001) as client:
        client.emit({"message": "one", "n": 1})
        await until(highest, "the first is stated")
        client.emit({"message": "two", "n": 2})
        await until(lambda: len(highest()) == 2, "the second is stated")
    ours = [each.record for each in sidecar.delivered]
    assert highest() == [[stamp] for stamp in stamps(ours)]
    assert {each.tag for each in sidecar.delivered if KEY in each.record} == {HIGH_WATER_TAG}


@pytest.mark.parametrize("settings", [{}, {"high_water_seconds": 0.001, "stamp": False}])
async def test_a_client_without_interval_or_stamps_states_nothing(
    sidecar: Sidecar, stderr: Stderr, settings: dict[str, Any]
) -> None:
    async with a_client(sidecar, stderr, **settings) as client:
        client.emit({"message": "one"})
        await client.flush()
        client.emit({"message": "two"})
    assert stated([each.record for each in sidecar.delivered]) == []
