"""The receiver's connections: asyncio, any number of them, one output.

Everything that a client sent is written and acknowledged before the next bytes are read: that is
the backpressure, and the reason why a stop finds nothing half done.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from logship.receiver.binds import Listener
from logship.receiver.counts import Counts
from logship.receiver.session import Answer, Close, Session, Write
from logship.receiver.sinks import LineSink, OutputError, OutputGone

LINGER_SECONDS = 1.0
"""How long a closing connection is kept for its client to read the last acknowledgements."""

COMPLAINTS_MAX = 10
"""Lines about connections in `COMPLAINTS_SECONDS`; the others are counted."""

COMPLAINTS_SECONDS = 60.0

Say = Callable[[str], None]
"""Takes one line for the operator."""


class Receiver:
    """Serves until it is told to stop, or its output is gone.

    Args:
        sink: where records go.
        say: takes lines for the operator.
        new_session: makes the session of a connection; one without a handshake by default.
        tls: what the connections are encrypted with, or None.

    Attributes:
        counts: what it did so far.
    """

    def __init__(
        self,
        sink: LineSink,
        say: Say,
        *,
        new_session: Callable[[], Session] = Session,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.new_session = new_session
        self._tls = tls
        self.counts = Counts()
        self.complaints = Complaints(say)
        self.gone: OutputGone | None = None
        self._sink = sink
        self._say = say
        self._failing = False
        self._stopping = asyncio.Event()
        self._connections: set[Connection] = set()

    async def serve(self, listener: Listener) -> None:
        """Take connections until `stop` is called, then end those that are open.

        Raises:
            OutputGone: nothing can be written ever again.
        """
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Connection(self), sock=listener.socket, ssl=self._tls
        )
        await self._stopping.wait()
        server.close()
        await self._end_connections()
        self.complaints.close()
        if self.gone is not None:
            raise self.gone

    def stop(self) -> None:
        """Take no more connections and no more bytes; what was received is acknowledged."""
        self._stopping.set()

    def opened(self, connection: Connection) -> None:
        """Take note of a new connection."""
        self._connections.add(connection)
        self.counts.connections += 1
        self.counts.connections_open += 1
        if self._stopping.is_set():
            connection.finish()

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self.counts.connections_open -= 1

    def write(self, message: Write) -> bool:
        """Write a message's lines; tell whether the system has them. A fault is said once."""
        lines = message.lines
        try:
            self._sink.write(lines)
        except OutputError as error:
            self.counts.output_errors += 1
            self._failed(error)
            return False
        self.counts.records += message.records
        self.counts.output_bytes += len(lines)
        self.counts.acks += bool(message.ack)
        if self._failing and lines:
            self._failing = False
            self._say("the output takes records again")
        return True

    def _failed(self, error: OutputError) -> None:
        if isinstance(error, OutputGone):
            self.gone = error
            self.stop()
        elif not self._failing:
            self._failing = True
            self._say(f"{error}; nothing is acknowledged until it can be written")

    async def _end_connections(self) -> None:
        for connection in list(self._connections):
            connection.finish()
        ends = [connection.ended for connection in self._connections]
        await asyncio.gather(*ends)


class Connection(asyncio.Protocol):
    """One client: does what its session says."""

    def __init__(self, receiver: Receiver) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receiver = receiver
        self._session = receiver.new_session()
        self._finishing = False
        self._peer = "a client"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport of a new connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host_and_port = transport.get_extra_info("peername")
        if host_and_port:
            self._peer = "{}:{}".format(*host_and_port)
        self._receiver.opened(self)
        greeting = self._session.begin()
        if greeting and not self._finishing:
            transport.write(greeting)

    def data_received(self, data: bytes) -> None:
        """Write what the client sent, then acknowledge it."""
        if self._finishing:
            return  # read on, so that unread bytes do not reset the connection under our last acks
        self._receiver.counts.received_bytes += len(data)
        for event in self._session.receive(data):
            match event:
                case Write(ack=ack):
                    if not self._receiver.write(event):
                        self.finish()
                        return
                    self._transport.write(ack)
                case Answer(data=answer):
                    self._transport.write(answer)
                case Close(reason=reason):
                    self._receiver.counts.refused += 1
                    self._receiver.complaints.say(f"closed {self._peer}: {reason}")
                    self.finish()

    def eof_received(self) -> None:
        """Close too; what the client left incomplete is said, since it is never acknowledged."""
        reason = None if self._finishing else self._session.end()
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
        if not self.ended.done():
            self.ended.set_result(None)
        self._receiver.closed(self)

    def finish(self) -> None:
        """Take no more; send what was acknowledged, let the client read it, then close."""
        if self._finishing:
            return
        self._finishing = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        loop = asyncio.get_running_loop()
        loop.call_later(LINGER_SECONDS, self._transport.abort)


class Complaints:
    """Says at most so many lines a minute about clients, and how many it left out.

    Args:
        say: takes a line.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._said = 0
        self._left_out = 0
        self._period: asyncio.TimerHandle | None = None

    def say(self, line: str) -> None:
        """Say the line, or count it."""
        if self._period is None:
            loop = asyncio.get_running_loop()
            self._period = loop.call_later(COMPLAINTS_SECONDS, self._end_period)
        if self._said < COMPLAINTS_MAX:
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
