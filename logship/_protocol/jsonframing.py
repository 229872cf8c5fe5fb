"""Cuts a client's JSON into messages, and says each of them in msgpack. PURE.

fluent-logger for PHP sends JSON unless told otherwise, and that for Go on request: one array behind
the other, with nothing or blanks in between. A message ends where its brackets do, so the text is
searched for brackets and quotes alone, each byte once, however the bytes are split. It is decoded
when it is whole. In msgpack it meets every bound that other messages meet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgpack

from logship._protocol.framing import ITEMS, Item
from logship._protocol.unpacking import VALUES_MAX
from logship.errors import ProtocolError

BEGINNINGS = (b"[", b"{")
"""One of these is the first byte of a client that sends JSON, and of no other."""

_BLANKS = b" \t\r\n"
_OUTSIDE_TEXT = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+")*+(["\[\]{}])')
"""Up to the next bracket, or to the beginning of a text with an escape or without an end."""

_IN_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+(["\\])', re.DOTALL)
"""Up to the end of the text, or to an escape of which only the backslash is there."""

_DIGITS_MAX = 20
"""Characters of the longest integer that msgpack has."""


class JsonFramer:
    """Cuts one client's bytes, as `Framer` does.

    After a `ProtocolError` the stream has no meaning, and the framer no use.

    Args:
        bytes_max: The longest message.
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

        Raises:
            ProtocolError: The bytes are not a JSON array of two to four, or a message is too long
                or has too many arrays and maps. Messages before it have been yielded.
        """
        self._data += data
        while self._is_complete():
            message = self._data[: self._at]
            del self._data[: self._at]
            self._begin_message()
            yield _items(message)

    def _begin_message(self) -> None:
        self._at = 0  # where to search on, which may be behind the bytes that are there
        self._depth = 0
        self._containers = 0
        self._is_text = False

    def _is_complete(self) -> bool:
        """Go on to the end of the message, and tell whether it is there."""
        data = self._data
        while not self._at and data and data[0] in _BLANKS:
            del data[0]
        if data and not data.startswith(b"["):
            raise ProtocolError(f"a message begins with {bytes(data[:8])!r}, not an array")
        is_there = self._go_on()
        if max(self._at, 0 if is_there else len(data)) > self._bytes_max:
            raise ProtocolError(f"a message is longer than {self._bytes_max} bytes")
        return is_there

    def _go_on(self) -> bool:
        """Go on from bracket to bracket, and tell whether the first one is closed."""
        data, at, depth, is_text = self._data, self._at, self._depth, self._is_text
        while found := (_IN_TEXT if is_text else _OUTSIDE_TEXT).match(data, at):
            at, mark = found.end(), found[1]
            if mark == b'"':
                is_text = not is_text
            elif mark == b"\\":
                at += 1
            elif mark in b"]}":
                depth -= 1
                if not depth:
                    break
            else:
                depth += 1
                self._containers += 1
                if self._containers > VALUES_MAX:
                    raise ProtocolError(f"there are more than {VALUES_MAX} values")
        self._at, self._depth, self._is_text = max(at, 0 if found else len(data)), depth, is_text
        return found is not None


def _items(message: bytearray) -> list[Item]:
    """Return the items of a message.

    Raises:
        ProtocolError: It is not a JSON array of two to four, or nested too deep.
    """
    try:
        items = [_item(value) for value in _decode(message.decode())]
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {error}") from error
    if len(items) not in ITEMS:
        raise ProtocolError(f"a message is an array of {len(items)}, not of two to four")
    return items


def _item(value: Any) -> Item:
    if type(value) is str:
        return Item(value.encode("utf-8", "backslashreplace"), is_text=True)
    return Item(msgpack.packb(value, unicode_errors="backslashreplace"), is_text=False)


def _integer(digits: str) -> int | str:
    """Return an integer; its digits where msgpack has none so large, as the client does it."""
    if len(digits) > _DIGITS_MAX:
        return digits
    value = int(digits)
    return value if -(1 << 63) <= value < 1 << 64 else digits


_decode = json.JSONDecoder(parse_int=_integer).decode
