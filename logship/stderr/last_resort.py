"""Standard error without ever waiting for it: the last place that a record can go to.

A container's stderr is a pipe that somebody else reads, or does not: a write to a stalled pipe
hangs for ever, and it would hang just when a process has two seconds left to live. So everything
here writes without blocking. O_NONBLOCK belongs to the open file, which other processes share, so
a pipe or terminal is opened anew through /proc for a file description of our own; a regular file
never blocks and is written as it is; a socket is told message by message.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from socket import MSG_DONTWAIT, socket
from typing import Any, Protocol

from logship.protocol.entries import unpack_entries
from logship.protocol.jsonlines import line_maker

WARNING_INTERVAL_SECONDS = 60.0
"""One kind of warning is written once in this time, however often it happens."""

_SAMPLE_INTERVAL_SECONDS = 10.0
_SAMPLE_LINES = 50

_NOTED_BYTES_MIN = 64 * 1024
"""What a spill of less than this takes says nothing."""

_WRITE_BYTES_MAX = 64 * 1024

_LATE_LINES_MAX = 1000
_LATE_LINES_AT_ONCE = 100
_FULL_PATIENCE_SECONDS = 0.1
"""So long even those wait who must not, as an event loop's thread, before a line is thrown away: it
happens only at the end of a process, while its report goes first or stderr is stalled."""

_TURN_SECONDS = 0.02
_PAUSE_SECONDS = 0.0005
_YIELD_SECONDS = 0.005


class LastResort:
    """Lines on standard error, written at once or not at all.

    Args:
        descriptor: The file descriptor; 2 unless a test says otherwise.
        bytes_per_second_max: The pace of `offer_line`; 0 lets nothing pass.
        monotonic: Seconds.
    """

    def __init__(
        self,
        *,
        descriptor: int = 2,
        bytes_per_second_max: int = 64 * 1024,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if descriptor == 2 and sys.__stderr__ is None:
            descriptor = -1  # closed when the program began: 2 is now whatever was opened next
        self._write = _nonblocking_writer(descriptor)
        self._late: deque[bytes] = deque()
        # The thread that writes, or 0. No lock: between its test and its setting, with no call in
        # between, the interpreter switches neither to another thread nor to a signal handler, and
        # no exception can leave it set.
        self._writing = 0
        self._is_held_up = False  # somebody's line goes first
        self._is_moving = True  # nobody has waited in vain since stderr took something
        self._pending = b""
        self._spiller = 0  # the thread that spills, while others let it go first
        self._spill_first_until: float | None = None
        self._spill_first_seconds = 0.0
        self._everybody_waits = False
        self._monotonic = monotonic
        self._rate = bytes_per_second_max
        self._tokens = float(bytes_per_second_max)
        self._tokens_at_seconds = monotonic()
        self._is_dry = False
        self._warned_at_seconds: dict[str, float] = {}

    def offer_line(self, line: bytes) -> bool:
        """Write a line at once, if the pace allows and stderr takes it; tell whether it did."""
        me = threading.get_ident()
        if self._writing:
            return False  # another thread, or this one further down its stack
        self._writing = me
        try:
            return self._take_tokens(len(line)) and self._put(line)
        finally:
            self._writing = 0
            self._write_late()

    def write_line(self, line: bytes) -> bool:
        """Write a line at once, whatever the pace; tell whether stderr took it."""
        me = threading.get_ident()
        if self._writing:
            return False
        self._writing = me
        try:
            return self._put(line)
        finally:
            self._writing = 0
            self._write_late()

    def write_lines(self, lines: Sequence[bytes]) -> int:
        """Write lines at once in one go, whatever the pace; return how many were begun.

        The last of those may be torn; the next write completes it first. Where none was begun
        because somebody else is writing, those who write in turn are held up during a spill, until
        the next call or `end_spill`.
        """
        me = threading.get_ident()
        if self._writing:
            # Whoever logs without a pause would be writing whenever we come.
            self._is_held_up = self._spill_first_until is not None
            return 0
        self._writing = me
        try:
            begun = self._put_all(lines)
            if begun and self._spill_first_until is not None:
                self._spill_first_until = self._monotonic() + self._spill_first_seconds
            return begun
        finally:
            self._writing = 0
            self.step_back()

    def write_in_turn(self, line: bytes, patience_seconds: float = 0.0) -> bool:
        """Write a line as soon as stderr takes it and nobody else is writing.

        Args:
            line: Kept until then; whoever writes next writes it.
            patience_seconds: How long to wait for that. Where too many lines are kept already, at
                least a tenth of a second. Who has waited in vain is the last one to wait, until
                stderr takes something again.

        Returns:
            False where it was not kept, because stderr has taken nothing for too long.
        """
        if patience_seconds > 0.0 or self._everybody_waits:
            self._let_spill_go_first()
        if len(self._late) >= _LATE_LINES_MAX:
            self._wait_for_turn(max(patience_seconds, _FULL_PATIENCE_SECONDS))
        if len(self._late) >= _LATE_LINES_MAX:
            return False
        self._late.append(line)
        self._write_late()
        self._wait_for_turn(patience_seconds)
        return True

    def go_first(self, line: bytes) -> bool:
        """Write a line; while that does not succeed, those who write in turn are held up.

        To be called until it succeeds, or else `step_back`.
        """
        self._is_held_up = True
        if not self.write_line(line):
            return False
        self.step_back()
        return True

    def step_back(self) -> None:
        """Let those who write in turn go on."""
        self._is_held_up = False
        self._write_late()

    def begin_spill(self, seconds_max: float, *, everybody_waits: bool = False) -> None:
        """Have those who may wait for their turn do so until `end_spill`.

        Otherwise they take the interpreter from this thread, which has more to write than each of
        them, and older records.

        Args:
            seconds_max: How long they wait for a spill that writes nothing.
            everybody_waits: Those as well who may not, as an event loop's thread: the process is
                about to end, and what they do instead would cost records.
        """
        self._everybody_waits = everybody_waits
        self._spiller = threading.get_ident()
        self._spill_first_seconds = seconds_max
        self._spill_first_until = self._monotonic() + seconds_max

    def end_spill(self) -> None:
        """Let the others write as they like."""
        self._spill_first_until = None
        self._everybody_waits = False
        self.step_back()

    def _let_spill_go_first(self) -> None:
        if self._spiller == threading.get_ident():
            return  # a signal handler in the middle of the spill
        while (until := self._spill_first_until) is not None and self._monotonic() < until:
            time.sleep(_YIELD_SECONDS)

    def _write_late(self) -> None:
        """Write what was left while another thread, or a frame further up, was writing."""
        me = threading.get_ident()
        while self._late and not self._is_held_up and not self._writing:
            self._writing = me
            try:
                # Only here lines are taken out, and whoever adds one adds it at the end.
                count = min(len(self._late), _LATE_LINES_AT_ONCE)
                lines = [self._late[each] for each in range(count)]
                begun = self._put_all(lines)
                for _ in range(begun):
                    self._late.popleft()
                if not begun:
                    return
            finally:
                self._writing = 0

    def _wait_for_turn(self, patience_seconds: float) -> None:
        """Wait until all that is left has been written, at most for so long."""
        until = self._monotonic() + patience_seconds
        while self._late and self._is_moving and self._writing != threading.get_ident():
            left = until - self._monotonic()
            if left <= 0:
                self._is_moving = patience_seconds == 0.0
                return
            self.wait_writable(min(left, _TURN_SECONDS))
            time.sleep(_PAUSE_SECONDS)  # whoever is writing wants the interpreter too
            self._write_late()

    def warn(
        self, kind: str, text: str, interval_seconds: float = WARNING_INTERVAL_SECONDS
    ) -> None:
        """Write `logship: <text>`, unless one of this kind was written a short while ago."""
        now = self._monotonic()
        if now < self._warned_at_seconds.get(kind, float("-inf")) + interval_seconds:
            return
        if self.write_line(f"logship: {text}\n".encode("utf-8", "backslashreplace")):
            self._warned_at_seconds[kind] = now

    @property
    def torn(self) -> bool:
        """Whether the last line was only begun."""
        return bool(self._pending)

    def wait_writable(self, timeout_seconds: float) -> None:
        """Wait until stderr takes more, at most for so long."""
        poll = select.poll()
        try:
            poll.register(self._write.descriptor, select.POLLOUT)
            poll.poll(max(0.0, timeout_seconds) * 1000)
        except (OSError, ValueError):
            pass  # closed: there is nothing to wait for, and the next write will say so

    def _take_tokens(self, size: int) -> bool:
        now = self._monotonic()
        earned = (now - self._tokens_at_seconds) * self._rate
        # A bucket of one second's worth; a longer line may pass when the bucket is full. Once
        # empty it fills up before anything passes: so what passes are runs of neighbours, and
        # a long outage has a few gaps a second to declare instead of one for each record.
        self._tokens = min(float(self._rate), self._tokens + earned)
        self._tokens_at_seconds = now
        self._is_dry = self._tokens < (self._rate if self._is_dry else min(size, self._rate))
        if self._rate == 0 or self._is_dry:
            return False
        self._tokens -= size
        return True

    def _put(self, line: bytes) -> bool:
        """Write what is left of an earlier line, then this one; False if it was not begun."""
        return self._put_all([line]) == 1

    def _put_all(self, lines: Sequence[bytes]) -> int:
        if self._pending:
            self._pending = self._pending[self._write(self._pending) :]
            if self._pending:
                return 0
        written = self._write(b"".join(lines))
        self._is_moving = self._is_moving or written > 0
        for begun, line in enumerate(lines):
            if written <= 0:
                return begun
            self._pending = line[written:]
            written -= len(line)
        return len(lines)


class _Writer(Protocol):
    descriptor: int

    def __call__(self, data: bytes) -> int: ...


class _DescriptorWriter:
    """Writes to a descriptor that does not block."""

    def __init__(self, descriptor: int, *, is_own: bool) -> None:
        self.descriptor = descriptor
        self._is_own = is_own

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close a descriptor that was opened here."""
        if self._is_own:
            close(self.descriptor)

    def __call__(self, data: bytes) -> int:
        """Write from `data` what can be written now; return how many bytes that was."""
        written = 0
        try:
            while written < len(data):
                written += os.write(self.descriptor, data[written : written + _WRITE_BYTES_MAX])
        except OSError:
            pass  # would block, closed, disk full: in each case, not now
        return written


class _SocketWriter:
    """Writes to a socket, each message without blocking."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket(fileno=os.dup(descriptor))
        self.descriptor = self._socket.fileno()

    def __del__(self) -> None:
        """Close the duplicate."""
        self._socket.close()

    def __call__(self, data: bytes) -> int:
        """Send from `data` what can be sent now; return how many bytes that was."""
        try:
            return self._socket.send(data, MSG_DONTWAIT)
        except OSError:
            return 0


class _CautiousWriter:
    """Writes to a pipe that could not be opened anew: only what it surely takes at once."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __call__(self, data: bytes) -> int:
        """Write from `data` in pieces of PIPE_BUF while poll says that one fits (pipe(7))."""
        written = 0
        poll = select.poll()
        try:
            poll.register(self.descriptor, select.POLLOUT)
            while written < len(data) and poll.poll(0):
                written += os.write(self.descriptor, data[written : written + select.PIPE_BUF])
        except OSError:
            pass
        return written


def _nonblocking_writer(descriptor: int) -> _Writer:
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return _DescriptorWriter(
            descriptor, is_own=False
        )  # closed: each write will fail and be counted
    if stat.S_ISSOCK(mode):
        return _SocketWriter(descriptor)
    if stat.S_ISREG(mode):
        return _DescriptorWriter(descriptor, is_own=False)
    try:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        own = os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:
        return _CautiousWriter(descriptor)  # another user's pipe, or no /proc
    return _DescriptorWriter(own, is_own=True)


class SpillSource(Protocol):
    """What a spill asks of the buffer."""

    def to_spill(self) -> list[Any]:
        """Return the chunks that may be written to stderr, oldest first."""

    def note_spilled(self, chunk: Any, entries: int, records: int) -> None:
        """Note how many of a chunk's entries, and of the application's records, are on stderr."""

    def note_written(self, chunk: Any) -> None:
        """Note that all of a chunk is on stderr, to its last byte."""


class Spill:
    """Writes what is left in the buffer to stderr, a little at each step.

    In steps, because sending goes on meanwhile: a chunk that is acked before its turn is not
    spilled. One that is acked afterwards is on both, and the stamps show it.

    There is one of each client, for whoever conducts its end and whoever spills ahead of that: a
    call that finds another one under way does nothing.

    Args:
        source: The buffer.
        last_resort: Where lines go.
        cost: Told what it takes.
    """

    def __init__(self, source: SpillSource, last_resort: LastResort, cost: SpillCost) -> None:
        self._source = source
        self._last_resort = last_resort
        self._cost = cost
        self._stepping = 0  # the thread that does; no lock, as in `LastResort`
        self._chunks: deque[Any] = deque()
        self._seen: set[str] = set()
        self._lines_of: Any = None
        self._lines: Iterator[tuple[bytes, bool]] = iter(())
        self._made: list[tuple[bytes, bool]] = []  # from `_lines`, not yet written
        self._begun: tuple[Any, bool] | None = None  # of the line that is torn as yet
        self.lines_written = 0
        self._bytes_written = 0

    def step(
        self, until_seconds: float, monotonic: Callable[[], float], *, newest_first: bool = False
    ) -> bool:
        """Write lines until the time is up, stderr takes no more, or nothing is left.

        Args:
            until_seconds: When the time is up.
            monotonic: Seconds.
            newest_first: Begin with the newest chunk, because the oldest ones are being acked: so
                the two do not do the same work twice.

        Returns:
            Whether everything that was in the buffer has been written.
        """
        me = threading.get_ident()
        if self._stepping:
            return False
        self._stepping = me
        try:
            began, before = monotonic(), self._bytes_written
            is_done = self._write_chunks(until_seconds, monotonic, newest_first)
            self._cost.note(self._bytes_written - before, monotonic() - began)
            return is_done
        finally:
            self._stepping = 0

    def _write_chunks(
        self, until_seconds: float, monotonic: Callable[[], float], newest_first: bool
    ) -> bool:
        self._look_for_more()
        while self._chunks:
            chunk = self._chunks[-1 if newest_first else 0]
            if not self._spill_chunk(chunk, until_seconds, monotonic):
                return False
            (self._chunks.pop if newest_first else self._chunks.popleft)()
            if not self._last_resort.torn:
                self._source.note_written(chunk)
        return True

    def finish(self) -> None:
        """Take back the count of a line that stderr holds only the beginning of."""
        if self._begun is not None and self._last_resort.torn:
            (chunk, is_control), self._begun = self._begun, None
            records = chunk.spilled_records - (not is_control)
            self._source.note_spilled(chunk, chunk.spilled_entries - 1, records)

    def _look_for_more(self) -> None:
        fresh = [each for each in self._source.to_spill() if each.id not in self._seen]
        self._chunks.extend(fresh)
        self._seen.update(each.id for each in fresh)

    def _spill_chunk(self, chunk: Any, until: float, monotonic: Callable[[], float]) -> bool:
        """Write the chunk's entries from where an earlier step stopped; False if interrupted."""
        while lines := self._lines_left(chunk):
            if monotonic() >= until:
                return False
            begun = self._last_resort.write_lines([line for line, _ in lines])
            if begun:
                self._note_begun(chunk, lines[:begun])
            del lines[:begun]
            if lines:
                return False
        return True

    def _note_begun(self, chunk: Any, lines: Sequence[tuple[bytes, bool]]) -> None:
        records = sum(not is_control for _, is_control in lines)
        self._source.note_spilled(
            chunk, chunk.spilled_entries + len(lines), chunk.spilled_records + records
        )
        self.lines_written += len(lines)
        self._bytes_written += chunk.size * len(lines) // chunk.entries
        self._begun = (chunk, lines[-1][1]) if self._last_resort.torn else None

    def _lines_left(self, chunk: Any) -> list[tuple[bytes, bool]]:
        """Return the next lines to write, about as many as stderr takes in one go."""
        if self._lines_of is not chunk:
            self._lines_of = chunk
            payload = bytes(chunk.data)
            if chunk.is_settled:  # acked while that was copied: the memory may be another chunk's
                payload = b""
            lines = spilled_lines(chunk.stream.tag, payload)
            self._lines, self._made = islice(lines, chunk.spilled_entries, None), []
        elif chunk.is_settled:
            self._lines, self._made = iter(()), []
        if not self._made:
            size = 0
            while size < _WRITE_BYTES_MAX and (line := next(self._lines, None)) is not None:
                self._made.append(line)
                size += len(line[0])
        return self._made


class SpillCost:
    """What writing a byte of entries to stderr costs here and now, from a sample now and then.

    A quarter of a CPU makes it five times as much, and nobody knows beforehand how much CPU a
    stopping task will get. The sample is made and thrown away: half a millisecond in ten seconds.
    What a spill then really takes, beside the application's own threads, counts more.

    Args:
        seconds_per_byte_min: What is reckoned with until there is a sample, and the least after.
    """

    def __init__(self, seconds_per_byte_min: float) -> None:
        self.seconds_per_byte = self._seconds_per_byte_min = seconds_per_byte_min
        self._due_seconds = float("-inf")

    def sample(self, tag: str, payload: bytes | bytearray | memoryview, now_seconds: float) -> None:
        """Make a few lines of a chunk, if it is time for that.

        Args:
            tag: The chunk's.
            payload: Its entries.
            now_seconds: Monotonic.
        """
        if now_seconds < self._due_seconds:
            return
        self._due_seconds = now_seconds + _SAMPLE_INTERVAL_SECONDS
        started = time.perf_counter()
        size = sum(
            len(line) for line, _ in islice(spilled_lines(tag, bytes(payload)), _SAMPLE_LINES)
        )
        took = time.perf_counter() - started
        # A line is about as long as its entry; writing it costs about as much as making it.
        self.seconds_per_byte = max(self._seconds_per_byte_min, 2 * took / max(size, 1))

    def note(self, size: int, seconds: float) -> None:
        """Note that so many bytes of entries were spilled in so long a time."""
        if size >= _NOTED_BYTES_MIN:
            took = (self.seconds_per_byte + seconds / size) / 2
            self.seconds_per_byte = max(self._seconds_per_byte_min, took)


def spilled_lines(tag: str, payload: bytes) -> Iterator[tuple[bytes, bool]]:
    """Return each entry's line for stderr, and whether it is a control record of our own."""
    line = line_maker(tag, logship="spilled")
    for time_ns, record in unpack_entries(payload):
        is_control = "logship_gap" in record or "logship_end" in record
        yield line(time_ns, record), is_control


def flush_standard_streams() -> None:
    """Flush Python's own buffers of stdout and stderr; a closed one is nobody's error here."""
    for stream in (sys.stdout, sys.stderr):
        # A stream may be None, closed or broken.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
