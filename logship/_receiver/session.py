"""What one connection of the receiver means: bytes in, what to do out. No I/O.

The order of what it returns is the guarantee: an acknowledgement comes inside the `Message` whose
lines must be in the operating system's hands before it may be sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from logship._protocol.handshake import ServerHandshake
from logship._protocol.messages import Form, Message, MessageReader
from logship._protocol.payloads import count_entries, payload_lines
from logship.errors import HandshakeError, ProtocolError


def counted(tag: str, entries: bytes) -> tuple[bytes, int]:
    """Return no lines and how many records there are; see `count_entries` for what is checked.

    It shows what clients, network and acknowledgements can carry, where making lines would be the
    limit.

    Raises:
        ProtocolError: the bytes are not a run of whole entries.
    """
    del tag
    return b"", count_entries(entries)


@dataclass(frozen=True, slots=True)
class Answer:
    """Send these bytes of the handshake."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Send what was acknowledged and close: the client's bytes have no meaning from here on."""

    reason: str


class Session:
    """One connection from its first byte to its last.

    Args:
        handshake: what a client must pass before anything that it says counts; None where there
            is no shared key.
        form: what to make of records.
    """

    def __init__(
        self, handshake: ServerHandshake | None = None, form: Form = payload_lines
    ) -> None:
        self._handshake = handshake
        self._reader = MessageReader(form)

    def begin(self) -> bytes:
        """Return what to send before the client has said anything."""
        return b"" if self._handshake is None else self._handshake.helo()

    def receive(self, data: bytes) -> Iterator[Message | Answer | Close]:
        """Take the client's next bytes; yield what to do, in this order.

        A message is looked at when the one before it has been dealt with: small ones can make
        much, and there may be thousands of them in one read.
        """
        if self._handshake is not None and self.is_shaking_hands:
            yield from self._shake_hands(self._handshake, data)
            return
        try:
            yield from self._reader.feed(data)
        except ProtocolError as error:
            yield Close(str(error))

    def _shake_hands(
        self, handshake: ServerHandshake, data: bytes
    ) -> Iterator[Message | Answer | Close]:
        try:
            answer, rest = handshake.feed(data)
        except HandshakeError as error:
            yield Answer(error.answer)
            yield Close(str(error))
            return
        if answer:
            yield Answer(answer)
            yield from self.receive(rest)

    @property
    def is_shaking_hands(self) -> bool:
        """Whether the client must still show that it knows the key."""
        return self._handshake is not None and not self._handshake.done

    @property
    def pending_bytes(self) -> int:
        """How many bytes are held of a message that is not complete."""
        return self._reader.pending_bytes

    def end(self) -> str | None:
        """Say what is wrong when the client ends the connection now, or None if nothing is."""
        pending = self.pending_bytes
        return f"it ended {pending} bytes into a message" if pending else None
