"""Fluentd's quirks, and that logship copes with each.

These quirks are not shown here: Fluentd's supervisor restarts its worker for ever after a start
error, which concerns only the program that starts it. Its default buffers are in memory, without
fsync, which no client can see. Fluentd 1.16 dies of a zstd chunk, so compression is off by default.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.pacing import PacedLogging
from tests.chaos.proxy import ChaosProxy, no_fault
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    assert_nothing_lost,
    assert_once_in_order,
    audit,
    markers_of,
    wait_for_end,
)
from tests.interop.conftest import Connect, needs
from tests.support.servers import (
    Fluentd,
    ServerProcess,
    why_no_fluentd,
)
from tests.support.waiting import wait_until

pytestmark = needs(why_no_fluentd)

SMALL_BUFFER = "@type memory\nchunk_limit_size 16k\ntotal_limit_size 64k\n"
"""Full after a few chunks of the tests' clients; it is empty again after each flush."""


def test_fluentd_drops_a_chunk_over_chunk_size_limit_without_an_ack(
    ledger: Ledger, connect: Connect, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Resending would go on for ever; the chunk is split until one record stands alone.

    Fluentd counts what it read since the last message, so one behind another in a single read
    passes the limit: the record here is longer than a read.
    """
    with Fluentd(tmp_path / "server", source="chunk_size_limit 64k") as server:
        client = connect(server.endpoint, ack_timeout_seconds=0.5, linger_seconds=0.2)
        ledger.emit(client, 1)
        assert client.flush(timeout=20).all_acked  # its first ack is a slow one
        ledger.emit(client, 4, text="x" * 100)
        assert client.emit({"marker": "large", "text": "y" * 250_000}, ledger.tag)
        ledger.emit(client, 4, text="x" * 100)
        with PacedLogging(client, ledger, 50, "others must pass, or nothing proves it guilty"):
            wait_until(lambda: gaps_of(server, ledger.tag) != [], "the gap is declared", 40)
        client.close(timeout=CLOSE_SECONDS_MAX)
        arrived = wait_for_end(server, ledger.tag)
        code, verdict = audit(*server.output_files(ledger.tag))
        log = server.log()
    assert "larger than 'chunk_size_limit', dropped" in log
    assert set(markers_of(arrived)) == set(ledger.markers)
    assert gaps_of(server, ledger.tag) == [[6, 6, "spilled"]]
    assert code == 3, verdict
    assert spilled_markers(capfd) == ["large"]


def gaps_of(server: ServerProcess, tag: str) -> list[Any]:
    records = [each.record for each in server.arrived(tag)]
    return [record["logship_gap"] for record in records if "logship_gap" in record]


def spilled_markers(capfd: pytest.CaptureFixture[str]) -> list[str]:
    lines = [line for line in capfd.readouterr().err.splitlines() if '"logship":"spilled"' in line]
    records = [json.loads(line)["record"] for line in lines]
    return [record["marker"] for record in records if "marker" in record]


def test_fluentd_with_a_full_buffer_and_block_causes_no_storm_of_resends(
    ledger: Ledger, connect: Connect, tmp_path: Path
) -> None:
    """It answers nothing until it has flushed; nothing is sent again meanwhile."""
    buffer = f"{SMALL_BUFFER}overflow_action block\nflush_mode interval\n"
    buffer += "flush_interval 1s\nflush_thread_interval 0.1"
    with (
        Fluentd(tmp_path / "server", buffer=buffer) as server,
        ChaosProxy(server.port.number, planner=no_fault, keeps_bytes=True) as proxy,
    ):
        client = connect(proxy.endpoint, chunk_bytes_max=8 * 1024, inflight_chunks_max=16)
        ledger.emit(client, 900, text="x" * 100)
        client.close(timeout=CLOSE_SECONDS_MAX)
        assert_once_in_order(ledger, wait_for_end(server, ledger.tag))
        assert "buffer is full" in server.log().lower() or "block" in server.log()
        assert proxy.connections == 1
        for marker in (ledger.markers[0], ledger.markers[400], ledger.markers[-1]):
            assert proxy.client_bytes.count(marker.encode() + b"\xa4text") == 1


def test_fluentd_that_is_stopped_for_a_while_gets_everything_once(
    ledger: Ledger, connect: Connect, fluentd: ServerProcess
) -> None:
    """A peer that lives and does nothing: nothing is acked, and nothing is sent again."""
    client = connect(fluentd.endpoint, chunk_bytes_max=8 * 1024)
    ledger.emit(client, 100)
    assert client.flush(timeout=20).all_acked
    fluentd.signal(signal.SIGSTOP)
    try:
        ledger.emit(client, 3000, text="x" * 100)
        assert not client.flush(timeout=1).all_acked
    finally:
        fluentd.signal(signal.SIGCONT)
    client.close(timeout=CLOSE_SECONDS_MAX)
    assert_once_in_order(ledger, wait_for_end(fluentd, ledger.tag))


@pytest.mark.parametrize("linger", ["", "linger_timeout 0"], ids=["end", "reset"])
def test_fluentd_with_deny_keepalive_closes_after_each_message_and_loses_nothing(
    ledger: Ledger, connect: Connect, tmp_path: Path, linger: str
) -> None:
    """With linger_timeout 0 it resets instead, and acks on their way are lost."""
    with (
        Fluentd(tmp_path / "server", source=f"deny_keepalive true\n{linger}") as server,
        ChaosProxy(server.port.number, planner=no_fault) as proxy,
    ):
        client = connect(proxy.endpoint, chunk_bytes_max=4096)
        for _ in range(6):
            ledger.emit(client, 100, text="x" * 100)
            client.flush(timeout=20)
        client.close(timeout=CLOSE_SECONDS_MAX)
        assert_nothing_lost(ledger, wait_for_end(server, ledger.tag))
        code, verdict = audit(*server.output_files(ledger.tag))
        assert proxy.connections > 5
    assert code == 0, verdict


def test_fluentd_in_unix_stores_records_but_never_acks(
    ledger: Ledger, connect: Connect, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without an ack nothing counts as delivered: in the end all is spilled as well."""
    with Fluentd(tmp_path / "server", unix=True) as server:
        client = connect(server.endpoint)
        ledger.emit(client, 20)
        wait_until(lambda: set(markers_of(server.arrived(ledger.tag))) >= set(ledger.markers), "20")
        assert not client.flush(timeout=0.1).all_acked
        client.close(timeout=1)
    assert spilled_markers(capfd) == ledger.markers
