"""Cuts a client's JSON into messages, and says each of them in msgpack. PURE.

fluent-logger for PHP sends JSON unless told otherwise, and that for Go on request: one array behind
the other, with nothing or blanks in between. A message ends where its brackets do, so the text is
searched for brackets and quotes alone, each byte once, however the bytes are split. It is decoded
when it is whole. In msgpack it meets every bound that other messages meet.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgpack

from logship._protocol.framing import Framer, Item
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


class JsonFramer(Framer):
    """Cuts the bytes of one client that sends JSON; a message may have too many arrays and maps."""

    def _begin_message(self) -> None:
        self._at = 0  # where to search on, which may be behind the bytes that are there
        self._depth = 0
        self._containers = 0
        self._is_text = False

    def _go_on(self) -> bool:
        """Go on from bracket to bracket, and tell whether the first one is closed."""
        data, at, depth, is_text = self._data, self._at, self._depth, self._is_text
        while not at and data and data[0] in _BLANKS:
            del data[0]
        if data and not data.startswith(b"["):
            raise ProtocolError(f"a message begins with {bytes(data[:8])!r}, not an array")
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

    def _items(self) -> list[Item]:
        begins = self._data[:8]
        try:
            items = [_item(value) for value in _decode(self._take().decode())]
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"not JSON: {error}") from error
        self._check_count(len(items), begins)
        return items

    def _take(self) -> bytearray:
        """Return the text of the message; it is not held beside what is decoded from it."""
        text = self._data[: self._at]
        del self._data[: self._at]
        self._at = 0
        return text


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
