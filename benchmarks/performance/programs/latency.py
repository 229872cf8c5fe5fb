"""The application whose `emit` is timed: one process, one condition, one figure a call.

It logs at a steady pace, as applications do: in a tight loop the shipper's own work would be
measured, and most of it where the sidecar is healthiest. What it prints are the nanoseconds of each
call, sorted.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from itertools import cycle, islice

import logship
from benchmarks.performance.programs.shared import answer
from benchmarks.records import RECORDS

WARM_UP = 500
PAUSE_SECONDS_MIN = 0.001


def main() -> None:
    """Run what the arguments say: endpoint, `thread` or `loop`, `open` or `full`, records, rate."""
    endpoint, where, phase, records, rate = sys.argv[1:]
    settings = logship.Settings.from_env({"LOGSHIP_ENDPOINTS": endpoint, **_buffer(phase)})
    pace = Pace(int(records), float(rate), is_full=phase == "full")
    took = asyncio.run(_on_loop(settings, pace)) if where == "loop" else _in_thread(settings, pace)
    answer(sorted(took))
    os._exit(0)  # the buffered records are thrown away


def _buffer(phase: str) -> dict[str, str]:
    return {"LOGSHIP_BUFFER_BYTES_MAX": str((4 if phase == "full" else 256) << 20)}


class Pace:
    """Calls of `emit`, each timed, and the pauses between them.

    Args:
        records: How many.
        rate: Records a second.
        is_full: Whether the buffer is filled first, until a record found no space. The one wait of
            the outage is then over.
    """

    def __init__(self, records: int, rate: float, *, is_full: bool) -> None:
        self._records = records
        self._rate = rate
        self._is_full = is_full
        self.took = array("q")

    def pauses(self, emit: Callable[[dict[str, str]], bool]) -> Iterator[float]:
        """Call `emit`, yielding seconds to sleep before the next calls are due."""
        records = cycle(RECORDS)
        while self._is_full and emit(next(records)):
            pass
        for record in islice(records, WARM_UP):
            emit(record)
        clock, took = time.perf_counter_ns, self.took
        begun = time.monotonic()
        for number, record in enumerate(islice(records, self._records)):
            before = clock()
            emit(record)
            took.append(clock() - before)
            ahead = begun + number / self._rate - time.monotonic()
            if ahead > PAUSE_SECONDS_MIN:
                yield ahead


def _in_thread(settings: logship.Settings, pace: Pace) -> array[int]:
    client = logship.BackgroundClient(settings)
    for seconds in pace.pauses(client.emit):
        time.sleep(seconds)
    return pace.took


async def _on_loop(settings: logship.Settings, pace: Pace) -> array[int]:
    client = logship.Client(settings)
    client.start()
    for seconds in pace.pauses(client.emit):
        await asyncio.sleep(seconds)
    return pace.took


if __name__ == "__main__":
    main()
