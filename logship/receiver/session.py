"""What one connection of the receiver means: bytes in, what to do out. No I/O.

The order of what it returns is the guarantee: an acknowledgement comes inside the `Write` whose
lines must be in the operating system's hands before it may be sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from logship.protocol.jsonlines import json_line
from logship.protocol.messages import Message, MessageError, MessageReader, ack_message


@dataclass(frozen=True, slots=True)
class Write:
    """Write these lines; when all are written, send `ack`.

    Attributes:
        lines: JSON lines of one message, a newline behind each; empty for a message of none.
        records: how many lines these are.
        ack: bytes for the client, empty where it wants no acknowledgement.
    """

    lines: bytes
    records: int
    ack: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Send what was acknowledged and close: the client's bytes have no meaning from here on."""

    reason: str


class Session:
    """One connection from its first byte to its last."""

    def __init__(self) -> None:
        self._reader = MessageReader()

    def receive(self, data: bytes) -> list[Write | Close]:
        """Take the client's next bytes; return what to do, in this order."""
        try:
            return [_write(message) for message in self._reader.feed(data)]
        except MessageError as error:
            return [*(_write(message) for message in error.messages), Close(str(error))]

    def end(self) -> str | None:
        """Say what is wrong when the client ends the connection now, or None if nothing is."""
        pending = self._reader.pending_bytes
        return f"it ended {pending} bytes into a message" if pending else None


def _write(message: Message) -> Write:
    lines = [json_line(message.tag, time_ns, record) for time_ns, record in message.entries]
    ack = b"" if message.chunk is None else ack_message(message.chunk)
    return Write(b"".join(lines), len(lines), ack)
