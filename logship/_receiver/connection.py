"""One client's connection: it does what its session says, as long as it may."""

from __future__ import annotations

import asyncio
from typing import Protocol

from logship._receiver.complaints import Complaints
from logship._receiver.counts import Counts
from logship._receiver.limits import Limits
from logship._receiver.session import Answer, Close, Session, Write

LINGER_SECONDS = 1.0
"""How long a closing connection is kept for its client to read the last acknowledgements."""


class Owner(Protocol):
    """What all connections share; `Receiver` says what its attributes and methods are."""

    limits: Limits
    counts: Counts
    complaints: Complaints
    is_stopping: bool

    def new_session(self) -> Session:
        """Return the session of a new connection."""

    def opened(self, connection: Connection) -> None:
        """Take note of a new connection."""

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""

    def note_pending(self, connection: Connection, pending_bytes: int, *, begins: bool) -> None:
        """Note how much is held of a connection's message that is not complete."""

    def write(self, message: Write) -> bool:
        """Write a message's lines; tell whether the system has them."""


class Connection(asyncio.Protocol):
    """One client.

    Args:
        receiver: what takes its records, and bounds it.

    Attributes:
        ended: done when the connection is over.
    """

    def __init__(self, receiver: Owner) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receiver = receiver
        self._session: Session | None = receiver.new_session()
        self._peer = "a client"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport of a new connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._begun_seconds = self._heard_seconds = asyncio.get_running_loop().time()
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):  # of a unix socket it is a path, which the client may choose
            self._peer = "{}:{}".format(*peer)
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

    def _do(self, event: Write | Answer | Close) -> bool:
        """Do as the session says; tell whether to go on."""
        match event:
            case Write(ack=ack):
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
            self._transport.write_eof()
        loop = asyncio.get_running_loop()
        loop.call_later(LINGER_SECONDS, self._transport.abort)

    def _forget_session(self) -> None:
        """Give up what is held of the client's bytes."""
        self._session = None
        self._receiver.note_pending(self, 0, begins=True)
