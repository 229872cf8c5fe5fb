"""Gap and range arithmetic against sets of numbers."""

from __future__ import annotations

import itertools
import os

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logship._buffer.ranges import (
    GAPS_MAX,
    Gap,
    contains,
    extended,
    has_outgrown,
    holes_between,
    merge_gaps,
    merge_ranges,
    renamed_gaps,
    subtract_ranges,
)
from logship._buffer.stream import Stream, stamp_bytes
from tests.unit.accounts import QUICK, numbers_in

NUMBERS = st.dictionaries(st.integers(1, 40), st.sampled_from(["overflow", "spilled"]), max_size=25)


def as_gaps(reasons: dict[int, str]) -> list[Gap]:
    return merge_gaps([], [Gap(number, number, reason) for number, reason in reasons.items()])


def as_reasons(gaps: list[Gap]) -> dict[int, str]:
    return {n: gap.reason for gap in gaps for n in range(gap.first, gap.last + 1)}


def assert_in_one_form(gaps: list[Gap]) -> None:
    """Ascending, not overlapping, and neighbours of one reason are one."""
    for left, right in itertools.pairwise(gaps):
        assert left.last < right.first
        assert left.reason != right.reason or left.last + 1 < right.first


@QUICK
@given(NUMBERS, NUMBERS)
def test_merging_gaps_keeps_every_number_and_reason(
    some: dict[int, str], more: dict[int, str]
) -> None:
    more = {number: reason for number, reason in more.items() if number not in some}
    merged = merge_gaps(as_gaps(some), as_gaps(more))
    assert as_reasons(merged) == some | more
    assert_in_one_form(merged)


GAPS = st.lists(
    st.builds(
        lambda first, more, reason: Gap(first, first + more, reason),
        st.integers(1, 40),
        st.integers(0, 9),
        st.sampled_from(["overflow", "spilled"]),
    ),
    max_size=8,
)


@QUICK
@given(GAPS, GAPS)
def test_gaps_that_overlap_become_gaps_of_the_same_numbers(
    some: list[Gap], more: list[Gap]
) -> None:
    merged = merge_gaps(merge_gaps([], some), more)
    assert as_reasons(merged).keys() == as_reasons([*some, *more]).keys()
    assert_in_one_form(merged)
    assert {gap.reason for gap in merged} <= {gap.reason for gap in [*some, *more]}


def test_of_too_many_gaps_the_oldest_neighbours_become_one() -> None:
    gaps: list[Gap] = []
    for number in range(1, 1001):
        gaps = merge_gaps(gaps, [Gap(number, number, ("overflow", "spilled")[number % 2])])
        assert len(gaps) <= GAPS_MAX
    assert as_reasons(gaps).keys() == {*range(1, 1001)}
    assert_in_one_form(gaps)
    assert gaps[0] == Gap(1, gaps[1].first - 1, "mixed")
    assert {gap.reason for gap in gaps[1:]} == {"overflow", "spilled"}


def test_half_of_the_bound_is_left_of_too_many_gaps() -> None:
    singles = [Gap(n, n, ("overflow", "spilled")[n % 2]) for n in range(1, GAPS_MAX + 2)]
    assert merge_gaps(singles[:-2], singles[-2:-1]) == singles[:-1], "there is room for these"
    merged = merge_gaps(singles[:-1], singles[-1:])
    left = GAPS_MAX // 2
    assert merged == [Gap(1, GAPS_MAX + 2 - left, "mixed"), *singles[1 - left :]]


@pytest.mark.parametrize(
    ("bound", "before", "now", "expected"),
    [
        *[(10, 9, 10, False), (10, 10, 11, True), (10, 11, 12, False), (10, 11, 15, False)],
        *[(10, 15, 16, True), (10, 9, 16, True), (10, 16, 16, False), (10, 16, 12, False)],
        *[(10, 100, 101, True), (10, 101, 105, False), (10, 5, 10, False)],
        *[(5, now - 1, now, now in (7, 9, 11)) for now in range(5, 12)],  # half is rounded down
        *[(1, 1, 2, True), (1, 2, 3, True)],
    ],
)
def test_a_list_is_looked_at_when_it_has_grown_by_half_of_its_bound(
    bound: int, before: int, now: int, expected: bool
) -> None:
    assert has_outgrown(bound, before, now) is expected


@QUICK
@given(st.sets(st.integers(1, 40)), st.integers(1, 40), st.integers(0, 5))
def test_ranges_contain_what_is_wholly_in_them(some: set[int], first: int, more: int) -> None:
    ranges = merge_ranges([(n, n) for n in some])
    wanted = {*range(first, first + more + 1)}
    assert contains(ranges, first, first + more) is (wanted <= some)


@QUICK
@given(st.sets(st.integers(1, 40)), st.integers(0, 3), st.integers(0, 5))
def test_ranges_are_extended_behind(some: set[int], apart: int, more: int) -> None:
    ranges = merge_ranges([(n, n) for n in some])
    first = max(some, default=0) + 1 + apart
    expected = merge_ranges([*ranges, (first, first + more)])
    assert extended(ranges, first, first + more) == expected


def test_gaps_between_which_records_arrived_stay_apart() -> None:
    singles = [Gap(number, number, "overflow") for number in range(1, 4 * GAPS_MAX, 2)]
    assert merge_gaps([], singles) == singles


@QUICK
@given(NUMBERS, st.integers(1, 40))
def test_renaming_changes_one_number(reasons: dict[int, str], number: int) -> None:
    renamed = renamed_gaps(as_gaps(reasons), number, "spilled")
    expected = {**reasons, number: "spilled"} if number in reasons else reasons
    assert as_reasons(renamed) == expected
    assert_in_one_form(renamed)


@QUICK
@given(st.sets(st.integers(1, 40), min_size=1))
def test_holes_are_what_is_missing_between_numbers(some: set[int]) -> None:
    missing = {*range(min(some), max(some))} - some
    assert holes_between(sorted(some)) == merge_ranges([(n, n) for n in missing])


@QUICK
@given(st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)))
def test_ranges_are_sets_of_numbers(some: set[int], holes: set[int]) -> None:
    ranges = merge_ranges([(n, n) for n in some])
    assert numbers_in(ranges) == sorted(some)
    left = subtract_ranges(ranges, merge_ranges([(n, n) for n in holes]))
    assert left == merge_ranges([(n, n) for n in some - holes])


@QUICK
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5))))
def test_merged_ranges_are_apart(ranges: list[tuple[int, int]]) -> None:
    merged = merge_ranges([(first, first + more) for first, more in ranges])
    assert numbers_in(merged) == sorted({f + at for f, more in ranges for at in range(more + 1)})
    assert all(left[1] + 1 < right[0] for left, right in itertools.pairwise(merged))


@QUICK
@given(st.integers(1, 9_000_000_000), st.integers(1, 3000))
@example(1, 1)
@example(1, 2)
@example(999, 2)
def test_entries_are_stamped_with_the_numbers_that_follow(number: int, count: int) -> None:
    stream = Stream("t", "k", bytes)
    stream.next_number = number
    stamps = [f"{stream.id}:{each:010d}" for each in range(number, number + count)]
    expected = [b"body" + msgpack.packb("k") + msgpack.packb(each) for each in stamps]
    assert stream.stamped([b"body"] * count) == b"".join(expected)


@pytest.mark.parametrize(("key", "next_numbers"), [("k", [3, 3]), (None, [2, 2])])
def test_an_end_is_left_once_where_there_are_stamps(
    key: str | None, next_numbers: list[int]
) -> None:
    stream = Stream("t", key, bytes)
    stream.next_number, stream.controls = 2, 1  # a gap record
    seen = []
    for _ in range(2):
        stream.leave_end()
        seen.append(stream.next_number)
    assert seen == next_numbers
    assert stream.accepted == 0


def test_no_stamp_no_bytes() -> None:
    assert Stream("t", None, bytes).stamped([b"one", b"two"]) == b"onetwo"
    assert stamp_bytes(None) == 0


def test_a_stream_has_its_tag_unless_that_is_awaited() -> None:
    stream = Stream("web", None, os.urandom)
    assert (stream.tag, stream.key, stream.is_provisional) == ("web", "web", False)
    awaited = Stream("app", None, os.urandom, is_awaited=True, is_provisional=True)
    assert (awaited.tag, awaited.key, awaited.is_provisional) == ("app", None, True)
