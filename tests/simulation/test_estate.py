"""The judge excuses numbers that no process could have known, and no other number."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.simulation.estate import (
    DAMAGED_REASON,
    QUARANTINED_REASON,
    STREAMS_DAMAGED,
    Estate,
    Stamp,
)
from tests.simulation.judge import Judge, Life, Violation
from tests.simulation.wire import NO_SERIAL, Frame

STREAM = "streamstream"
DIRECTORY = "life"


def frame(
    numbers: list[int],
    *,
    serials: list[int] | None = None,
    gaps: list[tuple[int, int, str]] | None = None,
    end: object = None,
) -> Frame:
    return Frame(
        id=str(numbers),
        tag="tag",
        payload=b"",
        stream=STREAM,
        numbers=numbers,
        serials=serials or [NO_SERIAL] * len(numbers),
        records=len(serials or []),
        gaps=gaps or [],
        end=None if end is None else {"logship_end": end},
    )


def estate_of(at_risk: set[Stamp], *, unspooled: int, hit: list[int]) -> Estate:
    """Return the estate of a life that accepted 1 to 6, of which 1 and 6 have arrived."""
    estate, life = Estate(), Life(1, 1.0, 1.0)
    for number in range(1, 7):
        estate.accepted(life, STREAM, number, number)
    estate.died(life, at_risk, unspooled)
    estate.left(life, DIRECTORY, {STREAM})
    if hit:
        estate.damaged(DIRECTORY, "disk flip", STREAM, hit)
        estate.said(f"{DIRECTORY}: a chunk is damaged")
    estate.acked(frame([1, 6], serials=[1, 6]))
    return estate


def damaged(first: int, last: int) -> Frame:
    """Return what a recoverer ends the stream with."""
    return frame([7, 8], gaps=[(first, last, DAMAGED_REASON)], end="recovered")


def test_what_died_in_memory_behind_a_damaged_chunk_may_be_declared_with_it() -> None:
    estate = estate_of({(STREAM, 4), (STREAM, 5)}, unspooled=2, hit=[2, 3])
    estate.acked(damaged(2, 5))
    estate.settle([])


@pytest.mark.parametrize(
    ("at_risk", "unspooled", "hit", "complaint"),
    [
        pytest.param({4}, 2, [2, 3], "others are lost", id="5 was on the spool"),
        pytest.param({2, 5}, 2, [3, 4], "others are lost", id="2 is in front of the chunk"),
        pytest.param({4, 5}, 1, [2, 3], "unspooled", id="only one was counted"),
        pytest.param({2, 3, 4, 5}, 4, [], "no report says why", id="nothing was damaged"),
    ],
)
def test_no_more_than_that_may_be_declared(
    at_risk: set[int], unspooled: int, hit: list[int], complaint: str
) -> None:
    estate = estate_of({(STREAM, each) for each in at_risk}, unspooled=unspooled, hit=hit)
    estate.acked(damaged(2, 5))
    with pytest.raises(Violation, match=complaint):
        estate.settle([])


@pytest.mark.parametrize("untold", [True, False])
def test_what_a_killed_process_gave_up_must_be_declared_unless_nothing_could(untold: bool) -> None:
    estate = estate_of(set(), unspooled=0, hit=[])
    given_up = {(STREAM, each) for each in (2, 3, 4, 5)}
    estate.excused(
        estate.life_of(DIRECTORY), given_up=given_up, untold=given_up if untold else set()
    )
    estate.acked(frame([7], end="recovered"))
    with contextlib.nullcontext() if untold else pytest.raises(Violation, match="lost"):
        estate.settle([])


def test_what_it_gave_up_may_be_declared_in_a_chunk_that_cannot_be_read_any_more() -> None:
    estate = estate_of(set(), unspooled=0, hit=[])
    given_up = {(STREAM, each) for each in (2, 3, 4, 5)}
    estate.excused(estate.life_of(DIRECTORY), given_up=given_up, untold=set())
    estate.unreadable(DIRECTORY, {(STREAM, 6)})
    estate.settle([DIRECTORY])


def ended_twice(at_risk: set[Stamp], first: object, second: object) -> Estate:
    estate = estate_of(at_risk, unspooled=0, hit=[])
    estate.acked(frame([2, 3, 4, 5], serials=[2, 3, 4, 5]))
    estate.acked(frame([7], end=first))
    estate.acked(frame([8], end=second))
    return estate


def test_a_stream_may_be_ended_again_where_its_end_was_in_memory_only() -> None:
    ended_twice({(STREAM, 7)}, True, "recovered").settle([])


def test_a_stream_may_be_ended_again_where_its_end_was_reported_as_lost() -> None:
    estate = ended_twice(set(), True, "recovered")
    estate.excused(estate.life_of(DIRECTORY), given_up={(STREAM, 7)}, untold=set())
    estate.settle([])


def test_a_stream_may_be_ended_again_where_neither_slot_nor_mark_says_that_it_ended() -> None:
    estate = ended_twice(set(), "recovered", "recovered")
    estate.damaged(DIRECTORY, STREAMS_DAMAGED, "", [])
    estate.said(f"{DIRECTORY}: the slots are damaged")
    estate.unmarked(DIRECTORY)
    estate.settle([])


@pytest.mark.parametrize(
    ("at_risk", "first", "second"),
    [
        pytest.param(set(), True, "recovered", id="it was on the spool"),
        pytest.param({(STREAM, 7)}, "recovered", "recovered", id="two recoverers"),
        pytest.param({(STREAM, 7), (STREAM, 8)}, True, True, id="its own process"),
    ],
)
def test_no_other_stream_has_two_ends(at_risk: set[Stamp], first: object, second: object) -> None:
    with pytest.raises(Violation, match="its end records are"):
        ended_twice(at_risk, first, second).settle([])


@pytest.mark.parametrize(
    ("told", "excused"),
    [
        ({"dropped": [[2, 2, "overflow"]]}, {2}),
        ({"spilled": [[1, 3]]}, {2, 3}),
        ({"unacked": [[2, 3]]}, set()),
        ({}, set()),
    ],
)
def test_a_gap_record_given_up_in_the_drain_excuses_what_the_report_names(
    told: dict[str, Any], excused: set[int]
) -> None:
    life = Life(1, 1.0, 1.0)
    life.quarantined_late.append(frame([5], gaps=[(2, 3, "overflow")]))
    report = {"stream": STREAM, "spilled": [], "dropped": [], **told}
    found = Judge.declared_too_late(life, report)
    assert found == {(STREAM, number) for number in excused}
    assert Judge.declared_too_late(life, {**report, "stream": "otherstream0"}) == set()


@pytest.mark.parametrize(
    ("waits", "ended", "complaint"),
    [
        pytest.param([DIRECTORY], None, None, id="the end waits"),
        pytest.param([], None, "left on the spool", id="nothing waits"),
        pytest.param([DIRECTORY], "recovered", "spooled and lost", id="it was ended without"),
    ],
)
def test_what_is_noted_on_the_spool_is_declared_by_the_next_one_if_the_end_waits(
    waits: list[str], ended: object, complaint: str | None
) -> None:
    estate = estate_of(set(), unspooled=0, hit=[])
    estate.acked(frame([2, 3, 4], serials=[2, 3, 4]))
    if ended:
        estate.acked(frame([7], end=ended))
    noted = {DIRECTORY: {(STREAM, 5): QUARANTINED_REASON}}
    poison: dict[str, set[Stamp]] = {each: set() for each in waits}
    with pytest.raises(Violation, match=complaint) if complaint else contextlib.nullcontext():
        estate.settle([DIRECTORY], poison, b"", noted)


@pytest.mark.parametrize(
    ("trouble", "complaint"),
    [(f"{STREAM}-0000000006", None), ("", "not damaged"), ("other-0000000006", "not damaged")],
)
def test_a_life_may_be_named_with_the_record_that_had_trouble(
    trouble: str, complaint: str | None
) -> None:
    estate = estate_of(set(), unspooled=0, hit=[])
    estate.acked(frame([2, 3, 4, 5], serials=[2, 3, 4, 5]))
    estate.acked(frame([7], end="recovered"))
    estate.troubled(trouble)
    estate.said(f"{DIRECTORY}: {STREAM}-0000000006.entry cannot be quarantined")
    with pytest.raises(Violation, match=complaint) if complaint else contextlib.nullcontext():
        estate.settle([])


@pytest.mark.parametrize(
    ("said", "arrived", "ends", "complaint"),
    [
        pytest.param(DIRECTORY, [2, 3, 4, 5], [7], None, id="it costs nothing"),
        pytest.param("", [2, 3, 4, 5], [7], "no report says so", id="in silence"),
        pytest.param(DIRECTORY, [2, 3, 4], [7], "spooled and lost", id="it costs a record"),
        pytest.param(DIRECTORY, [2, 3, 4, 5], [], "its end was not told", id="it costs the end"),
        pytest.param(DIRECTORY, [2, 3, 4, 5], [7, 8], "was ended at", id="it is ended twice"),
    ],
)
def test_damaged_slots_cost_neither_a_record_nor_an_end(
    said: str, arrived: list[int], ends: list[int], complaint: str | None
) -> None:
    estate = estate_of(set(), unspooled=0, hit=[])
    estate.damaged(DIRECTORY, STREAMS_DAMAGED, "", [])
    estate.said(f"{said}: the slots are damaged")
    estate.acked(frame(arrived, serials=arrived))
    for number in ends:
        estate.acked(frame([number], end="recovered"))
    with pytest.raises(Violation, match=complaint) if complaint else contextlib.nullcontext():
        estate.settle([])
