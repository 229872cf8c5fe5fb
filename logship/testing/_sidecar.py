"""A sidecar that does what a test sets, and keeps what it was sent.

`MemoryTransport` connects to a `Sidecar` in memory, and a `SocketSidecar` listens on a port. Both
use the receiver's own session, so they count as delivered what a real server would have written.
"""

from __future__ import annotations

import asyncio
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from logship._protocol.entries import is_control
from logship._protocol.messages import Message
from logship._receiver.session import Close, Session

SHOWN_MAX = 5
"""How many of the last records the error of a failed wait shows."""


class Delivered(NamedTuple):
    """A record that the sidecar received.

    Attributes:
        tag: Its route.
        time_ns: Nanoseconds since 1970.
        record: As sent, the stamp included.
    """

    tag: str
    time_ns: int
    record: dict[str, Any]


class Sidecar:
    """A sidecar whose behaviour a test sets, from any thread.

    Attributes:
        acks: Whether it acks chunks at once; otherwise acks are held back.
        delivered: All records that it received, in order, including duplicates and the records that
            logship itself adds to a stream.
        messages: How many messages contained these records.
        connects: How many connections were made.
        held_acks: Acks that were held back, oldest first; `hang_up` discards them.
    """

    def __init__(self) -> None:
        self.acks = True
        self.delivered: list[Delivered] = []
        self.messages: int = 0
        self.connects: int = 0
        self.held_acks: list[bytes] = []
        self._is_reachable = self._is_reading = True
        self._came = threading.Condition()
        self._connections: list[SidecarConnection] = []

    @property
    def reachable(self) -> bool:
        """Whether new connections can be made. Open connections stay open in any case."""
        return self._is_reachable

    @reachable.setter
    def reachable(self, is_reachable: bool) -> None:
        self._is_reachable = is_reachable
        self._listen_or_refuse()

    def _listen_or_refuse(self) -> None:
        """Do what `reachable` says, where there is a port."""

    @property
    def connected(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def records(self) -> list[Delivered]:
        """What applications logged: `delivered` without the ends and gaps of streams."""
        return [each for each in list(self.delivered) if not is_control(each.record)]

    def wait_for(
        self,
        wanted: int | Callable[[list[Delivered]], object],
        timeout_seconds: float = 10.0,
    ) -> list[Delivered]:
        """Wait for `records`, and return them.

        An event loop must not wait: `await asyncio.to_thread(sidecar.wait_for, 3)`.

        Args:
            wanted: The number of records, or a function that gets the records and returns whether
                they suffice. It is called again after each message.
            timeout_seconds: The longest wait.

        Raises:
            AssertionError: The records did not arrive in time.
        """
        __tracebackhide__ = True  # pytest shows the line of the test
        suffices = wanted if callable(wanted) else lambda records: len(records) >= wanted
        with self._came:
            if not self._came.wait_for(lambda: suffices(self.records), timeout_seconds):
                raise AssertionError(self._what_came(timeout_seconds))
        return self.records

    def _what_came(self, seconds: float) -> str:
        records = self.records
        last = "".join(f"\n  {each}" for each in records[-SHOWN_MAX:]) or " none"
        came = f"connections: {self.connects}; records: {len(records)}"
        hint = "" if self.connects else "; was logship.install() called in the test?"
        return f"not within {seconds:g} s; {came}, the last ones:{last}{hint}"

    def say(self, data: bytes) -> None:
        """Send any bytes to every connected client."""
        for connection in list(self._connections):
            connection.call(connection.answer, data)

    def release_acks(self) -> None:
        """Send the acks that were held back."""
        acks, self.held_acks = self.held_acks, []
        for ack in acks:
            self.say(ack)

    def hang_up(self) -> None:
        """End every connection; the client does not learn whether unacked chunks arrived."""
        self.held_acks = []
        for connection in list(self._connections):
            connection.call(connection.end, "the sidecar closed it")

    def stop_reading(self) -> None:
        """Stop reading from all connections, so that clients soon cannot write any more."""
        self._set_reading(False)

    def read_on(self) -> None:
        """Undo `stop_reading`."""
        self._set_reading(True)

    def _set_reading(self, is_reading: bool) -> None:
        self._is_reading = is_reading
        for connection in list(self._connections):
            connection.call(connection.set_reading, is_reading)

    # -- for connections ---------------------------------------------------------------------------

    def opened(self, connection: SidecarConnection) -> None:
        """Take note of a new connection, on its loop."""
        self.connects += 1
        self._connections.append(connection)
        if not self._is_reading:
            connection.call(connection.set_reading, False)

    def closed(self, connection: SidecarConnection) -> None:
        """Forget a connection."""
        if connection in self._connections:
            self._connections.remove(connection)

    def took(self, connection: SidecarConnection, message: Message) -> None:
        """Keep a message, then ack it."""
        self.keep(message)
        if not message.ack:
            return
        if self.acks:
            connection.answer(message.ack)
        else:
            self.held_acks.append(message.ack)

    def keep(self, message: Message) -> None:
        """Keep a message's records, and wake those that wait."""
        with self._came:
            self.messages += 1
            self.delivered += map(_delivered, message.lines.splitlines())
            self._came.notify_all()


class SidecarConnection(ABC):
    """The sidecar's end of a connection. All methods but `call` run on its loop.

    Args:
        sidecar: What it belongs to.
    """

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._session = Session()
        self._loop = asyncio.get_running_loop()

    def call(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call `function` on the connection's loop, from any thread."""
        self._loop.call_soon_threadsafe(function, *arguments)

    def received(self, data: bytes) -> None:
        """Do with the client's bytes what a receiver does."""
        for event in self._session.receive(data):
            if isinstance(event, Message):
                self._sidecar.took(self, event)
            elif isinstance(event, Close):
                self.end(event.reason)

    @abstractmethod
    def answer(self, data: bytes) -> None:
        """Send bytes to the client."""

    @abstractmethod
    def end(self, reason: str) -> None:
        """End the connection."""

    @abstractmethod
    def set_reading(self, is_reading: bool) -> None:
        """Read on, or read nothing."""


def _delivered(line: bytes) -> Delivered:
    fields = json.loads(line)
    return Delivered(fields["tag"], fields["time_ns"], fields["record"])
