"""Ranges of numbers, and gaps: ranges with a reason. PURE."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from logship._protocol.entries import GAP_KEY
from logship._reasons import MIXED

Ranges = list[tuple[int, int]]
"""Numbers of records as inclusive (first, last) pairs, ascending."""


GAPS_MAX = 128
"""Where there are more gaps, the oldest neighbours become one. In a long outage the reasons may
take turns for days, and what tells of gaps must not fill the buffer."""


class Gap(NamedTuple):
    """Numbers that will never arrive, and why.

    Attributes:
        first, last: The range, both ends included.
        reason: `overflow`, `spilled` or another word of the counters.
    """

    first: int
    last: int
    reason: str


def gap_in(record: Mapping[Any, Any]) -> Gap | None:
    """Return what a gap record declares; None of any other one, perhaps of a dead process."""
    match record.get(GAP_KEY):
        case [int(first), int(last), str(reason)]:
            return Gap(first, last, reason)
    return None


def gap_record(gap: Gap) -> dict[str, object]:
    """Return the record that declares a gap."""
    return {"message": "logship: records will not arrive", GAP_KEY: list(gap)}


def merge_ranges(ranges: Ranges) -> Ranges:
    """Return `ranges` in ascending order with neighbours and overlaps made one."""
    merged: Ranges = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def extended(ranges: Ranges, first: int, last: int) -> Ranges:
    """Return ranges with one behind them, which makes the last one longer where they touch."""
    if ranges and ranges[-1][1] + 1 == first:
        return [*ranges[:-1], (ranges[-1][0], last)]
    return [*ranges, (first, last)]


def contains(ranges: Ranges, first: int, last: int) -> bool:
    """Tell whether all numbers from `first` to `last` are in merged ranges."""
    index = bisect_left(ranges, first, key=lambda each: each[1])
    return index < len(ranges) and ranges[index][0] <= first and last <= ranges[index][1]


def holes_between(numbers: list[int]) -> Ranges:
    """Return what is missing between numbers, which ascend."""
    return [(before + 1, after - 1) for before, after in pairwise(numbers) if after > before + 1]


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
    """Return both lists as one, ascending, with neighbours of one reason made one.

    Where gaps overlap, the one that begins first gives the reason. If there are more than
    `GAPS_MAX`, the oldest that follow each other are made one, and its reason is `mixed`.
    """
    if len(more) == 1 and (not gaps or gaps[-1].last < more[0].first):
        merged = gaps.copy()  # the common case by far: what is lost next has a higher number
        _extend(merged, more[0])
    else:
        merged = []
        for gap in sorted([*gaps, *more]):
            _extend(merged, gap)
    return _bounded(merged, len(gaps))


def _bounded(gaps: list[Gap], before: int) -> list[Gap]:
    """Return gaps that are not many more than `GAPS_MAX`, where they can be made fewer."""
    return _summarized(gaps) if has_outgrown(GAPS_MAX, before, len(gaps)) else gaps


def has_outgrown(most: int, before: int, now: int) -> bool:
    """Tell whether a list of gaps needs a look at all of it.

    That is so where it has grown above `most`, and each time it has grown by half of that again.
    It may not help: gaps with records between them stay. So not each call may look. But each call
    that makes the list longer has to ask.

    Args:
        most: How many gaps there should be.
        before: How many there were.
        now: How many there are.
    """
    step = most // 2 or 1
    return now > most and (now - 1) // step > (before - 1) // step


def _extend(gaps: list[Gap], gap: Gap) -> None:
    """Append what of `gap`, which may be empty, is behind the last one, or make that one longer."""
    first, last, reason = gap
    if gaps:
        before = gaps[-1]
        if first <= before.last + 1 and reason == before.reason:
            gaps[-1] = Gap(before.first, max(before.last, last), reason)
            return
        first = max(first, before.last + 1)
    if first <= last:
        gaps.append(Gap(first, last, reason))


def _summarized(gaps: list[Gap]) -> list[Gap]:
    """Make the oldest neighbours one, until half of `GAPS_MAX` are left or none are neighbours."""
    excess = len(gaps) - GAPS_MAX // 2
    summary: list[Gap] = []
    for gap in gaps:
        if excess > 0 and summary and summary[-1].last + 1 == gap.first:
            summary[-1] = Gap(summary[-1].first, gap.last, MIXED)
            excess -= 1
        else:
            summary.append(gap)
    return summary


def renamed_gaps(gaps: list[Gap], number: int, reason: str) -> list[Gap]:
    """Return the gaps with another reason for `number`: it was spilled after all.

    The bound is that of `merge_gaps`.
    """
    index = bisect_left(gaps, number, key=lambda gap: gap.last)
    if index == len(gaps) or gaps[index].first > number:
        return gaps
    renamed, whole = gaps[:index], gaps[index]
    before = Gap(whole.first, number - 1, whole.reason)
    behind = Gap(number + 1, whole.last, whole.reason)
    for piece in (before, Gap(number, number, reason), behind, *gaps[index + 1 : index + 2]):
        _extend(renamed, piece)
    return _bounded(renamed + gaps[index + 2 :], len(gaps))
