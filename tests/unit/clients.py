"""What the tests of both clients share: quick settings, and a standard error to read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from logship._client.background import BackgroundClient
from logship._client.client import Client
from logship._settings import Settings
from logship._stderr.last_resort import LastResort
from logship.testing import MemoryTransport, Sidecar, SocketSidecar

BUFFER_BYTES = 64 * 1024

Way = Sidecar | MemoryTransport | str
"""To a sidecar: itself, in memory or on a socket, a transport to it in memory, or an endpoint."""


def quick_settings(**settings: Any) -> Settings:
    """Return settings whose waits are short, so that no test has to be patient."""
    quick = {
        "endpoints": "tcp://127.0.0.1:24224",
        "tag": "t",
        "buffer_bytes_max": BUFFER_BYTES,
        "chunk_bytes_max": 4096,
        "linger_seconds": 0.01,
        "backoff_seconds_base": 0.001,
        "backoff_seconds_max": 0.01,
        "block_seconds_max": 0.0,
        "exit_stall_seconds": 5.0,
        "exit_drain_seconds_max": 20.0,
        "stop_timeout_seconds": 9.0,
    }
    return Settings(**{**quick, **settings})


class Stderr:
    """A file in the place of standard error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def last_resort(self) -> LastResort:
        return LastResort(descriptor=self.descriptor, bytes_per_second_max=1 << 20)

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def warnings(self) -> list[str]:
        return [line for line in self.lines() if line.startswith("logship: ")]

    def json(self, kind: str) -> list[dict[str, Any]]:
        """Return the JSON lines of this kind: `spilled`, or `drain report`."""
        lines = [json.loads(line) for line in self.lines() if line.startswith("{")]
        return [line for line in lines if line["logship"] == kind]

    def close(self) -> None:
        os.close(self.descriptor)


def _given(
    sidecar: Way, stderr: Stderr | LastResort | None, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return what a client of this sidecar is made with."""
    given: dict[str, Any] = {}
    if stderr is not None:
        last_resort = stderr if isinstance(stderr, LastResort) else stderr.last_resort()
        given = {"parts": {"last_resort": last_resort}}
    if isinstance(sidecar, SocketSidecar | str):
        endpoint = sidecar if isinstance(sidecar, str) else sidecar.endpoint
        return {**given, "settings": quick_settings(endpoints=endpoint, **settings)}
    transport = sidecar if isinstance(sidecar, MemoryTransport) else MemoryTransport(sidecar)
    return {**given, "settings": quick_settings(**settings), "transport": transport}


def a_client(sidecar: Way, stderr: Stderr | LastResort | None = None, **settings: Any) -> Client:
    """Return an asyncio client of a sidecar; without a last resort of its own, pytest has it."""
    return Client(**_given(sidecar, stderr, settings))


def a_background_client(
    sidecar: Way, stderr: Stderr | LastResort | None = None, **settings: Any
) -> BackgroundClient:
    """Return a client on its own thread of a sidecar."""
    return BackgroundClient(**_given(sidecar, stderr, settings))


def fill(client: Client | BackgroundClient) -> int:
    """Emit until the buffer is full; return how many records that took."""
    count = 0
    while client.shipper.buffer.bytes_held + 1300 < BUFFER_BYTES:
        assert client.emit({"message": f"{count} {'x' * 1000}"})
        count += 1
    return count


def some(first: int, count: int, characters: int = 100) -> list[dict[str, str]]:
    """Return records that can be told apart."""
    return [{"message": f"{number} {'x' * characters}"} for number in range(first, first + count)]


async def until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Return when `condition` holds; see `tests.support.waiting.wait_until`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s: {what}"
        await asyncio.sleep(0.002)


def messages(sidecar: Sidecar) -> list[str]:
    """Return the application's messages that the sidecar took."""
    records = [each.record for each in sidecar.delivered]
    return [r.get("message", "") for r in records if not {"logship_gap", "logship_end"} & r.keys()]


@contextlib.contextmanager
def full_hole(host: str, port: int) -> Iterator[socket.socket]:
    """A listener that answers no connection, because its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        listener.setblocking(False)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener


class HeldTransport(MemoryTransport):
    """Its first attempt to connect does not end by itself."""

    attempts = 0

    async def connect(self, *arguments: Any) -> Any:
        self.attempts += 1
        if self.attempts == 1:
            await self.hold()
        return await super().connect(*arguments)

    async def hold(self) -> None:
        await asyncio.Event().wait()


class Events:
    """Notes what a connection tells its owner."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.came = asyncio.Event()

    def bytes_received(self, data: bytes) -> None:
        self._note(data)

    def connection_ended(self, reason: str) -> None:
        self._note(reason)

    def writable_changed(self, writable: bool) -> None:
        self._note(writable)

    async def wait_for(self, expected: list[Any]) -> None:
        async with asyncio.timeout(30):
            while self.told != expected:
                await self.came.wait()
                self.came.clear()

    def _note(self, what: Any) -> None:
        self.told.append(what)
        self.came.set()
