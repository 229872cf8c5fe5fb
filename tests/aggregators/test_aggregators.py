"""A few seconds of `make aggregators`; the variants with real sidecars are marked `proof`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.aggregators.__main__ import told
from tests.aggregators.campaign import Campaign, Plan, Result
from tests.aggregators.events import PARTITIONS, Event, drawn
from tests.aggregators.variants import VARIANTS
from tests.soak.judging import judge
from tests.soak.soak import ENVIRON


def assert_well(result: Result) -> None:
    """Fail unless nothing is lost although everything happened."""
    assert not result.faults, told(result)
    assert result.count.delivered == result.count.taken > 0, told(result)
    assert result.events["kill"] == result.events["start"] > 0
    assert result.partitions > 0


def test_clients_with_two_endpoints_lose_nothing(tmp_path: Path) -> None:
    plan = Plan("straight", 2.5, clients=2, pause_seconds=0.8, environ=ENVIRON)
    assert_well(Campaign(plan, tmp_path / "campaign").run())


@pytest.mark.proof
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", VARIANTS)
def test_half_a_minute_of_each_variant_loses_nothing(name: str, tmp_path: Path) -> None:
    if why := VARIANTS[name].why_not():
        pytest.skip(why)
    assert_well(Campaign(Plan(name, 25.0, pause_seconds=5.0), tmp_path / "campaign").run())


def test_a_seed_draws_the_same_events_and_heals_all_in_the_end() -> None:
    events = drawn(7, 600.0, 10.0)
    assert events == drawn(7, 600.0, 10.0) != drawn(8, 600.0, 10.0)
    assert {each.what for each in events} == {"kill", "start", "heal", *PARTITIONS}
    assert events[-1].seconds <= 600.0
    for place in (0, 1):
        kills = [each for each in events if each.place == place and each.what in ("kill", "start")]
        assert [each.what for each in kills] == ["kill", "start"] * (len(kills) // 2)
        others = [each for each in events if each.place == place and each not in kills]
        assert [each.what == "heal" for each in others] == [False, True] * (len(others) // 2)


def test_one_aggregator_is_dead_at_a_time() -> None:
    dead: set[int] = set()
    kills = [each for each in drawn(3, 600.0, 10.0) if each.what in ("kill", "start")]
    for event in kills:
        _apply(event, dead)
        assert len(dead) <= 1
    assert len(kills) > 40


def _apply(event: Event, dead: set[int]) -> None:
    (dead.add if event.what == "kill" else dead.remove)(event.place)


def test_the_judge_reads_the_lines_of_each_kind_of_aggregator(tmp_path: Path) -> None:
    ledger, out = tmp_path / "a.ledger", tmp_path / "out"
    ledger.write_text("0\n1\n2\n")
    out.write_text('{"record":{"message":"a 0 x"}}\n{"message":"a 1 x"}\n{"message":"a 2')
    count = judge([ledger], [out], [])
    assert (count.taken, count.delivered) == (3, 2)
    assert count.missing == [("a", 2)]
