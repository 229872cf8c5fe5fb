"""Speaks to a server in bytes of the test's own choosing: what logship itself would never send."""

from __future__ import annotations

import hashlib
import secrets
import socket
import struct
from dataclasses import dataclass
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
    """Return a PackedForward message."""
    message: bytes = msgpack.packb([tag, payload, option])
    return message


class RawConnection:
    """A connection to a server; a context manager that closes it."""

    def __init__(self, server: ServerProcess) -> None:
        if server.socket_path is None:
            self.socket = socket.create_connection(("127.0.0.1", server.port.number))
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(str(server.socket_path))
        self.socket.settimeout(ANSWER_SECONDS_MAX)
        self._unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; that the server has closed already shows when its answer is read."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def answer(self) -> Any:
        """Return the next message, its texts undecoded; None when the server has closed."""
        while True:
            for message in self._unpacker:
                return message
            try:
                data = self.socket.recv(65536)
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


@dataclass(frozen=True)
class Ping:
    """A client's half of the handshake, as the specification has it; each part can be wrong.

    Attributes:
        shared_key: What is proved.
        as_binary: Whether the fields go as bin instead of str.
    """

    shared_key: str
    as_binary: bool = False

    def answer_to(self, helo: Any) -> bytes:
        """Return the PING for a HELO, of no user."""
        options = helo[1]
        nonce, auth = options[b"nonce"], options.get(b"auth", b"")
        salt, host = secrets.token_hex(16).encode(), b"client.example"
        digest = hashlib.sha512(salt + host + nonce + self.shared_key.encode()).hexdigest()
        user = hashlib.sha512(auth).hexdigest()
        fields = [host, salt, digest.encode(), b"", user.encode()]
        wanted = fields if self.as_binary else [each.decode() for each in fields]
        message: bytes = msgpack.packb(["PING", *wanted])
        return message
