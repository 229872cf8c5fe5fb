"""The command line of the benchmarks: `python -m benchmarks --help`."""

from __future__ import annotations

import click

from benchmarks.compose.command import compose
from benchmarks.demo import demo
from benchmarks.emit import emit
from benchmarks.latency import latency
from benchmarks.loss import loss
from benchmarks.proof import proof
from benchmarks.soak import soak


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure what logship promises, with real processes and an independent ledger."""


for command in (compose, demo, emit, latency, loss, proof, soak):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
