"""Shows that a sidecar on a port does what a test says, as clients with real sockets see it."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import socket
from collections.abc import Callable, Iterator

import msgpack
import pytest

from logship._client.background import BackgroundClient
from logship.testing import Delivered, SocketSidecar
from tests.support.threads import Later
from tests.support.waiting import wait_until
from tests.unit.clients import quick_settings


@pytest.fixture
def sidecar() -> Iterator[SocketSidecar]:
    with SocketSidecar() as sidecar:
        yield sidecar


@pytest.fixture
def client(sidecar: SocketSidecar) -> Iterator[BackgroundClient]:
    with BackgroundClient(quick_settings(endpoints=sidecar.endpoint)) as client:
        yield client


def address_of(sidecar: SocketSidecar) -> tuple[str, int]:
    host, _, port = sidecar.endpoint.removeprefix("tcp://").partition(":")
    return host, int(port)


def messages(records: list[Delivered]) -> list[object]:
    return [each.record["message"] for each in records]


def test_records_are_python_values(sidecar: SocketSidecar, client: BackgroundClient) -> None:
    client.emit(
        {"message": "hi", "items": [1, None, {"a": 2.5}]}, tag="shop", time_ns=1_000_000_007
    )
    (hi,) = sidecar.wait_for(1)
    assert (hi.tag, hi.time_ns, hi.record["items"]) == (
        "shop",
        1_000_000_007,
        [1, None, {"a": 2.5}],
    )


def test_a_sidecar_may_be_out_of_reach_from_the_beginning() -> None:
    sidecar = SocketSidecar()
    sidecar.reachable = False
    with sidecar:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address_of(sidecar))
        sidecar.reachable = True
        socket.create_connection(address_of(sidecar)).close()


def test_a_sidecar_that_ends_ends_a_connection_that_it_is_accepting() -> None:
    for _ in range(5):
        with SocketSidecar() as sidecar:
            client = socket.create_connection(address_of(sidecar), timeout=20)
        with client, contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_the_records_of_logship_itself_are_apart(
    sidecar: SocketSidecar, client: BackgroundClient
) -> None:
    client.emit({"message": "hi"})
    client.close()
    assert messages(sidecar.records) == ["hi"]
    assert messages(sidecar.delivered) == ["hi", "logship: stream closed"]


def test_a_message_that_wants_no_ack_is_not_held_back(sidecar: SocketSidecar) -> None:
    sidecar.acks = False
    with socket.create_connection(address_of(sidecar)) as other:
        other.sendall(msgpack.packb(["shop", 1, {"message": "without"}]))
        other.sendall(msgpack.packb(["shop", 1, {"message": "with"}, {"chunk": "a"}]))
        assert messages(sidecar.wait_for(2)) == ["without", "with"]
        wait_until(lambda: bool(sidecar.held_acks), "an ack is held back")
    assert sidecar.held_acks == [msgpack.packb({"ack": "a"})]


def test_it_refuses_connections(sidecar: SocketSidecar, client: BackgroundClient) -> None:
    client.emit({"message": "over an open connection"})
    sidecar.wait_for(1)
    sidecar.reachable = False
    assert not sidecar.reachable
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address_of(sidecar))
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(address_of(sidecar))
    client.emit({"message": "goes on"})
    sidecar.wait_for(2)
    assert sidecar.connects == 1
    sidecar.hang_up()
    wait_until(lambda: sidecar.connected == 0, "the connection has ended")
    client.emit({"message": "waits"})
    assert not client.flush(timeout=0.05).all_acked
    sidecar.reachable = True
    assert messages(sidecar.wait_for(3)) == ["over an open connection", "goes on", "waits"]
    assert sidecar.connects == 2


@pytest.fixture
def forked() -> Iterator[Callable[[], None]]:
    """Return what forks a child, which has all descriptors of this process while the test runs."""
    context = multiprocessing.get_context("fork")
    over = context.Event()
    children = []

    def fork() -> None:
        children.append(context.Process(target=over.wait))
        children[-1].start()

    yield fork
    over.set()
    for child in children:
        child.join()


def test_a_forked_child_keeps_no_port_open(
    sidecar: SocketSidecar, forked: Callable[[], None]
) -> None:
    forked()
    sidecar.reachable = False
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address_of(sidecar))
    sidecar.reachable = True
    socket.create_connection(address_of(sidecar)).close()


def test_a_forked_child_keeps_no_connection_open(
    sidecar: SocketSidecar, forked: Callable[[], None]
) -> None:
    with socket.create_connection(address_of(sidecar), timeout=20) as other:
        wait_until(lambda: sidecar.connected == 1, "it has accepted")
        forked()
        sidecar.hang_up()
        assert other.recv(1) == b""


def test_it_logs_nothing_itself_when_asyncio_debugs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise its lines would be among the records of the test."""
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    with SocketSidecar() as sidecar:
        sidecar.reachable = False
        sidecar.reachable = True
    assert caplog.messages == []


def test_it_reads_nothing(sidecar: SocketSidecar, client: BackgroundClient) -> None:
    client.emit({"message": "read"})
    sidecar.wait_for(1)
    sidecar.stop_reading()
    client.emit({"message": "not read"})
    assert not client.flush(timeout=0.05).all_acked
    sidecar.hang_up()
    wait_until(lambda: sidecar.connects == 2, "a new connection")
    assert not client.flush(timeout=0.05).all_acked
    assert messages(sidecar.records) == ["read"]
    sidecar.read_on()
    assert client.flush(timeout=10).all_acked
    assert messages(sidecar.records) == ["read", "not read"]


def test_acks_that_are_lost_make_duplicates(
    sidecar: SocketSidecar, client: BackgroundClient
) -> None:
    sidecar.acks = False
    client.emit({"message": "hi"})
    sidecar.wait_for(1)
    assert not client.flush(timeout=0.05).all_acked
    sidecar.acks = True
    sidecar.hang_up()
    first, second = sidecar.wait_for(2)
    assert first == second
    assert client.flush(timeout=10).all_acked


def test_acks_may_come_late(sidecar: SocketSidecar, client: BackgroundClient) -> None:
    sidecar.acks = False
    client.emit({"message": "hi"})
    sidecar.wait_for(1)
    wait_until(lambda: bool(sidecar.held_acks), "the ack is held back")
    sidecar.release_acks()
    assert client.flush(timeout=10).all_acked
    assert len(sidecar.records) == 1
    sidecar.acks = True


def test_a_wait_ends_with_the_record_that_it_waits_for(
    sidecar: SocketSidecar, client: BackgroundClient
) -> None:
    waiting = Later(lambda: sidecar.wait_for(lambda records: "b" in messages(records)))
    for message in ("a", "b"):
        client.emit({"message": message})
        client.flush(timeout=10)
    assert messages(waiting.join()) == ["a", "b"]


def test_a_wait_in_vain_says_what_came(sidecar: SocketSidecar, client: BackgroundClient) -> None:
    client.emit({"message": "the only one"})
    sidecar.wait_for(1)
    with pytest.raises(AssertionError, match=r"connections: 1; records: 1, [^$]*the only one"):
        sidecar.wait_for(2, timeout_seconds=0.01)


def test_a_wait_without_a_client_asks_for_install(sidecar: SocketSidecar) -> None:
    with pytest.raises(AssertionError, match=r"connections: 0.*; was logship.install\(\) called"):
        sidecar.wait_for(1, timeout_seconds=0.01)


def test_its_end_ends_connections() -> None:
    with SocketSidecar() as sidecar:
        client = socket.create_connection(address_of(sidecar))
        wait_until(lambda: sidecar.connected == 1, "it has accepted")
    with client, contextlib.suppress(ConnectionResetError):
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address_of(sidecar))
