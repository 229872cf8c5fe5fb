"""The commands that measure performance, or show what was measured."""

from __future__ import annotations

from benchmarks.compose.chart import compose_chart
from benchmarks.performance.compare import compare
from benchmarks.performance.compare_trees import compare_trees
from benchmarks.performance.report import report
from benchmarks.performance.suite import measure_commands, run_all_measures

COMMANDS = (
    run_all_measures,
    *measure_commands(),
    compare,
    compare_trees,
    compose_chart,
    report,
)
