"""`python -m benchmarks scrape`: what metrics, and scraping them ten times a second, cost `emit`.

Two applications, with and without metrics, run slices in turns; the one with metrics runs one
more while it is scraped. Neighbours are compared, as in `emit`, and also the slices of the
application without metrics with each other: that is the noise.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from benchmarks.campaign import new_directory
from benchmarks.conditions import clean_environ, conditions
from benchmarks.errors import BenchmarkError
from benchmarks.progress import open_progress
from benchmarks.sidecars import running_receiver
from benchmarks.table import open_console, ruled_table

PROGRAM = Path(__file__).with_name("scrape_program.py")
FIGURES = ("median_ns", "mean_ns", "p99.9_ns", "max_ns")
SCRAPE_SECONDS = 0.1
START_SECONDS_MAX = 30.0
MODES = ("off", "off again", "on", "scraped")
RATIOS = (("off again", "off"), ("on", "off"), ("scraped", "on"))

Slice = dict[str, Any]

_SERVED = re.compile(r"metrics are served on (\S+)")


@click.command()
@click.option("--pairs", type=click.IntRange(1), default=40, show_default=True)
@click.option("--records", type=click.IntRange(1000), default=10_000, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE")
def scrape(pairs: int, records: int, json_file: Path | None) -> None:
    """Time `emit` without metrics, with them, and scraped ten times a second, in turns."""
    console, directory = open_console(), new_directory("scrape")
    with open_progress(console) as progress:
        task = progress.add_task("scrape", total=pairs, step="warming up")

        def tell(pair: int) -> None:
            progress.update(task, completed=pair, step=f"{pair + 1} of {pairs} turns")

        slices = _measure(directory, pairs, records, tell)
    console.print(as_table(slices))
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "conditions": conditions({"pairs": pairs, "records": records}),
            "ratios": {
                f"{one} / {other}": {
                    figure: quartiles(slices, one, other, figure) for figure in FIGURES
                }
                for one, other in RATIOS
            },
            "slices": slices,
        }
        json_file.write_text(json.dumps(document) + "\n")


def as_table(slices: Sequence[Slice]) -> Table:
    """Return the median ratio of neighbours and its quartiles, for each comparison."""
    scrapes = [each["scrapes"] for each in slices if each["mode"] == "scraped"]
    title = f"A call of emit, slices in turns; scraped {sum(scrapes)} times in all"
    table = ruled_table(title)
    table.add_column("ratio (lower quartile, median, upper quartile)")
    for figure in FIGURES:
        table.add_column(figure.removesuffix("_ns"), justify="right", no_wrap=True)
    for one, other in RATIOS:
        cells = [
            " ".join(f"{each:.3f}" for each in quartiles(slices, one, other, figure))
            for figure in FIGURES
        ]
        table.add_row(f"{one} / {other}", *cells)
    return table


def quartiles(slices: Sequence[Slice], one: str, other: str, figure: str) -> list[float]:
    """Return lower quartile, median and upper quartile of the ratios, pair by pair."""
    by_pair: dict[int, dict[str, float]] = {}
    for each in slices:
        by_pair.setdefault(each["pair"], {})[each["mode"]] = each[figure]
    ratios = sorted(modes[one] / modes[other] for modes in by_pair.values())
    return [ratios[round(share * (len(ratios) - 1))] for share in (0.25, 0.5, 0.75)]


class _Application:
    """One application under measurement."""

    def __init__(self, stderr: Path, environ: dict[str, str]) -> None:
        self._stderr = stderr
        with stderr.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=clean_environ() | environ,
            )

    def slice(self, records: int) -> Slice:
        """Have it run a slice."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{records}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise BenchmarkError(f"the measured program ended; see {self._stderr}")
        figures: Slice = json.loads(answer)
        return figures

    def url(self) -> str:
        """Wait until it says where its metrics are.

        Raises:
            BenchmarkError: It does not.
        """
        deadline = time.monotonic() + START_SECONDS_MAX
        while (found := _SERVED.search(self._stderr.read_text())) is None:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"no metrics are served; see {self._stderr}")
            time.sleep(0.01)
        return found[1]

    def end(self) -> None:
        """End it."""
        self._process.communicate(timeout=60)


class _Scraper:
    """Scrapes ten times a second, as long as it is entered."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.count = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Scrape during the block, from its beginning."""
        self.count, stopped = 0, threading.Event()

        def work() -> None:
            while not stopped.is_set():
                with urllib.request.urlopen(self._url, timeout=10) as answer:  # noqa: S310 - its own
                    answer.read()
                self.count += 1
                stopped.wait(SCRAPE_SECONDS)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


def _measure(directory: Path, pairs: int, records: int, tell: Callable[[int], None]) -> list[Slice]:
    with running_receiver(directory) as receiver:
        host, port = receiver.address
        environ = {
            "LOGSHIP_ENDPOINTS": f"tcp://{host}:{port}",
            "LOGSHIP_BUFFER_BYTES_MAX": str(64 << 20),
        }
        off = _Application(directory / "off", environ)
        on = _Application(directory / "on", environ | {"LOGSHIP_METRICS_PORT": "0"})
        scraper = _Scraper(on.url())
        try:
            return _slices(off, on, scraper, pairs, records, tell)
        finally:
            off.end()
            on.end()


def _slices(
    off: _Application,
    on: _Application,
    scraper: _Scraper,
    pairs: int,
    records: int,
    tell: Callable[[int], None],
) -> list[Slice]:
    slices: list[Slice] = []
    order = random.Random(0)
    for pair in range(-1, pairs):  # the first one warms up
        if pair >= 0:
            tell(pair)
        for mode in order.sample(MODES, len(MODES)):
            application = off if mode.startswith("off") else on
            if mode == "scraped":
                with scraper.running():
                    figures = application.slice(records) | {"scrapes": scraper.count}
            else:
                figures = application.slice(records)
            if pair >= 0:
                slices.append({"pair": pair, "mode": mode, **figures})
    return slices
