"""The numbers of refused records: those that have no number of a stream, but a line on stderr.

A call such as `emit` returns False if it refuses a record. A logging call returns nothing, so
logship writes its record to stderr. The line has an id of this process life and a number of its
own, from 1 without a hole. So a reader of stderr sees how many of these lines there were, and
which of them are missing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from logship._buffer.stream import new_stream_id


class Refusals:
    """Gives refused records their numbers. Any thread may call it, at any point.

    Args:
        random_bytes: As `os.urandom`, for the id.

    Attributes:
        id: Twelve characters, random.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self.id: str = new_stream_id(random_bytes)
        self._numbers = itertools.count(1)

    def next(self) -> str:
        """Return the id and the next number, in the form of a stamp."""
        return f"{self.id}:{next(self._numbers):010d}"
