"""Fluent Bit's quirks, and that logship copes with each.

Not shown here: versions before 5.1, which ack blindly, also while they throw data away, and 4.x,
which splits a decompressed block over 1,024,000 bytes in the middle of a record; for those a chunk
may not be larger than 1,000,000 bytes. That it acks entries it cannot decode is in `test_acks`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logship import context
from tests.chaos.pacing import PacedLogging
from tests.chaos.proxy import ChaosProxy, no_fault
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    assert_once_in_order,
    audit,
    markers_of,
    wait_for_all,
    wait_for_end,
)
from tests.interop.conftest import Connect, needs
from tests.interop.raw import RawConnection, entries, packed_forward
from tests.interop.test_fluentd import gaps_of, spilled_markers
from tests.support.servers import FluentBit, ServerProcess, why_no_fluent_bit
from tests.support.waiting import wait_until

pytestmark = needs(why_no_fluent_bit)


def test_fluent_bit_closes_above_buffer_max_size(
    ledger: Ledger, connect: Connect, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The chunk is split; the one record that is too long by itself is quarantined, no other."""
    limits = ("buffer_chunk_size 16K", "buffer_max_size 64K", "storage.type filesystem")
    with FluentBit(tmp_path / "server", forward=limits) as server:
        client = connect(server.endpoint, linger_seconds=0.2)
        ledger.emit(client, 300, text="x" * 100)
        assert client.emit({"marker": "large", "text": "y" * 100_000}, ledger.tag)
        ledger.emit(client, 300, text="x" * 100)
        with PacedLogging(client, ledger, 50, "others must pass, or nothing proves it guilty"):
            wait_until(lambda: gaps_of(server, ledger.tag) != [], "the gap is declared", 40)
        client.close(timeout=CLOSE_SECONDS_MAX)
        arrived = wait_for_end(server, ledger.tag)
        code, verdict = audit(*server.output_files(ledger.tag))
        assert "incoming data exceed limit" in server.log()
    assert set(markers_of(arrived)) == set(ledger.markers)
    assert gaps_of(server, ledger.tag) == [[301, 301, "spilled"]]
    assert code == 3, verdict
    assert spilled_markers(capfd) == ["large"]


def test_fluent_bit_closes_above_6144000_bytes_a_frame_and_our_longest_record_is_below(
    ledger: Ledger, fluent_bit: ServerProcess, connect: Connect
) -> None:
    with RawConnection(fluent_bit) as connection:
        record = {"text": "x" * 6_200_000}
        connection.send(packed_forward(ledger.tag, entries(record), chunk="one", size=1))
        assert connection.answer() is None
    client = connect(fluent_bit.endpoint)
    ledger.emit(client, 1, text="x" * 6_200_000)  # truncated, and says so
    client.close(timeout=CLOSE_SECONDS_MAX)
    arrived = wait_for_end(fluent_bit, ledger.tag)
    assert_once_in_order(ledger, arrived)
    assert 4_900_000 < len(arrived[0].record["text"]) < 5_000_000


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"in": value}])
def test_a_record_nested_too_deep_takes_none_of_the_records_behind_it_with_it(
    ledger: Ledger, wrap: Callable[[object], object], fluent_bit: ServerProcess, connect: Connect
) -> None:
    """Fluent Bit acks what is behind an entry of more than 64 levels, and drops it."""
    deep: object = "bottom"
    for _ in range(100):
        deep = wrap(deep)
    client = connect(fluent_bit.endpoint)
    ledger.emit(client, 1, deep=deep)
    with context(around=deep):
        ledger.emit(client, 1)
    ledger.emit(client, 10)
    client.close(timeout=CLOSE_SECONDS_MAX)
    assert_once_in_order(ledger, wait_for_end(fluent_bit, ledger.tag))


def test_fluent_bit_at_mem_buf_limit_ends_connections_and_answers_nothing_until_it_resumes(
    ledger: Ledger, connect: Connect, tmp_path: Path
) -> None:
    paused = ("mem_buf_limit 64K", "storage.type memory")
    with (
        FluentBit(tmp_path / "server", forward=paused, flush_seconds=1) as server,
        ChaosProxy(server.port.number, planner=no_fault) as proxy,
    ):
        client = connect(proxy.endpoint, chunk_bytes_max=8 * 1024, ack_timeout_seconds=5)
        for _ in range(10):
            ledger.emit(client, 200, text="x" * 100)
            client.flush(timeout=0.05)
        client.close(timeout=CLOSE_SECONDS_MAX)
        arrived = wait_for_all(ledger, server)
        code, verdict = audit(*server.output_files(ledger.tag))
        assert "paused (mem buf overlimit" in server.log()
        assert proxy.connections > 1
    assert set(markers_of(arrived)) == set(ledger.markers)
    assert code == 0, verdict
