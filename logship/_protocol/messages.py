"""The server's side of the forward protocol: messages out of a client's bytes, and acks.

All four modes of version 1.5 are read: Message, Forward, PackedForward (as bin or, from old
senders, str) and CompressedPackedForward, in msgpack or, as the first byte tells, in JSON. Unlike
Fluentd and Fluent Bit, which acknowledge a message and drop what they could not decode in it, this
side refuses a message with anything wrong in it: an acknowledgement that does not mean "every
record is here" proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from logship._protocol.compression import decompressed
from logship._protocol.framing import Framer, Item
from logship._protocol.jsonframing import BEGINNINGS, JsonFramer
from logship._quoting import quoted_value
from logship.errors import ProtocolError

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""The longest message taken, as sent and again when decompressed; Fluentd's chunks have 8 MiB."""

TAG_BYTES_MAX = 8192
"""The longest tag. It is in each record's line, so a long one makes much out of little."""

OPTION_BYTES_MAX = 64 * 1024
"""The longest option; its keys are text."""

_PAIR_HEAD = b"\x92"
_ARRAY_HEAD_BYTES = {0xDC: 3, 0xDD: 5}

Form = Callable[[str, bytes], tuple[bytes, int]]
"""Makes lines of a tag and a run of packed entries, and counts the records; raises `ProtocolError`
where that is none."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, whole and valid.

    Attributes:
        lines: what the reader's form made of its entries.
        records: how many these are.
        ack: what to send when all lines are written; empty where the client wants no
            acknowledgement.
    """

    lines: bytes
    records: int
    ack: bytes


class MessageReader:
    """Reads messages from one client's bytes, however they are split.

    After a `ProtocolError` the stream has no meaning, and the reader no use.

    Args:
        form: what to make of entries.
        bytes_max: bound of one message, as sent and again when decompressed.
    """

    def __init__(self, form: Form, bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._form = form
        self._bytes_max = bytes_max
        self._framer: Framer | None = None

    @property
    def pending_bytes(self) -> int:
        """How many bytes are held of a message that is not complete."""
        return 0 if self._framer is None else self._framer.pending_bytes

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take the next bytes and yield each message that is now complete.

        A nil is a heartbeat and stands for nothing. A message without records is a message.

        Raises:
            ProtocolError: these bytes are not of the protocol, or a message is not valid or too
                long. Those before it have been yielded; they are good.
        """
        if self._framer is None:
            if not data:
                return
            self._framer = (JsonFramer if data.startswith(BEGINNINGS) else Framer)(self._bytes_max)
        for items in self._framer.feed(data):
            yield self._message_of(*items)

    def _message_of(self, tag: Item, second: Item, *rest: Item) -> Message:
        if second.is_text and len(rest) < 2:
            option = _option_of(rest)
            return self._message(tag, self._unpacked(second.data, option), option)
        entries = _array_body(second.data) if len(rest) < 2 and not second.is_text else None
        if entries is not None:
            return self._message(tag, entries, _option_of(rest))
        if second.is_text or not rest or rest[0].is_text:
            raise ProtocolError("a message is neither entries nor a time and a record")
        option = _option_of(rest[1:])
        time = second.data
        if "metadata" in option:  # as Fluent Bit sends them where each record has its own tag
            time = _PAIR_HEAD + time + _packed_value(rest[1].data, "metadata")
        return self._message(tag, _PAIR_HEAD + time + rest[0].data, option)

    def _message(self, tag: Item, entries: bytes, option: dict[Any, Any]) -> Message:
        if not tag.is_text:
            raise ProtocolError("a tag is not text")
        if len(tag.data) > TAG_BYTES_MAX:
            raise ProtocolError(f"a tag is longer than {TAG_BYTES_MAX} bytes")
        lines, count = self._form(_text(tag.data, "a tag"), entries)
        return Message(lines, count, self._ack(option.get("chunk")))

    def _ack(self, chunk: Any) -> bytes:
        """Return the acknowledgement of a chunk, in the language of the client."""
        if chunk is None:
            return b""
        text = _text(chunk, "the option `chunk`")
        if isinstance(self._framer, JsonFramer):
            return json.dumps({"ack": text}, separators=(",", ":")).encode()
        return ack_message(text)

    def _unpacked(self, payload: bytes, option: dict[Any, Any]) -> bytes:
        compressed = option.get("compressed")
        if compressed in (None, "text"):
            return payload
        return decompressed(payload, compressed, self._bytes_max)


def ack_message(chunk: str) -> bytes:
    """Return the acknowledgement, in msgpack, of a message that carried the option `chunk`."""
    packed: bytes = msgpack.packb({"ack": chunk}, unicode_errors="surrogateescape")
    return packed


def _array_body(value: bytes) -> bytes | None:
    """Return the elements of an array, one behind the other; None where it is none."""
    first = value[0]
    if 0x90 <= first <= 0x9F:
        return value[1:]
    head_bytes = _ARRAY_HEAD_BYTES.get(first)
    return None if head_bytes is None else value[head_bytes:]


def _option_of(items: Sequence[Item]) -> dict[Any, Any]:
    """Return the option, which may be left out."""
    if not items:
        return {}
    [item] = items
    if item.is_text or len(item.data) > OPTION_BYTES_MAX:
        raise ProtocolError(f"an option is not a map of at most {OPTION_BYTES_MAX} bytes")
    try:
        # Text is kept whole with surrogateescape: an id goes back as it came.
        option = msgpack.unpackb(item.data, unicode_errors="surrogateescape")
    except Exception as error:
        raise ProtocolError(f"an option cannot be decoded: {error}") from error
    if option is None:
        return {}
    if type(option) is not dict:
        raise ProtocolError(f"an option is {quoted_value(option)}, not a map")
    return option


def _packed_value(packed: bytes, name: str) -> bytes:
    """Return the value under a name, as it came, of a map that has been decoded without a fault."""
    unpacker = msgpack.Unpacker(raw=True, max_buffer_size=0)
    unpacker.feed(packed)
    found = b""
    for _ in range(unpacker.read_map_header()):
        key, begin = unpacker.unpack(), unpacker.tell()
        unpacker.skip()
        if key == name.encode():
            found = packed[begin : unpacker.tell()]
    return found


def _text(value: Any, what: str) -> str:
    if type(value) is bytes:
        return value.decode("utf-8", "surrogateescape")
    if type(value) is str:
        return value
    raise ProtocolError(f"{what} is {quoted_value(value)}, not text")
