"""A sidecar that takes connections and bytes and answers nothing.

Whether `emit` waits is shown without a clock: the one wait that overflow="block" allows is set to
an hour. On an event loop's thread a burst that is much larger than the buffer comes to its end;
on another thread the same burst does not, until the hole heals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from logship._client.background import BackgroundClient
from tests.contract.shipping import CLOSE_SECONDS_MAX, Ledger, audit, markers_of, wait_for_end
from tests.interop.conftest import Connect
from tests.support.programs_gate import Gate
from tests.support.servers import EmbeddedReceiver
from tests.support.threads import Later
from tests.support.waiting import wait_until

HOUR = 3600.0
BUFFER_BYTES_MAX = 256 * 1024
BURST = 3000
"""Records of 200 bytes: more than twice of what the buffer holds."""


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[EmbeddedReceiver]:
    with EmbeddedReceiver(tmp_path / "sidecar") as sidecar:
        yield sidecar


@pytest.fixture
def black_hole(sidecar: EmbeddedReceiver) -> Iterator[Gate]:
    with Gate(sidecar.port.number) as gate:
        gate.silence()
        yield gate


@pytest.fixture
def client(connect: Connect, black_hole: Gate) -> BackgroundClient:
    return connect(
        black_hole.endpoint,
        buffer_bytes_max=BUFFER_BYTES_MAX,
        block_seconds_max=HOUR,
        ack_timeout_seconds=60.0,
        chunk_bytes_max=8 * 1024,
        last_resort="none",
    )


def test_emit_never_waits_on_an_event_loops_thread(
    client: BackgroundClient, black_hole: Gate, sidecar: EmbeddedReceiver
) -> None:
    ledger, beats = Ledger(), []

    async def burst() -> None:
        for _ in range(30):
            ledger.emit(client, BURST // 30, text="x" * 200)
            beats.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0)

    assert Later(lambda: asyncio.run(burst())).join() is None, "emit waits on the loop's thread"
    assert len(beats) == 30
    assert 0 < len(ledger.markers) < BURST, "the buffer was filled, or nothing was shown"
    black_hole.open()
    client.close(timeout=CLOSE_SECONDS_MAX)
    arrived = wait_for_end(sidecar, ledger.tag)
    assert markers_of(arrived) == ledger.markers
    code, verdict = audit(*sidecar.output_files(ledger.tag))
    assert code == 3, verdict  # what did not fit is declared: gaps, and nothing else


def test_emit_waits_on_another_thread_until_the_hole_heals(
    ledger: Ledger, client: BackgroundClient, black_hole: Gate, sidecar: EmbeddedReceiver
) -> None:
    """The contrast: without it the test above would pass if nothing ever waited."""
    emitting = Later(lambda: ledger.emit(client, BURST, text="x" * 200))
    wait_until(lambda: len(ledger.markers) > 500, "a part of the burst is logged")
    wait_until(lambda: _is_full(client), "the buffer is full")
    assert not emitting.is_done
    black_hole.open()
    assert emitting.join() is None
    client.close(timeout=CLOSE_SECONDS_MAX)
    assert len(ledger.markers) == BURST
    assert markers_of(wait_for_end(sidecar, ledger.tag)) == ledger.markers


def test_half_of_the_buffer_is_for_new_records_while_a_window_of_chunks_is_on_its_way(
    ledger: Ledger, connect: Connect, black_hole: Gate
) -> None:
    client = connect(
        black_hole.endpoint,
        buffer_bytes_max=BUFFER_BYTES_MAX,
        overflow="drop_oldest",
        last_resort="none",
    )
    ledger.emit(client, BURST, text="x" * 200)
    wait_until(lambda: client.shipper.delivery.inflight_chunks == 8, "no more chunks are sent")
    ledger.emit(client, BURST, text="x" * 200)
    report = client.close(timeout=0.0)
    (stream,) = report.streams
    newest_first, newest_last = stream.unacked[-1]
    kept_bytes = (newest_last - newest_first) * 200
    assert kept_bytes > BUFFER_BYTES_MAX * 0.3, report


def _is_full(client: BackgroundClient) -> bool:
    return client.shipper.buffer.bytes_held > BUFFER_BYTES_MAX * 0.9
