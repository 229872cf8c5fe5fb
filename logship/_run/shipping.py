"""Puts lines into the buffer, as fast as the sidecar allows, and delivers it: `run` and `pipe`.

If the buffer is full, no more is read: the pipe fills and its writer waits, as it does for any slow
reader. Under `run`, a dead sidecar must not stop the command forever. So there is one wait an
outage, of at most `block_seconds_max`. After it the overflow policy applies until space was freed.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable

from logship._buffer.counters import DrainReport
from logship._client.background import BackgroundClient
from logship._delivery.drain import DrainPlan
from logship._installation.announcement import TaskAnnouncement
from logship._process.clock import StopClock
from logship._quoting import visible
from logship._run.pipe_reader import PipeReader
from logship._settings import Settings

PUSH_BACK_SECONDS = 60.0
"""The default of `block_seconds_max` under `run`: a pipe may wait longer than a logging call."""

_RETRY_SECONDS = 0.1

_REFUSING_SECONDS_MIN = 0.1
"""So long lines that come too late are written at least: the delivery may use up its time."""


class Shipping:
    """A client for lines, and the wait for space in its buffer.

    Args:
        wake: Wakes the main loop; called from the shipper's thread.
        push_back_seconds: How long lines wait for space in one outage.
        rest_seconds: How long it takes to read what has come by the time at which intake ends.
    """

    def __init__(
        self,
        settings: Settings,
        clock: StopClock,
        wake: Callable[[], None],
        push_back_seconds: float,
        rest_seconds: float = 0.0,
    ) -> None:
        # This class waits for space itself, so that signals and children are handled meanwhile.
        self.client = BackgroundClient(dataclasses.replace(settings, block_seconds_max=0.0))
        self._clock = clock
        self._push_back_seconds = push_back_seconds
        self._rest_seconds = rest_seconds
        self._outage_ends_seconds: float | None = None
        self._waits = False
        self._wake = wake
        self.client.shipper.on_progress(self._on_progress)
        self.announcement = TaskAnnouncement(self.client, os.environ)

    def ship(self, reader: PipeReader) -> None:
        """Put the pipe's lines into the buffer if there is space, or if the wait is over."""
        ends_seconds = self.intake_ends_seconds()  # once: it looks at all chunks
        while reader.lines:
            try:
                if self.client.intake.put_now(reader.records()):
                    self._waits, self._outage_ends_seconds = False, None
                elif self._may_wait(ends_seconds):
                    self._waits = True
                    return
                # No space came in time: the overflow policy applies until a line finds some.
                elif any(self.client.emit(each, time_ns=at) for at, each in reader.records()):
                    reader.lines.popleft()
            except MemoryError:
                self._refuse_for_want_of_memory(reader)

    def refuse(self, reader: PipeReader) -> None:
        """Write the pipe's lines to stderr, because intake has ended; count those without time."""
        deadline, now = self._clock.deadline_seconds, time.monotonic()
        until = max(deadline or now, now + _REFUSING_SECONDS_MIN)
        while reader.lines:
            try:
                for time_ns, record in reader.records():
                    if time.monotonic() < until:
                        self.client.emit(record, time_ns=time_ns, writes_refused=True)
                    else:
                        self._count_refused()
            except MemoryError:
                self._refuse_for_want_of_memory(reader)

    def retry_seconds(self) -> float:
        """Return how long the main loop may wait at most: a moment if a record waits for space."""
        return _RETRY_SECONDS if self._waits else math.inf

    def intake_ends_seconds(self) -> float:
        """Return until when lines may be read and wait for space; infinity where no clock runs.

        From then on the time is needed to read the rest, and to write to stderr what is in the
        buffer now.
        """
        deadline, started = self._clock.deadline_seconds, self._clock.started
        if deadline is None or started is None:
            return math.inf
        plan = DrainPlan.until(started.at_seconds, deadline)
        reserve_seconds = plan.reserve_seconds(self.client.shipper.progress())
        return deadline - reserve_seconds - self._rest_seconds

    def plan(self) -> DrainPlan:
        """Return how to deliver the buffer: until the deadline, if the clock runs."""
        deadline = self._clock.deadline_seconds
        if deadline is None:
            return self.client.shipper.plan(None)
        return DrainPlan.until(time.monotonic(), deadline)

    def drain(self, end: str) -> DrainReport:
        """Deliver the buffer; a second call, when the clock runs, may make it end sooner.

        The reason in the report is that of the clock, or `end` if none runs.
        """
        started = self._clock.started
        return self.client.drain(self.plan(), end if started is None else started.reason)

    def say(self, text: str) -> None:
        """Tell a person."""
        line = f"logship run: {visible(text)}\n"
        self.client.last_resort.write_in_turn(line.encode())

    def _refuse_for_want_of_memory(self, reader: PipeReader) -> None:
        """Count the pipe's first line as refused, and forget it."""
        reader.lines.popleft()
        self._count_refused()
        self.client.last_resort.warn("memory", "a line is refused: no memory for its record")

    def _count_refused(self) -> None:
        self.client.shipper.buffer.note("refused", 1, self.client.intake.tag)

    def _may_wait(self, ends_seconds: float) -> bool:
        now = time.monotonic()
        if self._outage_ends_seconds is None:
            self._outage_ends_seconds = now + self._push_back_seconds
        until = min(self._outage_ends_seconds, ends_seconds)
        return now < until and not self.client.shipper.broken

    def _on_progress(self) -> None:
        if self._waits:
            self._wake()
