"""Ranges of numbers, and gaps: ranges with a reason. PURE."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

Ranges = list[tuple[int, int]]
"""Numbers of records as inclusive (first, last) pairs, ascending."""


class Gap(NamedTuple):
    """Numbers that will never arrive, and why.

    Attributes:
        first, last: The range, both ends included.
        reason: `overflow`, `spilled` or another word of the counters.
    """

    first: int
    last: int
    reason: str


def merge_ranges(ranges: Ranges) -> Ranges:
    """Return `ranges` in ascending order with neighbours and overlaps made one."""
    merged: Ranges = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def subtract_ranges(ranges: Ranges, holes: Ranges) -> Ranges:
    """Return the numbers of `ranges` that are not in `holes`; both ascending, not overlapping."""
    return [piece for each in ranges for piece in _without(each, holes)]


def _without(whole: tuple[int, int], holes: Ranges) -> Iterator[tuple[int, int]]:
    first, last = whole
    for hole_first, hole_last in holes:
        if hole_last < first or hole_first > last:
            continue
        if first < hole_first:
            yield first, hole_first - 1
        first = hole_last + 1
    if first <= last:
        yield first, last


def merge_gaps(gaps: list[Gap], more: list[Gap]) -> list[Gap]:
    """Return both lists as one, ascending, with neighbours of one reason made one."""
    if len(more) == 1 and (not gaps or gaps[-1].last < more[0].first):
        merged = gaps.copy()  # the common case by far: what is lost next has a higher number
        _extend(merged, more[0])
        return merged
    merged = []
    for gap in sorted([*gaps, *more]):
        _extend(merged, gap)
    return merged


def _extend(gaps: list[Gap], gap: Gap) -> None:
    """Append `gap`, or make the last one longer where it continues it."""
    if gaps and gaps[-1].last + 1 == gap.first and gaps[-1].reason == gap.reason:
        gaps[-1] = Gap(gaps[-1].first, gap.last, gap.reason)
    else:
        gaps.append(gap)


def renamed_gaps(gaps: list[Gap], number: int, reason: str) -> list[Gap]:
    """Return the gaps with another reason for `number`: it was spilled after all."""
    index = bisect_left(gaps, number, key=lambda gap: gap.last)
    if index == len(gaps) or gaps[index].first > number:
        return gaps
    renamed = gaps[:index]
    whole = gaps[index]
    pieces = (
        Gap(whole.first, number - 1, whole.reason),
        Gap(number, number, reason),
        Gap(number + 1, whole.last, whole.reason),
    )
    for piece in pieces:
        if piece.first <= piece.last:
            _extend(renamed, piece)
    for gap in gaps[index + 1 : index + 2]:
        _extend(renamed, gap)
    return renamed + gaps[index + 2 :]
