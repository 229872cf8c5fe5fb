"""What the matrix concludes from its rows, and what it asks of each."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.judge import Verdict
from benchmarks.proof import _conclude
from benchmarks.scenario import FAULTS, Outcome, Scenario
from benchmarks.table import Row, as_table


def row(fault: str, shipper: str = "logship", **figures: int) -> Row:
    counts = dict.fromkeys(Verdict.__dataclass_fields__, 0) | {"written": 9} | figures
    scenario = Scenario(shipper=shipper, fault=fault)
    outcome = Outcome(
        scenario=scenario,
        verdict=Verdict(**(counts | {"lost_examples": ()})),  # type: ignore[arg-type]
        rate_attained=300.0,
        stop_seconds=0.0,
        exit_code=-15,
        killed=False,
        report=None,
        recovery=None,
        directory=Path(),
        outputs=(),
    )
    return Row(scenario, (outcome,))


def concluded(*rows: Row) -> tuple[int, str]:
    said = io.StringIO()
    return _conclude([*rows], Console(file=said, width=200)), said.getvalue()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sidecar_that_is_there_must_have_all_that_was_not_late(fault: str) -> None:
    up = fault in ("none", "sidecar-restart", "sidecar-slow")
    missed, said = concluded(row("none", delivered=9), row(fault, delivered=5, spilled=4, late=3))
    assert missed == up
    assert ("Not all lines at a sidecar" in said) == up
    code, said = concluded(row(fault, delivered=5, spilled=4, late=4))
    assert code == 0
    assert f"all lines except {4 if up else 0} logged" in said


def test_what_the_peers_deliver_is_their_own_matter() -> None:
    code, said = concluded(row("none", "fluent-logger", delivered=5, lost=4))
    assert code == 0
    assert "0 runs, 0 lines written, 0 lost" in said


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(2.0, 1.5), (10.0, 8.7), (30.0, 28.7), (120.0, 118.7)]
)
def test_until_when_a_line_must_reach_the_sidecar(timeout: float, seconds: float) -> None:
    """As decision 019 says it, reckoned here once more."""
    assert Scenario(stop_timeout=timeout).intake_seconds == pytest.approx(seconds)


@pytest.mark.parametrize(("figures", "shown"), [({"late": 2}, True), ({}, False)])
def test_late_lines_have_a_column_where_there_are_any(figures: Any, shown: bool) -> None:
    table = as_table([row("none", **figures), row("sidecar-down")], "Loss")
    assert ("late" in [column.header for column in table.columns]) == shown
    assert "left" not in [column.header for column in table.columns]
