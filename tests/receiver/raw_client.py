"""A forward client of a few lines: sends bytes as they are, and reads what really comes back."""

from __future__ import annotations

import socket
from typing import Any, Self

import msgpack

from tests.support.receiver_process import ReceiverProcess
from tests.support.strict_msgpack import decode_all

ANSWER_SECONDS_MAX = 20.0
"""Bounds every wait for the receiver; only a fault ever waits so long."""


class RawClient:
    """A connection to a receiver; a context manager that closes it."""

    def __init__(self, receiver: ReceiverProcess) -> None:
        scheme, _, address = receiver.endpoint.partition("://")
        if scheme == "unix":
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(("127.0.0.1", receiver.port))
        self.socket.settimeout(ANSWER_SECONDS_MAX)
        self._read = b""

    @property
    def name(self) -> str:
        """What the receiver calls this client."""
        host, port = self.socket.getsockname()
        return f"{host}:{port}"

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def acks(self, count: int) -> list[str]:
        """Return the ids of the next `count` acknowledgements."""
        while True:
            answers = self._answers()
            if len(answers) >= count:
                assert len(answers) == count, f"more answers than {count}: {answers}"
                self._read = b""
                return [answer["ack"] for answer in answers]
            data = self.socket.recv(65536)
            assert data, f"closed after {len(answers)} of {count} acknowledgements"
            self._read += data

    def rest(self) -> list[Any]:
        """Return all answers until the receiver ends the connection.

        Raises:
            ConnectionResetError: it was reset, which may destroy acknowledgements on their way.
        """
        while data := self.socket.recv(65536):
            self._read += data
        return self._answers()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _answers(self) -> list[Any]:
        try:
            return decode_all(self._read)
        except ValueError:  # ends in the middle of one
            return []


def frame(chunk: str | None, *records: Any, tag: str = "app") -> bytes:
    """Return a PackedForward message of these records."""
    payload = b"".join(msgpack.packb([1, record]) for record in records)
    option = {"size": len(records)} | ({} if chunk is None else {"chunk": chunk})
    packed: bytes = msgpack.packb([tag, payload, option])
    return packed
