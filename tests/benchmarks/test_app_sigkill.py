"""An application killed at a random moment: what a spool keeps, and what memory does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ledger import Ledger, marked, read_ledger
from benchmarks.proof import KILLED, _parts
from benchmarks.scenario import FAULTS, Outcome, Scenario
from benchmarks.spool import Recovery
from tests.benchmarks.running import loss_in
from tests.benchmarks.test_proof import row


def run_loss(directory: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Kill an application in its first second; return exit code, the JSON row, what was printed."""
    return loss_in(directory, "--fault", "app-sigkill", *words, "--seconds", "1")


def test_a_spool_keeps_every_line_whose_call_had_returned(tmp_path: Path) -> None:
    """And something was on it each time: otherwise these kills would show nothing."""
    words = ["--shipper", "logship-spool", "--rate", "30000", "--repeat", "2"]
    code, row, printed = run_loss(tmp_path, *words)
    assert code == 0, printed
    assert [run["seed"] for run in row["runs"]] == [1, 2]
    for run in row["runs"]:
        assert run["delivered"] == run["written"] > 0
        assert run["exit_code"] == -9
        assert run["left"] == run["recovery"]["exit_code"] == 0
    assert any(run["recovery"]["report"]["records_acked"] for run in row["runs"])


def test_the_moment_of_a_kill_follows_from_its_seed() -> None:
    moments = {Scenario(seconds=1, seed=seed).kill_seconds for seed in range(500)}
    assert len(moments) == 500
    assert min(moments) < 0.02
    assert max(moments) > 0.98
    assert Scenario(seconds=1, seed=7).kill_seconds == Scenario(seconds=1, seed=7).kill_seconds


@pytest.mark.parametrize(
    ("recovery", "is_kept"),
    [
        (Recovery(0, (), {}), True),
        (Recovery(1, (), {}), False),
        (Recovery(0, ("quarantine",), {}), False),
    ],
)
def test_a_recovery_that_leaves_something_breaks_the_promise(
    recovery: Recovery, is_kept: bool
) -> None:
    assert outcome(recovery, delivered=5).kept_the_promise == is_kept
    assert not outcome(recovery, delivered=4).kept_the_promise  # dropped is not delivered


@pytest.mark.parametrize("fault", FAULTS)
def test_a_spool_delivers_all_that_was_not_late(fault: str) -> None:
    """Whatever happens to the sidecar: it lives when the spool is recovered."""
    scenario, ended_well = replace(KILLED, fault=fault, rate=5), Recovery(0, (), {})
    stopped = replace(outcome(ended_well, delivered=4), scenario=scenario, exit_code=-15)
    cases: list[tuple[dict[str, Any], bool]] = [
        ({"delivered": 5, "dropped": 0}, True),
        ({"dropped": 1}, False),
        ({"spilled": 1, "dropped": 0}, False),
        ({"spilled": 1, "dropped": 0, "late": 1}, True),
    ]
    for changes, is_kept in cases:
        verdict = replace(stopped.verdict, **changes)
        assert replace(stopped, verdict=verdict).kept_the_promise == is_kept


def outcome(recovery: Recovery, delivered: int) -> Outcome:
    """Return the outcome of a killed run of five lines, one of them dropped if not delivered."""
    (ended,) = row("none", written=5, delivered=delivered, dropped=5 - delivered).outcomes
    killed: Outcome = replace(ended, scenario=KILLED, exit_code=-9, recovery=recovery)
    return killed


def test_the_proof_kills_as_often_as_it_is_told_at_both_rates() -> None:
    killed = {
        scenario.rate: part.repeat
        for part in _parts({}, 500)
        for scenario in part.scenarios
        if scenario.fault == "app-sigkill"
    }
    assert killed == {300: 500, 30_000: 500}


def test_a_note_that_was_cut_short_claims_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    notes = [marked("a line", "0a1b2c3d", "m00", number)[1] for number in (1, 2)]
    for note in notes:
        Ledger(path).note(note)
    path.write_bytes(path.read_bytes()[:-3])
    assert list(read_ledger(path).times_ns) == notes[:1]
