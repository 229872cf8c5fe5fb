"""Sends the doctor's own records over a connection, and waits for their acks.

Every entry is well-formed and says what it is (`logship_doctor`), because a server delivers every
record that it acknowledges. Only messages of the forward protocol are sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from logship._buffer.chunk import new_chunk_id
from logship._delivery.transport import Connection
from logship._protocol.compression import compressor
from logship._protocol.entries import pack_control
from logship._protocol.frames import AckReader, AnswerError, frame_parts
from logship._settings import Settings
from logship.errors import ProtocolError

FIELD = "logship_doctor"
"""The field by which the doctor's records are recognised; its value tells one run from another."""

HEARTBEAT = b"\xc0"
_LINE_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Answer:
    """How a server answered.

    Attributes:
        acked: Whether every chunk was acked.
        reason: Why not.
        seconds: From the first byte sent to the last ack, or to the end of the wait.
        bytes_acked: Acked bytes of entries.
        in_time: Whether the server answered, or ended the connection, before the wait was over.
    """

    acked: bool
    reason: str
    seconds: float
    bytes_acked: int
    in_time: bool


class Exchange:
    """One connection on which chunks are sent and acks are awaited (transport.ConnectionEvents)."""

    def __init__(self) -> None:
        self._reader = AckReader()
        self._acked: set[str] = set()
        self._ended = ""
        self._came = asyncio.Event()

    def bytes_received(self, data: bytes) -> None:
        """Note the acks."""
        try:
            self._acked.update(self._reader.feed(data))
        except AnswerError as error:
            self._acked.update(error.acks)
            self._ended = self._ended or str(error)
        except ProtocolError as error:
            self._ended = self._ended or str(error)
        self._came.set()

    def connection_ended(self, reason: str) -> None:
        """Note the end."""
        self._ended = self._ended or reason
        self._came.set()

    def writable_changed(self, writable: bool) -> None:
        """Do nothing: the bytes sent at once are few, and bounded by the window."""

    async def send(
        self, connection: Connection, chunks: Sequence[Chunk], window: int, seconds: float
    ) -> Answer:
        """Send chunks, at most `window` at a time unacked, and wait `seconds` for all acks."""
        started = time.monotonic()
        waiting = list(chunks)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._ended and (unacked := self._unacked(chunks)):
                    self._came.clear()
                    while waiting and len(unacked) - len(waiting) < window:
                        connection.send(waiting.pop(0).parts)
                    await self._came.wait()
        unacked = self._unacked(chunks)
        return Answer(
            acked=not unacked,
            reason=self._ended or f"no ack within {seconds:g} s",
            seconds=time.monotonic() - started,
            bytes_acked=sum(each.size for each in chunks) - sum(each.size for each in unacked),
            in_time=bool(self._ended) or not unacked,
        )

    def _unacked(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        return [each for each in chunks if each.id not in self._acked]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk, ready to be sent.

    Attributes:
        id: Comes back in its ack.
        size: Bytes of its entries.
        parts: The frame.
    """

    id: str
    size: int
    parts: tuple[bytes, ...]


class Recorder:
    """Makes the doctor's records, with the message key and compression of the settings."""

    def __init__(self, settings: Settings, tag: str | None) -> None:
        self.run = os.urandom(6).hex()
        self.tag = tag or settings.tag
        self._key = settings.message_key
        self._chunk_bytes_max = settings.chunk_bytes_max
        self._method = None if settings.compress == "none" else settings.compress
        self._compress = compressor(settings.compress)

    def single(self, text: str) -> Chunk:
        """Return a chunk with one record."""
        return self._chunk([self._entry(text)])

    def burst(self, count: int) -> list[Chunk]:
        """Return chunks of `count` records of 400 characters: one record, then full chunks."""

        def entry(number: int) -> bytes:
            text = f"logship doctor: record {number} of {count} that measure the sidecar "
            return self._entry(text.ljust(_LINE_CHARACTERS, "."))

        numbers = range(1, count + 1)
        step = max(1, self._chunk_bytes_max // len(entry(count)))  # all have one length
        parts = [numbers[:1], *(numbers[index : index + step] for index in range(1, count, step))]
        return [self._chunk(list(map(entry, part))) for part in parts]

    def _entry(self, text: str) -> bytes:
        return pack_control({self._key: text, FIELD: self.run}, time.time_ns(), extra_fields=0)

    def _chunk(self, entries: list[bytes]) -> Chunk:
        plain = b"".join(entries)
        payload = plain if self._compress is None else self._compress(plain)
        chunk_id = new_chunk_id(os.urandom)
        before, behind = frame_parts(self.tag, chunk_id, len(entries), len(payload), self._method)
        return Chunk(chunk_id, len(plain), (before, payload, behind))
