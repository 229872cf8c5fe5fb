"""Sets of numbers as sorted ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

LATE_MIN: Final = 1_000
"""How many late numbers may wait in any case."""


class Ranges:
    """A set of whole numbers, kept as sorted ranges that neither overlap nor touch.

    Its size is the number of holes, so a stream of a billion records without a hole is one pair.

    A number that is not above all others comes late. Late numbers wait until there are as many of
    them as ranges, because to put each into the middle of a list would cost their number squared.
    """

    __slots__ = ("_firsts", "_has_late_ranges", "_lasts", "_late")

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._late: dict[int, int] | None = None  # last numbers by first ones; seldom needed
        self._has_late_ranges = False
        for first, last in pairs:
            self.add_range(first, last)

    def add(self, number: int) -> bool:
        """Put `number` into the set; False if it was there already."""
        lasts = self._lasts
        if lasts and lasts[-1] == number - 1:  # in order: nearly always
            lasts[-1] = number
            return True
        if not lasts or lasts[-1] < number:
            self._firsts.append(number)
            lasts.append(number)
            return True
        if self._has_late_ranges:
            self._settle()
        if (self._late and number in self._late) or self._has(number):
            return False
        self._add_late(number, number)
        return True

    def add_range(self, first: int, last: int) -> None:
        """Put the numbers from `first` to `last`, both included, into the set."""
        if self._lasts and last <= self._lasts[-1]:
            if first < self._firsts[-1]:
                self._has_late_ranges = True
                self._add_late(first, last)
            return
        low = bisect_left(self._lasts, first - 1)  # [low:] overlap or touch the new range
        self._firsts[low:] = [min([first, *self._firsts[low : low + 1]])]
        self._lasts[low:] = [last]

    def _add_late(self, first: int, last: int) -> None:
        late = self._late = self._late or {}
        late[first] = max(last, late.get(first, 0))
        if len(late) > max(LATE_MIN, len(self._lasts)):
            self._settle()

    def _settle(self) -> None:
        """Put late numbers where they belong."""
        if self._late:
            pairs = zip(self._firsts, self._lasts, strict=True)
            settled = Ranges(sorted(chain(pairs, self._late.items())))
            self._firsts, self._lasts = settled._firsts, settled._lasts
            self._late, self._has_late_ranges = None, False

    def overlapping(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Return, in order, the ranges that share a number with `first` to `last`."""
        self._settle()
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        return zip(self._firsts[low:high], self._lasts[low:high], strict=True)

    @property
    def count(self) -> int:
        """How many numbers are in the set."""
        self._settle()
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    @property
    def highest(self) -> int:
        """The greatest number in the set, 0 if it is empty."""
        return self._lasts[-1] if self._lasts else 0

    def _has(self, number: int) -> bool:
        at = bisect_left(self._lasts, number)
        return at < len(self._lasts) and self._firsts[at] <= number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        self._settle()
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        self._settle()
        return len(self._firsts)

    @classmethod
    def up_to(cls, last: int) -> Ranges:
        """Return the numbers from 1 to `last`; none for 0."""
        return cls([(1, last)] if last else [])

    @classmethod
    def union(cls, sets: Iterable[Ranges]) -> Ranges:
        """Return the numbers that are in any of the sets."""
        return cls(sorted(chain.from_iterable(sets)))

    def __or__(self, other: Ranges) -> Ranges:
        return Ranges.union((self, other))

    def __and__(self, other: Ranges) -> Ranges:
        return Ranges(
            (max(first, low), min(last, high))
            for first, last in self
            for low, high in other.overlapping(first, last)
        )

    def __sub__(self, other: Ranges) -> Ranges:
        return Ranges(pair for first, last in self for pair in other._left_of(first, last))

    def _left_of(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """What is left of `first` to `last` when this set is taken away."""
        for low, high in self.overlapping(first, last):
            if first < low:
                yield first, low - 1
            first = high + 1
        if first <= last:
            yield first, last
