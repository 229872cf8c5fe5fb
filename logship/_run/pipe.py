"""`logship pipe`: the lines of standard input, shipped.

The simplest way to give any program a sidecar is `program | logship pipe`. A full buffer is no
overflow here: reading stops, the pipe fills, and the program waits, as for any slow reader. After a
stop signal reading continues until the input ends or the deadline's reserve begins, because the
program before the pipe is stopped at the same time and writes its last lines. What the pipe holds
then is read all the same. What the program writes while these lines are delivered goes to stderr.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import stat
import time
from collections.abc import Iterator
from types import FrameType

from logship import _system
from logship._buffer.counters import DrainReport
from logship._hooks.locking import Bell
from logship._hooks.threads import OwnThread
from logship._process.clock import Started, StopClock
from logship._run.pipe_reader import READ_BYTES, PipeReader
from logship._run.shipping import Shipping
from logship._settings import Settings
from logship._signal_names import signal_name

_STDIN = 0
_CHECK_SECONDS = 0.5
_REST_SECONDS = 0.5
"""What the pipe holds may find no space, and is then written to stderr line by line. With a tenth
of a processor that took 0.45 s, all that is kept for the buffer."""

_READS_OF_THE_REST_MAX = 64 * 1024 // READ_BYTES + 1  # as much as a pipe holds, and its end


class Pipe:
    """Ships the lines of standard input; some may be missing if `is_input_broken`."""

    def __init__(self, settings: Settings) -> None:
        self.is_input_broken: bool = False
        self._bell = Bell()
        self._clock = StopClock(settings.stop_timeout_seconds)
        self._shipping = Shipping(
            settings, self._clock, self._bell.ring, math.inf, rest_seconds=_REST_SECONDS
        )
        self._client = self._shipping.client
        descriptor = _that_does_not_wait(_STDIN)
        self._reader = PipeReader(descriptor, "stdin", message_key=settings.message_key)
        self._stop_signals = settings.stop_signals_or_default
        self._is_ending = False

    def run(self) -> DrainReport:
        """Read until the input or the time ends, and deliver all lines; in the main thread."""
        for signum in self._stop_signals:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._on_signal)
        while not (self._reader.has_ended or self._is_ending):
            self._read()
            self._ship()
        self._is_ending = True
        report = self._drain()
        if not self._reader.has_ended:
            self._refuse_late_lines()
            self._client.correct_report()
            report = self._drain()
        for signum in self._stop_signals:
            signal.signal(signum, signal.SIG_IGN)  # another one must not spoil the exit code
        return report

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        del frame
        if self._clock.started is None:
            self._clock.start(Started(time.monotonic(), signal_name(signum)))
            if self._is_ending:
                # On another thread, because this one may be in the middle of the buffer.
                with contextlib.suppress(RuntimeError):  # there is no thread to be had
                    OwnThread(self._drain, "drain").start()

    def _read(self) -> None:
        """Read the next bytes, unless none come for a moment; end it when its time is up."""
        left = self._shipping.intake_ends_seconds() - time.monotonic()
        with self._ending_at_errors():
            if left <= 0.0:
                self._read_the_rest()
                self._reader.take_unfinished()
                self._is_ending = True
            # On Windows the read waits, and ends with the input alone.
            elif not _system.IS_POSIX or _system.wait_readable(_STDIN, min(left, _CHECK_SECONDS)):
                self._reader.read(0.0)

    def _read_the_rest(self) -> bool:
        """Read what is in the pipe already: its writer, which may have ended, cannot keep it.

        Returns:
            Whether the pipe was seen empty.
        """
        for _ in range(_READS_OF_THE_REST_MAX):
            is_ready = _system.IS_POSIX and _system.wait_readable(_STDIN, 0.0)
            if not is_ready or not self._reader.read(0.0):
                return True
        return False

    @contextlib.contextmanager
    def _ending_at_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.is_input_broken = True
            self._client.last_resort.warn("input", f"the input cannot be read: {error.strerror}")
            self._reader.end()

    def _refuse_late_lines(self) -> None:
        """Write to stderr what has come since intake ended, then have the writer get EPIPE."""
        with self._ending_at_errors():
            if not self._read_the_rest():
                self.is_input_broken = True
                self._client.last_resort.warn("input", "there is no time to read all of the input")
        self._reader.end()
        os.close(_STDIN)
        self._shipping.refuse(self._reader)

    def _ship(self) -> None:
        """Put the lines that were read into the buffer; wait for space while there is time."""
        while self._reader.lines:
            self._shipping.ship(self._reader)
            if self._reader.lines:
                self._bell.wait(self._shipping.retry_seconds())

    def _drain(self) -> DrainReport:
        return self._shipping.drain("end of input")


def _that_does_not_wait(descriptor: int) -> int:
    """Return a descriptor of the same pipe whose reads do not wait, or a copy for other inputs.

    Another process may read the pipe between our poll and our read, and that read would outlast the
    deadline. O_NONBLOCK belongs to the open file, which other processes share, so the pipe is
    opened again. Only the first descriptor is polled: to poll a named pipe that was opened after
    its last writer had left would never end.
    """
    with contextlib.suppress(OSError):
        if _system.IS_POSIX and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            return os.open(f"/proc/self/fd/{descriptor}", flags)
    return os.dup(descriptor)
