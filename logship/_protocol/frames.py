"""What a client sends around its entries, and how it reads what the server answers.

A frame is a PackedForward message of the forward protocol, version 1: `[tag, entries, option]`.
The entries' bytes are never touched here, only framed: they were packed when they were logged,
and may lie in a mapped file.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack

from logship._protocol.readable import well_formed
from logship._protocol.unpacking import BoundedUnpacker
from logship._quoting import quoted, quoted_value
from logship.errors import ProtocolError

_ACK_BYTES_MAX = 64 * 1024
"""More than any answer to a chunk: an acknowledgement has about 40 bytes."""
_QUOTED_CHARACTERS = 40
"""Of an answer in another protocol; they name an HTTP server."""


class AnswerError(ProtocolError):
    """The server answered with something that is not an acknowledgement.

    Attributes:
        acks: ids acknowledged by the same bytes before the fault: these chunks did arrive.
    """

    def __init__(self, reason: str, acks: list[str]) -> None:
        super().__init__(f"the server's answer is not an acknowledgement: {reason}")
        self.acks = acks


def frame_parts(
    tag: str, chunk_id: str, entries: int, payload_bytes: int, compressed: str | None = None
) -> tuple[bytes, bytes]:
    """Return what goes before and behind the payload of a PackedForward message.

    Args:
        tag: the route of all entries.
        chunk_id: comes back in the acknowledgement.
        entries: how many there are in the payload; the option `size`.
        payload_bytes: length of the payload as sent, that is after compression.
        compressed: the option `compressed`: `gzip`, `zstd`, or None for plain entries.
    """
    option: dict[str, Any] = {"chunk": chunk_id, "size": entries}
    if compressed is not None:
        option["compressed"] = compressed
    before = b"\x93" + msgpack.packb(well_formed(tag)) + _bin_header(payload_bytes)
    return before, msgpack.packb(option)


def _bin_header(length: int) -> bytes:
    if length <= 0xFF:
        return struct.pack(">BB", 0xC4, length)
    if length <= 0xFFFF:
        return struct.pack(">BH", 0xC5, length)
    return struct.pack(">BI", 0xC6, length)


class AckReader:
    """Reads acknowledgements `{"ack": id}` from a server's bytes, however they are split.

    Of one connection: after an `AnswerError` the stream has no meaning, and the reader no use.
    Memory is bounded: an answer longer than 64 KiB is a fault.
    """

    def __init__(self) -> None:
        # Fluent Bit's HELO has random bytes typed as text, and must be known for what it is.
        self._unpacker = BoundedUnpacker(_ACK_BYTES_MAX, unicode_errors="surrogateescape")

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes and return the ids of all acknowledgements that are now complete.

        Raises:
            AnswerError: something else than an acknowledgement. Ids read before it from the same
                bytes are in its `acks`, since what they acknowledge was taken.
        """
        acks: list[str] = []
        try:
            for answer in self._unpacker.feed(data):
                if type(answer) is int and 0 <= answer < 0x80:  # so text decodes, byte by byte
                    start = len(data) - self._unpacker.pending_bytes - 1
                    text = quoted(data[start:], _QUOTED_CHARACTERS)
                    raise ProtocolError(f"it is {text}, not in the forward protocol")
                acks.append(_ack_of(answer))
        except ProtocolError as error:
            raise AnswerError(str(error), acks) from error
        return acks


def _ack_of(answer: Any) -> str:
    if isinstance(answer, list) and answer[:1] in (["HELO"], [b"HELO"]):
        raise ProtocolError(
            "it began a handshake (HELO): it requires a shared key, but none is set"
        )
    if not isinstance(answer, dict):
        raise ProtocolError(f"it is {quoted_value(answer)}")
    ack = answer["ack"] if "ack" in answer else answer.get(b"ack")
    if isinstance(ack, bytes):
        return ack.decode("utf-8", "backslashreplace")
    if not isinstance(ack, str) or ack != well_formed(ack):
        raise ProtocolError(
            f"it has no id under `ack`, the chunk was refused: {quoted_value(answer)}"
        )
    return ack
