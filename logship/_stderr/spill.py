"""Writes the records in the buffer to stderr, one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from logship._buffer.chunk import Chunk
from logship._buffer.spilling import Spilling
from logship._delivery.drain import SPILL_SECONDS_PER_BYTE
from logship._hooks.locking import SectionLock
from logship._protocol.entries import is_control, unpack_entries
from logship._protocol.jsonlines import json_line, line_maker
from logship._stderr.last_resort import LastResort

_SAMPLE_INTERVAL_SECONDS = 10.0
_SAMPLE_LINES = 50

_NOTED_BYTES_MIN = 64 * 1024
"""The time of a smaller spill says nothing about the cost of a byte."""

_WRITE_BYTES_MAX = 64 * 1024

Line = tuple[bytes, bool]
"""An entry's line, and whether the entry is a control record of logship."""


class _Place:
    """How far a spill is in one chunk.

    Attributes:
        entries: How many of its entries, from the first, stderr has.
        records: How many of these the application logged.
        lines: Of the entries behind those; each is made when it is needed.
        made: Of these, what is made and not yet begun.
        torn: How many records of the application are in the line of which stderr has only a part;
            None where there is no such line.
    """

    def __init__(self, chunk: Chunk) -> None:
        payload = bytes(chunk.data)
        if chunk.is_settled:  # acked during the copy: another chunk may use the memory now
            payload = b""
        self.chunk = chunk
        self.entries: int = chunk.spilled_entries
        self.records: int = chunk.spilled_records
        lines = spilled_lines(chunk.stream.tag, payload)
        self.lines: Iterator[Line] = islice(lines, self.entries, None)
        self.made: list[Line] = []
        self.torn: int | None = None

    def next_lines(self) -> list[Line]:
        """Return the next lines to write, about as many as stderr takes in one write."""
        if self.chunk.is_settled:
            return []
        size = _WRITE_BYTES_MAX if self.made else 0
        while size < _WRITE_BYTES_MAX and (line := next(self.lines, None)) is not None:
            self.made.append(line)
            size += len(line[0])
        return self.made


class Spill:
    """Writes the records in the buffer to stderr, a few at each step.

    It works in steps because sending continues meanwhile. A chunk that is acked before its turn is
    not spilled. A chunk that is acked afterwards is in both places, and the stamps show it.

    A client has one spill, for its end and for spilling ahead. A call that comes while another one
    is running does nothing. If an exception ends a step, the next one begins behind what is
    counted: lines may be written twice, and none is counted that stderr does not have.

    Attributes:
        cost: What it takes.
        bytes_written: How many bytes of entries, those of a line that is begun among them.
    """

    def __init__(
        self, spilling: Spilling, last_resort: LastResort, monotonic: Callable[[], float]
    ) -> None:
        self._spilling = spilling
        self._last_resort = last_resort
        self._monotonic = monotonic
        self.cost: SpillCost = SpillCost(monotonic)
        self._lock = SectionLock()
        self._place: _Place | None = None
        self._is_in_step = False
        self.bytes_written: int = 0

    def step(self, until_seconds: float, *, newest_first: bool = False) -> bool:
        """Write lines until the time is up, stderr takes no more, or nothing is left.

        It begins with the newest chunk if the oldest ones are being acked.

        Returns:
            Whether everything that was in the buffer has been written.
        """
        return self._lock.run(lambda: self._step(until_seconds, newest_first), False)

    def _step(self, until_seconds: float, newest_first: bool) -> bool:
        began, before = self._monotonic(), self.bytes_written
        if self._is_in_step:  # an exception ended the last one
            self._place = None
        self._is_in_step = True
        is_done = self._finish_line() and self._write_chunks(until_seconds, newest_first)
        self._is_in_step = False
        self.cost.note(self.bytes_written - before, self._monotonic() - began)
        return is_done

    def _write_chunks(self, until_seconds: float, newest_first: bool) -> bool:
        while chunks := self._spilling.to_spill():
            for chunk in reversed(chunks) if newest_first else chunks:
                if self._monotonic() >= until_seconds:
                    return False
                if not self._spill_chunk(chunk, until_seconds):
                    return False
        return True

    def write_now(self, chunk: Chunk) -> None:
        """Write a chunk of one record at once, if stderr takes it and does not have it."""
        lines = spilled_lines(chunk.stream.tag, bytes(chunk.data))
        if not chunk.spilled_entries and all(
            self._last_resort.offer_line(line) for line, _ in lines
        ):
            self._spilling.note_spilled(chunk, 1, 1)

    def _spill_chunk(self, chunk: Chunk, until_seconds: float) -> bool:
        """Write the chunk's entries from where an earlier step stopped; False if interrupted."""
        place = self._place
        if place is None or place.chunk is not chunk:
            self._place = place = _Place(chunk)
        while lines := place.next_lines():
            if self._monotonic() >= until_seconds:
                return False
            begun = self._last_resort.write_lines([line for line, _ in lines])
            if begun:
                self._note_begun(place, lines[:begun])
            del lines[:begun]
            if lines or not self._finish_line():
                return False
        return True

    def _note_begun(self, place: _Place, lines: Sequence[Line]) -> None:
        records = [int(not is_control) for _, is_control in lines]
        if self._last_resort.torn:  # `_finish_line` counts the last one
            place.torn = records.pop()
        self._note_spilled(place, records)
        self.bytes_written += place.chunk.size * len(lines) // place.chunk.entries

    def _finish_line(self) -> bool:
        """Write the rest of a torn line, and count it; return whether stderr has all of it."""
        place = self._place
        if place is not None and place.torn is not None:
            if self._last_resort.torn:
                self._last_resort.write_lines(())
            if self._last_resort.torn:
                return False
            self._note_spilled(place, [place.torn])
            place.torn = None
        return True

    def _note_spilled(self, place: _Place, records: Sequence[int]) -> None:
        """Count lines that stderr has, given how many records of the application are in each."""
        place.entries += len(records)
        place.records += sum(records)
        self._spilling.note_spilled(place.chunk, place.entries, place.records)


class SpillCost:
    """The current cost of writing one byte of entries to stderr.

    With a quarter of a CPU the cost is five times as high, and nothing tells beforehand how much
    CPU a stopping task will get. So a few lines are made and dropped every ten seconds, which takes
    half a millisecond. The cost of a real spill, beside the application's own threads, is more
    exact.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.seconds_per_byte: float = SPILL_SECONDS_PER_BYTE  # the least one
        self._monotonic = monotonic
        self._due_seconds = float("-inf")

    def sample(self, tag: str, payload: bytes | bytearray | memoryview) -> None:
        """Make a few lines of a chunk's entries, if a sample is due."""
        now = self._monotonic()
        if now < self._due_seconds:
            return
        self._due_seconds = now + _SAMPLE_INTERVAL_SECONDS
        started = time.perf_counter()
        lines = islice(spilled_lines(tag, bytes(payload)), _SAMPLE_LINES)
        size = sum(len(line) for line, _ in lines)
        took = time.perf_counter() - started
        # A line is about as long as its entry; writing it costs about as much as making it.
        self.seconds_per_byte = max(SPILL_SECONDS_PER_BYTE, 2 * took / max(size, 1))

    def note(self, size: int, seconds: float) -> None:
        """Note how many bytes of entries a spill wrote, and how many seconds it took."""
        if size >= _NOTED_BYTES_MIN:
            took = (self.seconds_per_byte + seconds / size) / 2
            self.seconds_per_byte = max(SPILL_SECONDS_PER_BYTE, took)


def spilled_lines(tag: str, payload: bytes) -> Iterator[Line]:
    """Yield each entry's line for stderr, and whether it is a control record of logship."""
    line = line_maker(tag, logship="spilled")
    for time_ns, record in unpack_entries(payload):
        yield line(time_ns, record), is_control(record)


def refused_line(number: str, tag: str, time_ns: int, record: Any) -> bytes:
    """Return the line for stderr of a record that no stream has numbered.

    The number is that of the line itself: see `Buffer.number_refused`.
    """
    return json_line(tag, time_ns, record, logship="refused", logship_refused=number)
