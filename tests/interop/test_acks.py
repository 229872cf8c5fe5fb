"""What an ack means, message by message: the table of what servers take, drop, and close on.

Each message goes to each server by hand, followed by a good one. Where servers ack and drop, a
client has no way to find out afterwards: it must never send such a thing. The last tests here look
at every byte that logship does send.

Not shown here, because the servers are not at hand: Fluent Bit before 5.1, which acks blindly in
every mode (1.9 to 3.1) or in every mode but PackedForward (3.2 to 5.0), and whose 4.x splits a
decompressed block over 1,024,000 bytes; Vector, which answers `{}` when its sinks failed; the
OpenTelemetry collector, which acks before its pipeline. What the client does with an answer
without an id is shown by the simulation.
"""

from __future__ import annotations

import gzip
import io
import struct
from dataclasses import dataclass
from typing import Any, Literal

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
from tests.interop.raw import EVENT_TIME, RawConnection, entries, packed_forward
from tests.support.servers import EmbeddedReceiver, FluentBit, Fluentd, NodeServer, ServerProcess
from tests.support.waiting import wait_until

Outcome = Literal["ack", "silent", "closed"]

ONE, TWO = {"marker": "one"}, {"marker": "two"}
CHUNK = "b2RkIGNodW5rIG9mIDE2Lg=="


@dataclass(frozen=True)
class Row:
    """A message, and for each server what it answers and which records it keeps.

    Attributes:
        message: Of the tag `TAG`, replaced by a fresh one.
        fluentd: What Fluentd does.
        fluent_bit: What Fluent Bit does.
        node: What Node's server does.
    """

    message: Any
    fluentd: tuple[Outcome, str]
    fluent_bit: tuple[Outcome, str]
    node: tuple[Outcome, str]

    def expected(self, server: ServerProcess) -> tuple[Outcome, str]:
        by_kind = {Fluentd: self.fluentd, FluentBit: self.fluent_bit, NodeServer: self.node}
        return by_kind[type(server)]


OPTION = {"chunk": CHUNK, "size": 2}
BOTH, NONE = "one two", ""
Triple = tuple[tuple[Outcome, str], tuple[Outcome, str], tuple[Outcome, str]]


def all_three(outcome: Outcome, kept: str) -> Triple:
    """Return that each server does the same."""
    return (outcome, kept), (outcome, kept), (outcome, kept)


UNPACKED = [[EVENT_TIME, ONE], [EVENT_TIME, TWO]]

ROWS: dict[str, Row] = {
    "Message": Row(["TAG", EVENT_TIME, ONE, OPTION], *all_three("ack", "one")),
    "Forward": Row(["TAG", UNPACKED, OPTION], *all_three("ack", BOTH)),
    "PackedForward": Row(["TAG", entries(ONE, TWO), OPTION], *all_three("ack", BOTH)),
    "gzip": Row(
        ["TAG", gzip.compress(entries(ONE, TWO)), OPTION | {"compressed": "gzip"}],
        *all_three("ack", BOTH),
    ),
    "gzip of two members": Row(
        [
            "TAG",
            gzip.compress(entries(ONE)) + gzip.compress(entries(TWO)),
            OPTION | {"compressed": "gzip"},
        ],
        *all_three("ack", BOTH),
    ),
    "no chunk option": Row(["TAG", entries(ONE), {"size": 1}], *all_three("silent", "one")),
    "wrong size": Row(["TAG", entries(ONE, TWO), OPTION | {"size": 7}], *all_three("ack", BOTH)),
    "integer time": Row(["TAG", [[1_700_000_000, ONE]], OPTION], *all_three("ack", "one")),
    "empty PackedForward": Row(
        ["TAG", b"", OPTION | {"size": 0}], ("ack", NONE), ("closed", NONE), ("ack", NONE)
    ),
    "an entry whose record is not a map": Row(
        ["TAG", entries(ONE, "text"), OPTION], ("ack", "one"), ("ack", "one"), ("closed", NONE)
    ),
    "truncated PackedForward": Row(
        ["TAG", entries(ONE, TWO)[:-3], OPTION], ("ack", "one"), ("ack", "one"), ("closed", NONE)
    ),
    "garbage PackedForward": Row(
        ["TAG", b"\xc1" * 20, OPTION], ("closed", NONE), ("ack", NONE), ("closed", NONE)
    ),
    "bad gzip": Row(
        ["TAG", b"no gzip at all", OPTION | {"compressed": "gzip"}],
        ("closed", NONE),
        ("ack", NONE),
        ("closed", NONE),
    ),
    "a time that is text": Row(
        ["TAG", "today", ONE, OPTION], ("silent", NONE), ("silent", NONE), ("closed", NONE)
    ),
    "nil": Row(None, ("silent", NONE), ("closed", NONE), ("closed", NONE)),
    "a map": Row({"a": 1}, ("silent", NONE), ("closed", NONE), ("closed", NONE)),
    "an integer": Row(7, ("silent", NONE), ("closed", NONE), ("closed", NONE)),
    "the byte 0xc1": Row(b"\xc1", ("closed", NONE), ("closed", NONE), ("closed", NONE)),
}


@pytest.mark.parametrize("name", list(ROWS))
def test_what_a_server_answers_and_keeps(name: str, each_server: ServerProcess) -> None:
    tag, (answer, kept) = new_tag(), ROWS[name].expected(each_server)
    assert _answer(each_server, _bytes(ROWS[name].message, tag), tag) == answer
    wait_until(lambda: len(_markers(each_server, tag)) >= len(kept.split()), f"{kept} are kept")
    assert " ".join(_markers(each_server, tag)) == kept


def test_fluent_bit_loses_good_records_that_it_acked_behind_garbage_of_the_same_tag(
    fluent_bit: ServerProcess,
) -> None:
    """It puts both into one chunk of its own, and cannot read that to its end."""
    tag = new_tag()
    garbage = packed_forward(tag, entries(ONE, TWO)[:-3], chunk=CHUNK, size=2)
    good = packed_forward(tag, entries({"marker": "good"}), chunk="good", size=1)
    assert _answer(fluent_bit, garbage + good, tag, chunk="good") == "ack"
    wait_until(lambda: "one" in _markers(fluent_bit, tag), "what was before the garbage")
    assert "good" not in _markers(fluent_bit, tag)


def _bytes(message: Any, tag: str) -> bytes:
    if message == b"\xc1":
        return b"\xc1"  # no msgpack, on purpose
    if isinstance(message, list):
        message = [tag, *message[1:]]
    packed: bytes = msgpack.packb(message)
    return packed


def _answer(server: ServerProcess, message: bytes, tag: str, chunk: str = CHUNK) -> Outcome:
    """Send the message and a good one of another tag behind it; return what is answered.

    When the good one is in the server's files, what it keeps of the message is there or about to
    be: Fluent Bit writes tags in any order.
    """
    good = packed_forward(f"{tag}.last", entries({"marker": "last"}), chunk="last", size=1)
    with RawConnection(server) as connection:
        connection.send(message + good)
        acks, is_open = connection.acks_until("last")
    if not is_open:
        with RawConnection(server) as connection:
            connection.send(good)
            assert connection.acks_until("last") == ([], True)
    wait_until(lambda: _markers(server, f"{tag}.last") == ["last"], "the good message's record")
    if chunk in acks:
        return "ack"
    return "silent" if is_open else "closed"


def _markers(server: ServerProcess, tag: str) -> list[str]:
    return [each.record.get("marker", "") for each in server.arrived(tag)]


def test_no_server_drops_duplicates_by_chunk_id(each_server: ServerProcess) -> None:
    """So a resent chunk comes twice, and the stamps are what tells."""
    tag = new_tag()
    chunk = packed_forward(tag, entries(ONE), chunk=CHUNK, size=1)
    last = packed_forward(tag, entries({"marker": "last"}), chunk="last", size=1)
    with RawConnection(each_server) as connection:
        connection.send(chunk + chunk + last)
        assert connection.acks_until("last") == ([CHUNK, CHUNK], True)
    wait_until(lambda: "last" in _markers(each_server, tag), "the last record")
    assert _markers(each_server, tag) == ["one", "one", "last"]


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
