"""Loss, by `benchmarks.scenario`: lines that are nowhere, by an independent ledger."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from benchmarks.campaign import run_all
from benchmarks.performance.job import FULL, Job
from benchmarks.performance.results import Measured
from benchmarks.scenario import OURS, SHIPPER_NAMES, Scenario

FAULTS_QUICK = ("none", "sidecar-restart", "sidecar-down")
FAULTS_FULL = (*FAULTS_QUICK, "sidecar-slow", "sidecar-stops-too")


def measure(job: Job) -> Measured:
    """Run each fault for each shipper, and judge."""
    seconds, repeat = job.pick(5.0, 8.0, 0.5), job.pick(1, 2, 1)
    measured = job.measured(seconds=seconds, repeat=repeat, rate=300, stop_timeout=10)
    measured.notes += _NOTES
    faults = job.pick(FAULTS_QUICK, FAULTS_FULL, FAULTS_QUICK[:1])
    cases = {fault: Scenario(fault=fault, seconds=seconds) for fault in faults}
    if job.effort == FULL:
        cases["sidecar-slow, 100,000 lines at the end"] = Scenario(
            fault="sidecar-slow", seconds=4, stop_timeout=30, tail=100_000
        )
    for case, scenario in cases.items():
        job.tell(case)
        busy = scenario.tail > 0
        rows = run_all(
            [replace(scenario, shipper=shipper) for shipper in SHIPPER_NAMES],
            job.new_place(),
            Console(quiet=True),
            repeat=repeat,
            together=1 if busy else len(SHIPPER_NAMES),
        )
        for row in rows:
            for turn, outcome in enumerate(row.outcomes):
                verdict = outcome.verdict
                measured.add(
                    turn,
                    row.scenario.shipper,
                    case,
                    lost=verdict.lost,
                    spilled=verdict.spilled,
                    dropped=verdict.dropped,
                    delivered=verdict.delivered,
                    duplicated=verdict.duplicated,
                    stop_seconds=outcome.stop_seconds,
                )
                if row.scenario.shipper in OURS and not outcome.kept_the_promise:
                    measured.notes.append(
                        f"{case}, {row.scenario.shipper}: a run lost a line, held up the program "
                        "or left records on its spool."
                    )
    return measured


_NOTES = (
    "300 lines/s of 400 characters, then SIGTERM and 10 s to end, or 30 s with 100,000 lines at "
    "the end; embedded receiver. Lost is what is neither in its output nor on the program's "
    "stderr, and not declared as dropped. The peers run as their READMEs advise; `make proof` has "
    "the whole matrix.",
)
