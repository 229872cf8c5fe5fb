"""What the matrix concludes from its rows, and what it asks of each."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.judge import Verdict
from benchmarks.loss import exit_code
from benchmarks.performance import losses
from benchmarks.performance.job import LEAST, Job
from benchmarks.proof import _conclude, _tidy
from benchmarks.scenario import FAULTS, SHIPPER_NAMES, Outcome, Scenario
from benchmarks.servers import find_servers
from benchmarks.table import Row, as_table


def row(fault: str, shipper: str = "logship", directory: Path = Path("run"), **figures: int) -> Row:
    counts = dict.fromkeys(Verdict.__dataclass_fields__, 0) | {"written": 9} | figures
    scenario = Scenario(shipper=shipper, fault=fault, rate=1)
    outcome = Outcome(
        scenario=scenario,
        verdict=Verdict(**(counts | {"lost_examples": ()})),  # type: ignore[arg-type]
        rate_attained=300.0,
        logged=counts["written"],
        stop_seconds=0.0,
        exit_code=-15,
        killed=False,
        report=None,
        recovery=None,
        directory=directory,
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


@pytest.mark.parametrize(
    ("fault", "shipper", "figures", "is_kept"),
    [
        ("none", "logship", {"delivered": 9}, False),
        ("none", "logship", {"delivered": 5, "spilled": 4, "late": 4}, False),
        ("none", "logship", {"delivered": 5, "spilled": 4, "late": 3}, True),
        ("sidecar-down", "logship", {"delivered": 5, "spilled": 4}, False),
        ("sidecar-down", "logship", {"delivered": 8, "lost": 1}, True),
        ("none", "logship", {"written": 1, "delivered": 1}, True),
        ("none", "fluent-logger", {"delivered": 5, "spilled": 4}, False),
    ],
)
def test_the_files_of_each_run_that_fails_are_kept(
    tmp_path: Path, fault: str, shipper: str, figures: dict[str, int], is_kept: bool
) -> None:
    place = tmp_path / "none-2"
    place.mkdir()
    ended = row(fault, shipper, place, **figures)
    _tidy(ended.outcomes[0])
    assert place.exists() == is_kept
    code, said = concluded(ended)
    assert bool(code or exit_code([ended])) == ("none-2" in said) == is_kept


SCRIPT = Scenario(rate=1, stop_timeout=2)
TAIL = replace(SCRIPT, tail=100)
BATCH = replace(SCRIPT, app="batch")
HANDLER = replace(SCRIPT, on_sigterm="handler")


@pytest.mark.parametrize(
    ("scenario", "ends_well"),
    [(SCRIPT, -15), (HANDLER, 0), (BATCH, 0), (TAIL, 0)],
    ids=["default", "handler", "batch", "tail"],
)
def test_logship_lets_an_application_end_as_it_would(scenario: Scenario, ends_well: int) -> None:
    ended = replace(row("none", delivered=9).outcomes[0], scenario=scenario)
    for code in (-15, -11, -9, 0, 1):
        kept = replace(ended, exit_code=code).kept_the_promise
        assert kept == (code == ends_well)
    peer = replace(scenario, shipper="fluent-logger")
    assert replace(ended, scenario=peer, exit_code=1).kept_the_promise


@pytest.mark.parametrize(
    ("scenario", "late", "is_kept"),
    [(TAIL, 1, True), (TAIL, 0, False), (SCRIPT, 1, False), (BATCH, 0, False)],
    ids=["logs until then", "hangs in its tail", "hangs", "batch hangs"],
)
def test_only_a_tail_that_is_too_long_may_be_killed(
    scenario: Scenario, late: int, is_kept: bool
) -> None:
    ended = row("none", delivered=9 - late, spilled=late, late=late).outcomes[0]
    killed = replace(ended, scenario=scenario, exit_code=-9, killed=True)
    assert killed.kept_the_promise == is_kept


@pytest.mark.parametrize(("written", "is_kept"), [(1, False), (4, False), (5, True), (10, True)])
def test_logship_lets_an_application_log(written: int, is_kept: bool) -> None:
    """Ten lines are due."""
    ended = row("none", written=written, delivered=written).outcomes[0]
    assert ended.kept_the_promise == is_kept
    peer = replace(ended.scenario, shipper="fluent-logger")
    assert replace(ended, scenario=peer).kept_the_promise


def test_a_tail_does_not_stand_for_the_lines_before_it() -> None:
    ended = row("none", written=100, delivered=100).outcomes[0]
    ended = replace(ended, scenario=replace(TAIL, tail=98), exit_code=0)
    assert [replace(ended, logged=logged).kept_the_promise for logged in (2, 9)] == [False, True]


def test_the_measure_of_loss_notes_what_else_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = [row("none", shipper, delivered=9) for shipper in SHIPPER_NAMES[:3]]
    ended[0] = Row(ended[0].scenario, (replace(ended[0].outcomes[0], exit_code=1),))
    monkeypatch.setattr("benchmarks.performance.losses.run_all", lambda *_, **__: ended)
    (_, *notes) = losses.measure(Job(tmp_path, LEAST)).notes
    assert len(notes) == 1
    assert notes[0].startswith("none, logship: ")


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
    dead = Scenario(stop_timeout=timeout, fault="sidecar-down")
    assert dead.intake_seconds == pytest.approx(seconds - 0.2)


def test_the_newest_server_on_path_is_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fluentd-1.16.5", "fluentd-1.9.3", "fluentd-setup", "fluentd"):
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_servers("fluentd") == ["fluentd", "fluentd-1.9.3", "fluentd-1.16.5"]


@pytest.mark.parametrize(("figures", "shown"), [({"late": 2}, True), ({}, False)])
def test_late_lines_have_a_column_where_there_are_any(figures: Any, shown: bool) -> None:
    table = as_table([row("none", **figures), row("sidecar-down")], "Loss")
    assert ("late" in [column.header for column in table.columns]) == shown
    assert "left" not in [column.header for column in table.columns]
