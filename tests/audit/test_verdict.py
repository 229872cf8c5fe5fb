"""What the evidence proves: delivered, spilled, declared, lost, duplicated, unproven, muddled."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from logship import _reasons
from logship._audit.audit import Audit
from logship._audit.text import verdict_as_text
from logship._audit.verdict import Outcome, StreamVerdict
from tests.audit.asking import judged
from tests.audit.lines import (
    LIFE,
    correction,
    end,
    gap,
    numbered,
    received,
    record,
    refused,
    report,
    spill_begins,
    spilled,
    stream_report,
)


def judge_one(*lines: bytes | Iterable[bytes]) -> StreamVerdict:
    verdict = judged(*lines)
    [stream] = verdict.streams
    assert verdict.outcome == stream.outcome
    return stream


def declared_of(stream: StreamVerdict) -> dict[tuple[str, str], list[tuple[int, int]]]:
    return {claim: list(numbers) for claim, numbers in stream.declared.items()}


# --- complete -------------------------------------------------------------------------------------


def test_a_stream_that_a_recoverer_ended_once_more_is_complete() -> None:
    """Its process sent the end record from memory, and died before the ack: no word is left."""
    ends = [received(end(3, 2)), received(end(4, 2, kind="recovered"))]
    stream = judge_one(numbered(1, 2), ends)
    assert (stream.outcome, stream.last) == (Outcome.COMPLETE, 4)
    assert (stream.proof, stream.problems) == ("recovered end record", ())
    stream = judge_one(numbered(1), ends)
    assert (stream.outcome, list(stream.lost)) == (Outcome.LOST, [(2, 2)])


@pytest.mark.parametrize("last", [0, 1])
def test_a_stream_that_accepted_nothing_needs_no_line(last: int) -> None:
    verdict = judged(report(stream_report(last, 0, end=last or None)))
    assert verdict.outcome is Outcome.COMPLETE
    assert not verdict.streams[0].lost


@pytest.mark.parametrize(
    "on_stderr",
    [
        spilled(end(3, 2)),
        report(stream_report(3, 2, end=3, unacked=[(3, 3)])),
        report(stream_report(3, 2, end=3, spilled=[(3, 3)])),
        report(stream_report(3, 2, end=3)),  # acked, and lost behind the sidecar
    ],
)
def test_a_stream_is_complete_if_only_its_end_record_did_not_arrive(on_stderr: bytes) -> None:
    stream = judge_one(numbered(1, 2), on_stderr)
    assert (stream.outcome, stream.last, stream.records) == (Outcome.COMPLETE, 3, 2)
    assert judge_one(numbered(1), spilled(record(2)), on_stderr).outcome is Outcome.DECLARED


# --- declared -------------------------------------------------------------------------------------


def test_all_that_a_report_names_is_declared_with_its_reason() -> None:
    stream = judge_one(
        numbered(1),
        report(
            stream_report(
                12,
                11,
                end=12,
                spilled=[(2, 3)],
                dropped=[(4, 5, "overflow"), (6, 6, "quarantined")],
                unacked=[(7, 8), (12, 12)],
                spooled=[(9, 11)],
            )
        ),
    )
    assert stream.outcome is Outcome.DECLARED
    assert declared_of(stream) == {
        ("spilled", "drain report"): [(2, 3)],
        ("dropped: overflow", "drain report"): [(4, 5)],
        ("dropped: quarantined", "drain report"): [(6, 6)],
        ("unacked", "drain report"): [(7, 8), (12, 12)],
        ("spooled", "drain report"): [(9, 11)],
    }
    assert not stream.lost


@pytest.mark.parametrize("reason", _reasons.ON_PURPOSE)
def test_what_settings_kept_back_is_counted_apart_and_is_no_loss(reason: str) -> None:
    verdict = judged(numbered(1, 2), received(gap(6, 3, 5, reason)), received(end(7, 5)))
    (stream,) = verdict.streams
    assert verdict.outcome is Outcome.COMPLETE
    assert (stream.kept_back_count, stream.declared_count) == (3, 0)
    first, *rest = verdict_as_text(verdict, [], "logship_id")
    assert first.endswith("; 3 records kept back on purpose")
    assert any(f"declared by gap record, {reason}: 3-5" in line for line in rest)
    told = judge_one(
        numbered(1),
        report(stream_report(5, 4, end=5, dropped=[(2, 3, reason)], unacked=[(4, 5)])),
    )
    assert (told.outcome, told.kept_back_count, told.declared_count) == (Outcome.DECLARED, 2, 2)


def test_a_number_declared_twice_is_counted_once_and_the_gap_record_is_named() -> None:
    stream = judge_one(numbered(1), received(gap(4, 2, 3)), report(
        stream_report(4, 3, dropped=[(2, 3, "overflow")])))  # fmt: skip
    assert declared_of(stream) == {("overflow", "gap record"): [(2, 3)]}


def test_a_control_record_that_was_spilled_still_speaks() -> None:
    stream = judge_one(numbered(1), spilled(gap(4, 2, 3)), spilled(end(5, 3)))
    assert stream.outcome is Outcome.DECLARED
    assert (stream.proof, stream.last, list(stream.spilled)) == ("end record", 5, [(4, 5)])
    assert declared_of(stream) == {("overflow", "gap record"): [(2, 3)]}


# --- unproven -------------------------------------------------------------------------------------


def test_of_several_reports_on_a_stream_the_last_counts() -> None:
    """What the first called unacked was acked by the second, so its loss has no excuse."""
    early = report(stream_report(5, 5, unacked=[(3, 5)]))
    late = report(stream_report(5, 5))
    assert list(judge_one(numbered(1, 2), early, late).lost) == [(3, 5)]
    longer = report(stream_report(7, 7, unacked=[(6, 7)]))
    stream = judge_one(numbered(1, 2, 3, 4, 5), longer, early)
    assert (stream.last, declared_of(stream)) == (7, {("unacked", "drain report"): [(6, 7)]})


def test_a_process_killed_in_the_middle_of_its_spill_has_named_what_was_left() -> None:
    """A spill begins with a line of ranges; the drain report would come behind it."""
    begins = spill_begins(stream_report(6, 5, end=6, unacked=[(3, 6)]))
    stream = judge_one(numbered(1, 2), begins, spilled(record(3)), spilled(record(4))[:-9])
    assert (stream.outcome, stream.proof) == (Outcome.DECLARED, "spill's first line")
    assert list(stream.spilled) == [(3, 3)]
    assert declared_of(stream) == {("unacked", "spill's first line"): [(4, 6)]}


def test_a_spill_that_began_while_records_were_accepted_proves_no_end() -> None:
    begins = spill_begins(stream_report(4, 4, unacked=[(4, 4)]), acked=3, unacked=1)
    stream = judge_one(numbered(1, 2, 4), begins)
    assert (stream.proof, stream.last, list(stream.lost)) == (None, 4, [(3, 3)])
    stream = judge_one(numbered(1, 2, 3), begins)
    assert (stream.outcome, stream.last, stream.declared_count) == (Outcome.UNPROVEN, 4, 1)
    stream = judge_one(numbered(1, 2, 3, 4), begins, report(stream_report(5, 4, end=5)))
    assert (stream.proof, stream.last) == ("drain report", 5)


def test_the_drain_report_counts_more_than_the_line_before_its_spill() -> None:
    begins = spill_begins(stream_report(4, 3, end=4, unacked=[(3, 4)]))
    ends = report(stream_report(4, 3, end=4, spilled=[(4, 4)]))
    for lines in ([begins, ends], [ends, begins]):
        stream = judge_one(numbered(1, 2), lines)
        assert list(stream.lost) == [(3, 3)]
        assert declared_of(stream) == {("spilled", "drain report"): [(4, 4)]}


def test_a_correction_counts_more_than_the_report_that_it_corrects() -> None:
    """Records that were refused after the report; and one that was acked after it."""
    ends = report(stream_report(4, 3, end=4, unacked=[(3, 4)]), refused_id=LIFE, refused_lines=1)
    later = correction(stream_report(4, 3, end=4, refused=2), refused_id=LIFE, refused_lines=2)
    for lines in ([ends, later], [later, ends]):
        verdict = judged(numbered(1, 2), refused(1), lines)
        [stream], [refusals] = verdict.streams, verdict.refusals
        assert (stream.proof, stream.refused) == ("report's correction", 2)
        assert list(stream.lost) == [(3, 3)]
        assert (list(refusals.copies), refusals.declared) == ([(1, 1)], 1)


def test_a_line_that_was_refused_after_all_reports_counts_too() -> None:
    said = report(stream_report(3, 3), refused=2, refused_lines=2, refused_id=LIFE)
    verdict = judged(numbered(1, 2, 3), said, refused(1), refused(3), refused(3))
    [refusals] = verdict.refusals
    assert (refusals.untold, refusals.declared, refusals.count.told) == (3, 1, 0)
    assert verdict.outcome is Outcome.DECLARED


def test_what_was_refused_by_calls_that_said_so_is_not_missing() -> None:
    said = report(stream_report(3, 3, refused=2), refused=2, refused_lines=0, refused_id=LIFE)
    verdict = judged(numbered(1, 2, 3), said)
    assert verdict.outcome is Outcome.COMPLETE
    assert verdict.refusals[0].count.told == 2


# --- contradictions -------------------------------------------------------------------------------


def problems_of(*lines: bytes | Iterable[bytes]) -> list[str]:
    stream = judge_one(*lines)
    assert stream.problems
    assert stream.outcome is Outcome.LOST
    return list(stream.problems)


def test_end_records_that_contradict_each_other() -> None:
    """A record behind one, two by the process itself, and a record behind a recoverer's."""
    own, again = received(end(2, 1)), received(end(4, 2, kind="recovered"))
    assert "goes on to 3 after its end record 2" in problems_of(numbered(1, 3), own, again)
    two = problems_of(numbered(1), received(gap(3, 5, 5)), own, received(end(4, 1)))
    assert "has 2 end records of its own that differ: only one can be the end" in two
    late = problems_of(numbered(1, 2, 3, 5), again, received(end(6, 4)))
    assert late == ["goes on to 5 after its end record 4"]


def test_gap_records_may_follow_an_end_record() -> None:
    """What a recoverer gives up before an end record is declared behind it, as often as needed."""
    lines = [
        *numbered(1, 3),
        *map(received, (end(4, 3), gap(5, 2, 2), end(6, 3, kind="recovered"))),
    ]
    stream = judge_one(lines)
    assert (stream.outcome, stream.last, list(stream.lost)) == (Outcome.DECLARED, 6, [])
    lines += map(received, (gap(7, 2, 2), end(8, 3, kind="recovered")))
    assert judge_one(lines).problems == ()
    assert judge_one(lines, report(stream_report(4, 3, end=4, spooled=[(2, 2)]))).problems == ()
    assert problems_of(lines, received(record(9))) == ["goes on to 9 after its end record 4"]


def test_numbers_of_control_records_in_memory_alone_are_used_again() -> None:
    """The process sent its last gap and end record, was killed, and left no trace of them."""
    own = [*numbered(1, 2), received(gap(4, 3, 3)), received(end(5, 3))]
    again = [received(gap(4, 3, 3)), received(end(4, 3, kind="recovered"))]
    for lines in (own + again, own + again[1:]):
        for said in ([], [report(stream_report(5, 3, end=5, dropped=[(3, 3, "overflow")]))]):
            stream = judge_one(lines, said)
            assert (stream.outcome, stream.problems) == (Outcome.DECLARED, ())


def test_a_control_record_of_a_recoverer_that_does_not_arrive_is_no_loss() -> None:
    lines = [*numbered(1, 2, 3), received(end(4, 3)), received(end(7, 3, kind="recovered"))]
    stream = judge_one(lines)
    assert (stream.outcome, list(stream.lost)) == (Outcome.COMPLETE, [])


def test_the_same_end_record_twice_is_a_duplicate() -> None:
    stream = judge_one(numbered(1), received(end(2, 1)), received(end(2, 1)))
    assert (stream.outcome, stream.duplicates) == (Outcome.COMPLETE, 1)


@pytest.mark.parametrize("accepted", [2, 4])
def test_an_end_record_that_counts_otherwise(accepted: int) -> None:
    assert problems_of(numbered(1, 2, 3), received(end(4, accepted))) == [
        f"has numbers for 3 records, but its end record says {accepted} were accepted"
    ]


def test_an_end_record_counts_gaps_but_not_gap_records() -> None:
    lines = [*numbered(1, 2), received(gap(5, 3, 4)), received(end(6, 4))]
    assert judge_one(lines).problems == ()
    assert problems_of(lines[:-1], received(end(6, 5))) == [
        "has numbers for 2 to 4 records, but its end record says 5 were accepted"
    ]


def test_a_report_that_counts_otherwise() -> None:
    assert problems_of(numbered(1, 2), report(stream_report(2, 3))) == [
        "has numbers for 2 records, but its drain report says 3 were accepted"
    ]
    assert problems_of(numbered(1, 2), report(stream_report(4, 4, end=4, unacked=[(3, 4)]))) == [
        "has numbers for 2 to 3 records, but its drain report says 4 were accepted"
    ]


def test_a_report_and_an_end_record_that_disagree() -> None:
    whole = [*numbered(1, 2, 3), received(end(4, 3))]
    found = problems_of(whole, report(stream_report(6, 5, end=6)))
    assert "has an end record that its drain report does not know: it says 6" in found
    found = problems_of(whole, report(stream_report(6, 5)))
    assert "ends before 6, the last number that its drain report knows" in found
    assert list(judge_one(whole, report(stream_report(6, 5))).lost) == [(5, 6)]
    assert judge_one(whole, report(stream_report(3, 3))).outcome is Outcome.COMPLETE


def test_numbers_after_the_end_in_the_report() -> None:
    found = problems_of(numbered(1, 2, 3, 4), report(stream_report(3, 2, end=3)))
    assert found == ["goes on to 4 after the end 3 in its drain report"]
    found = problems_of(numbered(1, 2, 3), report(stream_report(3, 2, end=2)))
    assert "has numbers up to 3 after the end 2 in its drain report" in found


@pytest.mark.parametrize(
    "value",
    [None, [], [3], [5, 4, "x"], [0, 4, "x"], ["1", "2", "x"], [1, 2, "x", "y"], {}, [True] * 2],
)
def test_a_gap_record_that_says_nothing(value: Any) -> None:
    strange = {**gap(2, 1, 1), "logship_gap": value}
    twice = [received(strange), received(strange)]
    assert problems_of(numbered(1), twice, received(end(3, 1))) == [
        "gap record 2 does not say which numbers it is for"
    ]


def test_spilled_copies_count_where_a_number_is_compared() -> None:
    lines = [*numbered(1), spilled(record(2)), spilled(record(3)), received(end(4, 1))]
    assert problems_of(lines) == [
        "has numbers for 3 records, but its end record says 1 were accepted"
    ]


def test_a_report_that_the_stream_outlived_is_not_held_against_it() -> None:
    """It was written while records were still being numbered."""
    assert judge_one(numbered(1, 2, 3), report(stream_report(2, 3))).problems == ()


def test_a_report_that_names_no_stream_says_only_how_much_there_was() -> None:
    assert judged(report()).outcome is Outcome.COMPLETE
    verdict = judged(report(accepted=5, acked=5))
    assert (verdict.outcome, verdict.unnamed) == (Outcome.UNPROVEN, 5)


@pytest.mark.parametrize(
    ("stamp_key", "outcome", "unnamed"),
    [("logship_id", Outcome.LOST, 0), ("other", Outcome.UNPROVEN, 4), (None, Outcome.UNPROVEN, 4)],
)
def test_a_report_of_records_without_this_stamp_is_compared_with_no_line(
    stamp_key: str | None, outcome: Outcome, unnamed: int
) -> None:
    verdict = judged(report(stream_report(5, 4, end=5), stamp_key=stamp_key))
    assert (verdict.outcome, verdict.unnamed) == (outcome, unnamed)


def test_a_report_whose_sums_do_not_hold() -> None:
    [problem] = judged(numbered(1, 2), report(stream_report(2, 2), accepted=1, acked=1)).problems
    assert problem == "a drain report says 1 accepted, but its streams 2"


# --- nothing, and much ----------------------------------------------------------------------------


def test_unreadable_lines_are_counted_and_the_first_are_named_with_their_place() -> None:
    audit = Audit()
    audit.begin("a.log")
    audit.feed([b"text", *numbered(1)])
    audit.feed([b'{"torn'])
    audit.begin("b.log")
    audit.feed([b"{" + b"x" * 30] * 100)
    verdict = audit.verdict()
    assert verdict.unreadable == 101
    assert [(place.source, place.line) for place in verdict.unreadable_places] == [
        ("a.log", 3), ("b.log", 1), ("b.log", 2), ("b.log", 3), ("b.log", 4),
    ]  # fmt: skip


def test_end_records_with_strange_counts_are_still_ends() -> None:
    strange = {**end(2, 1), "logship_accepted": "many", "logship_refused": None}
    assert judge_one(numbered(1), received(strange)).outcome is Outcome.COMPLETE
    assert json.loads(received(strange))["record"]["logship_end"] is True
