"""`python -m benchmarks emit` measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.emit import emit, ratios


def test_variants_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--turns", "2", "--records", "1000", "--json", "emit.json"]
    done = CliRunner().invoke(emit, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    slices = json.loads(Path("emit.json").read_text())["slices"]
    variants = ["context", "fields", "memory", "redact", "spool"]
    assert [each["variant"] for each in slices] == [*variants, *reversed(variants)]
    assert all(0 < each["median_ns"] <= each["p99.9_ns"] <= each["max_ns"] for each in slices)


def test_each_slice_is_compared_with_the_memory_slice_of_its_turn() -> None:
    slices = [
        {"turn": 0, "variant": "memory", "median_ns": 100},
        {"turn": 0, "variant": "spool", "median_ns": 150},
        {"turn": 1, "variant": "spool", "median_ns": 300},
        {"turn": 1, "variant": "memory", "median_ns": 100},
    ]
    assert ratios(slices, "spool", "median_ns") == [1.5, 3.0]
