"""Cuts a client's bytes into messages of the forward protocol, without decoding them. PURE.

A message that is not whole costs its own bytes and nothing else: decoded early, sixteen megabytes
of empty maps would take a gigabyte. Each byte is looked at once, however the bytes are split.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgpack

from logship.errors import ProtocolError

_NIL = 0xC0
_ARRAY_16 = 0xDC
_ITEMS = range(2, 5)
_LENGTH_BYTES = {0xC4: 1, 0xD9: 1, 0xC5: 2, 0xDA: 2, 0xC6: 4, 0xDB: 4}
"""How many bytes say the length of bytes or text, by their first byte."""

_WALKER_BYTES = 4096


class Item(NamedTuple):
    """An element of a message.

    Attributes:
        data: of bytes or text their content; of anything else its msgpack.
        is_text: whether it is bytes or text.
    """

    data: bytes
    is_text: bool


class Framer:
    """Cuts one client's bytes.

    After a `ProtocolError` the stream has no meaning, and the framer no use.

    Args:
        bytes_max: the longest message.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._data = bytearray()
        self._begin_message()

    @property
    def pending_bytes(self) -> int:
        """How many bytes are held of a message that is not complete."""
        return len(self._data)

    def feed(self, data: bytes) -> Iterator[list[Item]]:
        """Take the next bytes and yield the items of each message that is now complete.

        A nil is a heartbeat and stands for nothing.

        Raises:
            ProtocolError: the bytes are no array of two to four, or a message is too long.
                Messages before it have been yielded.
        """
        self._data += data
        while self._is_complete():
            items = [self._item(*span) for span in self._spans]
            del self._data[: self._at]
            self._begin_message()
            if items:
                yield items

    def _begin_message(self) -> None:
        self._at = 0
        self._count: int | None = None
        self._spans: list[tuple[int, int, bool]] = []
        self._walker: msgpack.Unpacker | None = None
        self._walked = 0

    def _is_complete(self) -> bool:
        """Go on to the end of the message, and tell whether it is there."""
        is_there = self._go_on()
        if (self._at if is_there else len(self._data)) > self._bytes_max:
            raise ProtocolError(f"a message is longer than {self._bytes_max} bytes")
        return is_there

    def _go_on(self) -> bool:
        if self._count is None and not self._read_head():
            return False
        while len(self._spans) < (self._count or 0):
            span = self._next_span()
            if span is None:
                return False
            self._spans.append(span)
            self._at = span[1]
        return True

    def _read_head(self) -> bool:
        data = self._data
        if not data:
            return False
        first, size = data[0], 1
        if first == _NIL:
            count = 0
        elif first == _ARRAY_16:
            if len(data) < 3:
                return False
            count, size = int.from_bytes(data[1:3]), 3
        else:
            count = first - 0x90
        if first != _NIL and count not in _ITEMS:
            begins = bytes(data[:8])
            raise ProtocolError(f"a message begins with {begins!r}, not an array of two to four")
        self._count, self._at = count, size
        return True

    def _next_span(self) -> tuple[int, int, bool] | None:
        """Return where the next item begins and ends; None while it is not whole."""
        data, at = self._data, self._at
        if at == len(data):
            return None
        first = data[at]
        length_bytes = _LENGTH_BYTES.get(first, 0)
        if not length_bytes and not 0xA0 <= first <= 0xBF:
            end = self._walk()
            return None if end is None else (at, end, False)
        begin = at + 1 + length_bytes
        if begin > len(data):
            return None
        end = begin + (int.from_bytes(data[at + 1 : begin]) if length_bytes else first & 0x1F)
        if end > self._bytes_max:
            raise ProtocolError(f"a message is longer than {self._bytes_max} bytes")
        return (begin, end, True) if end <= len(data) else None

    def _walk(self) -> int | None:
        """Return where the item ends that begins at the place reached, by looking at the rest."""
        if self._walker is None:
            self._walker = msgpack.Unpacker(max_buffer_size=0, read_size=_WALKER_BYTES)
            self._walked = self._at
        while self._walked < len(self._data):
            piece = self._data[self._walked : self._walked + _WALKER_BYTES]
            self._walker.feed(piece)
            self._walked += len(piece)
            try:
                self._walker.skip()
            except msgpack.OutOfData:
                continue
            except Exception as error:
                raise ProtocolError(f"no msgpack: {type(error).__name__}: {error}") from error
            end: int = self._at + self._walker.tell()
            self._walker = None
            return end
        return None

    def _item(self, begin: int, end: int, is_text: bool) -> Item:
        with memoryview(self._data) as data:
            return Item(bytes(data[begin:end]), is_text)
