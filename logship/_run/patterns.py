"""The regular expression of `--multiline-start`, searched for in bounded time.

The lines are foreign text. With a pattern such as `(a+)+$`, a search in a line of forty characters
may take years. Python's `re` runs signal handlers while it searches. So a timer's signal ends a
search that takes too long. `re` does not run handlers in each of its loops, but the time of those
grows only with the square of the searched bytes, and these are bounded too.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from types import FrameType

SEARCH_SECONDS_MAX = 1.0
"""The longest search in a line, in seconds of this process's CPU time."""

SEARCH_BYTES_MAX = 8 * 1024
"""How much of a line is searched, from its beginning."""

PAUSE_SECONDS = 60.0
"""How long the pattern is not used after a search that took too long."""


class BoundedPattern:
    """A regular expression; in the main thread. SIGVTALRM belongs to it from then on.

    It says if a search took too long.
    """

    def __init__(self, pattern: str, say: Callable[[str], object]) -> None:
        self._pattern = re.compile(pattern.encode())
        self._say = say
        self._is_searching = False
        self._paused_until_seconds = 0.0
        signal.signal(signal.SIGVTALRM, self._end_search)

    def search(self, line: bytes) -> object:
        """Return what is true if the beginning of the line matches, else None.

        After a search that took too long each line matches for a minute, that line too: then
        no lines are joined.
        """
        if time.monotonic() < self._paused_until_seconds:
            return True
        try:
            return self._search_in_time(line)
        except _TakesTooLong:
            self._is_searching = False
        self._paused_until_seconds = time.monotonic() + PAUSE_SECONDS
        self._say(
            f"the search for --multiline-start took more than {SEARCH_SECONDS_MAX:g} s in one "
            f"line; lines are not joined for {PAUSE_SECONDS:g} s"
        )
        return True

    def _search_in_time(self, line: bytes) -> object:
        signal.setitimer(signal.ITIMER_VIRTUAL, SEARCH_SECONDS_MAX)
        self._is_searching = True
        try:
            return self._pattern.search(line, 0, SEARCH_BYTES_MAX)
        finally:
            self._is_searching = False
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)

    def _end_search(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        if self._is_searching:
            raise _TakesTooLong


class _TakesTooLong(BaseException):
    """The timer rang during a search."""
