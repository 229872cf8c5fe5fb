"""`python -m benchmarks emit` measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.emit import emit, ratios


def test_memory_and_spool_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--pairs", "2", "--records", "1000", "--json", "emit.json"]
    done = CliRunner().invoke(emit, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    slices = json.loads(Path("emit.json").read_text())["slices"]
    assert [each["storage"] for each in slices] == ["memory", "spool", "spool", "memory"]
    assert all(0 < each["median_ns"] <= each["p99.9_ns"] <= each["max_ns"] for each in slices)


def test_each_spool_slice_is_compared_with_the_memory_slice_of_its_pair() -> None:
    slices = [
        {"pair": 0, "storage": "memory", "median_ns": 100},
        {"pair": 0, "storage": "spool", "median_ns": 150},
        {"pair": 1, "storage": "spool", "median_ns": 300},
        {"pair": 1, "storage": "memory", "median_ns": 100},
    ]
    assert ratios(slices, "median_ns") == [1.5, 3.0]
