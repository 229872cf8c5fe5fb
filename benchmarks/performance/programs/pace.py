"""A program that logs at a steady, low rate: what does the shipper's CPU cost it then?"""

from __future__ import annotations

import sys
import time
from itertools import cycle, islice

from benchmarks.application import Pace
from benchmarks.performance.programs.call import install, logger
from benchmarks.performance.programs.shared import answer
from benchmarks.records import LINES

WARM_UP_SECONDS = 1.0


def log(rate: float, seconds: float) -> None:
    """Log `rate` lines a second for so long."""
    begun = time.monotonic()
    pace, lines = Pace(rate, begun), cycle(LINES)
    while (now := time.monotonic()) < begun + seconds:
        for line in islice(lines, pace.due(now)):
            logger.info(line)
        time.sleep(pace.wait_seconds(time.monotonic()))


def main() -> None:
    """Run what the arguments say: subject, host, port, rate, seconds."""
    subject, host, port, rate, seconds = sys.argv[1:]
    install(subject, host, int(port))
    log(float(rate), WARM_UP_SECONDS)
    begun, cpu_seconds = time.monotonic(), time.process_time()
    log(float(rate), float(seconds))
    figures = {
        "seconds": time.monotonic() - begun,
        "cpu_seconds": time.process_time() - cpu_seconds,
    }
    answer(figures)


if __name__ == "__main__":
    main()
