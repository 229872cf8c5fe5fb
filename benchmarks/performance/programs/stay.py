"""A program that logs a few lines, says so, and waits for the signal that ends it.

`python -m benchmarks.performance.programs.stay SUBJECT`, the subject `nothing` or `logship`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time

from benchmarks.records import LINES

SECONDS_MAX = 60.0


def main() -> None:
    """Log and wait. Both subjects import the same modules but for logship's own."""
    assert asyncio
    if sys.argv[1] == "logship":
        import logship  # noqa: PLC0415 - the other subject must not pay for it

        client = logship.install(level=logging.INFO)
        for line in LINES[:100]:
            logging.info(line)
        client.flush()
    print("ready", flush=True)  # noqa: T201 - this is the answer
    time.sleep(SECONDS_MAX)


if __name__ == "__main__":
    main()
