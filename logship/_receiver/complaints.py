"""Lines for the operator about clients, of which there may be many: a few a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

COMPLAINTS_MAX = 10
"""Lines about connections in `COMPLAINTS_SECONDS`; the others are counted."""

COMPLAINTS_SECONDS = 60.0

Say = Callable[[str], None]
"""Takes one line for the operator."""


class Complaints:
    """Writes a limited number of lines a minute, and says how many it left out.

    Args:
        say: takes a line.
        lines_max: The most lines a minute.
    """

    def __init__(self, say: Say, lines_max: int = COMPLAINTS_MAX) -> None:
        self._say = say
        self._lines_max = lines_max
        self._said = 0
        self._left_out = 0
        self._period: asyncio.TimerHandle | None = None

    def say(self, line: str) -> None:
        """Say the line, or count it."""
        if self._period is None:
            loop = asyncio.get_running_loop()
            self._period = loop.call_later(COMPLAINTS_SECONDS, self._end_period)
        if self._said < self._lines_max:
            self._said += 1
            self._say(line)
        else:
            self._left_out += 1

    def close(self) -> None:
        """Say what was left out so far."""
        if self._period is not None:
            self._period.cancel()
            self._end_period()

    def _end_period(self) -> None:
        if self._left_out:
            self._say(f"{self._left_out} more lines like these were left out")
        self._said = self._left_out = 0
        self._period = None
