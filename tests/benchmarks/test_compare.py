"""`python -m benchmarks compare`: what moved beyond its spread, and whose fault it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from benchmarks.performance.compare import compare
from benchmarks.performance.compare_trees import compare_trees
from benchmarks.performance.results import Measured, write_results
from benchmarks.performance.statistics import ratios, spread_of


def handler_results(path: Path, subject: str, calls_ns: list[float], nothing_ns: float) -> Path:
    """Write results of `handler`: one value a turn, and what a handler costs that does nothing."""
    measured = Measured({})
    for turn, call_ns in enumerate(calls_ns):
        measured.add(turn, "nothing", "", call_ns=nothing_ns)
        measured.add(turn, subject, "", call_ns=call_ns)
    write_results(path, {"handler": measured})
    return path


@pytest.mark.parametrize(
    ("subject", "calls_ns", "nothing_ns", "code", "word"),
    [
        ("logship", [1900, 2000, 2100], 1000, 0, "0 moved"),
        ("logship", [2900, 3000, 3100], 1000, 1, "worse"),
        ("logship", [900, 1000, 1100], 1000, 0, "better"),
        ("logship", [3800, 4000, 4200], 2000, 0, "0 moved"),  # the whole machine is slower
        ("fluent-logger", [2900, 3000, 3100], 1000, 0, "not ours"),
        ("logship", [3000], 1000, 0, "0 moved"),  # the variation of one value is unknown
    ],
)
def test_only_our_own_figures_beyond_their_spread_fail(
    tmp_path: Path, subject: str, calls_ns: list[float], nothing_ns: float, code: int, word: str
) -> None:
    before = handler_results(tmp_path / "a.json", subject, [1900, 2000, 2100], 1000)
    after = handler_results(tmp_path / "b.json", subject, calls_ns, nothing_ns)
    done = CliRunner().invoke(compare, [str(before), str(after)])
    assert done.exit_code == code, done.output
    assert word in done.output


def compared(before: Measured, after: Measured, name: str, directory: Path) -> Result:
    write_results(directory / "a.json", {name: before})
    write_results(directory / "b.json", {name: after})
    return CliRunner().invoke(compare, [str(directory / "a.json"), str(directory / "b.json")])


@pytest.mark.parametrize("lost", [[0, 9], [9, 0, 0], [0, 0, 0, 0, 0, 0, 9]])
def test_lines_that_one_run_of_several_lost_are_worse(tmp_path: Path, lost: list[int]) -> None:
    before, after = Measured({}), Measured({})
    for turn, lines in enumerate(lost):
        before.add(turn, "logship", "none", lost=0)
        after.add(turn, "logship", "none", lost=lines)
    assert compared(before, after, "loss", tmp_path).exit_code == 1
    assert compared(after, after, "loss", tmp_path).exit_code == 0
    assert compared(after, before, "loss", tmp_path).exit_code == 0


def test_a_call_with_other_settings_is_our_own(tmp_path: Path) -> None:
    before, after = Measured({}), Measured({})
    for turn in range(3):
        for measured, call_ns in ((before, 5_000), (after, 9_000)):
            measured.add(turn, "memory", "", emit_p50_ns=4_000)
            measured.add(turn, "redact", "", emit_p50_ns=call_ns + turn)
    assert compared(before, after, "emit", tmp_path).exit_code == 1
    assert compared(after, before, "emit", tmp_path).exit_code == 0


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("other.json", "other.json holds no results"), ("none.json", "none.json: No such file")],
)
def test_a_file_without_results_is_named(tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "other.json").write_text('{"rows": []}')
    done = CliRunner().invoke(compare, [str(tmp_path / name)] * 2)
    assert done.exit_code == 2
    assert complaint in done.output


def test_a_figure_that_only_one_has_is_counted(tmp_path: Path) -> None:
    before, after = Measured({}), Measured({})
    for measured in (before, after):
        measured.add(0, "logship", "", leave_seconds=0.1)
    before.add(0, "logship", "", leave_cpu_seconds=0.1)
    done = compared(before, after, "leaving", tmp_path)
    assert "1 figures in both, 1 in one only, 0 moved" in done.output


def test_results_that_share_nothing_are_no_comparison(tmp_path: Path) -> None:
    measured = Measured({})
    measured.add(0, "logship", "", leave_seconds=0.1)
    done = compared(measured, Measured({}), "leaving", tmp_path)
    assert done.exit_code == 2
    assert "no figure" in done.output


def test_figures_of_another_version_are_not_called_worse(tmp_path: Path) -> None:
    measured = Measured({})
    measured.add(0, "logship", "", call_words=1.0)
    done = compared(measured, measured, "handler", tmp_path)
    assert done.exit_code == 2
    assert "call_words" in done.output


def test_a_directory_without_logship_is_no_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would find this checkout's logship, and compare it with itself."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(compare_trees, ["--old", ".", "--turns", "1", "--only", "leaving"])
    assert done.exit_code == 2
    assert "no logship" in done.output


def test_few_values_spread_from_least_to_greatest_many_by_quartiles() -> None:
    few, many = spread_of([3.0, 1.0, 2.0]), spread_of([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (few.low, few.median, few.high) == (1.0, 2.0, 3.0)
    assert (many.low, many.median, many.high) == (2.0, 3.0, 4.0)


def test_ratios_are_of_the_same_turn() -> None:
    assert ratios({0: 4.0, 1: 9.0, 2: 1.0}, {0: 2.0, 1: 3.0}) == [2.0, 3.0]
