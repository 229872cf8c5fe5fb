"""The server's side of the forward protocol: messages out of a client's bytes, and acks.

All four modes of version 1 are read: Message, Forward, PackedForward (as bin or, from old
senders, str) and CompressedPackedForward. Unlike Fluentd and Fluent Bit, which acknowledge a
message and drop what they could not decode in it, this side refuses a message with anything
wrong in it: an acknowledgement that does not mean "every record is here" proves nothing.
"""

from __future__ import annotations

import enum
import zlib
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgpack

from logship.errors import ProtocolError
from logship.protocol.compression import zstd_module
from logship.protocol.entries import entry_of, unpack_entries
from logship.protocol.unpacking import BoundedUnpacker

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""The longest message taken, as sent and again when decompressed; Fluentd's chunks have 8 MiB."""


Entries = list[tuple[int, Any]]
"""Time in nanoseconds since 1970 and record of each entry of a message."""

Taken = TypeVar("Taken", bound=Sized)
"""What becomes of a message's entries; `len` says how many there are."""


class Mode(enum.Enum):
    """How a client may put records into a message."""

    MESSAGE = "Message"
    FORWARD = "Forward"
    PACKED_FORWARD = "PackedForward"
    COMPRESSED_PACKED_FORWARD = "CompressedPackedForward"


@dataclass(frozen=True, slots=True)
class Form(Generic[Taken]):
    """What a reader makes of entries, so that none is decoded further than it is wanted.

    Attributes:
        of_entries: makes it of a tag and decoded entries.
        of_payload: makes it of a tag and a PackedForward payload; raises `ProtocolError` where
            that is not a run of whole entries.
    """

    of_entries: Callable[[str, Entries], Taken]
    of_payload: Callable[[str, bytes], Taken]


AS_ENTRIES: Form[Entries] = Form(
    of_entries=lambda tag, entries: entries,
    of_payload=lambda tag, payload: list(unpack_entries(payload)),
)
"""Every record decoded."""


@dataclass(frozen=True, slots=True)
class Message(Generic[Taken]):
    """One message, whole and valid.

    Attributes:
        tag: the route of all its records.
        entries: what the reader's form made of them.
        chunk: the id to acknowledge, or None where the client wants no acknowledgement.
        mode: how it was sent.
    """

    tag: str
    entries: Taken
    chunk: str | None
    mode: Mode


class MessageError(ProtocolError):
    """The client sent something that is no valid message.

    Attributes:
        messages: those that the same bytes completed before the fault; they are good.
    """

    def __init__(self, reason: str, messages: list[Message[Any]]) -> None:
        super().__init__(reason)
        self.messages = messages


class MessageReader(Generic[Taken]):
    """Reads messages from one client's bytes, however they are split.

    After a `MessageError` the stream has no meaning, and the reader no use.

    Args:
        form: what to make of entries.
        bytes_max: bound of one message, as sent and again when decompressed.
    """

    def __init__(self, form: Form[Taken], bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._form = form
        self._bytes_max = bytes_max
        # Text is kept whole with surrogateescape: a PackedForward payload may be sent as str.
        self._unpacker = BoundedUnpacker(bytes_max, unicode_errors="surrogateescape")

    @property
    def pending_bytes(self) -> int:
        """How many bytes have been fed of a message that is not complete."""
        return self._unpacker.pending_bytes

    def feed(self, data: bytes) -> list[Message[Taken]]:
        """Take the next bytes and return all messages that are now complete.

        A nil is a heartbeat and stands for nothing. A message without records is a message.

        Raises:
            MessageError: these bytes are not of the protocol, or a message is not valid or too
                long. Its `messages` are those before the fault.
        """
        messages: list[Message[Taken]] = []
        try:
            for value in self._unpacker.feed(data):
                if value is not None:
                    messages.append(self._message_of(value))
        except ProtocolError as error:
            raise MessageError(str(error), messages) from error
        return messages

    def _message_of(self, value: Any) -> Message[Taken]:
        if type(value) is not list or not 2 <= len(value) <= 4:
            raise ProtocolError(f"a message is {value!r:.80}, not an array of two to four")
        tag = _text(value[0], "a tag")
        second = value[1]
        if type(second) is list and len(value) < 4:
            return self._forward(tag, second, _option_of(value, 2), Mode.FORWARD)
        if type(second) in (bytes, str) and len(value) < 4:
            return self._packed_forward(tag, second, _option_of(value, 2))
        if len(value) < 3:
            raise ProtocolError(f"a message of two has {second!r:.80} for entries")
        return self._forward(tag, [value[1:3]], _option_of(value, 3), Mode.MESSAGE)

    def _forward(
        self, tag: str, values: list[Any], option: dict[Any, Any], mode: Mode
    ) -> Message[Taken]:
        taken = self._form.of_entries(tag, [entry_of(value) for value in values])
        return _checked(Message(tag, taken, _chunk_of(option), mode), option)

    def _packed_forward(
        self, tag: str, payload: bytes | str, option: dict[Any, Any]
    ) -> Message[Taken]:
        packed = payload.encode("utf-8", "surrogateescape") if type(payload) is str else payload
        assert type(packed) is bytes
        mode = Mode.PACKED_FORWARD
        compressed = option.get("compressed")
        if compressed not in (None, "text"):
            packed = _decompress(packed, compressed, self._bytes_max)
            mode = Mode.COMPRESSED_PACKED_FORWARD
        taken = self._form.of_payload(tag, packed)
        return _checked(Message(tag, taken, _chunk_of(option), mode), option)


def ack_message(chunk: str) -> bytes:
    """Return the acknowledgement of a message that carried the option `chunk`."""
    packed: bytes = msgpack.packb({"ack": chunk}, unicode_errors="surrogateescape")
    return packed


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


def _checked(message: Message[Taken], option: dict[Any, Any]) -> Message[Taken]:
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
