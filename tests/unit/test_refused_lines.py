"""Refused lines on stderr: paced while intake is open, written in turn afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from logship._buffer import stream
from logship._client.background import BackgroundClient
from logship._installation.handler import Handler
from logship._stderr.last_resort import LastResort
from logship.testing import ManualClock, Sidecar
from tests.support.raising import raising
from tests.support.waiting import wait_until
from tests.unit.clients import Stderr, a_background_client

BYTES_PER_SECOND = 10_000
LARGE = "x" * 2000
RECORDS = 100


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Watched(LastResort):
    """A last resort that notes each point where a thread of a dying process would stay."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.stops: list[bool] = []

    def stop_here(self) -> None:
        self.stops.append(self.has_stopped_others)


@pytest.fixture
def resort(stderr: Stderr, clock: ManualClock) -> Watched:
    return Watched(
        descriptor=stderr.descriptor, bytes_per_second_max=BYTES_PER_SECOND, monotonic=clock
    )


@pytest.fixture(params=["block", "drop_newest", "drop_oldest"])
def client(
    request: pytest.FixtureRequest, resort: Watched, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BackgroundClient]:
    """A client whose buffer is full for ever, and which can number records of one tag only."""
    monkeypatch.setattr(stream, "STREAMS_MAX", 1)
    sidecar = Sidecar()
    sidecar.acks = False
    settings = {"inflight_chunks_max": 100, "chunk_bytes_max": 1024}
    fresh = a_background_client(sidecar, resort, overflow=request.param, **settings)
    fill(fresh)
    yield fresh
    fresh.close(timeout=0)


def fill(client: BackgroundClient) -> None:
    """Log until the buffer is full of records that are on their way, and so not dropped."""
    buffer = client.shipper.buffer
    while buffer.bytes_held + len(LARGE) < buffer.bytes_max:
        assert client.emit({"message": LARGE[:1000]})
    buffer.seal_all()
    client.shipper.wake()
    wait_until(lambda: not buffer.departure.has_sealed(), "all chunks are on their way")


def log(client: BackgroundClient) -> None:
    for number in range(RECORDS):
        assert not client.emit({"message": LARGE}, f"tenant.{number}")


def assert_counted(client: BackgroundClient, refused: int, written: int) -> None:
    report = client.shipper.buffer.report("", 0.0)
    assert (report.refused, report.refused_lines) == (refused, refused)
    assert report.refused_unwritten == refused - written


def test_records_of_too_many_tags_keep_to_the_pace(
    client: BackgroundClient, stderr: Stderr, clock: ManualClock
) -> None:
    for seconds in (1, 2, 3):
        clock.advance(1.0)
        log(client)
        lines = [line for line in stderr.lines() if '"refused"' in line]
        assert 0 < sum(map(len, lines)) <= seconds * BYTES_PER_SECOND
        assert_counted(client, seconds * RECORDS, len(lines))


def test_a_child_that_is_about_to_exec_writes_all_lines(
    client: BackgroundClient, stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no report that would count the others."""
    monkeypatch.setattr("logship._client.emitter.is_about_to_exec", lambda: True)
    log(client)
    assert len(stderr.json("refused")) == RECORDS


def test_a_closed_client_writes_all_lines(client: BackgroundClient, stderr: Stderr) -> None:
    client.close(timeout=0)
    logger = logging.Logger("late")
    logger.addHandler(Handler(client))
    for _ in range(RECORDS):
        logger.info(LARGE)
    assert len(stderr.json("refused")) == RECORDS
    assert_counted(client, RECORDS, RECORDS)


def test_a_call_that_begins_after_the_end_is_counted_if_it_never_returns(
    client: BackgroundClient, resort: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no line: the program never continued after it."""

    class StaysHereError(BaseException):
        pass

    client.close(timeout=0)
    logger = logging.Logger("late")
    logger.addHandler(Handler(client))
    monkeypatch.setattr(resort, "stop_here", raising(StaysHereError))
    with pytest.raises(StaysHereError):
        logger.info("never")
    report = client.shipper.buffer.report("", 0.0)
    assert (report.refused, report.refused_lines, report.refused_unwritten) == (1, 0, 0)


def test_a_call_that_the_end_overtakes_does_not_return(
    client: BackgroundClient, resort: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resort, "offer_line", lambda _: resort.stop_others())
    assert not client.emit({"message": LARGE}, "tenant")
    assert resort.stops == [False, True]
