"""A real client and a real server, and between them everything that a network can do.

The verdict comes from the ledger and the server's files. A record may come twice: when its chunk
was sent again after a connection ended without its ack. So each connection that the proxy took can
explain as many duplicates as fit into the in-flight window, and no more.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.pacing import PacedLogging
from tests.chaos.proxy import ChaosProxy, any_fault
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    RecordProperty,
    assert_nothing_lost,
    audit,
    new_tag,
    wait_for_end,
)
from tests.interop.conftest import Connect
from tests.support.programs import Program, Programs, let_pass
from tests.support.servers import (
    EmbeddedReceiver,
    FluentBit,
    Fluentd,
    ServerProcess,
    why_no_fluent_bit,
    why_no_fluentd,
)
from tests.support.waiting import wait_until

RECORDS_PER_SECOND = 3000
TEXT = "x" * 200
WINDOW_RECORDS_MAX = 8 * (8 * 1024 // 200 + 1)
"""In eight chunks of 8 KiB, for an entry with TEXT has 200 bytes at least."""

BUFFER_BYTES_MAX = 16 * 1024 * 1024
RSS_SLACK_BYTES = 16 * 1024 * 1024
"""For the bytes in asyncio's and the kernel's hands, and for the allocator."""

BYTES_BETWEEN = 1_500_000
"""A fault a second and more: each costs up to a second, and the pace must be kept in the end."""

PROOF_SECONDS = int(os.environ.get("LOGSHIP_TEST_CHAOS_SECONDS", "300"))

SEED = int(os.environ.get("LOGSHIP_TEST_SEED", "1"))

PROGRAM_ENVIRON = {
    "LOGSHIP_BUFFER_BYTES_MAX": str(BUFFER_BYTES_MAX),
    "LOGSHIP_CHUNK_BYTES_MAX": str(8 * 1024),
    "LOGSHIP_LINGER_SECONDS": "0.05",
    "LOGSHIP_BACKOFF_SECONDS_BASE": "0.02",
    "LOGSHIP_BACKOFF_SECONDS_MAX": "0.1",
    "LOGSHIP_CONNECT_TIMEOUT_SECONDS": "1",
    "LOGSHIP_ACK_TIMEOUT_SECONDS": "1",
}

PROGRAM = f"""
    import time
    from logship import BackgroundClient
    client = BackgroundClient()
    for _ in range({RECORDS_PER_SECOND}):  # warm, so that the first reading is of a full life
        marker = new_marker()
        assert client.emit({{"marker": marker, "text": "x" * 200}})
        write_down(marker)
    ready()
    started, logged, second = time.monotonic(), 0, 0
    while not (DIRECTORY / "go-end").exists():
        due = int((time.monotonic() - started) * {RECORDS_PER_SECOND})
        for _ in range(due - logged):
            marker = new_marker()
            assert client.emit({{"marker": marker, "text": "x" * 200}})
            write_down(marker)
        logged = due
        if due // {RECORDS_PER_SECOND} > second:
            second = due // {RECORDS_PER_SECOND}
            progress(f"held {{client.shipper.buffer.bytes_held}}")
        time.sleep(0.01)
    client.close(timeout=60)
"""

each_server = pytest.mark.parametrize("kind", [EmbeddedReceiver, Fluentd, FluentBit])


def skip_where_missing(kind: type[ServerProcess]) -> None:
    why = {Fluentd: why_no_fluentd, FluentBit: why_no_fluent_bit}.get(kind, lambda: "")()
    if why:
        pytest.skip(why)


@each_server
def test_nothing_is_lost_between_a_client_and_a_server_over_a_faulty_network(
    kind: type[ServerProcess],
    connect: Connect,
    tmp_path: Path,
    record_property: RecordProperty,
) -> None:
    skip_where_missing(kind)
    ledger = Ledger()
    with kind(tmp_path / "server") as server, ChaosProxy(server.port.number, seed=SEED) as proxy:
        client = connect(proxy.endpoint, ack_timeout_seconds=0.5)
        with PacedLogging(client, ledger, RECORDS_PER_SECOND, TEXT):
            wait_until(lambda: proxy.connections >= 8, "8 connections", 60)
        proxy.heal()
        client.close(timeout=CLOSE_SECONDS_MAX)
        times = assert_nothing_lost(ledger, wait_for_end(server, ledger.tag))
        code, verdict = audit(*server.output_files(ledger.tag))
        duplicates = times.total() - len(times)
        record_property("faults", {fault.name: count for fault, count in proxy.fired.items()})
        record_property("records, duplicates", (len(times), duplicates))
        assert code == 0, verdict
        assert sum(proxy.fired.values()) >= 3
        assert duplicates <= (proxy.connections - 1) * WINDOW_RECORDS_MAX


@pytest.mark.proof
@each_server
def test_five_minutes_of_faults_at_3000_records_a_second_lose_nothing_within_bounded_memory(
    kind: type[ServerProcess], tmp_path: Path, record_property: RecordProperty
) -> None:
    """The application is a process of its own, so that its memory is its own too."""
    skip_where_missing(kind)
    tag = new_tag()
    rarer = partial(any_fault, bytes_between=BYTES_BETWEEN)
    with (
        kind(tmp_path / "server") as server,
        ChaosProxy(server.port.number, seed=SEED, planner=rarer) as proxy,
    ):
        programs = Programs(tmp_path, proxy.endpoint)
        program = programs.start(PROGRAM, environ=PROGRAM_ENVIRON | {"LOGSHIP_TAG": tag})
        try:
            program.until_ready()
            rss = highest_rss_bytes(program, PROOF_SECONDS)
            proxy.heal()
            program.let_go("end")
            ended = program.end(seconds_max=120)
        finally:
            programs.kill_all()
        ledger = Ledger(tag, list(ended.ledger))
        times = assert_nothing_lost(ledger, wait_for_end(server, tag))
        code, verdict = audit(*server.output_files(tag))
    held = max(int(word.split()[1]) for word in ended.progress if word.startswith("held "))
    duplicates = times.total() - len(times)
    record_property("faults", {fault.name: count for fault, count in proxy.fired.items()})
    record_property("connections", proxy.connections)
    record_property("records, duplicates", (len(times), duplicates))
    record_property("buffer bytes, rss bytes before and at most", (held, *rss))
    assert code == 0, verdict
    assert len(times) >= PROOF_SECONDS * RECORDS_PER_SECOND * 0.95
    assert duplicates <= (proxy.connections - 1) * WINDOW_RECORDS_MAX
    assert held <= BUFFER_BYTES_MAX
    assert rss[1] <= rss[0] + BUFFER_BYTES_MAX + RSS_SLACK_BYTES


def highest_rss_bytes(program: Program, seconds: int) -> tuple[int, int]:
    """Return the program's resident bytes now, and the most of them in so many seconds."""
    first = highest = rss_bytes(program)
    for _ in range(seconds * 2):
        let_pass(0.5)
        assert program.is_alive, program.stderr[-3000:]
        highest = max(highest, rss_bytes(program))
    return first, highest


def rss_bytes(program: Program) -> int:
    status = Path(f"/proc/{program.pid}/status").read_text()
    kilobytes = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kilobytes.split()[1]) * 1024
