"""Turns lines of text into records, for `logship pipe` and `logship run`. PURE.

A line that is a JSON object becomes the record that it describes. Any other line becomes a message.
No input is lost: neither a last line without a newline, nor bytes that are not UTF-8, nor a line of
five megabytes.
"""

from __future__ import annotations

import json
import re
from typing import Any

from logship._protocol.readable import mapping_of_pairs

LINE_BYTES_MAX = 4_000_000
"""A longer line is split into several records, so that memory is bounded."""

PART_BYTES = 64 * 1024
"""A line that is not complete is kept in parts of at least this size."""

Line = tuple[int, bytes]
"""A line that was read, or several that belong together: when the first of them was read,
nanoseconds since the epoch, and the text without a line end."""

_BEGUN_CHARACTER = re.compile(
    rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
)
"""The end of a text in UTF-8 that stops in the middle of a character."""

_DECODER = json.JSONDecoder(object_pairs_hook=mapping_of_pairs)


class LineSplitter:
    """Cuts a stream of bytes into lines; the stream may come in any pieces."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the lines that they complete, without LF or CRLF."""
        *ended, rest = data.split(b"\n")
        lines: list[bytes] = []
        if ended:
            *lines, ended[0] = self._ended(ended[0])
            lines += [each.removesuffix(b"\r") for each in ended]
        is_too_long = self._bytes + len(rest) > LINE_BYTES_MAX
        if is_too_long or not self._parts or len(self._parts[-1]) >= PART_BYTES:
            rest = self._take_begun_character() + rest
            if is_too_long:
                lines += self.finish()
            self._parts.append(b"")
        self._parts[-1] += rest
        self._bytes += len(rest)
        return lines

    def finish(self) -> list[bytes]:
        """Return the last line, if it has no newline."""
        return self._ended(b"") if self._bytes else []

    def _take_begun_character(self) -> bytes:
        """Take away what the next bytes make a character of. No part but the last has any."""
        last = self._parts[-1] if self._parts else b""
        begun = _BEGUN_CHARACTER.search(last, len(last) - 3)
        if begun is None:
            return b""
        self._parts[-1] = last[: begun.start()]
        self._bytes -= len(begun[0])
        return begun[0]

    def _ended(self, end: bytes) -> list[bytes]:
        """Return the line that ends so; in its parts if there is no memory for all of it."""
        parts, self._parts, self._bytes = [*self._parts, end], [], 0
        try:
            return [b"".join(parts)]
        except MemoryError:
            return [*filter(None, parts)]


def record_of_line(line: bytes, source: str, message_key: str = "message") -> dict[str, Any]:
    """Return the record that a line stands for.

    Args:
        line: Without its line end.
        source: Where it was read, such as `stdin`; for lines that are not JSON objects.
        message_key: The field for the text of such lines.
    """
    record = _json_object(line) if line.lstrip()[:1] == b"{" else None
    if record is not None:
        return record
    return {message_key: line.decode("utf-8", "backslashreplace"), "source": source}


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = _DECODER.decode(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):  # no JSON, no UTF-8, too deep: then it is a message
        return None
    return value if isinstance(value, dict) else None
