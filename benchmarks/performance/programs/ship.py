"""A process that ships records as fast as it can, for a while, and says what that took.

`python -m benchmarks.performance.programs.ship SUBJECT HOST PORT SECONDS SPOOL RECORDS UNTIL`. What
is acked is waited for; the others are closed, which is the most that can be asked of them. With
`read` as UNTIL, the clock begins when the server has read the warm-up, and runs until it has read
everything. Otherwise UNTIL is `sent`.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

from benchmarks.performance.programs.shared import (
    BLOCK_RECORDS,
    WARM_UP_RECORDS,
    answer,
    background_client,
    wait_until_acked,
)
from benchmarks.performance.programs.sockets import wait_until_read
from benchmarks.records import LISTS, Record


class Logship:
    """logship's background client; `finish` waits for the last ack.

    Attributes:
        at_once: How many records a call of `send` is given: where it is one, that, else a list.
    """

    at_once = 1

    def __init__(self, host: str, port: int, spool: str) -> None:
        spooled = {"LOGSHIP_SPOOL_DIR": spool} if spool else {}
        self._client = background_client(host, port, **spooled)

    def send(self, record: dict[str, Any]) -> None:
        """Wait for space, as a program does that can."""
        self._client.send(record)

    def finish(self) -> None:
        """Wait until all is acked."""
        wait_until_acked(self._client)

    def warmed_up(self) -> None:
        """Have nothing under way when the clock starts."""
        self.finish()


class LogshipMany(Logship):
    """The same for a program that has many records at once, as `logship run` does."""

    at_once = 100

    def send(self, records: list[dict[str, Any]]) -> None:  # type: ignore[override]
        """Hand all of them over in one call."""
        self._client.send_many(records)


class FluentLogger:
    """fluent-logger's sender; `finish` closes it, when the kernel has taken everything."""

    at_once = 1
    module = "fluent.sender"

    def __init__(self, host: str, port: int, spool: str) -> None:
        del spool
        self._sender = importlib.import_module(self.module).FluentSender(
            "benchmark", host=host, port=port
        )

    def send(self, record: dict[str, Any]) -> None:
        """Send in this thread, or queue it for its own."""
        if not self._sender.emit(None, record):
            raise SystemExit(f"fluent-logger did not take a record: {self._sender.last_error}")

    def finish(self) -> None:
        """Close it."""
        self._sender.close()

    def warmed_up(self) -> None:
        """Nothing can be waited for."""


class FluentLoggerAsync(FluentLogger):
    """fluent-logger's asynchronous sender: a queue of 100 and a thread."""

    module = "fluent.asyncsender"


SUBJECTS: dict[str, Callable[[str, int, str], Any]] = {
    "logship": Logship,
    "logship-many": LogshipMany,
    "logship-spool": Logship,
    "fluent-logger": FluentLogger,
    "fluent-logger-async": FluentLoggerAsync,
}


def _blocks(records: list[Record], at_once: int) -> list[list[Any]]:
    """Return all records in blocks, each of what is handed over in one call after the other."""
    given: list[Any] = list(records)
    if at_once > 1:
        given = [records[at : at + at_once] for at in range(0, len(records), at_once)]
    calls = BLOCK_RECORDS // at_once
    return [given[at : at + calls] for at in range(0, len(given), calls)]


def main() -> None:
    """Warm up, then ship for so many seconds."""
    subject, host, port, seconds, spool, name, until = sys.argv[1:]
    shipper = SUBJECTS[subject](host, int(port), spool)
    blocks = cycle(_blocks(LISTS[name], shipper.at_once))
    for _ in range(WARM_UP_RECORDS // BLOCK_RECORDS):
        for given in next(blocks):
            shipper.send(given)
    shipper.warmed_up()
    if until == "read":
        wait_until_read(int(port))
    begun_ns, cpu_seconds = time.monotonic_ns(), time.process_time()
    until_ns = begun_ns + int(float(seconds) * 1e9)
    records, send = 0, shipper.send
    while not records or time.monotonic_ns() < until_ns:
        for given in next(blocks):
            send(given)
        records += BLOCK_RECORDS
    shipper.finish()
    cpu_seconds = time.process_time() - cpu_seconds
    if until == "read":
        wait_until_read(int(port))
    figures = {
        "records": records,
        "warm_up_records": WARM_UP_RECORDS,
        "begun_ns": begun_ns,
        "ended_ns": time.monotonic_ns(),
        "cpu_seconds": cpu_seconds,
    }
    answer(figures)


if __name__ == "__main__":
    main()
