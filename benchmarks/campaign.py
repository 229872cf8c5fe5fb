"""Several runs in a row or side by side, with progress bars, kept under one directory."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.progress import open_progress
from benchmarks.scenario import Outcome, Scenario, Watch, run
from benchmarks.table import Row

SIGNAL_SECONDS = 0.5
"""How late a signal may be noticed."""


def new_directory(kind: str) -> Path:
    """Make a directory under `out/`, named after this moment."""
    return _make_new(Path("out") / kind / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S"))


def _make_new(wanted: Path) -> Path:
    """Make a directory that did not exist: `wanted`, or the like with a number."""
    for number in itertools.count(1):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            break
    return path


def run_all(
    scenarios: Sequence[Scenario],
    directory: Path,
    console: Console,
    *,
    repeat: int = 1,
    together: int = 1,
    ended: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Row]:
    """Run each scenario `repeat` times and return its row.

    Args:
        scenarios: In the order of the rows.
        directory: Takes a directory for each run.
        console: Shows the runs that are under way.
        repeat: Runs of each scenario; its seed is the first one's, and each has the next.
        together: How many runs may be under way at once: more than one only where a run is light.
        ended: Told of each run when it ended, in the thread that ran it.

    Raises:
        BenchmarkError: A run failed; those under way are called off.
    """
    watch_over = threading.Event()
    with open_progress(console) as progress:
        pool = ThreadPoolExecutor(together)
        try:
            jobs = [
                [
                    pool.submit(
                        _one,
                        replace(scenario, seed=scenario.seed + number),
                        *(directory, progress, watch_over, ended),
                    )
                    for number in range(repeat)
                ]
                for scenario in scenarios
            ]
            return [
                Row(scenario, tuple(map(_result, runs)))
                for scenario, runs in zip(scenarios, jobs, strict=True)
            ]
        finally:
            watch_over.set()
            pool.shutdown(cancel_futures=True)


def _result(run: Future[Outcome]) -> Outcome:
    """Wait for a run, and look for signals meanwhile.

    The kernel may give a signal to the thread that is just starting a program. Then a main thread
    that waits without a bound is not woken, and Python never calls the handler.
    """
    while not run.done():
        wait([run], SIGNAL_SECONDS)
    return run.result()


def _one(
    scenario: Scenario,
    directory: Path,
    progress: Progress,
    called_off: threading.Event,
    ended: Callable[[Outcome], None],
) -> Outcome:
    task = progress.add_task(f"{scenario.shipper}, {scenario.fault}", total=1.0, step="")

    def tell(fraction: float, step: str) -> None:
        progress.update(task, completed=fraction, step=step)

    place = _make_new(directory / scenario.name)
    try:
        outcome = run(scenario, place, Watch(tell, called_off))
    finally:
        progress.remove_task(task)
    ended(outcome)
    return outcome
