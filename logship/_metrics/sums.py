"""How the numbers of several processes add up. PURE.

Counters of dead processes stay, and their gauges vanish.
"""

import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from logship._metrics.client_measures import CLIENT_MEASURES
from logship._metrics.measures import Kind

Numbers = list[float]
"""One value for each of `SLOTS`, in their order."""


class Total(NamedTuple):
    """What all pages say together.

    Attributes:
        numbers: Of the living processes and of those that have ended.
        refused: Files that look like pages and are none that this version may read.
    """

    numbers: Numbers
    refused: int


SLOTS: tuple[tuple[str, str], ...] = tuple(
    (measure.name, value) for measure in CLIENT_MEASURES for value in measure.values
)
"""Name and label's value of each number, in the order in which a page holds them."""

LAYOUT = zlib.crc32(repr(SLOTS).encode())
"""Identifies the order of the numbers in a page."""

_INDEX = {slot: index for index, slot in enumerate(SLOTS)}
_KINDS = tuple(measure.kind for measure in CLIENT_MEASURES for _ in measure.values)


def slot(name: str, value: str = "") -> int:
    """Return where in `Numbers` a measure's value is.

    Raises:
        KeyError: There is no such measure, or its label has no such value.
    """
    return _INDEX[name, value]


def zeros() -> Numbers:
    """Return the numbers of a process that has done nothing."""
    return [0.0] * len(SLOTS)


def summed(living: Iterable[Numbers], dead: Numbers) -> Numbers:
    """Return the numbers of all processes; `dead` is the sum of those that have ended."""
    columns = list(zip(*living, strict=True)) or [()] * len(SLOTS)
    return [
        _SUMS[kind](column, value)
        for kind, column, value in zip(_KINDS, columns, dead, strict=True)
    ]


_SUMS: dict[Kind, Callable[[tuple[float, ...], float], float]] = {
    Kind.COUNTER: lambda living, dead: sum(living) + dead,
    Kind.HISTOGRAM: lambda living, dead: sum(living) + dead,
    Kind.GAUGE: lambda living, dead: sum(living),
    Kind.LARGEST: lambda living, dead: max(living, default=0.0),
    Kind.LONGEST: lambda living, dead: max((*living, dead)),
    Kind.SHORTEST: lambda living, dead: min((each for each in living if each), default=0.0),
}


def ended(numbers: Numbers) -> Numbers:
    """Return the last numbers of a process that was killed: waiting records are lost or spooled."""
    last = numbers.copy()
    spooled = last[_SPOOLED]
    last[_LEFT_SPOOLED] += spooled
    last[_UNACKED] += max(0.0, last[_WAITING] - spooled)
    return last


def plus_ended(dead: Numbers, numbers: Numbers) -> Numbers:
    """Return the sum of dead processes with one more; its gauges vanish."""
    return summed([summed([], dead), summed([], numbers)], zeros())


_SPOOLED, _WAITING = slot("records_spooled"), slot("records_waiting")
_LEFT_SPOOLED, _UNACKED = slot("records_left_spooled_total"), slot("records_unacked_total")
