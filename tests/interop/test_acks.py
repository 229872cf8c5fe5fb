"""What logship sends is nothing that a server acks and does not keep.

A client has no way to find out afterwards. Servers ack and drop, as Fluentd 1.19, Fluent Bit 5.1
and Node's server were seen to do:

- an entry whose record is not a map, or that is cut off (Fluentd, Fluent Bit);
- garbage in a PackedForward message, or bad gzip (Fluent Bit), and then good records of the same
  tag behind it, although it acked them.

None of them drops duplicates by the id of a chunk. Fluent Bit before 5.1 acks blindly in every mode
(1.9 to 3.1) or in every mode but PackedForward (3.2 to 5.0), and 4.x splits a decompressed block
over 1,024,000 bytes. Vector answers `{}` when its sinks failed, and the OpenTelemetry collector
acks before its pipeline. What the client does with an answer without an id is shown by the
simulation.
"""

from __future__ import annotations

import gzip
import io
import struct
from typing import Any

import msgpack
import pytest

from tests.chaos.proxy import ChaosProxy, no_fault
from tests.contract.shipping import (
    CLOSE_SECONDS_MAX,
    Ledger,
    assert_once_in_order,
    new_tag,
    wait_for_end,
)
from tests.interop.conftest import Connect
from tests.support.servers import EmbeddedReceiver, ServerProcess


def test_records_that_servers_would_ack_and_drop_arrive_readable(
    each_server: ServerProcess, connect: Connect
) -> None:
    """The client makes a mapping of anything, with text for keys."""

    class Unreadable:
        def __repr__(self) -> str:
            raise ValueError("no")

    tag, client = new_tag(), connect(each_server.endpoint)
    hostile: list[Any] = ["text", None, 7, b"\xff", {1: 2, None: 3, (1,): 4}, {}, Unreadable()]
    for each in [*hostile, {"deep": [[[[Unreadable()]]]]}]:
        assert client.emit(each, tag)
    client.close(timeout=CLOSE_SECONDS_MAX)
    arrived = wait_for_end(each_server, tag)
    assert len(arrived) == len(hostile) + 2
    assert arrived[0].record["message"] == "text"


@pytest.mark.parametrize("compress", ["none", "gzip"])
def test_every_byte_that_is_sent_is_a_good_packed_forward_message(
    ledger: Ledger, connect: Connect, tmp_path: Any, compress: str
) -> None:
    """No nil heartbeat, no empty chunk, no other mode: sizes, ids and times are all right."""
    with (
        EmbeddedReceiver(tmp_path / "server") as server,
        ChaosProxy(server.port.number, planner=no_fault, keeps_bytes=True) as proxy,
    ):
        client = connect(proxy.endpoint, chunk_bytes_max=4096, compress=compress)
        assert client.flush(timeout=5).all_acked  # nothing to send: nothing is sent
        ledger.emit(client, 500, text="x" * 50)
        client.emit("no mapping", ledger.tag)  # type: ignore[arg-type]
        client.close(timeout=CLOSE_SECONDS_MAX)
        arrived = wait_for_end(server, ledger.tag)
        frames = list(msgpack.Unpacker(_fed(proxy.client_bytes), raw=False))
    assert_once_in_order(ledger, arrived)
    assert len(frames) > 5
    assert len({option["chunk"] for _, _, option in frames}) == len(frames)
    for tag, payload, option in frames:
        assert tag == ledger.tag
        assert len(option["chunk"]) == 24  # base64 of 128 bits
        unpacked = gzip.decompress(payload) if compress == "gzip" else payload
        assert set(option) == {"chunk", "size"} | ({"compressed"} if compress == "gzip" else set())
        decoded = list(msgpack.Unpacker(_fed(unpacked), raw=False))
        assert len(decoded) == option["size"] > 0
        for time, record in decoded:
            assert time.code == 0
            assert struct.unpack(">II", time.data)[1] < 10**9
            assert all(isinstance(key, str) for key in record)


def _fed(data: bytes | bytearray) -> io.BytesIO:
    return io.BytesIO(bytes(data))
