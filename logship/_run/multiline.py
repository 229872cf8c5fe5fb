"""Lines that belong together joined into one: stack traces, as a program prints them. PURE.

Without this, one exception would become thirty records. A regular expression says how a record
begins; the following lines belong to it until the next beginning. A record is bounded in lines,
bytes and time. So a program that never prints a beginning again neither fills memory nor delays its
last lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from logship._run.lines import Line

LINES_MAX = 500
"""More lines than any stack trace that a person would read."""

BYTES_MAX = 256 * 1024
"""A record that is larger than a chunk needs one of its own, and gains nothing. A single line may
be longer."""

LINGER_SECONDS = 1.0
"""If no further line comes for this time, the record is complete."""


class LineJoiner:
    """Joins the lines of one stream. `search` returns None for a line that begins no record."""

    def __init__(self, search: Callable[[bytes], object]) -> None:
        self._search = search
        self._held: list[Line] = []
        self._held_bytes = 0
        self._held_until_seconds = 0.0

    def feed(self, lines: list[Line], now_seconds: float) -> list[Line]:
        """Take lines; return the records that are complete now."""
        complete: list[Line] = []
        for time_ns, text in lines:
            if text.startswith(b"{") and text.rstrip().endswith(b"}"):  # like JSON: a whole record
                complete += [*self.finish(), (time_ns, text)]
                continue
            if not self._belongs(text):
                complete += self.finish()
            self._held.append((time_ns, text))
            self._held_bytes += len(text) + 1
        self._held_until_seconds = now_seconds + LINGER_SECONDS
        return complete

    def finish(self) -> list[Line]:
        """Return the record that is held, if there is one; it has the time of its first line."""
        held, self._held, self._held_bytes = self._held, [], 0
        return [(held[0][0], b"\n".join(text for _, text in held))] if held else []

    def flush_due(self, now_seconds: float) -> list[Line]:
        """Return the record that is held, if no line has come for too long."""
        return self.finish() if now_seconds >= self.due_seconds() else []

    def due_seconds(self) -> float:
        """Return when `flush_due` will return a record if no more lines come."""
        return self._held_until_seconds if self._held else math.inf

    def _belongs(self, line: bytes) -> bool:
        """Return whether the line continues the record that is held."""
        fits = len(self._held) < LINES_MAX and self._held_bytes + len(line) <= BYTES_MAX
        return fits and self._search(line) is None
