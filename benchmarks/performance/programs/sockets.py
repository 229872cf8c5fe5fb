"""What the kernel holds of the bytes between a server and its clients."""

from __future__ import annotations

import time
from pathlib import Path

TAKEN_IN_SECONDS_MAX = 120.0
LOOK_SECONDS = 0.002


def wait_until_read(port: int) -> None:
    """Wait until no byte waits in a socket of this port.

    What a sender without acks has handed to the kernel is taken in only then.
    """
    deadline = time.monotonic() + TAKEN_IN_SECONDS_MAX
    while bytes_in_sockets(port):
        if time.monotonic() > deadline:
            raise SystemExit(f"the server on port {port} does not read on")
        time.sleep(LOOK_SECONDS)


def bytes_in_sockets(port: int) -> int:
    """Return how many bytes the kernel holds between a port of this machine and its clients."""
    waiting = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        if state != "0A" and port in (_port(local), _port(remote)):
            sent, received = (int(size, 16) for size in queues.split(":"))
            waiting += sent + (received if _port(local) == port else 0)
    return waiting


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
