"""`logship pipe`: the lines of standard input, shipped.

The simplest way to give any program a sidecar is `program | logship pipe`. A full buffer is no
overflow here: reading stops, the pipe fills, and the program waits, as for any slow reader. After a
stop signal reading continues until the input ends or the deadline's reserve begins, because the
program before the pipe is stopped at the same time and writes its last lines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import stat
import time
from collections import deque
from collections.abc import Iterator
from types import FrameType

from logship import _system
from logship._buffer.counters import DrainReport
from logship._client.background import BackgroundClient
from logship._delivery.drain import DrainPlan
from logship._hooks.threads import OwnThread
from logship._process.clock import Started, StopClock
from logship._run.lines import LineSplitter, record_of_line
from logship._run.shipping import refuse_line
from logship._settings import Settings
from logship._signal_names import signal_name
from logship.errors import BufferFull

_STDIN = 0
_READ_BYTES = 8 * 1024
_CHECK_SECONDS = 0.5


class Pipe:
    """Ships the lines of standard input.

    Args:
        settings: Of the client.

    Attributes:
        is_input_broken: Whether reading has failed, so that lines may be missing.
    """

    def __init__(self, settings: Settings) -> None:
        # This class waits for space itself, as long as there is time.
        self._client = BackgroundClient(dataclasses.replace(settings, block_seconds_max=0.0))
        self.is_input_broken: bool = False
        self._message_key = settings.message_key
        self._lines = LineSplitter()
        self._descriptor = _that_does_not_wait(_STDIN)
        self._clock = StopClock(settings.stop_timeout_seconds)
        self._stop_signals = settings.stop_signals_or_default
        self._is_ending = False

    def run(self) -> DrainReport:
        """Read until the input or the time ends, and deliver all lines; in the main thread."""
        self._take_signals()
        while (data := self._read()) is not None:
            self._ship(self._lines.feed(data))
        self._ship(self._lines.finish())
        self._is_ending = True
        report = self._drain()
        for signum in self._stop_signals:
            signal.signal(signum, signal.SIG_IGN)  # another one must not spoil the exit code
        return report

    def _take_signals(self) -> None:
        for signum in self._stop_signals:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._on_signal)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        del frame
        if self._clock.started is None:
            self._clock.start(Started(time.monotonic(), signal_name(signum)))
            if self._is_ending:
                # On another thread, because this one may be in the middle of the buffer.
                with contextlib.suppress(RuntimeError):  # there is no thread to be had
                    OwnThread(self._drain, "drain").start()

    def _read(self) -> bytes | None:
        """Return the next bytes, or None when the input ends, fails, or its time is up."""
        while (left := self._seconds_left()) > 0:
            try:
                # On Windows the read waits, and ends with the input alone.
                if not _system.IS_POSIX or _system.wait_readable(_STDIN, min(left, _CHECK_SECONDS)):
                    return os.read(self._descriptor, _READ_BYTES) or None
            except BlockingIOError:
                pass  # another process has read it, or the program before the pipe is slow
            except OSError as error:
                self.is_input_broken = True
                self._client.last_resort.warn(
                    "input", f"the input cannot be read: {error.strerror}"
                )
                return None
        return None

    def _ship(self, lines: list[bytes]) -> None:
        """Put lines into the buffer, and wait for space while there is time."""
        waiting = deque(lines)
        while waiting:
            records = self._records_of(waiting)
            left = 0.0 if self._client.shipper.broken else self._seconds_left()
            try:
                if left > 0:
                    self._client.send_many(records, timeout=min(left, _CHECK_SECONDS))
                else:
                    for record in records:
                        self._client.emit(record)  # the overflow policy decides
            except BufferFull:
                pass
            except MemoryError:
                waiting.popleft()
                refuse_line(self._client)
            else:
                waiting.clear()  # a client that is disabled has looked at none of them

    def _records_of(self, lines: deque[bytes]) -> Iterator[dict[str, object]]:
        """Yield the record of each line; a line stays until the next record is asked for."""
        while lines:
            yield record_of_line(lines[0], "stdin", self._message_key)
            lines.popleft()

    def _seconds_left(self) -> float:
        """Return how long lines may be read and wait for space."""
        deadline, started = self._clock.deadline_seconds, self._clock.started
        if deadline is None or started is None:
            return math.inf
        plan = DrainPlan.until(started.at_seconds, deadline)
        reserve = plan.reserve_seconds(self._client.shipper.progress())
        return deadline - reserve - time.monotonic()

    def _drain(self) -> DrainReport:
        """Deliver the buffer; a second call, when the clock runs, may make it end sooner."""
        deadline, started = self._clock.deadline_seconds, self._clock.started
        if deadline is None or started is None:
            return self._client.drain(self._client.shipper.plan(None), "end of input")
        return self._client.drain(DrainPlan.until(time.monotonic(), deadline), started.reason)


def _that_does_not_wait(descriptor: int) -> int:
    """Return a descriptor of the same pipe whose reads do not wait, or the same for other inputs.

    Another process may read the pipe between our poll and our read, and that read would outlast the
    deadline. O_NONBLOCK belongs to the open file, which other processes share, so the pipe is
    opened again. Only the first descriptor is polled: to poll a named pipe that was opened after
    its last writer had left would never end.
    """
    with contextlib.suppress(OSError):
        if _system.IS_POSIX and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            return os.open(f"/proc/self/fd/{descriptor}", flags)
    return descriptor
