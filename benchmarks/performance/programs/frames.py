"""A bare socket: writes prepared frames, with acks to wait for or without.

Into the sink it shows what Python's sockets carry; into a server, with logship's window of chunks
under way, the rate of that server with any client. Also sends a given number of bytes, once.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from base64 import b64encode

import msgpack

from benchmarks.performance.programs.shared import answer
from benchmarks.records import LISTS, Record

CHUNK_BYTES = 512 << 10
"""The default size of logship's chunks."""

WINDOW_CHUNKS = 8
WARM_UP_FRAMES = 2
"""As many records as a shipper warms up with: a server does more for the first ones."""
WAIT_SECONDS_MAX = 60.0


class Frames:
    """One chunk's bytes, wrapped again and again with a new id."""

    def __init__(self, given: list[Record]) -> None:
        packer, self.records, entries = msgpack.Packer(), 0, bytearray()
        moment = divmod(time.time_ns(), 1_000_000_000)
        event_time = msgpack.ExtType(0, struct.pack(">II", *moment))
        while len(entries) < CHUNK_BYTES:
            record = given[self.records % len(given)]
            self.records += 1
            stamped = {**record, "logship_id": f"AAAAAAAAAAAA:{self.records:010}"}
            entries += packer.pack([event_time, stamped])
        self.entries = bytes(entries)
        self._head = b"\x93" + packer.pack("benchmark") + b"\xc6" + len(entries).to_bytes(4, "big")
        self._packer = packer

    def next(self) -> tuple[str, list[bytes]]:
        """Return an id, and the parts of a frame that carries it."""
        chunk = b64encode(os.urandom(16)).decode()
        tail = self._packer.pack({"chunk": chunk, "size": self.records})
        return chunk, [self._head, self.entries, tail]


class Connection:
    """A blocking socket to the server, and the acks that are awaited on it."""

    def __init__(self, host: str, port: int, window: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=WAIT_SECONDS_MAX)
        self._window = window
        self._awaited: set[str] = set()
        self._acks = msgpack.Unpacker()

    def send(self, frames: Frames) -> None:
        """Send one more frame, when fewer than the window are under way."""
        chunk, parts = frames.next()
        for part in parts:
            self._socket.sendall(part)
        if self._window:
            self._awaited.add(chunk)
            self._wait_until_fewer_than(self._window)

    def rest(self) -> None:
        """Wait for the last ack."""
        self._wait_until_fewer_than(1)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _wait_until_fewer_than(self, count: int) -> None:
        while len(self._awaited) >= count:
            data = self._socket.recv(1 << 16)
            if not data:
                raise SystemExit("the server closed the connection")
            self._acks.feed(data)
            self._awaited -= {answer["ack"] for answer in self._acks}


def main() -> None:
    """Run what the arguments say.

    They are host, port, seconds, `acked` or `unacked`, most bytes, and which records.
    """
    host, port, seconds, kind, bytes_max, name = sys.argv[1:]
    frames = Frames(LISTS[name])
    connection = Connection(host, int(port), WINDOW_CHUNKS if kind == "acked" else 0)
    for _ in range(WARM_UP_FRAMES):
        connection.send(frames)
    connection.rest()
    begun_ns, cpu_seconds, records, size = time.monotonic_ns(), time.process_time(), 0, 0
    until_ns = begun_ns + int(float(seconds) * 1e9)
    while time.monotonic_ns() < until_ns and size < int(bytes_max):
        connection.send(frames)
        records, size = records + frames.records, size + len(frames.entries)
    connection.rest()
    connection.close()
    figures = {
        "records": records,
        "warm_up_records": WARM_UP_FRAMES * frames.records,
        "bytes": size,
        "begun_ns": begun_ns,
        "ended_ns": time.monotonic_ns(),
        "cpu_seconds": time.process_time() - cpu_seconds,
    }
    answer(figures)


if __name__ == "__main__":
    main()
