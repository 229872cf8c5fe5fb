"""`logship audit --watch` over days: streams end without a proof, and what is lost stays lost.

A kilobyte for each of them would be all memory some day. No figure may change because of that.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from logship._audit.audit import Audit
from logship._audit.watch import Figures
from tests.audit.lines import (
    ONE,
    TWO,
    end,
    gap,
    high_water,
    received,
    record,
    spilled,
    stamp,
    write,
)
from tests.audit.watched import Watched

OUT, NEXT = Path("out.log"), Path("out.log.1")
THREE, FOUR, FIVE = (f"abcdefghij0{number}" for number in (3, 4, 5))


def watched_and_removed(*lines: bytes, overdue_seconds: float = 60) -> Watched:
    """Return a watch that has read the lines of a file, which was removed when it was old."""
    watched = Watched("out.log*", retention_seconds=1, overdue_seconds=overdue_seconds)
    write(OUT, list(lines))
    watched.look()
    watched.look()
    OUT.unlink()
    watched.look()
    return watched


# --- streams of which nothing is left -------------------------------------------------------------


@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_stream_without_a_proven_end_is_counted_and_may_go_on(is_resumed: bool) -> None:
    watched = watched_and_removed(*(received(record(number)) for number in (1, 2, 3)))
    if is_resumed:
        watched = watched.resumed()
    assert watched.look() == (3, 0, 0)
    assert watched.watch.figures.streams_unended == 1
    assert watched.watch.verdicts == {}
    write(NEXT, [received(record(number)) for number in (3, 5)])
    assert watched.look() == (4, 1, 1)
    assert watched.watch.figures.streams_unended == 1
    write(OUT, [received(record(4)), received(end(6, 5))])
    assert watched.look() == (5, 0, 1)
    assert watched.watch.figures.streams_unended == 0


def test_a_stream_that_is_proved_complete_at_last_is_forgotten() -> None:
    watched = watched_and_removed(received(record(1)))
    assert ONE in json.dumps(watched.watch.state())
    write(NEXT, [received(end(2, 1, kind="recovered"))])
    assert watched.look() == (1, 0, 0)
    watched.look()
    assert ONE not in json.dumps(watched.watch.state())
    assert watched.look() == (1, 0, 0)


def test_a_stream_with_missing_numbers_keeps_their_age() -> None:
    watched = watched_and_removed(
        received(record(1)), received(high_water(1, stamp(3))), overdue_seconds=5
    )
    watched = watched.resumed()
    assert watched.look(2) == (1, 2, 0)
    assert watched.watch.figures.records_overdue == 0
    watched.look(0)
    watched.look(1)
    assert watched.watch.figures.records_overdue == 2
    assert watched.watch.figures.oldest_missing_seconds == 5


def test_a_declared_record_may_still_arrive_when_nothing_else_is_left_of_its_stream() -> None:
    watched = watched_and_removed(
        received(record(1)), received(gap(3, 2, 2, "spilled")), received(end(4, 2))
    )
    assert watched.look() == (1, 0, 0)
    assert watched.watch.verdicts == {}
    write(NEXT, [received(record(2))])
    assert watched.look() == (2, 0, 0)


def test_an_end_record_that_went_to_stderr_may_still_arrive_when_nothing_else_is_left() -> None:
    watched = watched_and_removed(received(record(1)), spilled(end(2, 1)))
    assert watched.watch.verdicts == {}
    write(NEXT, [received(end(2, 1))])
    assert watched.look() == (1, 0, 0)


def test_the_figures_are_those_of_an_audit_of_all_lines_that_ever_were() -> None:
    """Each line comes when all that is known of its stream was settled, or not, as it falls."""
    chance = random.Random(11)
    lines = [
        *(received(record(number)) for number in [*range(1, 30), 7, 7, 20]),
        *(received(record(number, TWO)) for number in range(1, 15)),
        received(end(15, 14, TWO)),
        *(received(record(number, THREE)) for number in range(1, 9)),
        received(gap(11, 9, 9, stream=THREE)),
        spilled(record(10, THREE)),
        received(end(12, 10, THREE)),
        received(record(1, FOUR)),
        received(end(2, 5, FOUR)),
        received(high_water(1, stamp(31), stream=FIVE)),
    ]
    chance.shuffle(lines)
    watched, audit = Watched("out.log*", retention_seconds=2), Audit()
    for at, line in enumerate(lines):
        audit.feed([line])
        write(Path(f"out.log.{at}"), [line])
        looked = watched.look()
        verdicts = audit.verdict().streams
        figures = watched.watch.figures
        assert looked == (
            sum(each.records for each in verdicts),
            sum(each.lost.count for each in verdicts),
            sum(each.duplicates for each in verdicts),
        )
        assert figures.streams_unended == sum(each.proof is None for each in verdicts)
        assert figures.streams_inconsistent == sum(bool(each.problems) for each in verdicts)
        if chance.random() < 0.3:
            watched.look(2)
            for path in Path().glob("out.log.*"):
                path.unlink()
        if chance.random() < 0.3:
            watched = watched.resumed()


# --- numbers that stay missing --------------------------------------------------------------------


def figures_after(looks: int, watched: Watched) -> Figures:
    """Return the figures after looks each of which finds that one more number was stated."""
    for number in range(2, looks + 2):
        write(OUT, [received(record(1)), received(high_water(1, stamp(number)))])
        watched.look()
    return watched.watch.figures


def test_a_gap_that_grows_for_days_takes_no_more_memory() -> None:
    watched = Watched("out.log*", overdue_seconds=5)
    figures_after(20, watched)
    size = len(json.dumps(watched.watch.state()["ages"]))
    watched = Watched("out.log*", overdue_seconds=5)
    figures = figures_after(80, watched)
    assert len(json.dumps(watched.watch.state()["ages"])) < size + 20
    assert (figures.records_missing, figures.records_overdue) == (80, 75)
    assert figures.oldest_missing_seconds == 79


def test_overdue_numbers_share_the_time_of_the_oldest() -> None:
    watched = Watched("out.log*", overdue_seconds=5)
    figures_after(20, watched)
    write(NEXT, [received(record(number)) for number in range(2, 10)])
    assert watched.look() == (9, 12, 0)
    assert watched.watch.figures.records_overdue == 8
    assert watched.watch.figures.oldest_missing_seconds == 20  # number 10 is for 12 seconds
    write(NEXT, [received(record(number)) for number in range(2, 22)])
    assert watched.look() == (21, 0, 0)
    assert watched.watch.figures.oldest_missing_seconds == 0
