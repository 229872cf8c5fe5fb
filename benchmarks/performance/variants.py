"""Variants: what a call of `emit` takes with other settings, and while its metrics are scraped."""

from __future__ import annotations

from benchmarks.performance.job import Job
from benchmarks.performance.results import Measured
from benchmarks.performance.serving import EMBEDDED, serving
from benchmarks.processes import run_program
from benchmarks.sidecars import free_port

PROGRAM = "benchmarks.performance.programs.variants"
MEMORY = "memory"
PROGRAM_SECONDS_MAX = 1800.0


def measure(job: Job) -> Measured:
    """Time each call; all variants in one process, in turns, so that neighbours compare."""
    turns, records = job.turns(5, 16), job.pick(4_000, 20_000, 1_000)
    measured = job.measured(turns=turns, records=records)
    measured.notes += _NOTES
    with serving(job, EMBEDDED) as server:
        slices = run_program(
            PROGRAM,
            *(*server.address, free_port(), job.new_place(), turns, records),
            stderr=job.stderr,
            seconds_max=PROGRAM_SECONDS_MAX,
        )
    for turn, variant, figures in slices:
        measured.add(turn, variant, "", **figures)
    return measured


_NOTES = (
    "`emit` of a record of 400 characters, with a pause now and then. Memory: the defaults. Spool: "
    "a warm one. Fields: three constant ones. Context: two fields of `logship.context`. Redact: "
    "the default rules. Metrics: they are served. Scraped: ten times a second.",
    "The ratios are of medians of the same turn.",
)
