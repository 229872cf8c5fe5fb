"""The application in which `emit` into memory and `emit` into a warm spool take turns.

One process, two clients, one sidecar; before each slice everything is acked, so that none waits for
space and segments are there to be used again. It prints each slice's figures as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from array import array
from itertools import cycle, islice

import logship
from benchmarks.call_figures import call_figures
from benchmarks.records import RECORDS

FLUSH_SECONDS_MAX = 60.0


def main() -> None:
    """Run what the arguments say: endpoint, spool directory, pairs of slices, records of each."""
    endpoint, directory, pairs, records = sys.argv[1:]
    common = {"LOGSHIP_ENDPOINTS": endpoint, "LOGSHIP_BUFFER_BYTES_MAX": str(64 << 20)}
    environs = {"memory": common, "spool": common | {"LOGSHIP_SPOOL_DIR": directory}}
    clients = {
        name: logship.BackgroundClient(logship.Settings.from_env(environ))
        for name, environ in environs.items()
    }
    slices = []
    for pair in range(-1, int(pairs)):  # the first one warms up
        for name in sorted(clients, reverse=bool(pair % 2)):
            took = _slice(clients[name], int(records))
            if pair >= 0:
                slices.append({"pair": pair, "storage": name, **call_figures(took)})
    for client in clients.values():
        client.close(timeout=FLUSH_SECONDS_MAX)
    json.dump(slices, sys.stdout)


def _slice(client: logship.BackgroundClient, records: int) -> array[int]:
    clock, emit, took = time.perf_counter_ns, client.emit, array("q")
    for record in islice(cycle(RECORDS), records):
        before = clock()
        emit(record)
        took.append(clock() - before)
    if not client.flush(FLUSH_SECONDS_MAX).all_acked:
        raise SystemExit("the sidecar did not take everything")
    return took


if __name__ == "__main__":
    main()
