"""Lines on standard error that are written at once or not at all.

A container's stderr may stall, even when a process must end within two seconds. So no call here
waits for stderr unless its caller allows a wait, and each wait is bounded.

One thread writes at a time. A line that comes meanwhile is refused or queued, whether it comes from
another thread or from a signal handler in the middle of the write. The thread that writes also
writes the queue before it leaves.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from logship import _system
from logship._hooks.interruptions import is_interruption
from logship._hooks.locking import SectionLock
from logship._hooks.threads import is_own
from logship._quoting import visible
from logship._stderr.writers import (
    Writer,
    has_stderr,
    nonblocking_writer,
    unopened_writer,
    writer_elsewhere,
)

WARNING_INTERVAL_SECONDS = 60.0
"""A warning of one kind is written at most once in this time."""

_QUEUED_LINES_MAX = 1000
_QUEUED_BYTES_MAX = 4 * 1024 * 1024
"""The queue takes no more lines once it holds so much. A thousand lines of 4 KiB are less, and a
thousand of the longest records would be 5 GB. An empty queue takes a line of any length."""

_QUEUED_LINES_AT_ONCE = 100
_PATIENCE_SECONDS_MIN = 0.1
"""How long even an event loop's thread waits for its line to be written, at the end of a process. A
line that is still in the queue when the interpreter freezes all threads is lost."""

_TURN_SECONDS = 0.02
_PAUSE_SECONDS = 0.0005
_YIELD_SECONDS = 0.005
_SPILL_FIRST_SECONDS_MAX = 1.0

T = TypeVar("T")


class LastResort:
    """Lines on standard error, written at once or not at all.

    Args:
        descriptor: The file descriptor.
        bytes_per_second_max: The rate of `offer_line`; 0 lets no line pass.
        monotonic: Seconds.

    Attributes:
        is_gone: Whether stderr will never take bytes, as the last write showed.
        is_needed_here: Returns whether this thread holds what the end of the process needs.
    """

    def __init__(
        self,
        *,
        descriptor: int = 2,
        bytes_per_second_max: int = 64 * 1024,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if descriptor == 2 and not has_stderr():
            descriptor = -1
        self.is_gone: bool = False
        self.is_needed_here: Callable[[], bool] = lambda: False
        self._descriptor = descriptor
        self._write: Writer = nonblocking_writer(descriptor)
        self._lock = SectionLock()
        self._queue: list[bytes] = []  # appended to by any thread
        self._pending = b""  # what is left of the line written last
        self._last_line = b""  # all of it
        self._is_held_up = False  # whether the queue waits, because another line goes first
        self._is_moving = True  # whether no wait failed since stderr last took bytes
        self._has_failed = False  # whether the file that is open now will never take bytes
        self._took_none = False  # whether stderr took no byte of the last write
        self._spiller = 0  # the thread that spills, while other threads wait for it
        self._spill_first_until: float | None = None
        self._all_callers_wait = False
        self._ender = 0  # the thread that ends the process, and has stopped the others
        self._monotonic = monotonic
        self._rate = bytes_per_second_max
        self._tokens = float(bytes_per_second_max)
        self._tokens_at_seconds = monotonic()
        self._is_dry = False
        self._warned_at_seconds: dict[str, float] = {}

    def after_fork_in_child(self) -> None:
        """In a forked child: close the copy of stderr; the next write opens it anew.

        The launcher of a daemon waits until all copies of its stderr are closed.
        """
        if self._write.descriptor != -1:
            self._write = unopened_writer()

    # -- lines that are written at once or not at all ----------------------------------------------

    def offer_line(self, line: bytes) -> bool:
        """Write a line at once, if the rate allows it; return whether stderr took it."""
        return self._alone(lambda: self._take_tokens(len(line)) and self._put(line), False)

    def write_line(self, line: bytes) -> bool:
        """Write a line at once, without the rate limit; return whether stderr took it."""
        return self._alone(partial(self._put, line), False)

    def warn(
        self, kind: str, text: str, interval_seconds: float = WARNING_INTERVAL_SECONDS
    ) -> None:
        """Write `logship: <text>`, unless a warning of this kind was written a short while ago.

        While another call writes, the line is queued, because the warning may not be given again.
        """
        if not self._is_due(kind, interval_seconds):
            return  # a full buffer warns with each record that it drops
        line = f"logship: {visible(text)}\n".encode()
        is_done = self._alone(partial(self._put_warning, kind, line, interval_seconds), False)
        if not is_done and self._is_due(kind, interval_seconds) and not self._is_queue_full():
            self._warned_at_seconds[kind] = self._monotonic()
            self._queue.append(line)
            self.write_queue()

    def warn_of_bug(self, where: str, error: BaseException) -> None:
        """Warn of an error of logship's own, with its traceback in one line.

        The error comes first: a long line is cut at its end.
        """
        if not self._is_due("bug", WARNING_INTERVAL_SECONDS):
            return  # a bug may come back with each record, and a traceback costs as much as many
        parts = (*traceback.format_exception_only(error), *traceback.format_exception(error))
        told = "".join(parts).strip().replace("\n", " | ")
        self.warn("bug", f"an error of its own in {where}, please report it: {told}")

    def write_lines(self, lines: Sequence[bytes]) -> int:
        """Write lines at once, without the rate limit; return how many were begun.

        The last of these may be torn; the next write completes it first. If another thread is
        writing, no line is begun. During a spill the queue then waits for the next call.
        """
        begun = self._alone(partial(self._put_spilled, lines), -1)
        if begun < 0:
            # Otherwise a thread that logs without a pause would be writing at every call.
            self._is_held_up = self._spill_first_until is not None
            return 0
        self.step_back()
        return begun

    # -- lines that are queued ---------------------------------------------------------------------

    def write_in_turn(self, line: bytes, patience_seconds: float = 0.0) -> bool:
        """Queue a line, and write the queue as far as stderr takes it.

        Args:
            line: Kept until the next thread that writes has written it.
            patience_seconds: How long to wait for that, at least a tenth of a second. After a wait
                without success, no call waits until stderr takes bytes again.

        Returns:
            False if it was not kept, because stderr has taken no bytes for too long.
        """
        self.stop_here()
        if patience_seconds > 0.0 or self._all_callers_wait:
            self._let_spill_go_first()
        patience_seconds = max(patience_seconds, _PATIENCE_SECONDS_MIN)
        if self._is_queue_full():
            self.write_queue()
            self._wait_for_queue(patience_seconds)
        if self._is_queue_full():
            return False
        self._queue.append(line)
        self.write_queue()
        self._wait_for_queue(patience_seconds)
        return True

    def stop_others(self) -> None:
        """Let no refused logging call of another thread return: this process is about to die.

        A record whose call does not return is not lost, because the program never continued after
        it.
        """
        self._ender = threading.get_ident()

    @property
    def has_stopped_others(self) -> bool:
        """Whether no logging call of another thread returns any more."""
        return self._ender != 0

    def stop_here(self) -> None:
        """Do not return in a thread that `stop_others` has stopped.

        A signal handler or a `__del__` may log in the middle of a section that the end of the
        process must enter. Such a thread is stopped at its next call.
        """
        while self._ender and self._ender != threading.get_ident() and not self._must_go_on():
            time.sleep(_TURN_SECONDS)

    @property
    def is_held_here(self) -> bool:
        """Whether this thread is in the middle of a write, which this call has interrupted."""
        return self._lock.is_owned()

    def _must_go_on(self) -> bool:
        return is_own() or self.is_held_here or self.is_needed_here()

    def write_rest(self, seconds: float) -> None:
        """Write the queue; try a stalled stderr for so long, also if an earlier wait failed."""
        self._is_moving = True
        self._wait_for_queue(seconds)

    def go_first(self, line: bytes) -> bool:
        """Write a line, and stop the queue until that succeeds.

        The caller calls it until it returns True, or calls `step_back`.
        """
        self._is_held_up = True
        if not self.write_line(line):
            return False
        self.step_back()
        return True

    def step_back(self) -> bool:
        """Start the queue again; return whether all of it is written."""
        self._is_held_up = False
        self.write_queue()
        return not self._queue and not self._pending

    def write_queue(self) -> None:
        """Write what is left of a torn line, and the queue, unless another line goes first."""
        while (self._queue or self._pending) and not self._is_held_up:  # others may add lines
            if not self._run(self._write_some, False):
                return

    def begin_spill(self, *, all_callers_wait: bool = False) -> None:
        """Make callers of `write_in_turn` that may wait do so until `end_spill`.

        Otherwise they would take the interpreter from this thread, which has more and older lines
        to write. They wait for a second at most for a spill that writes nothing.

        Args:
            all_callers_wait: Whether an event loop's thread waits too, because the process is about
                to end, and records would be lost otherwise.
        """
        self._all_callers_wait = all_callers_wait
        self._spiller = threading.get_ident()
        self._spill_first_until = self._monotonic() + _SPILL_FIRST_SECONDS_MAX

    def end_spill(self) -> None:
        """Let all threads write again."""
        self._spill_first_until = None
        self._all_callers_wait = False
        self.step_back()

    @property
    def others_go_first(self) -> bool:
        """Whether the line of a `go_first` or another thread's spill goes first."""
        return self._is_held_up or self._is_spilling_elsewhere()

    # -- stderr itself -----------------------------------------------------------------------------

    @property
    def torn(self) -> bool:
        """Whether only a part of the last line is written."""
        return bool(self._pending)

    def wait_writable(self, timeout_seconds: float) -> None:
        """Wait until stderr takes more bytes, at most `timeout_seconds`."""
        try:
            _system.wait_writable(self._write.descriptor, timeout_seconds)
        except (OSError, ValueError) as error:
            if is_interruption(error):
                raise
            # It is closed: a wait has no use, and the next write will fail.

    # -- inside ------------------------------------------------------------------------------------

    def _alone(self, work: Callable[[], T], otherwise: T) -> T:
        """Return what `work` returns, or `otherwise` while another call writes."""
        try:
            return self._run(work, otherwise)
        finally:
            self.write_queue()

    def _run(self, work: Callable[[], T], otherwise: T) -> T:
        if sys.is_finalizing():
            self._take_over()
        return self._lock.run(work, otherwise)

    def _take_over(self) -> None:
        """Break the lock of a daemon thread that the ending interpreter froze in a write.

        Only the main thread runs then, in destructors that may log. Lines of the frozen thread's
        write may be there twice.
        """
        if not self._lock.is_owned() and not self._lock.run(lambda: True, False):
            self._lock.reset()

    def _let_spill_go_first(self) -> None:
        while self._is_spilling_elsewhere():
            time.sleep(_YIELD_SECONDS)

    def _is_spilling_elsewhere(self) -> bool:
        if self._spiller == threading.get_ident():
            return False  # a signal handler in the middle of the spill
        until = self._spill_first_until
        return until is not None and self._monotonic() < until

    def _is_queue_full(self) -> bool:
        """Return whether the queue takes no more lines."""
        queue = self._queue
        return len(queue) >= _QUEUED_LINES_MAX or sum(map(len, queue)) >= _QUEUED_BYTES_MAX

    def _write_some(self) -> bool:
        """Write a few lines of the queue; return whether stderr took all of them."""
        # Only the holder of the lock removes lines, and others add theirs at the end.
        lines = self._queue[:_QUEUED_LINES_AT_ONCE]
        begun = self._put_all(lines)
        del self._queue[:begun]
        return begun == len(lines) and not self._pending

    def _wait_for_queue(self, patience_seconds: float) -> None:
        """Wait until the queue has been written, at most `patience_seconds`."""
        until = self._monotonic() + patience_seconds
        while (self._queue or self._pending) and self._is_moving and not self._lock.is_owned():
            left = until - self._monotonic()
            if left <= 0:
                # Otherwise the thread that writes got no processor, and stderr is not to blame.
                self._is_moving = not self._took_none
                return
            self.wait_writable(min(left, _TURN_SECONDS))
            time.sleep(_PAUSE_SECONDS)  # the thread that writes needs the interpreter too
            self.write_queue()

    def _take_tokens(self, size: int) -> bool:
        now = self._monotonic()
        earned = (now - self._tokens_at_seconds) * self._rate
        # The bucket has the bytes of one second; a longer line may pass when it is full. An empty
        # bucket fills up before any line passes. So lines pass in runs, and a long outage has a few
        # gaps a second to declare instead of one for each record.
        self._tokens = min(float(self._rate), self._tokens + earned)
        self._tokens_at_seconds = now
        self._is_dry = self._tokens < (self._rate if self._is_dry else min(size, self._rate))
        if self._rate == 0 or self._is_dry:
            return False
        self._tokens -= size
        return True

    def _put_warning(self, kind: str, line: bytes, interval_seconds: float) -> bool:
        if self._is_due(kind, interval_seconds):
            self._warned_at_seconds[kind] = self._monotonic()  # before another thread asks
            if not self._put(line):
                self._warned_at_seconds.pop(kind, None)
        return True

    def _is_due(self, kind: str, interval_seconds: float) -> bool:
        warned_at_seconds = self._warned_at_seconds.get(kind)
        if warned_at_seconds is None:
            return True
        return self._monotonic() >= warned_at_seconds + interval_seconds

    def _put_spilled(self, lines: Sequence[bytes]) -> int:
        begun = self._put_all(lines)
        if begun and self._spill_first_until is not None:
            self._spill_first_until = self._monotonic() + _SPILL_FIRST_SECONDS_MAX
        return begun

    def _put(self, line: bytes) -> bool:
        """Write what is left of an earlier line, then this one; False if it was not begun."""
        return self._put_all([line]) == 1

    def _put_all(self, lines: Sequence[bytes]) -> int:
        """Write what is left of an earlier line, then these; return how many were begun."""
        begun = self._put_here(lines)
        if self._has_failed and self._look_elsewhere():
            begun = self._put_here(lines)
        self.is_gone = self._has_failed  # not before: another thread may look
        return begun

    def _look_elsewhere(self) -> bool:
        """Write to another file from now on if stderr was redirected; return whether it was."""
        found = writer_elsewhere(self._write, self._descriptor)
        if found is None:
            return False
        self._write = found
        if self._pending:
            self._pending = self._last_line  # no reader could join its two parts
        return True

    def _put_here(self, lines: Sequence[bytes]) -> int:
        """Do as `_put_all`. If stderr is gone, no line was begun.

        A signal handler's exception may end a write, and then it is unknown how much was written.
        So what is left to write meanwhile is the end of a torn line.
        """
        if rest := self._pending:
            self._pending = b"\n" + self._last_line
            self._pending = rest[self._write_bytes(rest) :]
            if self._pending:
                return 0
        data = b"".join(lines)
        self._pending = b"\n"
        left = self._write_bytes(data)
        begun, rest = 0, b""
        while left > 0:
            self._last_line, rest = lines[begun], lines[begun][left:]
            left -= len(lines[begun])
            begun += 1
        self._pending = rest
        return begun

    def _write_bytes(self, data: bytes) -> int:
        """Write as much as stderr takes; return how many bytes."""
        self._has_failed = False
        try:
            written = self._write(data)
        except OSError as error:
            if is_interruption(error):
                raise
            self._has_failed, written = True, 0
        self._took_none = written == 0
        self._is_moving = self._is_moving or written > 0
        return written
