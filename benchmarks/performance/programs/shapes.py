"""What a call of `emit` costs the thread that logs, for each shape of record.

`python -m benchmarks.performance.programs.shapes HOST PORT SPOOL BLOCKS` ships to that server and
prints nanoseconds of this thread's CPU a record: medians of so many blocks, which take turns.
Chunks are opened, filled and sent meanwhile; all is acked between two blocks.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import msgpack

import logship
from benchmarks.records import SHAPES, VARIED, VARIED_NAME, Record

MSGPACK = "msgpack alone"
FLUSH_SECONDS_MAX = 60.0

Call = Callable[[Record], object]


def background_client(host: str, port: str, **variables: str) -> logship.BackgroundClient:
    """Return a client that ships to a server."""
    environ = {
        "LOGSHIP_ENDPOINTS": f"tcp://{host}:{port}",
        "LOGSHIP_TAG": "benchmark",
        "LOGSHIP_BUFFER_BYTES_MAX": str(64 << 20),
    }
    return logship.BackgroundClient(logship.Settings.from_env(environ | variables))


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
            for name, call in calls.items():
                found = record_ns(call, records)
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
            if not client.flush(FLUSH_SECONDS_MAX).all_acked:
                raise SystemExit("the server did not take everything")

    calls: dict[str, Call] = {
        MSGPACK: msgpack.Packer().pack,
        "logship": memory.emit,
        "logship-spool": spooled.emit,
    }
    print(json.dumps(measure(calls, rest, int(blocks))), flush=True)  # noqa: T201 - the answer
    for client in (memory, spooled):
        client.close()


if __name__ == "__main__":
    main()
