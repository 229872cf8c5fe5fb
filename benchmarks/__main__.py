"""The command line of the benchmarks: `python -m benchmarks --help`."""

from __future__ import annotations

import signal

import click

from benchmarks.compose.chart import compose_chart
from benchmarks.compose.command import compose
from benchmarks.demo import demo
from benchmarks.loss import loss
from benchmarks.performance.compare import compare
from benchmarks.performance.compare_trees import compare_trees
from benchmarks.performance.report import report
from benchmarks.performance.suite import measure_commands, run_all_measures
from benchmarks.processes import kill_children
from benchmarks.proof import proof


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure what logship promises, with real processes and an independent ledger."""
    # As after Ctrl-C, a command ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


COMMANDS = (
    run_all_measures,
    *measure_commands(),
    compare,
    compare_trees,
    compose,
    compose_chart,
    demo,
    loss,
    proof,
    report,
)

for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    try:
        main(prog_name="python -m benchmarks")
    finally:
        kill_children()
