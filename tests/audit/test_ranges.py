"""Sets of numbers whose size is their holes."""

from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logship._audit.ranges import Ranges

NUMBERS = st.integers(min_value=1, max_value=60)
PAIR = st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair)))
PAIRS = st.lists(PAIR, max_size=12)


def numbers_in(ranges: Ranges) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


def assert_normal(ranges: Ranges) -> None:
    """Show that ranges are sorted and that no two touch: else their number has no bound."""
    pairs = list(ranges)
    assert all(first <= last for first, last in pairs)
    assert all(left[1] + 1 < right[0] for left, right in itertools.pairwise(pairs))


def test_memory_grows_with_holes_and_not_with_numbers() -> None:
    """Eight chunks of 1,000 in flight, acked and written in any order, over and over."""
    numbers = Ranges()
    most = 0
    for window in range(0, 200_000, 8_000):
        for chunk in (3, 1, 7, 0, 5, 2, 6, 4):
            for number in range(window + chunk * 1_000, window + (chunk + 1) * 1_000):
                numbers.add(number)
            most = max(most, len(numbers))
    assert most <= 5
    assert list(numbers) == [(0, 199_999)]
    assert sys.getsizeof(numbers._firsts) < 500


@given(PAIRS, PAIRS)
def test_it_calculates_as_sets_do(
    left_pairs: list[tuple[int, int]], right_pairs: list[tuple[int, int]]
) -> None:
    left, right = Ranges(left_pairs), Ranges(right_pairs)
    for result, expected in (
        (left, {number for first, last in left_pairs for number in range(first, last + 1)}),
        (left | right, numbers_in(left) | numbers_in(right)),
        (left & right, numbers_in(left) & numbers_in(right)),
        (left - right, numbers_in(left) - numbers_in(right)),
    ):
        assert_normal(result)
        assert numbers_in(result) == expected
        assert result.count == len(expected)
        assert result.highest == max(expected, default=0)
        assert bool(result) == bool(expected)


@given(st.lists(NUMBERS | PAIR, max_size=80), st.integers(0, 4))
def test_late_numbers_and_ranges_are_as_good_as_others(
    parts: list[int | tuple[int, int]], late_min: int
) -> None:
    seen: set[int] = set()
    ranges = Ranges()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logship._audit.ranges.LATE_MIN", late_min)
        for part in parts:
            if isinstance(part, int):
                assert ranges.add(part) == (part not in seen)
                seen.add(part)
            else:
                ranges.add_range(*part)
                seen |= set(range(part[0], part[1] + 1))
            assert ranges.highest == max(seen)
    assert_normal(ranges)
    assert numbers_in(ranges) == seen
    assert ranges.count == len(seen)


def test_an_operation_leaves_its_operands_alone() -> None:
    left, right = Ranges([(1, 5)]), Ranges([(4, 9)])
    assert list(left | right) == [(1, 9)]
    assert (list(left), list(right)) == ([(1, 5)], [(4, 9)])
    assert list(left - right) == [(1, 3)]
