"""The shipper's turns: look at the buffer and the clock, do what delivery decides, and rest.

The pump knows neither sockets nor an event loop. The client gives it a port, which acts on the
outside, and a schedule, which calls back later. So the simulation drives this very code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk, ChunkState
from logship._delivery.actions import Actions, Connect, Disconnect, Quarantine, Release, Send, Warn
from logship._delivery.delivery import Delivery
from logship._settings import Endpoint

DRAIN_ACK_TIMEOUT_SECONDS_MIN = 5.0

Cancel = Callable[[], None]


class Port(Protocol):
    """What the pump does to the outside."""

    def send(self, chunks: list[Chunk]) -> list[Chunk]:
        """Write the chunks to the connection; return those that are damaged and cannot be sent."""

    def set_aside(self, chunk: Chunk) -> None:
        """Give up a chunk that is damaged, and tell which records are lost with it."""

    def release(self, chunk: Chunk) -> None:
        """Free a chunk that the sidecar acked."""

    def quarantine(self, chunk: Chunk) -> None:
        """Give up a record that no server takes."""

    def connect(self, endpoint: Endpoint) -> None:
        """Begin an attempt to connect; it ends with `connected` or `connect_failed`."""

    def disconnect(self) -> None:
        """End the connection, or the attempt."""

    def warn(self, kind: str, text: str) -> None:
        """Tell a person."""

    def progressed(self) -> None:
        """Note that chunks were settled."""


class Schedule(Protocol):
    """Calls back later, in the thread of the pump."""

    def soon(self, callback: Callable[[], None]) -> object:
        """Call back once the caller is done."""

    def at(self, seconds: float, callback: Callable[[], None]) -> Cancel:
        """Call back at this time (monotonic seconds); return what takes it back."""


class Upkeep(Protocol):
    """What else is due in a turn."""

    def tend(self, now_seconds: float) -> None:
        """Do what is due."""

    def deadlines(self) -> Iterable[float | None]:
        """Return when something will be due (monotonic seconds), if nothing else happens."""


def _nothing() -> None:
    pass


class Pump:
    """Turns what happens into what delivery decides, and that into actions.

    Attributes:
        is_stopped: Whether it sets no timer any more.
    """

    def __init__(
        self,
        buffer: Buffer,
        delivery: Delivery[Chunk],
        *,
        port: Port,
        upkeep: Upkeep,
        schedule: Schedule,
        monotonic: Callable[[], float],
    ) -> None:
        self.is_stopped = False
        self._buffer = buffer
        self._delivery = delivery
        self._port = port
        self._upkeep = upkeep
        self._schedule = schedule
        self._monotonic = monotonic
        self._timer_seconds = math.inf
        self._cancel: Cancel = _nothing

    def start(self) -> None:
        """Connect before there is anything to send, and take the first turn."""
        self.perform(self._delivery.start())
        self.turn()

    def turn(self) -> None:
        """Look at the buffer and the clock, do what is due, and arrange for the next time.

        Sending comes last: what is given up in a turn is not sent in it, and what is sealed is.
        """
        now = self._monotonic()
        self._upkeep.tend(now)
        self._buffer.departure.seal_due(now)
        self.perform(self._delivery.timer(now))
        self.perform(self._delivery.chunks_ready(now))
        self.rest()

    def rest(self) -> None:
        """Have a turn when something is due, and at once where something is already.

        A timer that is early enough stays: then there is one turn in vain, where otherwise each ack
        would make a new timer.
        """
        due_seconds = self._due_seconds()
        if due_seconds < self._timer_seconds and not self.is_stopped:
            self._set_timer(due_seconds)
        if self._delivery.can_send and self._buffer.departure.has_sealed():
            self._schedule.soon(self.turn)  # sealed between the last look and now

    def cancel_timer(self) -> None:
        """Take back the timer, if one is set."""
        self._cancel()
        self._cancel, self._timer_seconds = _nothing, math.inf

    # -- what happens to the connection ------------------------------------------------------------

    def connected(self) -> None:
        """The attempt succeeded."""
        self.perform(self._delivery.connected(self._monotonic()))
        self.turn()

    def connect_failed(self, reason: str) -> None:
        """The attempt failed."""
        self.perform(self._delivery.connect_failed(self._monotonic(), reason))
        self.turn()

    def acked(self, chunk_ids: list[str]) -> None:
        """The server acked these chunks."""
        self.perform(self._delivery.acked(self._monotonic(), chunk_ids))
        self.rest()

    def connection_lost(self, reason: str) -> None:
        """The connection ended."""
        self.perform(self._delivery.connection_lost(self._monotonic(), reason))
        self.rest()

    def writable_changed(self, *, writable: bool) -> None:
        """The connection takes more bytes, or takes no more for now."""
        self.perform(self._delivery.set_writable(self._monotonic(), writable))
        self.rest()

    # -- what happens to the process ---------------------------------------------------------------

    def look_often(self) -> None:
        """Wait less between attempts to connect: the process is to end."""
        self.perform(self._delivery.look_often(self._monotonic()))
        self.turn()

    def hurry(self, deadline_seconds: float) -> None:
        """Wait less for acks, and less between attempts: a drain has begun, and will end then."""
        now = self._monotonic()
        ack_timeout_seconds = max(DRAIN_ACK_TIMEOUT_SECONDS_MIN, (deadline_seconds - now) / 3)
        self.perform(self._delivery.hurry(now, ack_timeout_seconds))
        self.turn()

    def restart(self, reason: str, wait_seconds: float) -> None:
        """Begin again: turn after a while, and do not connect anew before that."""
        self._port.disconnect()
        now = self._monotonic()
        self._set_timer(now + wait_seconds)
        adopted = sorted(self._buffer.adopted, key=lambda chunk: chunk.first)
        chunks = [*self._buffer.unsettled(), *adopted]
        taken = [chunk for chunk in chunks if chunk.state is ChunkState.TAKEN]
        self.perform(self._delivery.restart(now, reason, taken, now + wait_seconds))

    def close(self) -> None:
        """Send nothing more, take no more acks, and take back the timer."""
        self.perform(self._delivery.close())
        self.cancel_timer()

    # -- inside ------------------------------------------------------------------------------------

    def _due_seconds(self) -> float:
        """Return when the clock alone makes something to do (monotonic); infinity for never."""
        deadlines = [
            self._buffer.departure.next_deadline_seconds(),
            self._delivery.next_deadline_seconds(),
            *self._upkeep.deadlines(),
        ]
        return min([each for each in deadlines if each is not None], default=math.inf)

    def _set_timer(self, seconds: float) -> None:
        self.cancel_timer()
        self._timer_seconds = seconds
        self._cancel = self._schedule.at(seconds, self._timer_rang)

    def _timer_rang(self) -> None:
        self._cancel, self._timer_seconds = _nothing, math.inf
        self.turn()

    def perform(self, actions: Actions[Chunk]) -> None:
        """Do what delivery decided."""
        port = self._port
        chunks: list[Chunk] = []
        progressed = False
        for action in actions:
            match action:
                case Send(chunk):
                    chunks.append(chunk)
                case Release(chunk):
                    port.release(chunk)
                    progressed = True
                case Quarantine(chunk):
                    port.quarantine(chunk)
                    progressed = True
                case Connect(endpoint):
                    port.connect(endpoint)
                case Disconnect():
                    port.disconnect()
                case Warn(kind, text):
                    port.warn(kind, text)
        if chunks:
            # All at once: after each system call a busy application has the interpreter for five
            # milliseconds, if it wants it.
            for chunk in port.send(chunks):
                self._delivery.forget(chunk.id)
                port.set_aside(chunk)
                progressed = True
        if progressed:
            port.progressed()
