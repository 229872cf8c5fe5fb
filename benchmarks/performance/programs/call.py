"""A program whose `logging` calls are timed, with one handler on the root logger.

`burst_ns`: nanoseconds a call in bursts smaller than a chunk, each followed by a pause: what the
caller pays. `sustained_ns`: the same without any pause, so that all that a shipper's own thread
does takes its share of the interpreter.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice

from benchmarks.application import SHIPPERS
from benchmarks.records import LINES

BURST_CALLS = 400
PAUSE_SECONDS = 0.005
FLUSH_SECONDS_MAX = 60.0

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
        client.flush(FLUSH_SECONDS_MAX)
        time.sleep(PAUSE_SECONDS)

    return rest


def time_calls(calls: int) -> float:
    """Return the mean nanoseconds of so many calls."""
    info, clock, lines = logger.info, time.perf_counter_ns, [*islice(cycle(LINES), calls)]
    begun = clock()
    for line in lines:
        info(line)
    return (clock() - begun) / calls


def main() -> None:
    """Run what the arguments say: subject, host, port, bursts, calls of the sustained loop."""
    subject, host, port, bursts, sustained = sys.argv[1:]
    rest = install(subject, host, int(port))
    took = []
    for _ in range(int(bursts) + 2):  # the first two warm up
        took.append(time_calls(BURST_CALLS))
        rest()
    took = sorted(took[2:])
    figures = {"burst_ns": took[len(took) // 2], "sustained_ns": time_calls(int(sustained))}
    print(json.dumps(figures), flush=True)  # noqa: T201 - this is the answer
    rest()


if __name__ == "__main__":
    main()
