"""What a record costs up to each point of its way, in one thread, with nobody who ships it.

`python -m benchmarks.performance.programs.parts BLOCKS` prints the nanoseconds a record of each
part, the median of so many blocks, which take turns. But for the first two, each part is what
`BackgroundClient.send` does, up to some point or by another way.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import msgpack

import logship
from benchmarks.performance.programs.encode import encode
from benchmarks.records import RECORDS

TWO_TEXTS = [record | {"logger": f"request {at}"} for at, record in enumerate(RECORDS)]
"""As many fields, and in two of them, both texts, no record is like another."""

NUMBERED = [record | {"logger": at} for at, record in enumerate(RECORDS)]
"""The same with a number."""

BLOCK_RECORDS = 400
"""Fewer than a chunk holds."""
CHUNKS_RECORDS = 3_000
"""Enough for two chunks and more."""
LOOK_RECORDS = 50
"""So often it is looked whether a chunk was filled."""
ENCODE_SECONDS = 0.01
PAUSE_SECONDS = 0.003
"""Longer than the shipper's thread needs when it was woken."""
NOWHERE = "unix:///nonexistent/sidecar"
AN_HOUR_SECONDS = "3600"

Call = Callable[[dict[str, Any]], object]


class Way:
    """A client whose sidecar is not there, so that nothing leaves its buffer but by our hand.

    Args:
        records: What it is given before anything is measured.
    """

    def __init__(self, records: list[dict[str, Any]] = RECORDS) -> None:
        self._records = records
        environ = {
            "LOGSHIP_ENDPOINTS": NOWHERE,
            "LOGSHIP_TAG": "benchmark",
            "LOGSHIP_BUFFER_BYTES_MAX": str(64 << 20),
            "LOGSHIP_LINGER_SECONDS": "60",
            "LOGSHIP_BACKOFF_SECONDS_BASE": AN_HOUR_SECONDS,
            "LOGSHIP_BACKOFF_SECONDS_MAX": AN_HOUR_SECONDS,
        }
        self._client = logship.BackgroundClient(logship.Settings.from_env(environ))
        self._buffer = self._client.client.buffer
        intake = self._client.client.intake
        self._pack, self._put, self._tag = intake.pack, intake.put, intake.tag
        self.send: Call = self._client.send

    def pack(self, record: dict[str, Any]) -> object:
        """Read the clock and pack the record."""
        return self._pack(record, None)

    def put(self, record: dict[str, Any]) -> object:
        """Do that, and put it into the inbox, from where it goes into the open chunk."""
        return self._put(self._tag, self._pack(record, None))

    def free(self) -> None:
        """Free what is in full chunks, as acks would."""
        while self._buffer.has_sealed():
            chunk = self._buffer.take()
            assert chunk is not None
            self._buffer.release(chunk)

    def begin(self) -> None:
        """Have a chunk that was just opened, in memory that was used before."""
        records = self._records
        for record in records + records:  # more than a chunk: the next one is a block that is kept
            self.send(record)
        self._buffer.seal_all()
        self.free()
        self.send(records[0])
        time.sleep(PAUSE_SECONDS)  # it arms a timer
        self.send(records[0])


def _mean_ns(way: Way, call: Call, records: list[dict[str, Any]] = RECORDS) -> float:
    """Return nanoseconds a record, within one chunk."""
    way.begin()
    given = records[:BLOCK_RECORDS]
    begun_ns = time.perf_counter_ns()
    for record in given:
        call(record)
    return (time.perf_counter_ns() - begun_ns) / BLOCK_RECORDS


def _chunks_mean_ns(way: Way) -> float:
    """Return nanoseconds a record where chunks are filled, and freed when they are."""
    way.begin()
    send, begun_ns = way.send, time.perf_counter_ns()
    for at in range(0, CHUNKS_RECORDS, LOOK_RECORDS):
        for record in RECORDS[at % len(RECORDS) :][:LOOK_RECORDS]:
            send(record)
        way.free()
    return (time.perf_counter_ns() - begun_ns) / CHUNKS_RECORDS


def _ceiling_ns() -> float:
    count, begun_ns, ended_ns = encode(ENCODE_SECONDS)
    return (ended_ns - begun_ns) / count


def _parts() -> Iterator[tuple[str, Callable[[], float]]]:
    """Yield the parts, and what measures a block of each."""
    way, of_two, of_numbered = Way(), Way(TWO_TEXTS), Way(NUMBERED)
    calls: dict[str, Call] = {
        "msgpack alone": msgpack.Packer().pack,
        "clock and pack": way.pack,
        "clock, pack and put": way.put,
        "send": way.send,
    }
    yield "encode ceiling", _ceiling_ns
    for name, call in calls.items():
        yield name, partial(_mean_ns, way, call)
    yield "send, a chunk after the other", partial(_chunks_mean_ns, way)
    yield "send, where two texts differ", partial(_mean_ns, of_two, of_two.send, TWO_TEXTS)
    yield "send, where a number does", partial(_mean_ns, of_numbered, of_numbered.send, NUMBERED)


def main() -> None:
    """Measure as many blocks of each as the argument says, after one that warms up."""
    blocks = int(sys.argv[1])
    parts = dict(_parts())
    took: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(blocks + 1):
        for name, block in parts.items():
            found = block()
            if turn:
                took[name].append(found)
    print(json.dumps({name: median(each) for name, each in took.items()}), flush=True)  # noqa: T201
    os._exit(0)  # what is buffered is nobody's


if __name__ == "__main__":
    main()
