"""What calls of `emit` take with other settings, which take turns in one process.

`python -m benchmarks.performance.programs.variants HOST PORT METRICS_PORT DIRECTORY TURNS RECORDS`
has a client for each variant, all for one sidecar. Before each slice everything is acked, so that
none waits for space and segments are there to be used again. It prints turn, variant and figures of
each slice.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
import urllib.request
from array import array
from collections.abc import Iterator
from itertools import cycle

import logship
from benchmarks.performance.programs.shared import answer, background_client, wait_until_acked
from benchmarks.performance.statistics import call_figures
from benchmarks.records import RECORDS

SERVED_SECONDS_MAX = 10.0
PACE_RECORDS, PACE_SECONDS = 100, 0.005
"""A pause after so many records, so that a slice lasts for several scrapes."""
METRICS, SCRAPED = "metrics", "scraped"
SCRAPER = """\
import sys, time, urllib.request
while True:
    urllib.request.urlopen(sys.argv[1], timeout=10).read()
    time.sleep(0.1)
"""


def main() -> None:
    """Run what the arguments say."""
    host, port, metrics_port, directory, turns, records = sys.argv[1:]
    variants: dict[str, dict[str, str]] = {
        "memory": {},
        "spool": {"LOGSHIP_SPOOL_DIR": directory},
        "fields": {"LOGSHIP_FIELDS": "service.name=shop,service.version=7,env=prod"},
        "context": {},
        "redact": {"LOGSHIP_REDACT": "default"},
        METRICS: {"LOGSHIP_METRICS_PORT": metrics_port, "LOGSHIP_METRICS_DIR": directory},
    }
    clients = {
        name: background_client(host, port, **variables) for name, variables in variants.items()
    }
    clients[SCRAPED] = clients[METRICS]
    slices = []
    with _scraper(f"http://127.0.0.1:{metrics_port}/metrics") as scraper:
        for turn in range(-1, int(turns)):  # the first one warms up
            for name in sorted(clients, reverse=bool(turn % 2)):
                if name == SCRAPED:
                    scraper.send_signal(signal.SIGCONT)
                took = _slice(clients[name], int(records), in_context=name == "context")
                scraper.send_signal(signal.SIGSTOP)
                if turn >= 0:
                    slices.append((turn, name, took))
    for client in clients.values():
        client.close()
    answer(slices)


@contextlib.contextmanager
def _scraper(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that scrapes ten times a second whenever it is not stopped."""
    _wait_until_served(url)
    scraper = subprocess.Popen([sys.executable, "-c", SCRAPER, url])
    try:
        yield scraper
        if scraper.poll() is not None:
            raise SystemExit("the metrics could not be scraped")
    finally:
        scraper.kill()
        scraper.wait()


def _wait_until_served(url: str) -> None:
    """Wait for the endpoint: a thread of its client makes it."""
    ends_seconds = time.monotonic() + SERVED_SECONDS_MAX
    while True:
        try:
            urllib.request.urlopen(url, timeout=SERVED_SECONDS_MAX).close()  # noqa: S310 - ours
        except OSError:
            if time.monotonic() > ends_seconds:
                raise
            time.sleep(0.02)
        else:
            return


def _slice(client: logship.BackgroundClient, records: int, *, in_context: bool) -> dict[str, float]:
    """Return the figures of so many calls."""
    clock, emit, took = time.perf_counter_ns, client.emit, array("q")
    with logship.context(request_id="1f3a", user=7) if in_context else contextlib.nullcontext():
        for number, record in zip(range(records), cycle(RECORDS), strict=False):
            if number % PACE_RECORDS == 0:
                time.sleep(PACE_SECONDS)
            before = clock()
            emit(record)
            took.append(clock() - before)
    wait_until_acked(client)
    return call_figures(sorted(took))


if __name__ == "__main__":
    main()
