"""The receiver's connections: asyncio, any number of them, one output.

Everything that a client sent is written and acknowledged before the next bytes are read: that is
the backpressure, and the reason why a stop finds nothing half done.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from logship._protocol.messages import Message
from logship._receiver.binds import Listener
from logship._receiver.session import Answer, Close, Session
from logship._receiver.sinks import LineSink, OutputError, OutputGone

RETRY_SECONDS = 1.0
"""How long the receiver accepts no connection after an accept failed."""

LOOK_SECONDS = 1.0
"""How often connections are looked at whose time may be over."""

LINGER_SECONDS = 1.0
"""How long a closing connection is kept for its client to read the last acknowledgements."""


COMPLAINTS_MAX = 10
"""Lines about connections in `COMPLAINTS_SECONDS`; the others are counted."""

COMPLAINTS_SECONDS = 60.0

Say = Callable[[str], None]
"""Takes one line for the operator."""


class Complaints:
    """Writes a limited number of lines about clients a minute, and says how many it left out.

    Args:
        say: takes a line.
        lines_max: The most lines a minute.
    """

    def __init__(self, say: Say, lines_max: int = COMPLAINTS_MAX) -> None:
        self._say = say
        self._lines_max = lines_max
        self._said = 0
        self._left_out = 0
        self._period: asyncio.TimerHandle | None = None

    def say(self, line: str) -> None:
        """Say the line, or count it."""
        if self._period is None:
            loop = asyncio.get_running_loop()
            self._period = loop.call_later(COMPLAINTS_SECONDS, self._end_period)
        if self._said < self._lines_max:
            self._said += 1
            self._say(line)
        else:
            self._left_out += 1

    def close(self) -> None:
        """Say what was left out so far."""
        if self._period is not None:
            self._period.cancel()
            self._end_period()

    def _end_period(self) -> None:
        if self._left_out:
            self._say(f"{self._left_out} more lines like these were left out")
        self._said = self._left_out = 0
        self._period = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds over all connections.

    Attributes:
        connections_max: Connections that are open; more wait to be accepted. A silent one costs
            about 5 KiB, with TLS about 300 KiB.
        idle_timeout_seconds: How long a connection may send nothing.
        handshake_timeout_seconds: For TLS, and again for the shared key.
        pending_bytes_max: Bytes held of messages that are not complete; at least one message's.
    """

    connections_max: int = 512
    idle_timeout_seconds: float = 3600.0
    handshake_timeout_seconds: float = 10.0
    pending_bytes_max: int = 128 * 1024 * 1024


@dataclass(slots=True)
class Counts:
    """What the receiver did so far; `RECEIVER_MEASURES` says what each number is."""

    records: int = 0
    acks: int = 0
    connections: int = 0
    connections_open: int = 0
    refused: int = 0
    received_bytes: int = 0
    output_bytes: int = 0
    output_errors: int = 0


class Receiver:
    """Serves until it is told to stop, or its output is gone.

    Args:
        sink: where records go.
        say: takes lines for the operator.
        new_session: makes the session of a connection.
        tls: what the connections are encrypted with, or None.
        limits: how much all connections together may take.

    Attributes:
        new_session, tls, limits: as given.
        complaints: takes lines about clients.
        counts: what it did so far.
        is_stopping: no more messages are taken; a signal handler may set it, before `stop`.
    """

    def __init__(
        self,
        sink: LineSink,
        say: Say,
        *,
        new_session: Callable[[], Session],
        tls: ssl.SSLContext | None,
        limits: Limits,
    ) -> None:
        self.new_session = new_session
        self.limits = limits
        self.counts = Counts()
        self.complaints = Complaints(say)
        self.is_stopping = False
        self.tls = tls
        self._gone: OutputGone | None = None
        self._sink = sink
        self._say = say
        self._failing = False
        self._stopping = asyncio.Event()
        self._pauses = Complaints(say, lines_max=1)
        self._serving: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._pending: dict[Connection, int] = {}

    async def serve(self, listener: Listener) -> None:
        """Take connections until `stop` is called, then end those that are open.

        Raises:
            OutputGone: nothing can be written ever again.
        """
        listener.socket.setblocking(False)
        helpers = [asyncio.ensure_future(each) for each in (self._accept(listener), self._look())]
        await self._stopping.wait()
        with contextlib.suppress(NotImplementedError):  # on Windows, which does not need it
            # A client that comes now would be an error in the cancelled accept: gh-153761.
            asyncio.get_running_loop().remove_reader(listener.socket)
        await _cancel(helpers)
        await self._end_connections()
        self._pauses.close()
        self.complaints.close()
        if self._gone is not None:
            raise self._gone

    def stop(self) -> None:
        """Take no more connections and no more messages; what was written is acknowledged."""
        self.is_stopping = True
        self._stopping.set()

    def reopen(self) -> None:
        """Go on in a new file where the output's file was moved away."""
        try:
            self._sink.reopen()
        except OutputGone as error:
            self._failed(error)
        except OutputError as error:
            self._say(f"{error}; it continues in the old file")
        else:
            if self._sink.path is not None:
                self._say(f"opened {self._sink.path} again")

    def opened(self, connection: Connection) -> None:
        """Take note of a new connection."""
        self._connections.add(connection)
        self.counts.connections += 1
        self.counts.connections_open += 1
        if self.is_stopping:
            connection.finish()

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self.counts.connections_open -= 1

    def note_pending(self, connection: Connection, pending_bytes: int, *, begins: bool) -> None:
        """Note how much is held of a connection's message that is not complete.

        Where that is too much in all, the message that has been incomplete for the longest is
        given up with its connection: a client at work ends its messages.

        Args:
            connection: the connection.
            pending_bytes: so much.
            begins: whether it is of another message than before.
        """
        if begins or not pending_bytes:
            self._pending.pop(connection, None)
        if pending_bytes:
            self._pending[connection] = pending_bytes
        while sum(self._pending.values()) > self.limits.pending_bytes_max:
            next(iter(self._pending)).refuse(
                "its message was incomplete for the longest, and all that are incomplete have "
                f"more than {self.limits.pending_bytes_max} bytes (--pending-bytes-max)"
            )

    def write(self, message: Message) -> bool:
        """Write a message's lines; tell whether the system has them. A fault is said once."""
        lines = message.lines
        try:
            self._sink.write(lines, lambda: self.is_stopping)
        except OutputError as error:
            self.counts.output_errors += 1
            self._failed(error)
            return False
        self.counts.records += message.records
        self.counts.output_bytes += len(lines)
        if self._failing and lines:
            self._failing = False
            self._say("the output takes records again")
        return True

    def _failed(self, error: OutputError) -> None:
        if isinstance(error, OutputGone):
            self._gone = error
            self.stop()
        elif not self._failing:
            self._failing = True
            self._say(f"{error}; nothing is acknowledged until it can be written")

    async def _accept(self, listener: Listener) -> None:
        """Accept connections while there may be more; the others wait in the system's queue."""
        loop = asyncio.get_running_loop()
        while True:
            open_max = self.limits.connections_max
            if len(self._serving) >= open_max:
                self._pauses.say(
                    f"{open_max} connections are open (--connections-max): the next one waits "
                    "until one of them ends"
                )
                await asyncio.wait(self._serving, return_when=asyncio.FIRST_COMPLETED)
            try:
                client, address = await loop.sock_accept(listener.socket)
            except OSError as error:
                self._pauses.say(
                    f"cannot accept a connection: {error.strerror}; it tries again every second"
                )
                await asyncio.sleep(RETRY_SECONDS)
                continue
            task = asyncio.ensure_future(self._serve_client(client, _named(address)))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve_client(self, client: socket.socket, peer: str) -> None:
        timeout_seconds = self.limits.handshake_timeout_seconds if self.tls else None
        try:
            _, connection = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Connection(self, peer),
                client,
                ssl=self.tls,
                ssl_handshake_timeout=timeout_seconds,
            )
        except ConnectionResetError:
            return  # it went without a word, as the probe of a load balancer does
        except OSError as error:
            self.counts.refused += 1
            self.complaints.say(f"closed {peer}: {_why_no_tls(error)}")
            return
        await connection.ended

    async def _look(self) -> None:
        """End connections whose time is over."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for connection in list(self._connections):
                connection.check_time(loop.time())

    async def _end_connections(self) -> None:
        for connection in list(self._connections):
            connection.finish()
        ends = [connection.ended for connection in self._connections]
        await asyncio.gather(*ends)
        await _cancel(list(self._serving))  # those in their TLS handshake


class Connection(asyncio.Protocol):
    """One client.

    Args:
        receiver: what takes its records, and bounds it.
        peer: what to call it.

    Attributes:
        ended: done when the connection is over.
    """

    def __init__(self, receiver: Receiver, peer: str) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receiver = receiver
        self._session: Session | None = receiver.new_session()
        self._peer = peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport of a new connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._begun_seconds = self._heard_seconds = asyncio.get_running_loop().time()
        self._receiver.opened(self)
        if self._session is not None and (greeting := self._session.begin()):
            transport.write(greeting)

    def data_received(self, data: bytes) -> None:
        """Write what the client sent, then acknowledge it."""
        session = self._session
        if session is None:
            return  # read on, so that unread bytes do not reset the connection under our last acks
        self._receiver.counts.received_bytes += len(data)
        self._heard_seconds = asyncio.get_running_loop().time()
        begins = False
        for event in session.receive(data):
            if self._receiver.is_stopping or not self._do(event):
                self.finish()
                return
            begins = True
        self._receiver.note_pending(self, session.pending_bytes, begins=begins)

    def _do(self, event: Message | Answer | Close) -> bool:
        """Do as the session says; tell whether to go on."""
        match event:
            case Message(ack=ack):
                if not self._receiver.write(event):
                    return False
                if ack and not self._transport.is_closing():  # the client may be gone by now
                    self._transport.write(ack)
                    self._receiver.counts.acks += 1
            case Answer(data=answer):
                self._transport.write(answer)
            case Close(reason=reason):
                self.refuse(reason)
                return False
        return True

    def check_time(self, now_seconds: float) -> None:
        """Close the connection if its client took too long."""
        if self._session is None:
            return
        limits = self._receiver.limits
        is_new = self._session.is_shaking_hands
        if is_new and now_seconds - self._begun_seconds > limits.handshake_timeout_seconds:
            seconds = limits.handshake_timeout_seconds
            self.refuse(f"no handshake within {seconds:g} s (--handshake-timeout)")
        elif now_seconds - self._heard_seconds > limits.idle_timeout_seconds:
            self.refuse(f"it sent nothing for {limits.idle_timeout_seconds:g} s (--idle-timeout)")

    def refuse(self, reason: str) -> None:
        """Close the connection because of what the client did, and say why."""
        self._receiver.counts.refused += 1
        self._receiver.complaints.say(f"closed {self._peer}: {reason}")
        self.finish()

    def eof_received(self) -> None:
        """Close too; what the client left incomplete is said, since it is never acknowledged."""
        reason = None if self._session is None else self._session.end()
        if reason is not None:
            self._receiver.complaints.say(f"{self._peer}: {reason}")

    def pause_writing(self) -> None:
        """Read nothing while the client does not read its acknowledgements."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_session()
        if not self.ended.done():
            self.ended.set_result(None)
        self._receiver.closed(self)

    def finish(self) -> None:
        """Take no more; send what was acknowledged, let the client read it, then close."""
        if self._session is None:
            return
        self._forget_session()
        if self._transport.can_write_eof():
            with contextlib.suppress(OSError):  # the client has just reset the connection
                self._transport.write_eof()
        loop = asyncio.get_running_loop()
        loop.call_later(LINGER_SECONDS, self._transport.abort)

    def _forget_session(self) -> None:
        """Give up what is held of the client's bytes."""
        self._session = None
        self._receiver.note_pending(self, 0, begins=True)


def _named(address: Any) -> str:
    """Name a client by its address; that of a unix socket is a path, which the client chooses."""
    return "{}:{}".format(*address) if isinstance(address, tuple) else "a client"


def _why_no_tls(error: OSError) -> str:
    # OpenSSL 3.5.4 says the last of these, for which Python may know no name.
    said = ("wrong version number", "http request", "record layer failure")
    if any(each in str(error) for each in said):
        return "it does not speak TLS; its endpoint must be tls://"
    return f"its TLS handshake failed: {error!r:.200}"


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
