"""The server's side of the forward protocol: messages out of a client's bytes, and acks.

All four modes of version 1 are read: Message, Forward, PackedForward (as bin or, from old
senders, str) and CompressedPackedForward. Unlike Fluentd and Fluent Bit, which acknowledge a
message and drop what they could not decode in it, this side refuses a message with anything
wrong in it: an acknowledgement that does not mean "every record is here" proves nothing.
"""

from __future__ import annotations

import enum
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

from logship.errors import ProtocolError
from logship.protocol.compression import zstd_module
from logship.protocol.entries import entry_of, unpack_entries
from logship.protocol.unpacking import BoundedUnpacker

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""The longest message taken, as sent and again when decompressed; Fluentd's chunks have 8 MiB."""


class Mode(enum.Enum):
    """How a client may put records into a message."""

    MESSAGE = "Message"
    FORWARD = "Forward"
    PACKED_FORWARD = "PackedForward"
    COMPRESSED_PACKED_FORWARD = "CompressedPackedForward"


@dataclass(frozen=True, slots=True)
class Message:
    """One message, whole and valid.

    Attributes:
        tag: the route of all its records.
        entries: time in nanoseconds since 1970 and record of each, as sent.
        chunk: the id to acknowledge, or None where the client wants no acknowledgement.
        mode: how it was sent.
    """

    tag: str
    entries: list[tuple[int, Any]]
    chunk: str | None
    mode: Mode


class MessageError(ProtocolError):
    """The client sent something that is no valid message.

    Attributes:
        messages: those that the same bytes completed before the fault; they are good.
    """

    def __init__(self, reason: str, messages: list[Message]) -> None:
        super().__init__(reason)
        self.messages = messages


class MessageReader:
    """Reads messages from one client's bytes, however they are split.

    After a `MessageError` the stream has no meaning, and the reader no use.

    Args:
        bytes_max: bound of one message, as sent and again when decompressed.
    """

    def __init__(self, bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        # Text is kept whole with surrogateescape: a PackedForward payload may be sent as str.
        self._unpacker = BoundedUnpacker(bytes_max, unicode_errors="surrogateescape")

    @property
    def pending_bytes(self) -> int:
        """How many bytes have been fed of a message that is not complete."""
        return self._unpacker.pending_bytes

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes and return all messages that are now complete.

        A nil is a heartbeat and stands for nothing. A message without records is a message.

        Raises:
            MessageError: these bytes are not of the protocol, or a message is not valid or too
                long. Its `messages` are those before the fault.
        """
        messages: list[Message] = []
        try:
            for value in self._unpacker.feed(data):
                if value is not None:
                    messages.append(_message_of(value, self._bytes_max))
        except ProtocolError as error:
            raise MessageError(str(error), messages) from error
        return messages


def ack_message(chunk: str) -> bytes:
    """Return the acknowledgement of a message that carried the option `chunk`."""
    packed: bytes = msgpack.packb({"ack": chunk}, unicode_errors="surrogateescape")
    return packed


def _message_of(value: Any, bytes_max: int) -> Message:
    if type(value) is not list or not 2 <= len(value) <= 4:
        raise ProtocolError(f"a message is {value!r:.80}, not an array of two to four")
    tag = _text(value[0], "a tag")
    second = value[1]
    if type(second) is list and len(value) < 4:
        return _forward(tag, second, _option_of(value, 2))
    if type(second) in (bytes, str) and len(value) < 4:
        return _packed_forward(tag, second, _option_of(value, 2), bytes_max)
    if len(value) < 3:
        raise ProtocolError(f"a message of two has {second!r:.80} for entries")
    return _single(tag, value[1:3], _option_of(value, 3))


def _single(tag: str, entry: list[Any], option: dict[Any, Any]) -> Message:
    return _checked(Message(tag, [entry_of(entry)], _chunk_of(option), Mode.MESSAGE), option)


def _forward(tag: str, entries: list[Any], option: dict[Any, Any]) -> Message:
    taken = [entry_of(entry) for entry in entries]
    return _checked(Message(tag, taken, _chunk_of(option), Mode.FORWARD), option)


def _packed_forward(
    tag: str, payload: bytes | str, option: dict[Any, Any], bytes_max: int
) -> Message:
    packed = payload.encode("utf-8", "surrogateescape") if isinstance(payload, str) else payload
    mode = Mode.PACKED_FORWARD
    compressed = option.get("compressed")
    if compressed not in (None, "text"):
        packed = _decompress(packed, compressed, bytes_max)
        mode = Mode.COMPRESSED_PACKED_FORWARD
    return _checked(Message(tag, list(unpack_entries(packed)), _chunk_of(option), mode), option)


def _option_of(value: list[Any], index: int) -> dict[Any, Any]:
    option = value[index] if index < len(value) else None
    if option is None:
        return {}
    if type(option) is not dict:
        raise ProtocolError(f"an option is {option!r:.80}, not a map")
    return option


def _chunk_of(option: dict[Any, Any]) -> str | None:
    chunk = option.get("chunk")
    return None if chunk is None else _text(chunk, "the option `chunk`")


def _checked(message: Message, option: dict[Any, Any]) -> Message:
    """Return the message if it has as many records as its option `size` says, if it says so."""
    size = option.get("size")
    if size is not None and (type(size) is not int or size != len(message.entries)):
        raise ProtocolError(
            f"the option `size` is {size!r:.40}, but the message has {len(message.entries)} records"
        )
    return message


def _text(value: Any, what: str) -> str:
    if type(value) is bytes:
        return value.decode("utf-8", "surrogateescape")
    if type(value) is str:
        return value
    raise ProtocolError(f"{what} is {value!r:.80}, not text")


def _decompress(data: bytes, method: Any, bytes_max: int) -> bytes:
    new_decompressor = _decompressor(method)
    parts = []
    left = bytes_max
    while data:
        decompressor = new_decompressor()
        try:
            part = decompressor.decompress(data, left + 1)
        except Exception as error:
            raise ProtocolError(f"entries are not {method}: {error}") from error
        left -= len(part)
        if left < 0:
            raise ProtocolError(f"entries decompress to more than {bytes_max} bytes")
        if not decompressor.eof:
            raise ProtocolError(f"entries end in the middle of their {method}")
        parts.append(part)
        data = decompressor.unused_data
    return b"".join(parts)


def _decompressor(method: Any) -> Callable[[], Any]:
    """Return what makes a decompressor of one member (gzip) or frame (zstd)."""
    if method == "gzip":
        return lambda: zlib.decompressobj(wbits=31)
    if method == "zstd":
        try:
            decompressor: Callable[[], Any] = zstd_module().ZstdDecompressor
        except ImportError as error:
            reason = "entries are zstd, which needs Python 3.14 or the package backports.zstd"
            raise ProtocolError(reason) from error
        return decompressor
    raise ProtocolError(f"entries are compressed with {method!r:.40}; known are gzip and zstd")
