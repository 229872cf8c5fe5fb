"""The encode ceiling: clock, pack, stamp and append in one thread, and nothing else.

Whatever a shipper in Python does beside these, a record cannot cost less. It is written out here,
without logship, so that it stays where it is while logship moves.
"""

from __future__ import annotations

import struct
import sys
import time

import msgpack

from benchmarks.performance.programs.shared import answer
from benchmarks.records import LISTS, VARIED, Record

CHUNK_BYTES = 256 << 10


def encode(seconds: float, given: list[Record] = VARIED) -> tuple[int, int, int]:
    """Encode for so many seconds; return records, and when it began and ended."""
    pack, clock = msgpack.Packer().pack, time.time_ns
    head, suffix = struct.Struct(">3sIIB").pack, b"\xaalogship_id\xb7AAAAAAAAAAAA:%010d"
    fields = 0x80 | len(given[0]) + 1
    chunk, number = bytearray(), 0
    begun_ns = time.monotonic_ns()
    while time.monotonic_ns() < begun_ns + int(seconds * 1e9):
        for record in given:
            number += 1
            whole, nanoseconds = divmod(clock(), 1_000_000_000)
            chunk += head(b"\x92\xd7\x00", whole, nanoseconds, fields) + pack(record)[1:]
            chunk += suffix % number
            if len(chunk) >= CHUNK_BYTES:
                chunk = bytearray()
    return number, begun_ns, time.monotonic_ns()


def main() -> None:
    """Run for what the arguments say: seconds, which records."""
    seconds, name = sys.argv[1:]
    encode(0.05, LISTS[name])
    cpu_seconds = time.process_time()
    records, begun_ns, ended_ns = encode(float(seconds), LISTS[name])
    cpu_seconds = time.process_time() - cpu_seconds
    figures = {
        "records": records,
        "begun_ns": begun_ns,
        "ended_ns": ended_ns,
        "cpu_seconds": cpu_seconds,
    }
    answer(figures)


if __name__ == "__main__":
    main()
