"""A sidecar on a loopback port, for programs that a test starts and clients with real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from typing import Any, Self

from logship.testing._sidecar import Sidecar, SidecarConnection

LOOPBACK = "127.0.0.1"


class SocketSidecar(Sidecar):
    """A `Sidecar` that listens on a free port, in a thread of its own; a context manager.

    While it is not `reachable`, the system refuses connections, and no other program gets the port.

    Attributes:
        endpoint: Where it listens, in the form of `LOGSHIP_ENDPOINTS`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._reserved = _bound(0)
        self._port: int = self._reserved.getsockname()[1]
        self.endpoint: str = f"tcp://{LOOPBACK}:{self._port}"
        self._server: asyncio.Server | None = None
        self._one_at_a_time = threading.Lock()
        self._loop = asyncio.SelectorEventLoop()
        self._loop.set_debug(False)  # else it logs, into the records of the test
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="logship-sidecar", daemon=True
        )

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        self._listen_or_refuse()
        return self

    def __exit__(self, *_: object) -> None:
        """End, with all connections."""
        self.reachable = False
        self._do(self._end_connections())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._reserved.close()

    def _listen_or_refuse(self) -> None:
        if self._thread.is_alive():
            self._do(self._listen() if self.reachable else self._refuse())

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await self._loop.create_server(
                lambda: _SocketConnection(self), sock=_bound(self._port)
            )

    async def _refuse(self) -> None:
        while accepting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(accepting)  # a server that is closed forgets these connections
        server, self._server = self._server, None
        if server is not None:
            _shut_down(server.sockets[0])
            server.close()

    async def _end_connections(self) -> None:
        while self.connected:
            self.hang_up()
            await asyncio.sleep(0)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        with self._one_at_a_time:
            asyncio.run_coroutine_threadsafe(work, self._loop).result()


class _SocketConnection(SidecarConnection, asyncio.Protocol):
    """The sidecar's end of a socket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._sidecar.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take the client's bytes."""
        self.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._sidecar.closed(self)

    def answer(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._transport.write(data)

    def end(self, reason: str) -> None:
        """End the connection at once."""
        del reason
        _shut_down(self._transport.get_extra_info("socket"))
        self._transport.abort()

    def set_reading(self, is_reading: bool) -> None:
        """Read on, or leave the client's bytes to the kernel until that takes no more."""
        if is_reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()


def _shut_down(listening_or_connected: Any) -> None:
    """End a socket also for children that a test has forked, which have it too."""
    with contextlib.suppress(OSError):  # the client has ended the connection
        listening_or_connected.shutdown(socket.SHUT_RDWR)


def _bound(port: int) -> socket.socket:
    """Return a socket with this port of the loopback address, or with a free one for 0.

    Linux lets several sockets have one port while none of them listens.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((LOOPBACK, port))
    return bound
