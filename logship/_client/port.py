"""The client's side to the outside: connections, frames, acks, and what becomes of chunks."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING

from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk
from logship._client.parts import new_compressor
from logship._client.schedule import LoopSchedule
from logship._delivery.transport import Connection, Transport
from logship._hooks.interruptions import is_interruption
from logship._protocol.frames import AckReader, AnswerError, frame_parts
from logship._reasons import QUARANTINED
from logship._settings import Endpoint, Settings
from logship._stderr.last_resort import LastResort
from logship._stderr.spill import Spill
from logship.errors import ConnectError

if TYPE_CHECKING:
    from logship._client.pump import Pump

Payload = bytes | bytearray | memoryview


class SocketPort:
    """Does on real connections what the pump says, and tells the pump what happens to them.

    Args:
        transport: How to connect; it may be set later, before the first attempt.
        spill: Given samples of its cost. None where no record may be written to stderr.
        count_sent: Told how many bytes were handed to a connection.
        progressed: Called when chunks were settled.

    Attributes:
        pump: Told what happens.

    Raises:
        SettingsError: The compression needs a package that is not installed.
    """

    pump: Pump

    def __init__(
        self,
        settings: Settings,
        buffer: Buffer,
        schedule: LoopSchedule,
        *,
        transport: Transport | None,
        last_resort: LastResort,
        spill: Spill | None,
        count_sent: Callable[[int], None],
        progressed: Callable[[], None],
    ) -> None:
        self.transport = transport
        self.progressed = progressed
        self.release = buffer.release
        self.warn = last_resort.warn
        self._settings = settings
        self._buffer = buffer
        self._schedule = schedule
        self._last_resort = last_resort
        self._spill = spill
        self._compress = new_compressor(settings)
        self._count_sent = count_sent
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._endpoint: Endpoint | None = None  # of the last attempt
        self._answers = AckReader()

    @property
    def unanswered(self) -> str:
        """What to tell of an attempt to connect that is under way; empty if none is.

        A program may end before the attempt does, and is to say why its records did not arrive.
        From any thread.
        """
        connecting = self._connecting  # the loop's thread may set it to None meanwhile
        if connecting is None or connecting.done():
            return ""
        assert self.transport is not None
        return f"; {self._endpoint} has not answered{self.transport.hint}"

    # -- the pump's actions (pump.Port) ------------------------------------------------------------

    def send(self, chunks: list[Chunk]) -> list[Chunk]:
        """Write the chunks to the connection, all at once; return those that are damaged."""
        parts: list[Payload] = []
        damaged = []
        for chunk in chunks:
            try:
                parts += self._frame(chunk)
            except Exception as error:
                if isinstance(error, MemoryError | OSError) or is_interruption(error):
                    raise  # not the chunk's fault: it is sent again
                self._last_resort.warn_of_bug("a chunk that is to be sent", error)
                damaged.append(chunk)
        if self._connection is not None and parts:
            self._connection.send(parts)
            self._count_sent(sum(map(len, parts)))
        return damaged

    def set_aside(self, chunk: Chunk) -> None:
        """Give up a chunk that is damaged, and tell which records are lost with it."""
        numbers = f"{chunk.first} to {chunk.last}"
        text = f"stream {chunk.stream.id}, numbers {numbers}: the chunk cannot be sent"
        self._last_resort.warn("damaged", f"{text}; it is set aside", interval_seconds=0.0)
        self._buffer.give_up(chunk, QUARANTINED)

    def quarantine(self, chunk: Chunk) -> None:
        """Give up a record that no server takes: write it to stderr, if stderr takes it.

        A record of a dead process goes into the quarantine directory.
        """
        if chunk.own_records:
            stamp = f"{chunk.stream.id}:{chunk.first:010d}"
            text = f"the sidecar does not take record {stamp} ({chunk.size} bytes)"
            self._last_resort.warn("quarantine", f"{text}; it is quarantined")
            if self._spill is not None:
                self._spill.write_now(chunk)
        self._buffer.give_up(chunk, QUARANTINED)

    def connect(self, endpoint: Endpoint) -> None:
        """Begin an attempt to connect.

        The connection keeps the context of this task, which must hold no object of a request.
        """
        assert self._schedule.loop is not None
        self._endpoint = endpoint
        begin, attempt = self._schedule.loop.create_task, self._try_connect(endpoint)
        self._connecting = contextvars.Context().run(begin, attempt)
        self._connecting.add_done_callback(self._attempt_done, context=contextvars.Context())

    def disconnect(self) -> None:
        """End the connection, or the attempt."""
        connecting = self._connecting
        with contextlib.suppress(RuntimeError):  # the application has closed their loop
            if self._connection is not None:
                self._connection.abort()
            if connecting is not None and not connecting.get_loop().is_closed():
                connecting.cancel()
            elif connecting is not None and (attempt := connecting.get_coro()) is not None:
                attempt.close()  # asyncio warns of one that was never begun
        self._connection = self._connecting = None

    def after_fork_in_child(self) -> None:
        """Close the parent's sockets, and have nothing happen to its connection or attempt.

        The child may run the loop, which would take a new socket for the old one if that has the
        same number. So the loop forgets the old one, but only once it is closed: the selector is
        the parent's too. Loops that are none of asyncio's do not let a socket be closed.
        """
        self._schedule.is_of_parent = True
        if self.transport is not None:
            self.transport.abandon()
        if isinstance(self._schedule.loop, asyncio.BaseEventLoop):
            with contextlib.suppress(Exception):  # a thread was in the middle of something there
                self.disconnect()

    # -- the connection's events (transport.ConnectionEvents) --------------------------------------

    def bytes_received(self, data: bytes) -> None:
        """The sidecar answered."""
        self._schedule.guarded(lambda: self._read(data))

    def connection_ended(self, reason: str) -> None:
        """The connection is gone."""
        self._connection = None
        self._schedule.guarded(lambda: self.pump.connection_lost(reason))

    def writable_changed(self, writable: bool) -> None:
        """The connection takes more bytes, or takes no more for now."""
        self._schedule.guarded(lambda: self.pump.writable_changed(writable=writable))

    # -- inside ------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        try:
            acks = self._answers.feed(data)
        except AnswerError as error:
            self.pump.acked(error.acks)
            self.disconnect()
            self.pump.connection_lost(str(error))
        else:
            self.pump.acked(acks)

    def _frame(self, chunk: Chunk) -> tuple[Payload, ...]:
        """Return what is to be written of a chunk.

        A record that is larger than a chunk is not compressed: Fluent Bit takes no more than a
        megabyte out of one compressed block.
        """
        chunk.before_sending()
        tag, payload, method = chunk.stream.tag, chunk.data, None
        if self._compress is not None and chunk.size <= self._settings.chunk_bytes_max:
            payload, method = self._compress(chunk.data), self._settings.compress
        before, behind = frame_parts(tag, chunk.id, chunk.entries, len(payload), method)
        if self._spill is not None:
            self._spill.cost.sample(tag, chunk.data)
        return before, payload, behind

    async def _try_connect(self, endpoint: Endpoint) -> None:
        assert self.transport is not None
        try:
            connection = await self.transport.connect(endpoint, self)
        except GeneratorExit:  # the application has closed the loop
            raise
        except BaseException as error:  # also a bug in here must not end shipping for good
            is_cancelled = isinstance(error, asyncio.CancelledError)
            if is_cancelled and asyncio.current_task() is not self._connecting:
                raise  # `disconnect` has ended it
            # Else the application has cancelled all tasks of its loop, and may go on.
            why = "the attempt was cancelled" if is_cancelled else repr(error)
            is_told = isinstance(error, ConnectError)
            reason = str(error) if is_told else f"cannot connect to {endpoint}: {why}"
            self._end_attempt(None, lambda: self.pump.connect_failed(reason))
            if not isinstance(error, Exception):
                raise
        else:
            self._end_attempt(connection, self.pump.connected)

    def _attempt_done(self, attempt: asyncio.Task[None]) -> None:
        """Tell of an attempt that was cancelled before its first step: none of its code ran."""
        if attempt is self._connecting:
            reason = f"cannot connect to {self._endpoint}: the attempt was cancelled"
            self._end_attempt(None, lambda: self.pump.connect_failed(reason))

    def _end_attempt(self, connection: Connection | None, ended: Callable[[], None]) -> None:
        self._connection, self._connecting = connection, None
        self._answers = AckReader()
        self._schedule.guarded(ended)
