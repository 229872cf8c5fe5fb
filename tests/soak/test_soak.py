"""Twelve seconds of `make soak`, and that its judges see what they are there for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.__main__ import told
from tests.soak.judging import judge
from tests.soak.measuring import Series
from tests.soak.soak import Plan, Soak


@pytest.mark.timeout(240)
def test_a_short_soak_finds_nothing(tmp_path: Path) -> None:
    plan = Plan(seconds=12.0, rate=150, every_seconds=(0.5, 3.0, 3.0))
    result = Soak(plan, tmp_path / "soak").run()
    assert not result.faults, "\n".join(told(result))
    for event in ("fork", "jump", "rotations", "victims"):
        assert result.events[event], f"no {event} in {result.events}"
    assert sum(times for name, times in result.events.items() if "network" in name) > 0


def test_the_judge_misses_what_is_nowhere(tmp_path: Path) -> None:
    ledger, out, stderr = (tmp_path / name for name in ("a.ledger", "out", "stderr"))
    ledger.write_text("0\n1\n2\n4\n")
    out.write_text('{"record":{"message":"a 0 x"}}\n{"record":{"message":"a 0 x"}}\n')
    stderr.write_text('a 4 x\n{"logship":"spilled","record":{"message":"a 2 x"}}\n')
    count = judge([ledger], [out], [stderr])
    assert (count.taken, count.delivered, count.again, count.spilled) == (4, 1, 1, 1)
    assert count.missing == [("a", 1), ("a", 4)]


@pytest.mark.parametrize(("growth", "is_flat"), [(0.0, True), (0.05, True), (2.0, False)])
def test_what_grows_is_seen_behind_what_only_varies(growth: float, is_flat: bool) -> None:
    values = [(float(second), 20 + growth * second / 60 + second % 3) for second in range(600)]
    assert Series("receive", "rss MiB", values).is_flat is is_flat
