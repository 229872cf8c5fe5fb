"""Speaks to a server in bytes of the test's own choosing: what logship itself would never send."""

from __future__ import annotations

import socket
import struct
from typing import Any, Self

import msgpack

from tests.support.servers import ServerProcess

ANSWER_SECONDS_MAX = 20.0
"""Bounds every wait for a server; only a fault ever waits so long."""

EVENT_TIME = msgpack.ExtType(0, struct.pack(">II", 1_700_000_000, 5))


def entries(*records: Any) -> bytes:
    """Return packed entries of these records, which need not be mappings."""
    return b"".join(msgpack.packb([EVENT_TIME, record]) for record in records)


def packed_forward(tag: str, payload: bytes, **option: Any) -> bytes:
    message: bytes = msgpack.packb([tag, payload, option])
    return message


class RawConnection:
    """A connection to a server; a context manager that closes it."""

    def __init__(self, server: ServerProcess) -> None:
        address = ("127.0.0.1", server.port.number)
        self._socket = socket.create_connection(address, timeout=ANSWER_SECONDS_MAX)
        self._unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; that the server has closed already shows when its answer is read."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def answer(self) -> Any:
        """Return the next message, its texts undecoded; None when the server has closed."""
        while True:
            for message in self._unpacker:
                return message
            try:
                data = self._socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._unpacker.feed(data)

    def acks_until(self, chunk: str) -> tuple[list[str], bool]:
        """Return the ids acked before `chunk` was, and whether that was before a close."""
        acks: list[str] = []
        while (answer := self.answer()) is not None:
            ack = answer[b"ack"].decode()
            if ack == chunk:
                return acks, True
            acks.append(ack)
        return acks, False
