"""A few seconds of `make aggregators`; the variants with real sidecars are marked `proof`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.aggregators.__main__ import told
from tests.aggregators.campaign import Campaign, Plan, Result
from tests.aggregators.variants import VARIANTS
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
