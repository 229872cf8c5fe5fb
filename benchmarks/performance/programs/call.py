"""A program whose `logging` calls are timed, with one handler on the root logger.

It prints nanoseconds a call for each form of call, in the main thread and in a worker. `burst_ns`:
this thread's CPU in bursts smaller than a chunk, each followed by a pause: what the caller pays.
`sustained_ns`: the time of plain calls without any pause, so that all that a shipper's own thread
does takes its share of the interpreter.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from statistics import median
from threading import Thread
from typing import Any

from benchmarks.application import SHIPPERS
from benchmarks.performance.programs.shared import answer, wait_until_acked
from benchmarks.records import LINES

PAUSE_SECONDS = 0.005
MAIN, WORKER = "main thread", "worker"
FORMS = ("plain", "arguments", "extra texts", "extra numbers")

logger = logging.getLogger("benchmark")


class Nothing(logging.Handler):
    """A handler that does nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        """Do nothing."""


def install(subject: str, host: str, port: int) -> Callable[[], object]:
    """Put the subject's handler on the root logger; return what waits until it is idle."""
    if subject == "nothing":
        root = logging.getLogger()
        root.addHandler(Nothing())
        root.setLevel(logging.INFO)
    else:
        SHIPPERS[subject](host, port)
    if not subject.startswith("logship"):
        return lambda: time.sleep(PAUSE_SECONDS)
    import logship  # noqa: PLC0415 - the peers' processes must not pay for it

    client = logship.install(level=logging.INFO)

    def rest() -> None:
        wait_until_acked(client)
        time.sleep(PAUSE_SECONDS)

    return rest


def time_calls(form: str, calls: int, clock: Callable[[], int] = time.thread_time_ns) -> float:
    """Return the mean nanoseconds of so many calls."""
    info, lines = logger.info, [*islice(cycle(LINES), calls)]
    extras = [_extra(form, number) for number in range(calls)]
    begun = clock()
    if form == "plain":
        for line in lines:
            info(line)
    elif form == "arguments":
        for number, line in enumerate(lines):
            info("order %d: %s", number, line)
    else:
        for line, extra in zip(lines, extras, strict=True):
            info(line, extra=extra)
    return (clock() - begun) / calls


def _extra(form: str, number: int) -> dict[str, Any]:
    if form == "extra texts":
        return {"user": f"user {number}", "path": f"/orders/{number}"}
    return {"order": number, "seconds": number / 7}


def _in_worker(form: str, calls: int) -> float:
    took: list[float] = []
    worker = Thread(target=lambda: took.append(time_calls(form, calls)), name="worker")
    worker.start()
    worker.join()
    return took[0]


def main() -> None:
    """Run what the arguments say."""
    subject, host, port, bursts, calls, sustained = sys.argv[1:]
    rest = install(subject, host, int(port))
    took: dict[str, list[float]] = {}
    for burst in range(int(bursts) + 2):  # the first two warm up
        for form in FORMS:
            for thread in (MAIN, WORKER):
                time_them = time_calls if thread == MAIN else _in_worker
                found = time_them(form, int(calls))
                rest()
                if burst > 1:
                    took.setdefault(f"{form}, {thread}", []).append(found)
    figures = {
        "burst_ns": {case: median(found) for case, found in took.items()},
        "sustained_ns": time_calls("plain", int(sustained), time.perf_counter_ns),
    }
    answer(figures)
    rest()


if __name__ == "__main__":
    main()
