"""`python -m benchmarks latency` measures what it says: every condition, every call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.latency import PLACES, SIDECARS, Run, as_table, latency


def test_every_condition_is_measured_in_each_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "latency.json"
    arguments = ["--records", "1000", "--rate", "10000", "--turns", "1", "--json", str(file)]
    done = CliRunner().invoke(latency, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    runs = json.loads(file.read_text())["runs"]
    assert [(run["place"], run["sidecar"]) for run in runs] == [
        (place, sidecar) for place in PLACES for sidecar in SIDECARS
    ]
    for run in runs:
        assert run["took_ns"] == sorted(run["took_ns"])
        assert run["took_ns"][0] > 0


def test_each_condition_is_compared_with_the_healthy_one_of_its_turn() -> None:
    factors = dict(zip(SIDECARS, (1, 2, 3, 4, 5), strict=True))
    runs = [
        Run(sidecar, place, turn, [1000 * factor * (turn + 1)] * 1001)
        for turn in range(3)
        for place in PLACES
        for sidecar, factor in factors.items()
    ]
    table = as_table(runs, "")
    (ratios,) = [each for each in table.columns if str(each.header) == "p99.9 / healthy"]
    assert list(ratios.cells) == [f"{factor:.2f}" for _ in PLACES for factor in factors.values()]
