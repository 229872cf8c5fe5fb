"""Sets of numbers as sorted ranges."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A set of whole numbers, kept as sorted ranges that neither overlap nor touch.

    Its size is the number of holes, so a stream of a billion records without a hole is one pair.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in pairs:
            self.add_range(first, last)

    def add(self, number: int) -> bool:
        """Put `number` into the set; False if it was there already."""
        lasts = self._lasts
        if lasts and lasts[-1] == number - 1:  # in order: nearly always
            lasts[-1] = number
            return True
        if number in self:
            return False
        self.add_range(number, number)
        return True

    def add_range(self, first: int, last: int) -> None:
        """Put the numbers from `first` to `last`, both included, into the set."""
        low = bisect_left(self._lasts, first - 1)  # [low:high] overlap or touch the new range
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def take(self, first: int, last: int) -> list[tuple[int, int]]:
        """Remove the numbers from `first` to `last`, and return the ranges that were removed."""
        at = slice(bisect_left(self._lasts, first), bisect_right(self._firsts, last))
        overlapping = list(zip(self._firsts[at], self._lasts[at], strict=True))
        if overlapping:
            ends = ((overlapping[0][0], first - 1), (last + 1, overlapping[-1][1]))
            kept = [(low, high) for low, high in ends if low <= high]
            self._firsts[at] = [low for low, _ in kept]
            self._lasts[at] = [high for _, high in kept]
        return [(max(first, low), min(last, high)) for low, high in overlapping]

    def overlapping(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Return, in order, the ranges that share a number with `first` to `last`."""
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        return zip(self._firsts[low:high], self._lasts[low:high], strict=True)

    @property
    def count(self) -> int:
        """How many numbers are in the set."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    @property
    def highest(self) -> int:
        """The greatest number in the set, 0 if it is empty."""
        return self._lasts[-1] if self._lasts else 0

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._lasts, number)
        return at < len(self._lasts) and self._firsts[at] <= number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        return len(self._firsts)

    def __or__(self, other: Ranges) -> Ranges:
        both = Ranges(self)
        for first, last in other:
            both.add_range(first, last)
        return both

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

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"
