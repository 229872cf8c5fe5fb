"""Connections in memory: a client without sockets.

The sidecar's answers arrive in a later turn of the loop, as from a socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from logship._delivery.transport import Connection, ConnectionEvents
from logship._settings import Endpoint
from logship.errors import ConnectError
from logship.testing._sidecar import Sidecar, SidecarConnection


class MemoryTransport:
    """Connects any endpoint to a `Sidecar` (see `logship._delivery.transport.Transport`).

    Args:
        sidecar: Answers the client.
    """

    def __init__(self, sidecar: Sidecar) -> None:
        self.sidecar = sidecar
        self.closed: bool = False
        self.hint = ""

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

    def abandon(self) -> None:
        """Do nothing: there are no sockets to close."""


class _MemoryConnection(SidecarConnection):
    """One connection: the client's end and the sidecar's end."""

    def __init__(self, sidecar: Sidecar, events: ConnectionEvents) -> None:
        super().__init__(sidecar)
        self._events: ConnectionEvents | None = events
        sidecar.opened(self)

    # -- the client's end --------------------------------------------------------------------------

    def send(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        """Write the parts, one after the other."""
        self._loop.call_soon(self._sent, b"".join(parts))

    def abort(self) -> None:
        """End the connection at once, without a further callback."""
        self._events = None
        self._sidecar.closed(self)

    # -- the sidecar's end -------------------------------------------------------------------------

    def answer(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._loop.call_soon(self._say, data)

    def end(self, reason: str) -> None:
        """End the connection."""
        self._sidecar.closed(self)
        events, self._events = self._events, None
        if events is not None:
            events.connection_ended(reason)

    def set_reading(self, is_reading: bool) -> None:
        """Tell the client whether the connection takes more bytes."""
        if self._events is not None:
            self._events.writable_changed(is_reading)

    def _say(self, data: bytes) -> None:
        if self._events is not None:
            self._events.bytes_received(data)

    def _sent(self, data: bytes) -> None:
        if self._events is not None:
            self.received(data)
