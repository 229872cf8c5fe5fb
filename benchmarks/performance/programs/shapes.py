"""What a call of `emit` costs the thread that logs, for each shape of record.

`python -m benchmarks.performance.programs.shapes HOST PORT SPOOL BLOCKS` ships to that server and
prints nanoseconds of this thread's CPU a record: medians of so many blocks, which take turns.
Chunks are opened, filled and sent meanwhile; all is acked between two blocks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import msgpack

from benchmarks.performance.programs.shared import answer, background_client, wait_until_acked
from benchmarks.records import SHAPES, VARIED, VARIED_NAME, Record

MSGPACK = "msgpack alone"

Call = Callable[[Record], object]


def record_ns(call: Call, records: list[Record]) -> float:
    """Return the mean nanoseconds of this thread's CPU over all records."""
    begun_ns = time.thread_time_ns()
    for record in records:
        call(record)
    return (time.thread_time_ns() - begun_ns) / len(records)


def measure(calls: dict[str, Call], rest: Callable[[], None], blocks: int) -> dict[str, Any]:
    """Return the median of each call for each shape, after one block that warms up."""
    shapes = {VARIED_NAME: VARIED, **SHAPES}
    took: dict[str, dict[str, list[float]]] = {
        name: {shape: [] for shape in shapes} for name in calls
    }
    for block in range(blocks + 1):
        for shape, records in shapes.items():
            for name in calls if block % 2 == 0 else reversed(calls):
                found = record_ns(calls[name], records)
                rest()
                if block:
                    took[name][shape].append(found)
    return {
        name: {shape: median(found) for shape, found in by_shape.items()}
        for name, by_shape in took.items()
    }


def main() -> None:
    """Run what the arguments say."""
    host, port, spool, blocks = sys.argv[1:]
    memory = background_client(host, port)
    spooled = background_client(host, port, LOGSHIP_SPOOL_DIR=spool)

    def rest() -> None:
        for client in (memory, spooled):
            wait_until_acked(client)

    calls: dict[str, Call] = {
        MSGPACK: msgpack.Packer().pack,
        "logship": memory.emit,
        "logship-spool": spooled.emit,
    }
    answer(measure(calls, rest, int(blocks)))
    for client in (memory, spooled):
        client.close()


if __name__ == "__main__":
    main()
