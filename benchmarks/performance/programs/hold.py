"""A process that holds records and does what it is told, line by line: for memory and for drain.

Reads `warm`, `load RATE SECONDS`, `soak SECONDS`, `fill` and `drain GROUP` from stdin and answers
each with one JSON line when it is done.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import time
from itertools import cycle
from typing import Any

from benchmarks.application import Pace
from benchmarks.performance.programs.shared import (
    BLOCK_RECORDS,
    WARM_UP_RECORDS,
    answer,
    background_client,
    wait_until_acked,
)
from benchmarks.records import RECORDS

_records = cycle(RECORDS)

PEERS_FILL_RECORDS = 5_000
"""fluent-logger throws away what exceeds a MiB: no bound is ever reached by it."""


class Logship:
    """logship's background client, whose buffer refuses what it has no place for."""

    def __init__(self, host: str, port: int, spool: str, bound: int) -> None:
        variables = {
            "LOGSHIP_BUFFER_BYTES_MAX": str(bound),
            "LOGSHIP_OVERFLOW": "drop_newest",
            "LOGSHIP_LAST_RESORT": "none",
        }
        if spool:
            variables |= {"LOGSHIP_SPOOL_DIR": spool, "LOGSHIP_SPOOL_BYTES_MAX": str(bound)}
        self._client = background_client(host, port, **variables)

    def send(self) -> None:
        """Wait for space."""
        self._client.send(next(_records))

    def fill(self) -> dict[str, Any]:
        """Log until there is no place left."""
        accepted = 0
        while self._client.emit(next(_records)):
            accepted += 1
        return {"records": accepted, "bytes": self.bytes_held()}

    def flush(self) -> None:
        """Wait until all is acked."""
        wait_until_acked(self._client)

    def bytes_held(self) -> int:
        """Return how much waits."""
        return self._client.shipper.buffer.bytes_held


class FluentLogger:
    """fluent-logger's sender."""

    def __init__(self, host: str, port: int, spool: str, bound: int) -> None:
        del spool, bound
        self._sender = importlib.import_module("fluent.sender").FluentSender(
            "benchmark", host=host, port=port
        )

    def send(self) -> None:
        """Send in this thread."""
        self._sender.emit(None, next(_records))

    def fill(self) -> dict[str, Any]:
        """Log what would fill a buffer."""
        for _ in range(PEERS_FILL_RECORDS):
            self.send()
        return {"records": PEERS_FILL_RECORDS, "bytes": len(self._sender.pendings or b"")}

    def flush(self) -> None:
        """Nothing can be waited for."""


SUBJECTS: dict[str, Any] = {
    "logship": Logship,
    "logship-spool": Logship,
    "fluent-logger": FluentLogger,
}


def warm(shipper: Any) -> dict[str, Any]:
    """Touch what is touched when records go through."""
    for _ in range(WARM_UP_RECORDS):
        shipper.send()
    shipper.flush()
    gc.collect()
    return {}


def load(shipper: Any, rate: str, seconds: str) -> dict[str, Any]:
    """Log at a steady rate."""
    begun = time.monotonic()
    pace, records = Pace(float(rate), begun), 0
    while (now := time.monotonic()) < begun + float(seconds):
        due = pace.due(now)
        for _ in range(due):
            shipper.send()
        records += due
        time.sleep(pace.wait_seconds(time.monotonic()))
    shipper.flush()
    return {"records": records}


def soak(shipper: Any, seconds: str) -> dict[str, Any]:
    """Log as fast as the sidecar takes it."""
    until, records = time.monotonic() + float(seconds), 0
    while time.monotonic() < until:
        for _ in range(BLOCK_RECORDS):
            shipper.send()
        records += BLOCK_RECORDS
    shipper.flush()
    return {"records": records}


def fill(shipper: Any) -> dict[str, Any]:
    """Fill the buffer."""
    found: dict[str, Any] = shipper.fill()
    return found


def drain(shipper: Any, group: str) -> dict[str, Any]:
    """Let a paused sidecar go on, and wait for the last ack."""
    held, begun = shipper.bytes_held(), time.monotonic()
    os.killpg(int(group), signal.SIGCONT)
    shipper.flush()
    return {"seconds": time.monotonic() - begun, "bytes": held}


TASKS: dict[str, Any] = {"warm": warm, "load": load, "soak": soak, "fill": fill, "drain": drain}


def main() -> None:
    """Run what the arguments say (subject, host, port, spool, bound), then what stdin says."""
    subject, host, port, spool, bound = sys.argv[1:]
    shipper = SUBJECTS[subject](host, int(port), spool, int(bound))
    for line in sys.stdin:
        task, *arguments = line.split()
        answer(TASKS[task](shipper, *arguments))
    os._exit(0)  # the held records are thrown away


if __name__ == "__main__":
    main()
