"""A real client and a real server, and between them everything that a network can do.

The verdict comes from the ledger and the server's files. A record may come twice: when its chunk
was sent again after a connection ended without its ack. So each connection that the proxy took can
explain as many duplicates as fit into the in-flight window, and no more. What a client's process
holds meanwhile is measured by `make soak`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.pacing import PacedLogging
from tests.chaos.proxy import ChaosProxy
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    RecordProperty,
    assert_nothing_lost,
    audit,
    wait_for_end,
)
from tests.interop.conftest import Connect
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

SETTINGS = {
    "ack_timeout_seconds": 0.5,
    "backoff_seconds_max": 0.1,
    "chunk_bytes_max": 8 * 1024,
    "connect_timeout_seconds": 1.0,
    "linger_seconds": 0.05,
}

SEED = int(os.environ.get("LOGSHIP_TEST_SEED", "1"))

each_server = pytest.mark.parametrize("kind", [EmbeddedReceiver, Fluentd, FluentBit])


def skip_where_missing(kind: type[ServerProcess]) -> None:
    why = {Fluentd: why_no_fluentd, FluentBit: why_no_fluent_bit}.get(kind, lambda: "")()
    if why:
        pytest.skip(why)


@each_server
@pytest.mark.parametrize(
    "connections", [8, pytest.param(300, marks=[pytest.mark.proof, pytest.mark.timeout(0)])]
)
def test_nothing_is_lost_between_a_client_and_a_server_over_a_faulty_network(
    kind: type[ServerProcess],
    connections: int,
    connect: Connect,
    tmp_path: Path,
    record_property: RecordProperty,
) -> None:
    skip_where_missing(kind)
    ledger = Ledger()
    with kind(tmp_path / "server") as server, ChaosProxy(server.port.number, seed=SEED) as proxy:
        client = connect(proxy.endpoint, **SETTINGS)
        with PacedLogging(client, ledger, RECORDS_PER_SECOND, TEXT):
            wait_until(lambda: proxy.connections >= connections, f"{connections} connections", 600)
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
