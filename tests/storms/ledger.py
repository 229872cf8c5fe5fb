"""What every logging call of a storm returned, written down by the program that made it.

A call is known by a code: its source (a thread, a depth of signal handlers) and its number there.
A call whose outcome was not written down was ended by an exception, or may have been.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple


class Outcome(IntEnum):
    """What a call returned."""

    UNKNOWN = 0
    """An exception ended it: its record arrives once or not at all."""

    ACCEPTED = 1
    """Its record arrives exactly once."""

    REFUSED = 2
    """Its record does not arrive."""

    LOGGED = 3
    """A call of `logging`: its record arrives once, or stands on stderr as refused."""


class Source:
    """The calls of one thread, or of its signal handlers.

    Args:
        number: Of the source; no other process of the run has it.
        calls_max: How many calls can be noted.
        is_ordered: Whether each call ends before the next one begins.

    Attributes:
        outcomes: One byte for each call.
    """

    def __init__(self, number: int, calls_max: int, *, is_ordered: bool) -> None:
        self.number = number
        self.is_ordered = is_ordered
        self.outcomes = bytearray(calls_max)
        self._numbers: Iterator[int] = itertools.count()

    def next_call(self) -> int | None:
        """Return the number of the call that begins; None where no more can be noted."""
        number = next(self._numbers)
        return number if number < len(self.outcomes) else None

    def code(self, call: int) -> int:
        """Return what the record of a call carries."""
        return self.number << 32 | call

    def noted(self) -> bytes:
        """Return the outcomes of the calls that began; none may begin afterwards."""
        return bytes(self.outcomes[: next(self._numbers)])

    def make(self, call: Callable[[int], Outcome]) -> bool:
        """Make a call with its code, and note what it returned; False where there is no room."""
        number = self.next_call()
        if number is not None:
            self.outcomes[number] = call(self.number << 32 | number)
        return number is not None


class Ledger:
    """The sources of one process.

    Args:
        first_source: The number of the first one.
    """

    def __init__(self, first_source: int) -> None:
        self._numbers: Iterator[int] = itertools.count(first_source)
        self._sources: list[Source] = []

    def source(self, calls_max: int, *, is_ordered: bool = True) -> Source:
        source = Source(next(self._numbers), calls_max, is_ordered=is_ordered)
        self._sources.append(source)
        return source

    def write(self, path: Path) -> None:
        outcomes = [each.noted() for each in self._sources]
        sources = zip(self._sources, outcomes, strict=True)
        head = [[each.number, each.is_ordered, len(noted)] for each, noted in sources]
        path.write_bytes(json.dumps(head).encode() + b"\n" + b"".join(outcomes))


class Noted(NamedTuple):
    """A source as a judge reads it."""

    number: int
    is_ordered: bool
    outcomes: bytes


def read_ledger(path: Path) -> Iterator[Noted]:
    """Yield the sources that a process wrote down."""
    head, _, body = path.read_bytes().partition(b"\n")
    at = 0
    for number, is_ordered, size in json.loads(head):
        yield Noted(number, is_ordered, body[at : at + size])
        at += size
