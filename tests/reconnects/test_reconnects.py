"""A thousand tasks instead of ten thousand: they all connect again, and not in waves.

Times are those of the simulation, and exact. What the measures see is shown by waits without the
two draws that keep tasks apart.
"""

from __future__ import annotations

import random

import pytest

from logship._client import parts
from logship._delivery import attempts
from logship._settings import Settings
from tests.reconnects.measures import Waves, seconds_until, spans, waves
from tests.reconnects.storm import Outage, play

TASKS, ACCEPTS_PER_SECOND, BACKLOG = 1000, 100.0, 51
AT_BEST_SECONDS = TASKS / ACCEPTS_PER_SECOND


def an_outage(down_seconds: float, *, drops: bool = False, tiers: int = 1) -> Outage:
    return Outage(TASKS, down_seconds, ACCEPTS_PER_SECOND, BACKLOG, drops, tiers)


def waves_of(outage: Outage) -> list[Waves]:
    history = play(outage)
    return [waves(history.attempts[-1], *span) for span in spans(outage, history).values()]


@pytest.mark.parametrize(
    ("down_seconds", "drops"), [(60.0, False), (5.0, True)], ids=["refuses", "silent"]
)
def test_all_tasks_connect_again_without_waves(down_seconds: float, drops: bool) -> None:
    outage = an_outage(down_seconds, drops=drops)
    history = play(outage)
    assert len(history.acked) == TASKS
    assert seconds_until(history, 0.5) < AT_BEST_SECONDS / 2 * 1.1
    assert seconds_until(history, 1.0) < AT_BEST_SECONDS * 1.5
    for span in spans(outage, history).values():
        found = waves(history.attempts[0], *span)
        assert found.peak_bin < 2 * found.poisson_bin
        assert found.peak_second < 2
        assert found.correlation < found.noise + 0.1


def test_short_waits_after_a_timeout_would_make_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "UNANSWERED_FAILURES", 0)
    first, *_ = waves_of(an_outage(5.0, drops=True))
    assert first.peak_bin > 5 * first.poisson_bin
    assert first.peak_second > 5


def test_tasks_come_back_to_the_first_tier_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it stays away each of them tries it again and again, and returns to the second."""
    outage = an_outage(200.0, tiers=2)
    [apart] = waves_of(outage)
    monkeypatch.setattr(parts, "return_wait", lambda _: parts.RETURN_SECONDS)
    [together] = waves_of(outage)
    assert apart.peak_second < 4
    assert together.peak_second > 6


def test_tasks_that_seed_their_generator_alike_do_not_wait_alike() -> None:
    """Nor does a wait change what the application draws next."""
    waits = []
    for _ in range(2):
        random.seed(23)
        before = random.getstate()
        wait_seconds = parts.retry_wait(Settings())
        waits.append([*map(wait_seconds, range(1, 9)), parts.return_wait()])
        assert random.getstate() == before
    assert not {*waits[0]} & {*waits[1]}


def test_the_bound_of_the_wait_doubles_up_to_the_longest() -> None:
    settings = Settings(backoff_seconds_base=0.5, backoff_seconds_max=6.0)
    lowest = parts.retry_wait(settings, lambda low, high: low)
    highest = parts.retry_wait(settings, lambda low, high: high)
    failures = (1, 2, 3, 4, 5, 6, 100, 5000)
    assert [*map(lowest, failures)] == [0.0] * 8
    assert [*map(highest, failures)] == [0.5, 1.0, 2.0, 4.0, 6.0, 6.0, 6.0, 6.0]
