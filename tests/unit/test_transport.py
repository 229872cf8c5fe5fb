"""What is sent arrives whole and in order, whatever the kernel takes at once."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from logship._delivery.transport import Connection, SocketTransport
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
