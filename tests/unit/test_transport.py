"""Connections: what is sent arrives whole and in order, and whatever ends them is told."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from logship._delivery.credentials import tls_context, tls_source
from logship._delivery.transport import Connection, SocketTransport, _StreamConnection
from logship._settings import Endpoint, Settings
from logship.errors import ConnectError, HandshakeError, SettingsError
from tests.support.raising import raising
from tests.unit.clients import Events

SMALL, LARGE = 100, 700_000


async def connected(listener: socket.socket) -> tuple[Connection, socket.socket, SocketTransport]:
    transport = SocketTransport(Settings(connect_timeout_seconds=30))
    endpoint = Endpoint("tcp", "127.0.0.1", listener.getsockname()[1], "")
    connection = await transport.connect(endpoint, Events())
    peer, _ = listener.accept()
    peer.setblocking(False)
    return connection, peer, transport


async def received(peer: socket.socket, count: int) -> bytes:
    loop, data = asyncio.get_running_loop(), bytearray()
    async with asyncio.timeout(60):
        while len(data) < count:
            data += await loop.sock_recv(peer, 1 << 20)
    return bytes(data)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ahead", [1, 8])
async def test_parts_arrive_whole_and_in_order(
    listener: socket.socket, seed: int, ahead: int
) -> None:
    """One send after the other, and many of which the kernel takes the first ones only."""
    dice = random.Random(seed)
    connection, peer, transport = await connected(listener)
    try:
        for _ in range(6):
            sent = bytearray()
            for _ in range(ahead):
                sizes = [dice.choice([0, 1, SMALL, LARGE]) for _ in range(dice.randint(1, 9))]
                parts = [dice.randbytes(size) for size in sizes]
                connection.send([memoryview(bytearray(each)) for each in parts])
                sent += b"".join(parts)
            assert await received(peer, len(sent)) == sent
    finally:
        connection.abort()
        transport.close()
        peer.close()


# -- connections that end early, speak before they are asked, or cannot be made --------------------


@pytest.fixture
async def transport() -> AsyncIterator[SocketTransport]:
    fresh = SocketTransport(Settings(connect_timeout_seconds=30), ssl.create_default_context)
    yield fresh
    fresh.close()


def endpoint_of(listener: socket.socket, scheme: Any = "tcp") -> Endpoint:
    return Endpoint(scheme, "127.0.0.1", listener.getsockname()[1], "")


async def a_pair() -> tuple[_StreamConnection, socket.socket]:
    """Return a connection that has no owner yet, and its peer."""
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    connection = _StreamConnection()
    await loop.create_connection(lambda: connection, sock=ours)
    return connection, peer


async def test_what_comes_before_there_is_an_owner_is_kept_for_it() -> None:
    connection, peer = await a_pair()
    events = Events()
    peer.send(b"first")
    assert await connection.receive() == b"first"
    peer.send(b"second")
    async with asyncio.timeout(30):
        await connection._came.wait()
    connection.deliver_to(events)
    await events.wait_for([b"second"])
    peer.send(b"third")
    await events.wait_for([b"second", b"third"])
    connection.abort()
    peer.close()


async def test_an_end_before_there_is_an_owner_is_told_to_it() -> None:
    connection, peer = await a_pair()
    events = Events()
    peer.close()
    with pytest.raises(HandshakeError, match="during the handshake: the sidecar closed it"):
        await connection.receive()
    connection.deliver_to(events)
    await events.wait_for(["the sidecar closed it"])


async def test_an_aborted_connection_says_nothing_more() -> None:
    connection, peer = await a_pair()
    events = Events()
    connection.deliver_to(events)
    connection.abort()
    connection.send([b"too late"])
    connection.pause_writing()
    connection.resume_writing()
    async with asyncio.timeout(30):
        assert await asyncio.get_running_loop().sock_recv(peer, 100) == b""
    assert events.told == []
    peer.close()


async def test_a_connection_that_asyncio_cannot_take_over_is_closed(
    listener: socket.socket, transport: SocketTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = raising(OSError(errno.EMFILE, "asyncio has other words for it"))
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", fail)
    with pytest.raises(ConnectError, match=os.strerror(errno.EMFILE)):
        await transport.connect(endpoint_of(listener), Events())
    peer, _ = listener.accept()
    assert peer.recv(1) == b""
    peer.close()


async def test_a_peer_that_ends_in_the_last_moment_of_the_tls_handshake(
    listener: socket.socket, transport: SocketTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end(plain: asyncio.Transport, *_: Any, **__: Any) -> None:
        plain.abort()

    monkeypatch.setattr(asyncio.get_running_loop(), "start_tls", end)
    with pytest.raises(ConnectError, match="closed the connection in the TLS handshake"):
        await transport.connect(endpoint_of(listener, "tls"), Events())


@pytest.mark.parametrize(
    ("host", "name"), [("sidecar.example.", "sidecar.example"), ("fe80::1%lo", "fe80::1")]
)
async def test_a_certificate_has_neither_the_dot_of_an_absolute_name_nor_a_zone(
    monkeypatch: pytest.MonkeyPatch, host: str, name: str
) -> None:
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert(name).configure_cert(theirs)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=theirs)
    place = server.sockets[0].getsockname()

    async def resolve(*_: Any) -> list[Any]:
        return [(socket.AF_INET, place)]

    monkeypatch.setattr("logship._delivery.transport.Resolver.resolve", resolve)
    transport = SocketTransport(Settings(connect_timeout_seconds=30), lambda: ours)
    async with server:
        connection = await transport.connect(Endpoint("tls", host, place[1], ""), Events())
        connection.abort()
    transport.close()


async def test_a_peer_that_closes_instead_of_speaking_tls_is_named(
    listener: socket.socket, transport: SocketTransport
) -> None:
    """The error that asyncio has for it has no words."""
    listener.setblocking(False)
    connecting = asyncio.create_task(transport.connect(endpoint_of(listener, "tls"), Events()))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30):
        peer, _ = await loop.sock_accept(listener)
        peer.setblocking(False)
        await loop.sock_recv(peer, 1 << 16)  # what is not read makes a reset of the end
        peer.close()
        with pytest.raises(ConnectError, match="closed the connection in the TLS handshake"):
            await connecting


@pytest.mark.parametrize(
    ("scheme", "key", "hint"),
    [
        ("tcp", "a key", " (it takes connections; does it have a shared key?)"),
        ("tls", None, " (it takes connections; does it speak TLS?)"),
    ],
)
async def test_a_server_that_says_nothing_is_asked_about(
    listener: socket.socket, scheme: str, key: str | None, hint: str
) -> None:
    settings = Settings(
        endpoints=str(endpoint_of(listener, scheme)), shared_key=key, connect_timeout_seconds=0.2
    )
    transport = SocketTransport(settings, ssl.create_default_context)
    with pytest.raises(ConnectError) as caught, contextlib.closing(transport):
        await transport.connect(settings.endpoints[0], Events())
    assert str(caught.value).endswith(f": no answer in 0.2 s{hint}")


async def test_a_name_that_is_not_found_in_time_is_said_to_be_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: is_over.wait(30) and [])
    transport = SocketTransport(Settings(connect_timeout_seconds=0.1))
    with (
        pytest.raises(
            ConnectError, match=r"no answer in 0.1 s \(its name is still being looked up"
        ),
        contextlib.closing(transport),
    ):
        await transport.connect(Endpoint("tcp", "sidecar", 1, ""), Events())
    is_over.set()


async def test_a_peer_that_ends_only_its_own_side_gets_no_more() -> None:
    """It may read nothing any more. What waits would hold up the end of the connection."""
    connection, peer = await a_pair()
    events = Events()
    connection.deliver_to(events)
    connection.send([bytes(10_000_000)])  # more than the kernel takes
    peer.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(30):
        while "the sidecar closed it" not in events.told:
            await events.came.wait()
            events.came.clear()
    peer.close()


async def test_a_forked_child_closes_the_parents_sockets(
    listener: socket.socket, transport: SocketTransport
) -> None:
    connection = await transport.connect(endpoint_of(listener), Events())
    peer, _ = listener.accept()
    transport.abandon()
    assert peer.recv(1) == b""
    connection.abort()
    peer.close()


async def test_a_name_that_is_not_found_is_said(
    transport: SocketTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_found = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    monkeypatch.setattr(socket, "getaddrinfo", raising(not_found))
    with pytest.raises(ConnectError, match="tcp://sidecar:24224: Name or service not known"):
        await transport.connect(Endpoint("tcp", "sidecar", 24224, ""), Events())


async def test_a_unix_socket_is_connected_to(transport: SocketTransport, tmp_path: Path) -> None:
    events = Events()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        path = str(tmp_path / "socket")
        connection = await transport.connect(Endpoint("unix", "", 0, path), events)
        peer, _ = server.accept()
        peer.send(b"hello")
        await events.wait_for([b"hello"])
        connection.abort()
        peer.close()


async def test_a_unix_socket_with_a_full_queue_is_not_connected_to(
    transport: SocketTransport, tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(path)
        server.listen(0)
        first.connect(path)
        with pytest.raises(ConnectError, match="socket: Resource temporarily unavailable"):
            await transport.connect(Endpoint("unix", "", 0, path), Events())


async def test_a_system_without_an_option_of_sockets_connects(
    listener: socket.socket, transport: SocketTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    connection = await transport.connect(endpoint_of(listener), Events())
    connection.abort()


def test_a_clients_certificate_that_cannot_be_used_is_an_error_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "client.pem"
    path.write_text("no certificate")
    settings = Settings(endpoints="tls://127.0.0.1:1", tls_cert=str(path), tls_key=str(path))
    with pytest.raises(SettingsError) as caught:
        tls_context(settings)
    names = "tls_cert (LOGSHIP_TLS_CERT), tls_key (LOGSHIP_TLS_KEY)"
    assert str(caught.value).startswith(f"{names}: cannot use {path} and {path}: ")


# -- where the TLS context of the next connection comes from ---------------------------------------

ENDPOINT = "tls://127.0.0.1:1"


def authorities_in(context: ssl.SSLContext) -> list[bytes]:
    return context.get_ca_certs(binary_form=True)


def test_the_systems_authorities_are_read_once() -> None:
    source = tls_source(Settings(endpoints=ENDPOINT))
    assert source is not None
    assert source() is source()


def test_a_file_is_read_for_each_connection_and_one_that_is_gone_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ca.pem"
    first, second = trustme.CA(), trustme.CA()
    first.cert_pem.write_to_path(path)
    source = tls_source(Settings(endpoints=ENDPOINT, tls_ca=str(path)))
    assert source is not None
    before = authorities_in(source())
    second.cert_pem.write_to_path(path)
    after = authorities_in(source())
    assert before != after
    path.write_text("no certificate")
    assert authorities_in(source()) == after
    path.unlink()
    assert authorities_in(source()) == after
