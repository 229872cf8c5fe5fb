"""The audit against a reference that keeps every number in plain sets and knows no ranges."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from logship._audit.audit import Audit
from logship._audit.ranges import Ranges
from logship._audit.verdict import Outcome
from tests.audit import lines
from tests.audit.lines import ONE, TWO

LONGEST = 12
NUMBERS = st.integers(min_value=1, max_value=LONGEST)
SPANS = st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair)))
STREAMS = st.sampled_from([ONE, TWO])
KINDS = st.sampled_from(
    ["record", "record", "record", "spilled", "spilled in a string", "gap", "end"]
)
EVENTS = st.lists(st.tuples(STREAMS, KINDS, NUMBERS, SPANS), max_size=40)
SOME_SPANS = st.lists(SPANS, max_size=2)
REPORTS = st.lists(
    st.tuples(STREAMS, NUMBERS, st.booleans(), SOME_SPANS, SOME_SPANS),
    max_size=2,
    unique_by=lambda report: report[0],
)


@dataclass
class Reference:
    """One stream, number by number."""

    delivered: Counter[int] = field(default_factory=Counter)
    copies: set[int] = field(default_factory=set)
    control: set[int] = field(default_factory=set)
    declared: set[int] = field(default_factory=set)
    ends: set[int] = field(default_factory=set)
    gaps: set[int] = field(default_factory=set)
    reported_last: int = 0
    reported_end: bool = False

    def last(self) -> tuple[int, bool]:
        """Return the last number, and whether it is proved to be the last."""
        seen = max({0} | set(self.delivered) | self.copies | self.gaps)
        if self.ends:
            return max(*self.ends, self.reported_last), True
        if self.reported_last and (self.reported_end or seen <= self.reported_last):
            return self.reported_last, True
        return seen, False


def span(pair: tuple[int, int]) -> set[int]:
    return set(range(pair[0], pair[1] + 1))


def numbers_in(ranges: Ranges) -> set[int]:
    return set().union(*map(span, ranges))


@settings(max_examples=300)
@given(EVENTS, REPORTS)
def test_every_number_is_sorted_as_plain_sets_sort_it(
    events: list[tuple[str, str, int, tuple[int, int]]],
    reports: list[tuple[str, int, bool, list[tuple[int, int]], list[tuple[int, int]]]],
) -> None:
    expected: dict[str, Reference] = {}
    audit = Audit()
    for number_of_event, (stream, kind, number, gap) in enumerate(events):
        known = expected.setdefault(stream, Reference())
        audit.feed([_line(number_of_event, stream, kind, number, gap, known)])
    for stream, last, ended, spilled, unacked in reports:
        known = expected.setdefault(stream, Reference())
        known.reported_last, known.reported_end = last, ended
        known.declared |= set().union(*map(span, spilled + unacked), {last} if ended else ())
        audit.feed([lines.report(lines.stream_report(
            last, 1, stream=stream, end=last if ended else None, spilled=spilled, unacked=unacked
        ))])  # fmt: skip
    verdict = audit.verdict()
    assert [stream.stream for stream in verdict.streams] == sorted(expected)
    for judged in verdict.streams:
        known = expected[judged.stream]
        last, proved = known.last()
        missing = set(range(1, last + 1)) - set(known.delivered)
        assert (judged.last, judged.proof is not None) == (last, proved)
        assert numbers_in(judged.delivered) == set(known.delivered)
        assert judged.duplicates == known.delivered.total() - len(known.delivered)
        assert judged.records == len(set(known.delivered) - known.control)
        assert numbers_in(judged.spilled) == missing & known.copies
        declared = [each for numbers in judged.declared.values() for each in numbers_in(numbers)]
        assert sorted(declared) == sorted((missing - known.copies) & known.declared)
        assert numbers_in(judged.lost) == missing - known.copies - known.declared
        seen = (set(known.delivered) | known.copies) - known.control
        assert numbers_in(judged.beyond) == {number for number in seen if number > last}
        if judged.lost or judged.problems:
            assert judged.outcome is Outcome.LOST
        else:
            absent = missing - ({known.reported_last} if known.reported_end else set())
            if_proved = Outcome.DECLARED if absent else Outcome.COMPLETE
            assert judged.outcome is (if_proved if proved else Outcome.UNPROVEN)


def _line(
    at: int, stream: str, kind: str, number: int, gap: tuple[int, int], known: Reference
) -> bytes:
    """Make the event's line, in one format after the other, and tell the reference."""
    write = lines.FORMATS[at % len(lines.FORMATS)]
    record = lines.record(number, stream, text="{" * (at % 3))
    if kind.startswith("spilled"):
        known.copies.add(number)
        copy = lines.spilled(record)
        return copy if kind == "spilled" else write(lines.in_string(copy))
    known.delivered[number] += 1
    if kind == "gap":
        known.control.add(number)
        known.declared |= span(gap)
        known.gaps |= span(gap)
        return write(lines.gap(number, *gap, stream=stream))
    if kind == "end":
        known.control.add(number)
        known.ends.add(number)
        return write(lines.end(number, 1, stream))
    return write(record)
