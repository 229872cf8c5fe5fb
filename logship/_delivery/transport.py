"""Connections to a sidecar over TCP and unix sockets.

Errors of the operating system are made into `ConnectError`s here, with the endpoint in the text;
nothing above this module sees an `OSError`.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Protocol, cast
from weakref import WeakSet

from logship._delivery.credentials import TlsSource, handshake_maker
from logship._delivery.racing import first_to_succeed
from logship._delivery.resolver import Address, Resolver
from logship._settings import Endpoint, Settings
from logship.errors import ConnectError, HandshakeError

_SMALL_BYTES = 16 * 1024
_KEEPALIVE_IDLE_SECONDS = 30
_KEEPALIVE_INTERVAL_SECONDS = 10
_KEEPALIVE_PROBES = 3
_ATTEMPT_DELAY_SECONDS = 0.25
"""Until the next address is tried beside those that have not answered (RFC 8305)."""

_ENDED_IN_TLS = "it closed the connection in the TLS handshake (does it speak TLS?)"

Parts = Sequence[bytes | bytearray | memoryview]


class ConnectionEvents(Protocol):
    """What a connection tells its owner, always on the loop."""

    def bytes_received(self, data: bytes) -> None:
        """The peer sent something."""

    def connection_ended(self, reason: str) -> None:
        """The connection is gone; called once, and not after `abort`."""

    def writable_changed(self, writable: bool) -> None:
        """The connection takes more bytes, or takes no more for now."""


class Connection(Protocol):
    """An open connection."""

    def send(self, parts: Parts) -> None:
        """Write the parts, one behind the other."""

    def abort(self) -> None:
        """End the connection at once and say nothing more of it."""


class Transport(Protocol):
    """How connections are made; tests bring their own.

    Attributes:
        hint: What to tell of a server that has not answered the attempt; empty if nothing is known.
    """

    hint: str

    async def connect(self, endpoint: Endpoint, events: ConnectionEvents) -> Connection:
        """Connect to `endpoint`.

        Raises:
            ConnectError: It could not be done; the text says to where and why.
        """

    def close(self) -> None:
        """Free what the transport holds."""

    def abandon(self) -> None:
        """Let go of all connections, without their loop: it is closed, or is a parent process's."""


class SocketTransport:
    """Real sockets, as the settings describe them.

    The names of the endpoints are looked up on threads that start now.

    Args:
        settings: Of the client.
        tls: What `tls_source` gave.
    """

    def __init__(self, settings: Settings, tls: TlsSource | None = None) -> None:
        hosts = [each.host for each in settings.endpoints if each.scheme != "unix"]
        self._settings = settings
        self._connect_timeout_seconds = settings.connect_timeout_seconds
        self._tls = tls
        self._handshake = handshake_maker(settings)
        self._resolver = Resolver(self._connect_timeout_seconds / 2, hosts)
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self.hint = ""

    async def connect(self, endpoint: Endpoint, events: ConnectionEvents) -> Connection:
        """Connect to `endpoint`, trying its addresses beside each other within the one timeout.

        An attempt goes as far as the TLS and the shared key's handshake, so an address that takes
        connections and never answers hides no other one either.

        Raises:
            ConnectError: It could not be done; the text says to where and why.
        """
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                return await self._open(endpoint, events)
        except TimeoutError:
            seconds = self._connect_timeout_seconds
            raise ConnectError(
                f"cannot connect to {endpoint}: no answer in {seconds:g} s{self.hint}"
            ) from None
        except OSError as error:
            raise ConnectError(f"cannot connect to {endpoint}: {_why(error)}") from error
        except ExceptionGroup as group:  # often one for each address of a name
            first, *_ = group.exceptions
            why = "; ".join(dict.fromkeys(map(_why, group.exceptions)))
            raise ConnectError(f"cannot connect to {endpoint}: {why}") from first

    def close(self) -> None:
        """End the threads that look names up."""
        self._resolver.close()

    def abandon(self) -> None:
        """Close the sockets alone, whose loop is closed, or in a forked child that of the parent.

        The parent's selector is shared with the child, and must not be touched.
        """
        for each in list(self._sockets):
            each.close()

    async def _open(self, endpoint: Endpoint, events: ConnectionEvents) -> Connection:
        addresses: list[Address]
        if endpoint.scheme == "unix":
            addresses = [(socket.AF_UNIX, endpoint.path)]
        else:
            self.hint = " (its name is still being looked up)"
            addresses = await self._resolver.resolve(endpoint.host, endpoint.port)
        self.hint = ""
        delay_seconds = min(
            _ATTEMPT_DELAY_SECONDS, self._connect_timeout_seconds / 2 / len(addresses)
        )
        index, connection = await first_to_succeed(
            [functools.partial(self._open_at, endpoint, each) for each in addresses],
            delay_seconds=delay_seconds,
            failures=(OSError, HandshakeError),
            discard=_StreamConnection.abort,
        )
        if endpoint.scheme != "unix":
            self._resolver.remember(endpoint.host, endpoint.port, addresses[index])
        connection.deliver_to(events)
        return connection

    async def _open_at(self, endpoint: Endpoint, address: Address) -> _StreamConnection:
        """Connect to one address, and make the handshakes there."""
        family, place = address
        loop = asyncio.get_running_loop()
        fresh = socket.socket(family, socket.SOCK_STREAM)
        self._sockets.add(fresh)
        connection = _StreamConnection()
        try:
            fresh.setblocking(False)
            if endpoint.scheme == "unix":  # asyncio takes a listener's full queue for a connection
                fresh.connect(place)
            else:
                await loop.sock_connect(fresh, place)
                self._tune(fresh)
            await loop.create_connection(lambda: connection, sock=fresh)
        except BaseException:
            fresh.close()
            raise
        if endpoint.scheme == "tls":
            assert self._tls is not None
            self.hint = " (it takes connections; does it speak TLS?)"
            name = self._settings.tls_server_name or _name_in_certificate(endpoint.host)
            await connection.encrypt(self._tls(), name)
        await self._shake_hands(connection)
        return connection

    async def _shake_hands(self, connection: _StreamConnection) -> None:
        """Prove the shared key, and have it proved, before anything else is sent."""
        if self._handshake is None:
            return
        self.hint = " (it takes connections; does it have a shared key?)"
        handshake = self._handshake()
        try:
            while not handshake.done:
                answer = handshake.feed(await connection.receive())
                if answer:
                    connection.send((answer,))
        except BaseException:
            connection.abort()
            raise

    def _tune(self, connected: socket.socket) -> None:
        """Find dead peers on idle connections, and send chunks without delay.

        Our own kernel must not cut off a live sidecar that has stopped reading for a while.
        """
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_SECONDS),
            ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL_SECONDS),
            ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
            ("TCP_USER_TIMEOUT", int(self._settings.ack_timeout_seconds * 1000)),
        ):
            if hasattr(socket, name):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _StreamConnection(asyncio.Protocol):
    """One connection: asyncio's callbacks made into ours.

    Until `deliver_to` is called, what comes is kept for `receive`.

    Attributes:
        transport: Of asyncio, once there is a connection.
    """

    def __init__(self) -> None:
        self._events: ConnectionEvents | None = None
        self.transport: asyncio.Transport | None = None
        self._early = bytearray()
        self._ended: str | None = None
        self._came = asyncio.Event()

    async def encrypt(self, context: ssl.SSLContext, server_name: str) -> None:
        """Speak TLS from now on, and believe nothing that came before.

        In a step of its own, because `create_connection` leaves the transport open when it is
        cancelled during the TLS handshake: it waits for the peer's goodbye.

        Raises:
            OSError: The peer does not speak TLS, or is not who it should be.
        """
        assert self.transport is not None
        self._early.clear()
        plain = self.transport
        try:
            self.transport = await asyncio.get_running_loop().start_tls(
                plain, self, context, server_hostname=server_name
            )
        except BaseException as error:
            plain.abort()
            if isinstance(error, ConnectionResetError) and not error.args:  # asyncio's for an end
                raise ConnectionResetError(_ENDED_IN_TLS) from None
            raise
        if self.transport is None:  # for the type checker: only a transport that closes has none
            raise ConnectionResetError(_ENDED_IN_TLS)

    async def receive(self) -> bytes:
        """Return the next bytes.

        Raises:
            HandshakeError: The peer closed instead.
        """
        while not self._early:
            if self._ended is not None:
                raise HandshakeError(f"during the handshake: {self._ended}; is the key right?")
            await self._came.wait()
            self._came.clear()
        data, self._early = bytes(self._early), bytearray()
        return data

    def deliver_to(self, events: ConnectionEvents) -> None:
        """Deliver to `events` from now on, beginning with what has come already."""
        self._events = events
        loop = asyncio.get_running_loop()
        if self._early:
            loop.call_soon(self.data_received, b"")
        if self._ended is not None:
            loop.call_soon(self._deliver_end, self._ended)

    def send(self, parts: Parts) -> None:
        """Write the parts in one system call. On Python 3.11 asyncio copies large ones before."""
        if self.transport is None or self.transport.is_closing():
            return  # the end is on its way: what was sent now is sent again later
        if sum(map(len, parts)) <= _SMALL_BYTES:
            self.transport.write(b"".join(parts))
        else:
            self.transport.writelines(parts)

    def abort(self) -> None:
        """End the connection at once and say nothing more of it."""
        self._events = None
        assert self.transport is not None
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport (asyncio's callback); uvloop's has another class."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass on what came (asyncio's callback)."""
        if self._early or self._events is None:
            self._early += data
            self._came.set()
        if self._events is not None:
            data, self._early = bytes(self._early) or data, bytearray()
            self._events.bytes_received(data)

    def eof_received(self) -> None:
        """End the connection at once (asyncio's callback): no ack will come.

        asyncio would first write what waits, to a peer that may read nothing any more.
        """
        assert self.transport is not None
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the end (asyncio's callback)."""
        self._ended = _reason(exc)
        self._came.set()
        self._deliver_end(self._ended)

    def _deliver_end(self, reason: str) -> None:
        events, self._events = self._events, None
        if events is not None:
            events.connection_ended(reason)

    def pause_writing(self) -> None:
        """Pass on that the kernel's buffer is full (asyncio's callback)."""
        if self._events is not None:
            self._events.writable_changed(False)

    def resume_writing(self) -> None:
        """Pass on that there is room again (asyncio's callback)."""
        if self._events is not None:
            self._events.writable_changed(True)


def _name_in_certificate(host: str) -> str:
    """Return a host as certificates have it: no dot ends a name, and an address has no zone.

    The dot makes a name absolute, so that resolvers try no search domains: RFC 6066, section 3.
    """
    return host.removesuffix(".").partition("%")[0]


def _reason(error: Exception | None) -> str:
    return "the sidecar closed it" if error is None else _why(error) or repr(error)


def _why(error: Exception) -> str:
    """Return the system's own words for the error; asyncio puts others in their place."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError) or not isinstance(error, OSError):
        return str(error)
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error) or repr(error)
    return os.strerror(error.errno)
