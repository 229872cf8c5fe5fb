"""Connections in memory, and the sidecar at their other end.

The sidecar uses the receiver's own session, so it counts as delivered what a real server would have
written. Its answers arrive in a later turn of the loop, as from a socket. Its attributes may be set
from any thread. The methods that act on connections run in the connection's loop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from logship.delivery.transport import Connection, ConnectionEvents
from logship.errors import ConnectError
from logship.receiver.session import Close, Session, Write
from logship.settings import Endpoint


class Delivered(NamedTuple):
    """A record that the sidecar took.

    Attributes:
        tag: Its route.
        time_ns: Nanoseconds since 1970.
        record: As sent, the stamp included.
    """

    tag: str
    time_ns: int
    record: dict[str, Any]


class Sidecar:
    """The sidecar behind a `MemoryTransport`. A test sets how it behaves.

    Attributes:
        reachable: Whether connections can be made.
        acks: Whether it acks chunks at once; otherwise acks are held back.
        answer_bytes: Its answers arrive in pieces of this many bytes; None for whole answers.
        greeting: Bytes that it sends when a connection is made, a `HELO` for instance.
        delivered: The records that it took, in this order, duplicates too.
        messages: How many messages these came in.
        connects: How many connections were made.
        held_acks: Acks that were held back, oldest first; they end with their connection.
    """

    def __init__(self) -> None:
        self.reachable = True
        self.acks = True
        self.answer_bytes: int | None = None
        self.greeting = b""
        self.delivered: list[Delivered] = []
        self.messages = 0
        self.connects = 0
        self.held_acks: list[bytes] = []
        self._connections: list[_MemoryConnection] = []

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def say(self, data: bytes) -> None:
        """Send any bytes to every connected client."""
        for connection in list(self._connections):
            connection.call(connection.answer, data)

    def release_acks(self, *, newest_first: bool = False) -> None:
        """Send the acks that were held back."""
        acks, self.held_acks = self.held_acks, []
        for ack in reversed(acks) if newest_first else acks:
            self.say(ack)

    def hang_up(self, reason: str = "the sidecar closed it") -> None:
        """End every connection; the client does not learn whether unacked chunks arrived."""
        self.held_acks = []
        for connection in list(self._connections):
            connection.call(connection.end, reason)

    def stop_reading(self) -> None:
        """Make every client believe that its connection takes no more bytes."""
        for connection in list(self._connections):
            connection.call(connection.set_writable, False)

    def read_on(self) -> None:
        """Take back `stop_reading`."""
        for connection in list(self._connections):
            connection.call(connection.set_writable, True)

    def _opened(self, connection: _MemoryConnection) -> None:
        self.connects += 1
        self._connections.append(connection)
        if self.greeting:
            connection.call(connection.answer, self.greeting)

    def _closed(self, connection: _MemoryConnection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)

    def _took(self, connection: _MemoryConnection, write: Write) -> None:
        self.messages += 1
        self.delivered += map(_delivered, write.lines.splitlines())
        if not self.acks:
            self.held_acks.append(write.ack)
        elif write.ack:
            connection.answer(write.ack)


class MemoryTransport:
    """Connects any endpoint to a `Sidecar` (see `logship.delivery.transport.Transport`).

    Args:
        sidecar: Answers the client.
    """

    def __init__(self, sidecar: Sidecar) -> None:
        self.sidecar = sidecar
        self.closed = False

    async def connect(self, endpoint: Endpoint, events: ConnectionEvents) -> Connection:
        """Connect.

        Raises:
            ConnectError: The sidecar is not reachable.
        """
        await asyncio.sleep(0)
        if not self.sidecar.reachable:
            raise ConnectError(f"cannot connect to {endpoint}: the sidecar is not reachable")
        return _MemoryConnection(self.sidecar, events)

    def close(self) -> None:
        """Note that the client has ended."""
        self.closed = True


class _MemoryConnection:
    """One connection: the client's end and the sidecar's end."""

    def __init__(self, sidecar: Sidecar, events: ConnectionEvents) -> None:
        self._sidecar = sidecar
        self._events: ConnectionEvents | None = events
        self._session = Session()
        self._loop = asyncio.get_running_loop()
        sidecar._opened(self)

    # -- the client's end --------------------------------------------------------------------------

    def send(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        """Write the parts, one after the other."""
        self._loop.call_soon(self._received, b"".join(parts))

    def abort(self) -> None:
        """End the connection at once, without a further callback."""
        self._events = None
        self._sidecar._closed(self)

    # -- the sidecar's end -------------------------------------------------------------------------

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function` on the connection's loop, from any thread."""
        self._loop.call_soon_threadsafe(function, *arguments)

    def answer(self, data: bytes) -> None:
        """Send bytes to the client, in pieces if `answer_bytes` is set."""
        size = self._sidecar.answer_bytes or len(data)
        for start in range(0, len(data), size):
            self._loop.call_soon(self._say, data[start : start + size])

    def end(self, reason: str) -> None:
        """End the connection."""
        self._sidecar._closed(self)
        events, self._events = self._events, None
        if events is not None:
            events.connection_ended(reason)

    def set_writable(self, writable: bool) -> None:
        """Tell the client whether the connection takes more bytes."""
        if self._events is not None:
            self._events.writable_changed(writable)

    def _say(self, data: bytes) -> None:
        if self._events is not None:
            self._events.bytes_received(data)

    def _received(self, data: bytes) -> None:
        if self._events is None:
            return
        for event in self._session.receive(data):
            if isinstance(event, Write):
                self._sidecar._took(self, event)
            elif isinstance(event, Close):
                self.end(event.reason)


def _delivered(line: bytes) -> Delivered:
    fields = json.loads(line)
    return Delivered(fields["tag"], fields["time_ns"], fields["record"])
