"""The application in which clients with different settings take turns with `emit`.

One process, a client for each variant, one sidecar; before each slice everything is acked, so that
none waits for space and segments are there to be used again. It prints each slice's figures as
JSON.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from array import array
from itertools import cycle, islice

import logship
from benchmarks.call_figures import call_figures
from benchmarks.records import RECORDS

FLUSH_SECONDS_MAX = 60.0
VARIANTS = {
    "memory": {},
    "spool": {"LOGSHIP_SPOOL_DIR": ""},
    "fields": {"LOGSHIP_FIELDS": "service.name=shop,service.version=7,env=prod"},
    "context": {},
    "redact": {"LOGSHIP_REDACT": "default"},
}
"""What each client's settings have beside the common ones."""


def main() -> None:
    """Run what the arguments say: endpoint, spool directory, turns, records of each slice."""
    endpoint, directory, turns, records = sys.argv[1:]
    common = {"LOGSHIP_ENDPOINTS": endpoint, "LOGSHIP_BUFFER_BYTES_MAX": str(64 << 20)}
    VARIANTS["spool"]["LOGSHIP_SPOOL_DIR"] = directory
    clients = {
        name: logship.BackgroundClient(logship.Settings.from_env(common | environ))
        for name, environ in VARIANTS.items()
    }
    slices = []
    for turn in range(-1, int(turns)):  # the first one warms up
        for name in sorted(clients, reverse=bool(turn % 2)):
            took = _slice(clients[name], int(records), in_context=name == "context")
            if turn >= 0:
                slices.append({"turn": turn, "variant": name, **call_figures(took)})
    for client in clients.values():
        client.close(timeout=FLUSH_SECONDS_MAX)
    json.dump(slices, sys.stdout)


def _slice(client: logship.BackgroundClient, records: int, *, in_context: bool) -> array[int]:
    clock, emit, took = time.perf_counter_ns, client.emit, array("q")
    with logship.context(request_id="1f3a", user=7) if in_context else contextlib.nullcontext():
        for record in islice(cycle(RECORDS), records):
            before = clock()
            emit(record)
            took.append(clock() - before)
    if not client.flush(FLUSH_SECONDS_MAX).all_acked:
        raise SystemExit("the sidecar did not take everything")
    return took


if __name__ == "__main__":
    main()
