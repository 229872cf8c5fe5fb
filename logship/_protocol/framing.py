"""Cuts a client's bytes into messages of the forward protocol, without decoding them. PURE.

A message that is not whole costs its own bytes and nothing else: decoded early, sixteen megabytes
of empty maps would take a gigabyte. Each byte is looked at once, however the bytes are split.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from logship.errors import ProtocolError

_NIL = 0xC0
_ARRAY_16 = 0xDC
_ITEMS = range(2, 5)
"""How many items a message with records has."""

_TLS_BEGINS = (b"\x16\x03", b"\x15\x03")
"""A handshake, an alert."""

_TEXT_HEAD_BYTES = {
    0xC4: 2, 0xC5: 3, 0xC6: 5, 0xD9: 2, 0xDA: 3, 0xDB: 5, **dict.fromkeys(range(0xA0, 0xC0), 1),
}  # fmt: skip
"""How many bytes stand before the content of bytes or text, by their first byte."""

_FIXED = {
    **dict.fromkeys([*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3], (1, 0)),
    **{0x80 + count: (1, 2 * count) for count in range(16)},
    **{0x90 + count: (1, count) for count in range(16)},
    **{0xA0 + size: (1 + size, 0) for size in range(32)},
    **dict.fromkeys([0xCC, 0xD0], (2, 0)),
    **dict.fromkeys([0xCD, 0xD1], (3, 0)),
    **dict.fromkeys([0xCA, 0xCE, 0xD2], (5, 0)),
    **dict.fromkeys([0xCB, 0xCF, 0xD3], (9, 0)),
    **{0xD4 + power: (2 + (1 << power), 0) for power in range(5)},
}
"""How many bytes a value has, and how many values are in it, by a first byte that says so."""

_SIZED = {
    0xC4: (1, 0, 1, 0), 0xC5: (2, 0, 1, 0), 0xC6: (4, 0, 1, 0),  # bytes
    0xC7: (1, 1, 1, 0), 0xC8: (2, 1, 1, 0), 0xC9: (4, 1, 1, 0),  # an extension and its type
    0xD9: (1, 0, 1, 0), 0xDA: (2, 0, 1, 0), 0xDB: (4, 0, 1, 0),  # text
    0xDC: (2, 0, 0, 1), 0xDD: (4, 0, 0, 1),  # an array
    0xDE: (2, 0, 0, 2), 0xDF: (4, 0, 0, 2),  # a map
}  # fmt: skip
"""By another first byte: how many bytes say a number, how many stand behind them in any case, and
how many bytes and how many values there are for each one of that number."""


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
        items: how many items a message may have.
        takes_heartbeats: whether a nil may come in place of a message. In a handshake it may not,
            or a peer without the key could send nils for ever.
    """

    def __init__(
        self, bytes_max: int, items: range = _ITEMS, *, takes_heartbeats: bool = True
    ) -> None:
        self._bytes_max = bytes_max
        self._items_allowed = items
        self._takes_heartbeats = takes_heartbeats
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
            ProtocolError: the bytes are not an array of so many items, or a message is too long.
                Messages before it have been yielded.
        """
        self._data += data
        while self._is_complete():
            items = self._items()
            del self._data[: self._at]
            self._begin_message()
            if items:
                yield items

    def rest(self) -> bytes:
        """Return the bytes behind the messages that were yielded."""
        return bytes(self._data)

    def _begin_message(self) -> None:
        self._at = 0  # where the next value begins, which may be behind the bytes that are there
        self._count: int | None = None
        self._spans: list[tuple[int, int, bool]] = []
        self._item_at: int | None = None
        self._is_text = False
        self._values_left = 0

    def _is_complete(self) -> bool:
        """Go on to the end of the message, and tell whether it is there."""
        is_there = self._go_on()
        if max(self._at, 0 if is_there else len(self._data)) > self._bytes_max:
            raise ProtocolError(f"a message is longer than {self._bytes_max} bytes")
        return is_there

    def _go_on(self) -> bool:
        if self._count is None and not self._read_head():
            return False
        while len(self._spans) < (self._count or 0):
            if self._item_at is None and not self._begin_item():
                return False
            if not self._go_on_in_item():
                return False
        return True

    def _read_head(self) -> bool:
        data = self._data
        if not data:
            return False
        first, size = data[0], 1
        if first == _NIL and self._takes_heartbeats:
            self._count, self._at = 0, size
            return True
        count = first - 0x90
        if first == _ARRAY_16:
            if len(data) < 3:
                return False
            count, size = int.from_bytes(data[1:3]), 3
        self._check_count(count, data)
        self._count, self._at = count, size
        return True

    def _check_count(self, count: int, data: bytearray) -> None:
        if count not in self._items_allowed:
            begins, allowed = bytes(data[:8]), self._items_allowed
            wanted = f"an array of {allowed.start} to {allowed.stop - 1} items"
            if begins.startswith(_TLS_BEGINS):
                wanted += "; the peer speaks TLS, and this side does not"
            raise ProtocolError(f"a message begins with {begins!r}, not {wanted}")

    def _begin_item(self) -> bool:
        if self._at == len(self._data):
            return False
        head_bytes = _TEXT_HEAD_BYTES.get(self._data[self._at])
        self._item_at = self._at + (head_bytes or 0)
        self._is_text = head_bytes is not None
        self._values_left = 1
        return True

    def _go_on_in_item(self) -> bool:
        """Go on to the end of the item, from value to value, and tell whether it is there."""
        data, at, left = self._data, self._at, self._values_left
        end = len(data)
        while left and at < end:
            first = data[at]
            if first in _FIXED:
                size, values = _FIXED[first]
                at += size
            elif first in _SIZED:
                number_bytes, size, size_each, values_each = _SIZED[first]
                begin = at + 1 + number_bytes
                if begin > end:
                    break
                number = int.from_bytes(data[at + 1 : begin])
                at = begin + size + size_each * number
                values = values_each * number
            else:
                raise ProtocolError(f"not msgpack: a value begins with {first:#x}")
            left += values - 1
        self._at, self._values_left = at, left
        if left or at > end:
            return False
        assert self._item_at is not None
        self._spans.append((self._item_at, at, self._is_text))
        self._item_at = None
        return True

    def _items(self) -> list[Item]:
        """Return the items of the message that is there."""
        with memoryview(self._data) as data:
            return [Item(bytes(data[begin:end]), is_text) for begin, end, is_text in self._spans]
