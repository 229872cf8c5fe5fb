"""The drain's arithmetic, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logship._delivery.drain import (
    ACKED_SHARE,
    CHECK_SECONDS_MAX,
    CHECK_SECONDS_MIN,
    NEVER_CONNECTED_SECONDS,
    RESERVE_SECONDS_MIN,
    DrainPlan,
    Progress,
    Step,
)
from tests.unit.accounts import QUICK

MIB = 1024 * 1024


def progress(
    last_ack: float | None = None, *, connected: bool = True, bytes_to_spill: int = 1000
) -> Progress:
    return Progress(last_ack, connected, bytes_to_spill)


@pytest.mark.parametrize(
    ("budget", "now", "last_ack", "step"),
    [
        # A stop clock of 30 s, begun at 100: patience is 20 % of it, the reserve half a second.
        (30.0, 100.0, None, Step.WAIT),
        (30.0, 105.9, None, Step.WAIT),
        (30.0, 106.0, None, Step.SPILL),
        (30.0, 110.0, 105.0, Step.WAIT),
        (30.0, 111.0, 105.0, Step.SPILL),
        (30.0, 129.4, 129.0, Step.WAIT),
        (30.0, 129.5, 129.1, Step.SPILL),
        # While acks come in less is kept, and as soon as they stop it is half a second again.
        (30.0, 129.7, 129.6, Step.WAIT),
        (30.0, 129.7, 129.35, Step.SPILL),
        (30.0, 129.85, 129.8, Step.SPILL),
        (30.0, 130.0, 129.9, Step.OVER),
        (30.0, 200.0, 199.0, Step.OVER),
        # 9 s under Docker: patience is 3 s.
        (9.0, 102.9, None, Step.WAIT),
        (9.0, 103.0, None, Step.SPILL),
        # An ack before the drain began is no progress of the drain, and no stall either.
        (9.0, 102.9, 50.0, Step.WAIT),
        (9.0, 103.0, 50.0, Step.SPILL),
        # 0.6 s: the reserve is half of it.
        (0.6, 100.29, None, Step.WAIT),
        (0.6, 100.31, None, Step.SPILL),
        # No time at all.
        (0.0, 100.0, None, Step.OVER),
        (-5.0, 100.0, None, Step.OVER),
    ],
)
def test_with_a_deadline(budget: float, now: float, last_ack: float | None, step: Step) -> None:
    plan = DrainPlan.until(100.0, 100.0 + budget)
    assert plan.step(now, progress(last_ack)) is step


LINE_BYTES = 480
"""A line of 400 characters: at the least that is reckoned with, 24 microseconds."""


@pytest.mark.parametrize(
    ("budget", "left", "lines", "silent", "ack_age", "step"),
    [
        # Two seconds (1.8) and a sidecar that takes everything: half a second is kept.
        (1.8, 1.8, 10_000, 0.0, None, Step.WAIT),
        (1.8, 0.51, 1000, 0.0, None, Step.WAIT),
        (1.8, 0.5, 1000, 0.0, None, Step.OVER),
        # It takes something, and there is more than it may take: the spill begins, intake is open.
        (1.8, 1.5, 15_000, 0.0, None, Step.WAIT),
        (1.8, 1.4, 15_000, 0.0, None, Step.SPILL),
        (1.8, 0.6, 15_000, 0.0, None, Step.SPILL),
        (1.8, 0.7, 31_000, 0.0, None, Step.OVER),
        # It takes so little that half of the time would not do: half is kept all the same.
        (1.8, 1.0, 75_000, 0.0, None, Step.SPILL),
        (1.8, 0.9, 75_000, 0.0, None, Step.OVER),
        # It is gone: the spill begins when a tenth of what is left would do for it ...
        (1.8, 1.8, 7_000, 0.29, None, Step.WAIT),
        (1.8, 1.8, 7_000, 0.3, None, Step.WAIT),
        (1.8, 1.6, 7_000, 0.3, None, Step.SPILL),
        (1.8, 1.6, 7_000, float("inf"), None, Step.SPILL),
        # ... and intake closes when half would, less a moment, whatever half of all the time is.
        (1.8, 1.8, 31_000, 1.0, None, Step.SPILL),
        (1.8, 1.7, 31_000, 1.0, None, Step.OVER),
        (1.8, 0.6, 7_000, 1.0, None, Step.SPILL),
        (1.8, 0.58, 7_000, 1.0, None, Step.OVER),
        # What is on stderr is no reason to close.
        (1.8, 0.6, 0, 1.0, None, Step.WAIT),
        (1.8, 0.5, 0, 1.0, None, Step.OVER),
        (1.8, 0.0, 0, 0.0, None, Step.OVER),
        # Acks come in: the application may log until three tenths before the deadline.
        (1.8, 0.45, 1000, 0.0, 0.1, Step.WAIT),
        (1.8, 0.31, 1000, 0.0, 0.29, Step.WAIT),
        (1.8, 0.3, 1000, 0.0, 0.01, Step.OVER),
        # They came in, and do not any more.
        (1.8, 0.45, 1000, 0.0, 0.31, Step.OVER),
        # What is not acked takes longer than that: as without acks.
        (1.8, 0.45, 20_000, 0.0, 0.1, Step.OVER),
        (1.8, 0.49, 20_000, 0.0, 0.1, Step.SPILL),
        (1.8, 0.6, 31_000, 0.0, 0.1, Step.OVER),
        # Thirty seconds: a pause of a twentieth is a sidecar's own affair.
        (29.0, 29.0, 100_000, 1.4, None, Step.WAIT),
        (29.0, 29.0, 100_000, 1.5, None, Step.WAIT),
        (29.0, 24.0, 100_000, 1.5, None, Step.SPILL),
        (29.0, 5.1, 100_000, 1.5, None, Step.SPILL),
        (29.0, 5.0, 100_000, 1.5, None, Step.OVER),
        (29.0, 5.0, 100_000, 1.4, None, Step.SPILL),
        (29.0, 2.4, 100_000, 1.4, None, Step.OVER),
        (29.0, 20.0, 300, float("inf"), None, Step.WAIT),  # an ordinary service spills none ahead
    ],
)
def test_while_the_application_logs(
    budget: float, left: float, lines: int, silent: float, ack_age: float | None, step: Step
) -> None:
    plan = DrainPlan.until(100.0, 100.0 + budget)
    now_seconds = 100.0 + budget - left + 1e-9
    last_ack = None if ack_age is None else now_seconds - ack_age
    now = Progress(last_ack, True, lines * LINE_BYTES, silent_seconds=silent)
    assert plan.step_while_logging(now_seconds, now) is step


@QUICK
@given(
    budget=st.floats(0.1, 200),
    passed_share=st.floats(0, 1),
    bytes_to_spill=st.integers(0, 64 * MIB),
    cost=st.floats(5e-8, 1e-6),
)
def test_a_sidecar_that_is_gone_never_closes_intake_later_than_one_that_takes(
    budget: float, passed_share: float, bytes_to_spill: int, cost: float
) -> None:
    """And what is let in could be written twice over."""
    plan = DrainPlan.until(0.0, budget)
    now = passed_share * budget
    taken = Progress(now, True, bytes_to_spill, cost)
    gone = Progress(None, True, bytes_to_spill, cost, silent_seconds=float("inf"))
    order = [Step.WAIT, Step.SPILL, Step.OVER]
    step = plan.step_while_logging(now, gone)
    assert order.index(step) >= order.index(plan.step_while_logging(now, taken))
    if step is not Step.OVER:
        assert 2 * gone.spill_seconds < budget - now
        wait = plan.wait_seconds_while_logging(now)
        assert CHECK_SECONDS_MIN <= wait <= max(CHECK_SECONDS_MIN, 0.02 * (budget - now))


@pytest.mark.parametrize(
    ("full_share", "silent", "step"),
    [(0.49, 2.0, Step.WAIT), (0.5, 2.0, Step.SPILL), (1.0, 2.0, Step.SPILL), (1.0, 1.4, Step.WAIT)],
)
def test_a_buffer_that_fills_while_the_sidecar_takes_nothing_is_spilled_at_once(
    full_share: float, silent: float, step: Step
) -> None:
    plan = DrainPlan.until(100.0, 130.0)
    now = Progress(None, True, LINE_BYTES, silent_seconds=silent, full_share=full_share)
    assert plan.step_while_logging(101.0, now) is step


def test_once_intake_is_closed_the_spill_begins_as_early() -> None:
    plan = DrainPlan.until(100.0, 101.8)
    many = 8_000 * LINE_BYTES
    assert plan.step(100.0, Progress(None, True, many, silent_seconds=1.0)) is Step.SPILL
    assert plan.step(100.0, Progress(100.0, True, many)) is Step.WAIT


def test_a_program_that_ends_by_itself_never_spills_ahead_of_need() -> None:
    """The spill would be its end, and the cost is an estimate: here one made in a bad moment."""
    plan = DrainPlan.by_itself(0.0, 15.0, 120.0)
    now = Progress(None, True, 24_000, 0.002, silent_seconds=float("inf"))
    assert 2 * now.spill_seconds < 120.0 < 10 * now.spill_seconds
    assert plan.step(0.0, now) is Step.WAIT


@pytest.mark.parametrize(
    ("left", "lines", "lines_per_second", "silent", "step"),
    [
        # 30 seconds, and 200,000 lines that cost 4.8 s: four times that is 19.2.
        (19.3, 200_000, 0, 0.0, Step.WAIT),
        (19.1, 200_000, 0, 0.0, Step.SPILL),
        # The sidecar takes them in time, and the spill only begins when twice its cost is left.
        (19.1, 200_000, 20_000, 0.0, Step.WAIT),
        (9.5, 200_000, 20_000, 0.0, Step.SPILL),
        # It takes a part of them in time.
        (19.1, 200_000, 5_000, 0.0, Step.WAIT),
        (13.0, 200_000, 5_000, 0.0, Step.SPILL),
        # Soon it needs no spill at all, ...
        (9.0, 100_000, 14_000, 0.0, Step.WAIT),
        (3.0, 30_000, 14_000, 0.0, Step.WAIT),
        (1.0, 10_000, 14_000, 0.0, Step.WAIT),
        # ... unless it falls silent.
        (3.0, 30_000, 14_000, 1.5, Step.SPILL),
    ],
)
def test_what_a_sidecar_takes_in_time_is_not_spilled_ahead(
    left: float, lines: int, lines_per_second: int, silent: float, step: Step
) -> None:
    plan = DrainPlan.until(100.0, 130.0)
    rate = lines_per_second * LINE_BYTES
    now = Progress(
        129.9 - left, True, lines * LINE_BYTES, silent_seconds=silent, acked_bytes_per_second=rate
    )
    assert plan.step_while_logging(130.0 - left, now) is step
    assert plan.step(130.0 - left, now) is step


@QUICK
@given(
    passed_share=st.floats(0, 1),
    bytes_to_spill=st.integers(0, 64 * MIB),
    cost=st.floats(5e-8, 1e-6),
    rate=st.floats(0, 1e9),
)
def test_all_that_is_not_spilled_could_be_written_twice_or_is_acked_in_time(
    passed_share: float, bytes_to_spill: int, cost: float, rate: float
) -> None:
    """However fast the sidecar was: it may fall silent at any moment."""
    plan = DrainPlan.until(0.0, 30.0)
    left = 30.0 * (1 - passed_share)
    now = Progress(0.0, True, bytes_to_spill, cost, acked_bytes_per_second=rate)
    if plan.step_while_logging(30.0 - left, now) is Step.WAIT:
        assert 2 * now.spill_seconds < left
        not_acked = bytes_to_spill - ACKED_SHARE * rate * left
        assert 4 * not_acked * cost < left + 1e-6


@pytest.mark.parametrize(
    ("interval", "silent", "is_silent"),
    [(0.0, 1.49, False), (0.0, 1.5, True), (0.1, 1.5, True), (0.6, 1.79, False), (0.6, 1.8, True),
     (10.0, 5.9, False), (10.0, 6.0, True)],
)  # fmt: skip
def test_a_pause_as_long_as_usual_is_no_silence(
    interval: float, silent: float, is_silent: bool
) -> None:
    """Up to a fifth of the time."""
    plan = DrainPlan.until(0.0, 30.0)
    now = Progress(0.0, True, 1, silent_seconds=silent, ack_interval_seconds=interval)
    assert plan.is_silent(now) is is_silent


@pytest.mark.parametrize(
    ("now", "rate", "silent", "said"),
    [
        (20.0, 0.0, 5.0, "the sidecar acknowledges nothing: 5,000 waiting records are written to"),
        (20.0, 100_000.0, 0.0, "take about 1,000 of the 5,000 waiting records (it takes 100,000 "),
        (20.0, 1e6, 0.0, "writing the 5,000 records that wait would take half of the 10.0 s"),
        (29.6, 1e6, 0.0, "0.4 s are left: 5,000 waiting records"),
    ],
)
def test_a_spill_says_how_many_and_why(now: float, rate: float, silent: float, said: str) -> None:
    plan = DrainPlan.until(0.0, 30.0)
    progress = Progress(19.9, True, 1_000_000, silent_seconds=silent, acked_bytes_per_second=rate)
    assert said in plan.reason_to_spill(now, progress, 5_000)


def test_a_full_buffer_reserves_the_time_to_write_it() -> None:
    plan = DrainPlan.until(0.0, 30.0)
    assert plan.reserve_seconds(progress(bytes_to_spill=64 * MIB)) > 3.0
    assert plan.reserve_seconds(progress(bytes_to_spill=0)) == RESERVE_SECONDS_MIN


@pytest.mark.parametrize(
    ("now", "last_ack", "connected", "step"),
    [
        (2.9, None, False, Step.WAIT),
        (NEVER_CONNECTED_SECONDS, None, False, Step.SPILL),
        (14.9, None, True, Step.WAIT),
        (15.0, None, True, Step.SPILL),
        (100.0, 90.0, True, Step.WAIT),
        (119.6, 119.5, True, Step.WAIT),
        (119.6, 119.2, True, Step.SPILL),
        (119.85, 119.8, True, Step.SPILL),
        (120.0, 119.9, True, Step.OVER),
    ],
)
def test_of_a_program_that_ends_by_itself(
    now: float, last_ack: float | None, connected: bool, step: Step
) -> None:
    plan = DrainPlan.by_itself(0.0, 15.0, 120.0)
    assert plan.give_up_when_stalled
    assert plan.step(now, progress(last_ack, connected=connected)) is step


@pytest.mark.parametrize(
    ("budget", "last_ack", "ends"),
    [
        (30.0, None, 103.0),
        (30.0, 50.0, 103.0),
        (30.0, 110.0, 113.0),  # each end record that is acked gives time for the others
        (30.0, 129.0, 130.0),
        (1.0, None, 101.0),
    ],
)
def test_end_records_alone_are_waited_for_three_seconds_from_the_last_ack_on(
    budget: float, last_ack: float | None, ends: float
) -> None:
    plan = DrainPlan.until(100.0, 100.0 + budget)
    now = Progress(last_ack, True, 100)
    assert plan.limited(now) == plan
    assert plan.limited(now._replace(only_ends=True)).deadline_seconds == ends


@pytest.mark.parametrize(
    ("budget", "silent", "ends_process", "begins"),
    [(0.5, 0.3, True, 0.0), (0.5, 0.2, True, 0.25), (0.6, 0.3, True, 0.3), (0.5, 0.3, False, 0.25)],
    ids=["silent", "not silent", "more than the reserve", "closed by the application"],
)
def test_a_drain_that_has_only_the_reserve_spills_at_once_if_no_server_takes_anything(
    budget: float, silent: float, ends_process: bool, begins: float
) -> None:
    progress_made = Progress(None, True, 1000, silent_seconds=silent)
    plan = DrainPlan.until(0, budget, ends_process=ends_process)
    assert plan.spill_at_seconds(progress_made) == pytest.approx(begins)


@QUICK
@given(
    budget=st.floats(0, 200),
    passed=st.floats(0, 250),
    ack=st.none() | st.floats(-50, 250),
    bytes_to_spill=st.integers(0, 64 * MIB),
    silent=st.sampled_from([0.0, 0.2, 2.0, float("inf")]),
    by_itself=st.booleans(),
)
def test_a_program_that_waits_as_told_comes_back_in_time(
    budget: float,
    passed: float,
    ack: float | None,
    bytes_to_spill: int,
    silent: float,
    by_itself: bool,
) -> None:
    """While it says WAIT the next check is neither past the spill's begin nor far away."""
    plan = DrainPlan.by_itself(0, 15, budget) if by_itself else DrainPlan.until(0, budget)
    now = Progress(ack, True, bytes_to_spill, silent_seconds=silent)
    wait = plan.wait_seconds(passed, now)
    assert 0 <= wait <= CHECK_SECONDS_MAX
    if plan.step(passed, now) is Step.WAIT:
        assert wait > 0
        assert passed + wait <= plan.spill_at_seconds(now) + 1e-9
    assert plan.spill_at_seconds(now) <= plan.deadline_seconds
    assert plan.reserve_seconds(now) <= budget / 2
