"""The application of `python -m benchmarks scrape`: times slices of `emit` when it is told to.

Each line on its stdin is a number of records; it answers with the slice's figures as JSON, when
all of them are acked. The end of stdin is its end.
"""

from __future__ import annotations

import json
import sys
import time
from array import array
from itertools import cycle

import logship
from benchmarks.call_figures import call_figures
from benchmarks.records import RECORDS

FLUSH_SECONDS_MAX = 60.0
PACE_RECORDS, PACE_SECONDS = 100, 0.005


def main() -> None:
    """Serve slices with a client whose settings come from the environment."""
    client = logship.BackgroundClient()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_slice(client, int(line))) + "\n")
        sys.stdout.flush()
    client.close(timeout=FLUSH_SECONDS_MAX)


def _slice(client: logship.BackgroundClient, records: int) -> dict[str, float]:
    """Time each call; with a pause now and then, so that the slice lasts for several scrapes."""
    clock, emit, took = time.perf_counter_ns, client.emit, array("q")
    for number, record in zip(range(records), cycle(RECORDS), strict=False):
        if number % PACE_RECORDS == 0:
            time.sleep(PACE_SECONDS)
        before = clock()
        emit(record)
        took.append(clock() - before)
    if not client.flush(FLUSH_SECONDS_MAX).all_acked:
        raise SystemExit("the sidecar did not take everything")
    return call_figures(took)


if __name__ == "__main__":
    main()
