"""The drain's arithmetic, case by case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logship.drain import (
    CHECK_SECONDS_MAX,
    NEVER_CONNECTED_SECONDS,
    RESERVE_SECONDS_MIN,
    DrainPlan,
    Progress,
    Step,
)
from tests.unit.accounts import QUICK

MIB = 1024 * 1024


def progress(
    last_ack: float | None = None, *, connected: bool = True, bytes_held: int = 1000
) -> Progress:
    return Progress(last_ack, connected, bytes_held)


@pytest.mark.parametrize(
    ("budget", "now", "last_ack", "step"),
    [
        # A stop clock of 30 s, begun at 100: patience is 20 % of it, the reserve half a second.
        (30.0, 100.0, None, Step.WAIT),
        (30.0, 105.9, None, Step.WAIT),
        (30.0, 106.0, None, Step.SPILL),
        (30.0, 110.0, 105.0, Step.WAIT),
        (30.0, 111.0, 105.0, Step.SPILL),
        (30.0, 129.4, 129.3, Step.WAIT),
        (30.0, 129.5, 129.4, Step.SPILL),
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


def test_a_full_buffer_reserves_the_time_to_write_it() -> None:
    plan = DrainPlan.until(0.0, 30.0)
    assert plan.reserve_seconds(progress(bytes_held=64 * MIB)) > 3.0
    assert plan.reserve_seconds(progress(bytes_held=0)) == RESERVE_SECONDS_MIN


@pytest.mark.parametrize(
    ("now", "last_ack", "connected", "step"),
    [
        (2.9, None, False, Step.WAIT),
        (NEVER_CONNECTED_SECONDS, None, False, Step.SPILL),
        (14.9, None, True, Step.WAIT),
        (15.0, None, True, Step.SPILL),
        (100.0, 90.0, True, Step.WAIT),
        (119.6, 119.5, True, Step.SPILL),
        (120.0, 119.9, True, Step.OVER),
    ],
)
def test_of_a_program_that_ends_by_itself(
    now: float, last_ack: float | None, connected: bool, step: Step
) -> None:
    plan = DrainPlan.by_itself(0.0, 15.0, 120.0)
    assert plan.give_up_when_stalled
    assert plan.step(now, progress(last_ack, connected=connected)) is step


@QUICK
@given(
    budget=st.floats(0, 200),
    passed=st.floats(0, 250),
    ack=st.none() | st.floats(-50, 250),
    bytes_held=st.integers(0, 64 * MIB),
    by_itself=st.booleans(),
)
def test_whoever_waits_as_told_comes_back_in_time(
    budget: float, passed: float, ack: float | None, bytes_held: int, by_itself: bool
) -> None:
    """While it says WAIT the next check is neither past the spill's begin nor far away."""
    plan = DrainPlan.by_itself(0, 15, budget) if by_itself else DrainPlan.until(0, budget)
    now = progress(ack, bytes_held=bytes_held)
    wait = plan.wait_seconds(passed, now)
    assert 0 <= wait <= CHECK_SECONDS_MAX
    if plan.step(passed, now) is Step.WAIT:
        assert wait > 0
        assert passed + wait <= plan.spill_at_seconds(now) + 1e-9
    assert plan.spill_at_seconds(now) <= plan.deadline_seconds
    assert plan.reserve_seconds(now) <= budget / 2
