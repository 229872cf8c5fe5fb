"""What is sent arrives whole and in order, whatever the kernel takes at once."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from logship._delivery.transport import Connection, Parts, SocketTransport, _StreamConnection
from logship._settings import Endpoint
from tests.unit.clients import Events

SMALL, LARGE = 100, 700_000


async def connected(listener: socket.socket) -> tuple[Connection, socket.socket, SocketTransport]:
    transport = SocketTransport(connect_timeout_seconds=30, user_timeout_seconds=30)
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


class Takes:
    """A socket's `sendmsg` that takes so many bytes, or raises."""

    def __init__(self, takes: int | OSError, peer: socket.socket) -> None:
        self.calls: list[int] = []
        self._takes = takes
        self._peer = peer

    def __call__(self, parts: Parts) -> int:
        whole = b"".join(parts)
        self.calls.append(len(whole))
        if isinstance(self._takes, OSError):
            raise self._takes
        return self._peer.send(whole[: self._takes])


FITS, DOES_NOT_FIT = 20_000, 900_000
"""Bytes that a socket has room for, and that it does not."""


@pytest.mark.parametrize("size", [FITS, DOES_NOT_FIT])
@pytest.mark.parametrize(
    "takes", [*(0, 1, 7, 16, 17, 1 << 30), BlockingIOError(), BrokenPipeError()], ids=repr
)
async def test_what_the_kernel_does_not_take_at_once_follows(
    takes: int | OSError, size: int
) -> None:
    """Asked once for all parts, and not while something waits that was to go before them."""
    ours, peer = socket.socketpair()
    at_once = Takes(takes, ours)
    ours.setblocking(False)
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    connection = _StreamConnection(at_once)
    connection.transport, _ = await loop.create_connection(lambda: connection, sock=ours)
    parts = [b"head" * 4, bytes(size), b"tail678"]
    try:
        connection.send(parts)
        assert at_once.calls == [size + 23]
        connection.send(parts)
        assert len(at_once.calls) == (2 if size == FITS else 1)
        assert await received(peer, 2 * (size + 23)) == b"".join(parts) * 2
        connection.send([b"small"])
        assert await received(peer, 5) == b"small"
    finally:
        connection.abort()
        peer.close()
