"""One client's numbers: true at the worst moment to ask, and at the end those of the report."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from logship._buffer.buffer import Buffer
from logship._buffer.counters import DrainReport
from logship._buffer.overflow import Admission
from logship._client.client import Client
from logship._delivery.attempts import Attempts
from logship._delivery.delivery import Delivery
from logship._metrics import meter as meter_module
from logship._metrics.client_measures import CLIENT_MEASURES
from logship._metrics.measures import Kind
from logship._metrics.meter import Meter
from logship._metrics.process import Process
from logship._metrics.sums import SLOTS, Numbers, plus_ended, slot, summed, zeros
from logship._settings import Settings
from logship._stderr.last_resort import LastResort
from logship.testing import Sidecar
from tests.support.threads import Later
from tests.unit.accounts import a_buffer, admit, body
from tests.unit.clients import Stderr, a_client, until
from tests.unit.conftest import stderr
from tests.unit.interruptions import every_point

__all__ = ["stderr"]

COUNTERS = {
    measure.name for measure in CLIENT_MEASURES if measure.kind in (Kind.COUNTER, Kind.HISTOGRAM)
}

DELIVERIES: list[Delivery[Any]] = []
"""Those of the tests' clients, which a meter does not keep alive."""


def a_delivery(buffer: Buffer) -> Delivery[Any]:
    return Delivery(
        Attempts(Settings().endpoints, lambda failures: 1.0, lambda: 60.0),
        source=buffer.departure,
        inflight_chunks_max=8,
        ack_timeout_seconds=90.0,
    )


def a_meter(buffer: Buffer) -> Meter:
    delivery = a_delivery(buffer)
    DELIVERIES.append(delivery)
    return Meter(buffer, delivery, spool=None, orphans=None, stop_timeout_seconds=9.0)


def named(numbers: Numbers) -> dict[str, float]:
    """Return what is not 0, by name and label's value."""
    return {
        f"{name} {value}".strip(): number
        for (name, value), number in zip(SLOTS, numbers, strict=True)
        if number
    }


class Watched:
    """Readings of one meter; each is checked against the one before."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.last = meter.read()

    def read(self) -> dict[str, float]:
        numbers = self.meter.read()
        for (name, value), before, now in zip(SLOTS, self.last, numbers, strict=True):
            assert name not in COUNTERS or now >= before, (name, value, before, now)
        self.last = numbers
        return named(numbers)


class ScrapingStderr:
    """A last resort that is scraped in the middle of a write; takes every second line."""

    def __init__(self) -> None:
        self.watched: Watched | None = None
        self.readings: list[dict[str, float]] = []

    def offer_line(self, line: bytes) -> bool:
        del line
        assert self.watched is not None
        self.readings.append(self.watched.read())
        return len(self.readings) % 2 == 0


def test_a_record_on_its_way_to_stderr_is_not_shown_as_dropped() -> None:
    """It is counted as dropped until it is there; a counter that went back would be a reset."""
    buffer = a_buffer(bytes_max=500)
    stderr = ScrapingStderr()
    stderr.watched = Watched(a_meter(buffer))
    admission = Admission(
        buffer, policy="block", block_seconds_max=0.0, last_resort=cast(LastResort, stderr)
    )
    while not stderr.readings:
        admit(admission, "t", body(1))
    for _ in range(19):
        admit(admission, "t", body(1))
    numbers = stderr.watched.read()
    assert len(stderr.readings) == 20
    assert numbers["records_dropped_total overflow"] == 10
    assert numbers["records_spilled_total"] == 10
    shown = [each.get("records_dropped_total overflow", 0) for each in stderr.readings]
    assert shown == [number // 2 + number % 2 for number in range(20)]


def test_a_record_that_has_just_reached_stderr_makes_no_counter_smaller() -> None:
    """Its thread has not come to say so yet, and another record is dropped already."""
    buffer = a_buffer()
    buffer.offer("t", body(1))
    assert buffer.number_and_drop("t", body(2))
    watched = Watched(a_meter(buffer))
    assert watched.read()["records_dropped_total overflow"] == 1
    buffer.counters.undecided.add(0)
    assert watched.read()["records_dropped_total overflow"] == 1


def test_acks_are_counted_in_the_bucket_of_their_time() -> None:
    buffer = a_buffer()
    meter = a_meter(buffer)
    counters = DELIVERIES[-1].counters
    for seconds in (0.001, 0.004, 0.2, 31.0):
        counters.note_ack(seconds)
    numbers = meter.read()
    buckets = {value: numbers[slot("ack_seconds", value)] for value in ("0.001", "0.005", "0.1")}
    assert buckets == {"0.001": 1, "0.005": 2, "0.1": 2}
    assert numbers[slot("ack_seconds", "0.25")] == numbers[slot("ack_seconds", "30")] == 3
    assert numbers[slot("ack_seconds", "+Inf")] == 4
    assert numbers[slot("ack_seconds", "sum")] == pytest.approx(31.205)


def test_a_reason_that_is_not_in_the_table_makes_no_label() -> None:
    buffer = a_buffer()
    for reason in ("new one", "another"):
        buffer.offer("t", body(1))
        buffer.seal_all()
        chunk = buffer.departure.take()
        assert chunk is not None
        buffer.give_up(chunk, reason)
    assert named(a_meter(buffer).read())["records_dropped_total other"] == 2


@contextlib.contextmanager
def busy(buffer: Buffer) -> Iterator[None]:
    """Hold the buffer's lock in another thread, as one that is in a garbage collection."""
    held, let_go = threading.Event(), threading.Event()

    def wait() -> bool:
        held.set()
        return let_go.wait(20)

    holder = Later(lambda: buffer.exclusively(wait))
    held.wait(20)
    yield
    let_go.set()
    holder.join()


def test_a_buffer_that_cannot_be_asked_costs_a_scrape_and_nothing_else() -> None:
    buffer = a_buffer()
    buffer.offer("t", body(1))
    meter = a_meter(buffer)
    before = meter.read()
    with busy(buffer):
        assert meter.read() == before


def test_after_the_end_a_busy_buffer_does_not_hide_the_report() -> None:
    """Its page says that the client is done, and nothing writes it again."""
    buffer = a_buffer()
    meter = a_meter(buffer)
    meter.read()
    buffer.offer("t", body(1))
    report = buffer.report("test", 0.5)
    meter.drained(report)
    assert meter.is_done
    with busy(buffer):
        numbers = named(meter.read())
    assert_agrees(numbers, report)
    assert numbers["records_accepted_total"] == numbers["records_unacked_total"] == 1
    assert numbers["stop_timeout_seconds"] == 9.0


def test_an_end_that_is_noted_in_the_middle_is_told_whole_or_not_at_all() -> None:
    buffers: list[Buffer] = []  # which a meter does not keep alive
    read: list[dict[str, float]] = []

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        buffers.append(buffer := a_buffer())
        buffer.offer("t", body(1))
        meter, report = a_meter(buffer), buffer.report("test", 0.5)
        return lambda: read.append(named(meter.read())), lambda: meter.drained(report)

    for run in every_point(prepare, step=7, room=meter_module.__file__):
        run()
        told = {"records_waiting", "records_unacked_total", "buffer_bytes", "drain_seconds"}
        assert told & read[-1].keys() in (
            {"records_waiting", "buffer_bytes"},
            {"records_unacked_total", "drain_seconds"},
        )


# -- of real clients -------------------------------------------------------------------------------


def test_a_record_that_a_correction_says_is_spilled_is_counted_once() -> None:
    """It has counted as unacked, and that counter must not fall."""
    buffer = a_buffer()
    buffer.offer("t", body(1))
    buffer.offer("t", body(2))
    meter = a_meter(buffer)
    report = buffer.report("test", 0.5)._replace(spilled=1, unacked=1)
    for correction in (report, report._replace(spilled=2, unacked=0)):
        meter.drained(correction)
        for _ in range(2):
            numbers = named(meter.read())
            assert numbers["records_accepted_total"] == 2
            assert numbers["records_spilled_total"] == numbers["records_unacked_total"] == 1


def assert_agrees(numbers: dict[str, float], report: DrainReport) -> None:
    """The numbers of a client that has ended are its report's."""
    dropped = sum(value for name, value in numbers.items() if "dropped" in name)
    shown = {
        "accepted": numbers.get("records_accepted_total", 0),
        "acked": numbers.get("records_acked_total", 0),
        "spilled": numbers.get("records_spilled_total", 0),
        "unacked": numbers.get("records_unacked_total", 0),
        "spooled": numbers.get("records_left_spooled_total", 0),
        "dropped": dropped,
    }
    assert shown == {name: getattr(report, name) for name in shown}
    assert "records_waiting" not in numbers
    assert "clients" not in numbers


async def test_while_it_lives_the_waiting_make_up_the_sum(stderr: Stderr) -> None:
    sidecar = Sidecar()
    sidecar.acks = False
    client = a_client(sidecar, stderr)
    async with client:
        watched = Watched(client.shipper.meter)
        for number in range(100):
            client.emit({"message": str(number)})
        await until(lambda: sidecar.held_acks, "a chunk is on its way")
        numbers = watched.read()
        assert numbers["records_accepted_total"] == numbers["records_waiting"] == 100
        assert numbers["connected"] == numbers["clients"] == 1
        assert numbers["inflight_chunks"] >= 1
        assert numbers["buffer_bytes"] == client.shipper.buffer.bytes_held
        sidecar.acks = True
        sidecar.release_acks()
        assert (await client.flush(20)).all_acked
        numbers = watched.read()
        assert numbers["records_acked_total"] == 100
        assert numbers["ack_seconds +Inf"] == numbers["chunks_sent_total"]
    numbers = watched.read()
    assert_agrees(numbers, await client.close())
    assert numbers["stream_ends_total acked"] == 1
    assert numbers["drains_total under_half"] == 1
    assert "buffer_fullest_ratio" not in numbers


async def test_a_client_that_was_never_started_needs_no_connection(stderr: Stderr) -> None:
    """As one in a server that makes it before it forks: no alert of it is true."""
    client = a_client(Sidecar(), stderr)
    assert "clients" not in named(client.shipper.meter.read())
    client.emit({"message": "one"})
    assert named(client.shipper.meter.read())["clients"] == 1
    await client.close(20)


def test_the_fullest_buffer_is_not_hidden_by_the_others() -> None:
    full, empty = a_buffer(bytes_max=1000), a_buffer(bytes_max=100_000)
    for number in range(5):
        full.offer("t", body(number))
    readings = [a_meter(full).read(), a_meter(empty).read()]
    together = named(summed(readings, zeros()))
    assert together["buffer_fullest_ratio"] == full.bytes_held / 1000
    assert together["buffer_bytes"] == full.bytes_held
    assert "buffer_fullest_ratio" not in named(plus_ended(readings[0], readings[1]))


async def test_what_a_drain_spills_counts_as_spilled_when_it_is_over(stderr: Stderr) -> None:
    """Until then its ack may still come; the report says which it was, and so do the metrics."""
    sidecar = Sidecar()
    sidecar.acks = False
    client = a_client(sidecar, stderr, stop_timeout_seconds=2.0)
    client.start()
    watched = Watched(client.shipper.meter)
    for number in range(100):
        client.emit({"message": str(number)})
    closing = asyncio.ensure_future(client.close(2.0, reason="test"))
    while not closing.done():
        numbers = watched.read()
        is_over = "clients" not in numbers
        assert is_over or not {"records_spilled_total", "records_unacked_total"} & numbers.keys()
        await asyncio.sleep(0.001)
    report = await closing
    assert report.spilled == 100
    numbers = watched.read()
    assert_agrees(numbers, report)
    assert numbers["stream_ends_total unproven"] == 1
    assert numbers["drains_total over_half"] == 1


async def test_refused_records_are_counted_after_the_end(stderr: Stderr) -> None:
    client = a_client(Sidecar(), stderr)
    async with client:
        client.emit({"message": "one"})
    client.emit({"message": "late"})
    assert named(client.shipper.meter.read())["records_refused_total"] == 1


async def test_a_client_that_is_gone_leaves_its_counters_and_no_memory(stderr: Stderr) -> None:
    process, sidecar = Process(), Sidecar()
    clients: list[weakref.ref[Client]] = []

    async def live_and_end(close_seconds: float) -> None:
        client = a_client(sidecar, stderr)
        clients.append(weakref.ref(client))
        process.add(client.shipper.meter, client.settings, client.last_resort)
        client.start()
        for number in range(10):
            client.emit({"message": str(number)})
        await client.close(close_seconds)

    await live_and_end(close_seconds=20.0)
    sidecar.acks = False
    await live_and_end(close_seconds=0.0)
    gc.collect()
    await asyncio.sleep(0)  # the loop lets go of its last callbacks
    gc.collect()
    assert [each() for each in clients] == [None, None]
    for _ in range(2):
        numbers = named(process.read())
        assert numbers["records_accepted_total"] == 20
        assert numbers["records_acked_total"] == 10
        assert "clients" not in numbers


async def test_many_short_clients_do_not_pile_up(stderr: Stderr) -> None:
    process, sidecar = Process(), Sidecar()
    for _ in range(300):
        client = a_client(sidecar, stderr)
        client.emit({"message": "one"})
        process.add(client.shipper.meter, client.settings, client.last_resort)
        await client.close(20)
        del client
    await asyncio.sleep(0)
    gc.collect()
    assert named(process.read())["records_accepted_total"] == 300
    assert len(process._meters) == 0
