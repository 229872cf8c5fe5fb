"""Standard error of every kind: written at once or not at all, counted, and never waited for.

Every test here would hang, not fail, if a write could block: pytest's timeout is the judge.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import resource
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import logship._stderr
from logship._buffer.buffer import Buffer
from logship._stderr.last_resort import LastResort
from logship._stderr.spill import Spill, SpillCost
from logship._stderr.writers import nonblocking_writer
from logship.testing import ManualClock
from tests.support.commands import ran_python
from tests.support.raising import raising
from tests.support.threads import Later
from tests.unit.accounts import a_buffer, body, taken
from tests.unit.clients import Stderr
from tests.unit.interruptions import Interruption, every_point

PIPE_BYTES = 4096
LINE = b"x" * 99 + b"\n"


class Pipe:
    """A small pipe that the test reads when it likes."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        import fcntl

        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def fill(self) -> int:
        """Fill it to the last byte; return how many bytes that took."""
        os.set_blocking(self.writing, False)
        count = 0
        try:
            while True:
                count += os.write(self.writing, b"#")
        except BlockingIOError:
            os.set_blocking(self.writing, True)
        return count

    def read(self, count: int = 1 << 20) -> bytes:
        os.set_blocking(self.reading, False)
        try:
            return os.read(self.reading, count)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        for descriptor in (self.reading, self.writing):
            os.close(descriptor)


class Ready:
    """A poll to which every descriptor is ready, as one is until another process fills it."""

    def register(self, *_: Any) -> None:
        pass

    def poll(self, _: int) -> list[int]:
        return [-1]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    fresh = Pipe()
    yield fresh
    fresh.close()


def test_many_lines_in_one_go_come_out_as_far_as_the_pipe_takes_them(pipe: Pipe) -> None:
    resort = LastResort(descriptor=pipe.writing)
    lines = [b"%099d\n" % number for number in range(100)]
    got, left = b"", lines
    while left:
        begun = resort.write_lines(left)
        assert 0 < begun <= PIPE_BYTES // len(LINE) + 1
        left = left[begun:]
        got += pipe.read()
    resort.write_line(b"end\n")
    assert got + pipe.read() == b"".join(lines) + b"end\n"


@pytest.mark.parametrize("length", [100, 3000, PIPE_BYTES])
def test_lines_of_two_processes_do_not_mix_in_a_pipe(pipe: Pipe, length: int) -> None:
    lines = [[each * (length - 1) + b"\n"] * 100 for each in (b"a", b"b")]
    left = [list(each) for each in lines]
    resorts = [LastResort(descriptor=pipe.writing) for _ in lines]
    read = b""
    while any(left) or any(each.torn for each in resorts):
        for resort, rest in zip(resorts, left, strict=True):
            resort.step_back()
            del rest[: resort.write_lines(rest)]
            read += pipe.read(1000)
    read += pipe.read()
    assert sorted(read.splitlines(keepends=True)) == lines[0] + lines[1]


def test_a_line_longer_than_the_pipe_comes_out_whole_over_time(pipe: Pipe) -> None:
    resort = LastResort(descriptor=pipe.writing)
    line = b"y" * (5 * PIPE_BYTES) + b"\n"
    assert resort.write_line(line)
    assert resort.torn
    got = b""
    for _ in range(20):
        got += pipe.read()
        resort.write_line(LINE)
    got += pipe.read()
    assert got.startswith(line + LINE)
    assert not got.replace(line, b"").replace(LINE, b"")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM])
def test_a_pipe_that_cannot_be_opened_anew_is_written_with_care(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Also without a flag for each write.

    An older kernel has none, and a filter of system calls often answers EPERM.
    """
    refuse = raising(OSError(number, os.strerror(number)))
    monkeypatch.setattr(os, "open", refuse)
    if number != errno.EACCES:
        monkeypatch.setattr(os, "pwritev", refuse)
        monkeypatch.setattr(os, "RWF_NOWAIT", 8, raising=False)
    resort = LastResort(descriptor=pipe.writing)
    assert resort._write.descriptor == pipe.writing
    assert resort.write_line(LINE)
    assert pipe.read() == LINE
    pipe.fill()
    assert not resort.write_line(LINE)
    assert os.get_blocking(pipe.writing)


def _takes_a_flag_for_each_write() -> bool:
    reading, writing = os.pipe()
    try:
        return os.pwritev(writing, [LINE], -1, os.RWF_NOWAIT) == len(LINE)
    except (AttributeError, OSError):
        return False
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.skipif(not _takes_a_flag_for_each_write(), reason="it came with Linux 6.4")
def test_a_pipe_that_another_process_fills_after_the_poll_is_not_waited_for(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gosu` leaves a pipe of root to an application of another user, with all its workers."""
    pipe.fill()
    monkeypatch.setattr(os, "open", raising(PermissionError))
    monkeypatch.setattr(select, "poll", Ready)
    assert nonblocking_writer(pipe.writing)(LINE) == 0
    assert os.get_blocking(pipe.writing)


def test_a_closed_descriptor() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    resort = LastResort(descriptor=writing)
    assert not resort.write_line(LINE)
    assert not resort.offer_line(LINE)
    resort.wait_writable(0.0)


def test_a_regular_file_keeps_its_place(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    with path.open("wb") as file:
        file.write(b"before\n")
        file.flush()
        assert LastResort(descriptor=file.fileno()).write_line(LINE)
        file.write(b"after\n")
    assert path.read_bytes() == b"before\n" + LINE + b"after\n"


def test_a_regular_file_takes_many_lines_at_once(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only in a pipe could another process's line come between them."""
    real, sizes = os.write, list[int]()

    def write(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    assert stderr.last_resort().write_lines([LINE] * 500) == 500
    assert sizes == [500 * len(LINE)]


def test_a_file_that_may_not_grow_is_not_waited_for(stderr: Stderr) -> None:
    resort = stderr.last_resort()
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    try:
        assert not resort.write_line(LINE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert resort.is_gone
    assert resort.write_line(LINE), "another try is made for each line"


def test_a_terminal() -> None:
    ours, theirs = pty.openpty()
    resort = LastResort(descriptor=theirs)
    assert resort.write_line(b"hello\n")
    assert os.read(ours, 100) == b"hello\r\n"
    written = 0
    while resort.write_line(LINE) and written < 10_000:
        written += 1
    assert written < 10_000, "a terminal without a reader takes no more at some time"
    os.close(ours)
    os.close(theirs)


class Interposed:
    """Makes a call before each write of a last resort, as an interruption would."""

    def __init__(self, resort: LastResort, call: Callable[[], object]) -> None:
        self.write = resort._write
        self.descriptor = self.write.descriptor
        self._call = call
        resort._write = self  # type: ignore[assignment]

    def __call__(self, data: bytes) -> int:
        self._call()
        return self.write(data)


def test_a_writer_is_not_re_entered(pipe: Pipe) -> None:
    """A signal handler that warns in the middle of a write must not cut a line in two."""
    resort = LastResort(descriptor=pipe.writing)
    inner: list[bool] = []

    def write() -> None:
        inner.extend((resort.write_line(b"inner\n"), resort.offer_line(b"inner\n")))

    Interposed(resort, write)
    assert resort.write_line(LINE)
    assert inner[:2] == [False, False]
    assert pipe.read() == LINE


def test_an_exception_in_the_middle_of_a_write_does_not_silence_it(pipe: Pipe) -> None:
    resort = LastResort(descriptor=pipe.writing)
    interposed = Interposed(resort, raising(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        resort.write_line(LINE)
    with pytest.raises(KeyboardInterrupt):
        resort.offer_line(LINE)
    resort._write = interposed.write
    assert resort.write_line(LINE)


@pytest.fixture
def time_limit() -> Iterator[Callable[[], None]]:
    """Return what a signal interrupts a program for, by an exception that is an `OSError`."""

    def end(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise TimeoutError("the application's own time limit")

    before = signal.signal(signal.SIGUSR1, end)
    yield lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_a_time_limit_passes_through_a_write(
    pipe: Pipe, time_limit: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(descriptor: int, data: bytes) -> int:
        time_limit()
        return len(data)

    monkeypatch.setattr(os, "write", write)
    resort = LastResort(descriptor=pipe.writing)
    with pytest.raises(TimeoutError):
        resort.write_line(LINE)
    assert not resort.is_gone


def test_a_time_limit_passes_through_a_wait_for_stderr(
    pipe: Pipe, time_limit: Callable[[], None]
) -> None:
    resort = LastResort(descriptor=pipe.writing)
    while resort.write_line(LINE):
        pass
    later = threading.Timer(0.05, time_limit)

    def wait() -> None:
        later.start()
        resort.wait_writable(60.0)

    with pytest.raises(TimeoutError):
        wait()
    later.join()


# -- taking turns ----------------------------------------------------------------------------------


def test_a_caller_that_may_wait_gets_its_line_out_while_stderr_is_read(pipe: Pipe) -> None:
    resort = LastResort(descriptor=pipe.writing)
    os.set_blocking(pipe.reading, True)
    lines = [b"%099d\n" % number for number in range(2000)]
    reader = Later(lambda: read_exactly(pipe.reading, 200_000))
    for line in lines:
        assert resort.write_in_turn(line, patience_seconds=20.0)
        assert not resort._queue, "each is out when the call returns"
    assert reader.join() == b"".join(lines)


def read_exactly(descriptor: int, count: int) -> bytes:
    got = b""
    while len(got) < count:
        got += os.read(descriptor, count - len(got))
    return got


def test_a_stderr_that_nobody_reads_is_waited_for_once(pipe: Pipe) -> None:
    """And what is kept for it is bounded; afterwards everything is as before."""
    clock = Ticking()
    resort = LastResort(descriptor=pipe.writing, monotonic=clock)
    pipe.fill()
    kept = [resort.write_in_turn(LINE, patience_seconds=0.1) for _ in range(1100)]
    assert kept == [True] * 1000 + [False] * 100
    assert clock.seconds < 20.0, "the first waited for all of them"
    pipe.read()
    assert resort.write_line(LINE)
    assert resort._is_moving


def test_what_is_kept_for_a_stalled_stderr_is_bounded_in_bytes_too(pipe: Pipe) -> None:
    resort = LastResort(descriptor=pipe.writing, monotonic=Ticking())
    pipe.fill()
    line = b"x" * (1 << 20)
    assert [resort.write_in_turn(line) for _ in range(6)] == [True] * 4 + [False] * 2
    assert not resort.write_in_turn(LINE), "a short line must not overtake long ones"


def test_a_line_of_any_length_is_kept_if_no_other_line_waits(pipe: Pipe) -> None:
    resort = LastResort(descriptor=pipe.writing, monotonic=Ticking())
    pipe.fill()
    assert resort.write_in_turn(b"x" * (5 << 20))
    assert not resort.write_in_turn(LINE)


def test_a_full_queue_is_written_as_soon_as_stderr_takes_lines_again(pipe: Pipe) -> None:
    """By a queued line alone: at the end of a process there may be no other write."""
    resort = LastResort(descriptor=pipe.writing, monotonic=Ticking())
    pipe.fill()
    kept = [resort.write_in_turn(b"%099d\n" % number) for number in range(1100)]
    assert kept == [True] * 1000 + [False] * 100
    got = pipe.read()
    assert resort.write_in_turn(b"last\n")
    while b"last" not in got:
        before = len(got)
        resort.step_back()
        got += pipe.read()
        assert len(got) > before
    assert got.lstrip(b"#").split(b"\n") == [*(b"%099d" % n for n in range(1000)), b"last", b""]


def test_even_an_event_loops_line_is_out_when_the_call_returns(pipe: Pipe) -> None:
    """A line that stays in the queue is lost when the interpreter freezes its threads."""
    resort = LastResort(descriptor=pipe.writing, monotonic=lambda: 0.0)  # for as long as it takes
    filled = pipe.fill()
    reader = Later(lambda: read_exactly(pipe.reading, filled + 100 * len(LINE)))
    for _ in range(100):
        assert resort.write_in_turn(LINE)
        assert not resort._queue
    assert reader.join().count(LINE) == 100


class SlowWrite:
    """A thread in the middle of a write of this line, until it is told to go on."""

    def __init__(self, resort: LastResort, line: bytes) -> None:
        self.goes_on = threading.Event()
        self._writes = threading.Event()
        Interposed(resort, self._wait)
        self.thread = threading.Thread(target=lambda: resort.write_line(line))
        self.thread.start()
        assert self._writes.wait(60)

    def _wait(self) -> None:
        self._writes.set()
        assert self.goes_on.wait(60)


def test_a_thread_that_gets_no_processor_in_a_write_is_waited_for_again(pipe: Pipe) -> None:
    """Only a stderr that takes no bytes is not waited for; else the queue would overflow."""
    resort = LastResort(descriptor=pipe.writing)
    slow = SlowWrite(resort, b"first\n")
    assert resort.write_in_turn(b"second\n")  # after its patience it is still in the queue
    assert pipe.read() == b""
    threading.Timer(0.01, slow.goes_on.set).start()
    assert resort.write_in_turn(b"third\n", patience_seconds=60.0)
    assert pipe.read() == b"first\nsecond\nthird\n"
    slow.thread.join()


def test_a_thread_that_the_interpreter_froze_in_a_write_silences_nobody() -> None:
    """Destructors log when only the main thread runs; the lock is never released by then."""
    ended = ran_python(
        "import queue, sys, threading, time\n"
        "from logship._stderr.last_resort import LastResort\n"
        "resort = LastResort()\n"
        "real, resort._write = resort._write, queue.SimpleQueue().get  # which never returns\n"
        "thread = threading.Thread(target=resort.write_in_turn, args=[b'frozen\\n'], daemon=True)\n"
        "thread.start()\n"
        "while resort._lock.run(lambda: True, False):\n"
        "    time.sleep(0.001)\n"
        "resort._write = real\n"
        "class Late:\n"
        "    def __del__(self):\n"
        "        assert resort.write_in_turn(b'late\\n', 60.0)\n"
        "        assert not resort.torn\n"
        "if sys.version_info < (3, 12):\n"
        "    late = Late()\n"
        "else:\n"
        "    sys.path_hooks.append(Late())  # destroyed first, when all modules are there\n"
    )
    assert ended.stderr == "\nfrozen\nlate\n", "the frozen line may be torn, and begins anew"


class Ticking:
    """A clock that moves on a little whenever it is asked."""

    def __init__(self, step_seconds: float = 0.01) -> None:
        self.seconds = 0.0
        self._step_seconds = step_seconds

    def __call__(self) -> float:
        self.seconds += self._step_seconds
        return self.seconds


def test_the_report_goes_before_those_who_write_in_turn(pipe: Pipe) -> None:
    resort = LastResort(descriptor=pipe.writing)
    pipe.fill()
    assert not resort.go_first(b"report\n")
    assert resort.write_in_turn(LINE)
    pipe.read()
    assert resort.write_in_turn(LINE)
    assert pipe.read() == b"", "it is held up, though there is room"
    assert resort.go_first(b"report\n")
    assert pipe.read() == b"report\n" + 2 * LINE


@pytest.mark.parametrize("everybody_waits", [False, True])
def test_others_let_the_spill_go_first_for_a_bounded_time(
    pipe: Pipe, everybody_waits: bool
) -> None:
    """At the very end those too that must not wait; before it, those that may."""
    clock = Ticking(0.1)
    resort = LastResort(descriptor=pipe.writing, monotonic=clock)
    patience_seconds = 0.0 if everybody_waits else 1.0
    resort.begin_spill(everybody_waits=everybody_waits)
    assert resort.write_in_turn(b"the spilling thread's own\n", patience_seconds=1.0)
    if not everybody_waits:
        assert Later(lambda: resort.write_in_turn(b"may not wait\n")).join() is True
    assert len(pipe.read().splitlines()) == 1 + (not everybody_waits)
    assert clock.seconds < 1.0
    logged_at: list[float] = []

    def log() -> None:
        assert resort.write_in_turn(b"waits\n", patience_seconds=patience_seconds)
        logged_at.append(clock.seconds)

    assert Later(log).join() is None
    assert logged_at[0] > 1.0
    resort.begin_spill(everybody_waits=everybody_waits)
    resort.end_spill()
    assert Later(log).join() is None
    assert logged_at[1] < logged_at[0] + 1.0


def test_they_wait_as_long_as_the_spill_writes_and_no_longer_once_it_has_stalled(
    pipe: Pipe,
) -> None:
    clock = Ticking(0.1)
    resort = LastResort(descriptor=pipe.writing, monotonic=clock)
    resort.begin_spill()
    clock.seconds += 0.8
    assert resort.write_lines([LINE]) == 1
    written_at = clock.seconds
    clock.seconds += 0.8
    pipe.fill()
    assert resort.write_lines([LINE]) == 0, "which does not make any thread wait longer"
    logged_at: list[float] = []

    def log() -> None:
        resort.write_in_turn(LINE, patience_seconds=0.1)
        logged_at.append(clock.seconds)

    assert Later(log).join() is None
    assert written_at + 1.0 < logged_at[0] < written_at + 1.6


def test_who_logs_without_a_pause_does_not_keep_the_spill_from_writing(pipe: Pipe) -> None:
    """Whenever the spilling thread comes, the other one is writing."""
    resort = LastResort(descriptor=pipe.writing)
    resort.begin_spill()
    begun: list[int] = []

    def spill() -> None:
        if not begun:
            begun.append(resort.write_lines([b"spilled\n"]))

    Interposed(resort, spill)
    assert resort.write_in_turn(b"first\n")
    assert begun == [0]
    assert resort.write_in_turn(b"held up\n")
    assert pipe.read() == b"first\n"
    assert resort.write_lines([b"spilled\n"]) == 1
    assert pipe.read() == b"spilled\nheld up\n"


# -- the pace --------------------------------------------------------------------------------------


def paced(pipe: Pipe, rate: int) -> tuple[LastResort, ManualClock]:
    clock = ManualClock()
    resort = LastResort(descriptor=pipe.writing, bytes_per_second_max=rate, monotonic=clock)
    return resort, clock


def offers(resort: LastResort, count: int) -> int:
    return sum(resort.offer_line(LINE) for _ in range(count))


def test_the_pace_is_kept_in_runs(pipe: Pipe) -> None:
    """Once dry it stays dry until a second's worth is there: gaps stay few in a long outage."""
    resort, clock = paced(pipe, 10 * len(LINE))
    assert offers(resort, 20) == 10
    clock.advance(0.9)
    assert offers(resort, 20) == 0
    clock.advance(0.1)
    assert offers(resort, 20) == 10
    assert resort.write_line(LINE), "only offers are paced"


def test_a_line_longer_than_a_second_s_worth_passes_when_nothing_else_did(pipe: Pipe) -> None:
    resort, clock = paced(pipe, 50)
    assert offers(resort, 3) == 1
    clock.advance(1.0)
    assert offers(resort, 3) == 0
    clock.advance(1.0)
    assert offers(resort, 3) == 1


def test_pace_nought_lets_nothing_pass(pipe: Pipe) -> None:
    resort, clock = paced(pipe, 0)
    clock.advance(1e6)
    assert offers(resort, 3) == 0


def test_one_warning_of_a_kind_in_a_minute(pipe: Pipe) -> None:
    resort, clock = paced(pipe, 1000)
    for _ in range(3):
        resort.warn("connect", "no sidecar")
        resort.warn("other", "\udcff umlaut ä")
    clock.advance(60.0)
    resort.warn("connect", "still none")
    assert pipe.read().decode().splitlines() == [
        "logship: no sidecar",
        "logship: \\udcff umlaut ä",
        "logship: still none",
    ]


def test_a_warning_of_an_endless_interval_is_written_once(pipe: Pipe) -> None:
    resort, clock = paced(pipe, 1000)
    for _ in range(3):
        resort.warn("port", "it is taken", interval_seconds=float("inf"))
        clock.advance(1e9)
    assert pipe.read() == b"logship: it is taken\n"


def test_a_warning_that_did_not_come_out_is_tried_again(pipe: Pipe) -> None:
    resort, _ = paced(pipe, 1000)
    pipe.fill()
    resort.warn("connect", "no sidecar")
    pipe.read()
    resort.warn("connect", "no sidecar")
    assert pipe.read() == b"logship: no sidecar\n"


def test_a_warning_in_the_middle_of_a_write_comes_after_it(pipe: Pipe) -> None:
    resort, _ = paced(pipe, 1000)

    def warn() -> None:
        for kind in ("bug", "broken"):
            resort.warn(kind, "the loop has failed")

    Interposed(resort, warn)
    resort.warn("bug", "a trace")
    assert pipe.read() == b"logship: a trace\nlogship: the loop has failed\n"


# -- the spill -------------------------------------------------------------------------------------


def a_closed_buffer(count: int, characters: int = 300) -> Buffer:
    buffer = a_buffer(bytes_max=10**6, chunk_bytes_max=1500)
    for number in range(1, count + 1):
        buffer.offer("t", body(number, characters))
    buffer.close_intake()
    return buffer


def spilled_numbers(data: bytes) -> list[int]:
    records = [json.loads(line)["record"] for line in data.splitlines()]
    return [record["n"] for record in records if "n" in record]


def forever() -> float:
    return 0.0


def a_spill(buffer: Buffer, stderr: Stderr, monotonic: Callable[[], float] = forever) -> Spill:
    return Spill(buffer.spilling, stderr.last_resort(), monotonic)


def test_a_spill_writes_everything_once_and_stops_where_stderr_stalls(pipe: Pipe) -> None:
    buffer = a_closed_buffer(60)
    resort = LastResort(descriptor=pipe.writing)
    spill = Spill(buffer.spilling, resort, forever)
    got = b""
    for _ in range(100):
        finished = spill.step(1.0)
        report = buffer.report("", 0.0)
        got += pipe.read()
        if finished and not resort.torn:
            break
        whole = len(spilled_numbers(got[: got.rfind(b"\n") + 1]))
        assert whole <= report.spilled <= whole + 1
    got += pipe.read()
    assert spilled_numbers(got) == [*range(1, 61)]
    report = buffer.report("", 0.0)
    assert (report.spilled, report.unacked) == (60, 0)
    assert report.streams[0].spilled == [(1, 61)]


def test_a_line_that_is_only_begun_is_not_counted(pipe: Pipe) -> None:
    """Whatever the pipe held before: what a reader can use is what is counted."""
    for already in range(0, PIPE_BYTES, 97):
        pipe.fill()
        pipe.read(PIPE_BYTES - already)
        buffer = a_closed_buffer(30, 5000)
        resort = LastResort(descriptor=pipe.writing)
        spill = Spill(buffer.spilling, resort, forever)
        spill.step(1.0)
        spill.finish()
        whole = pipe.read().lstrip(b"#")
        whole = whole[: whole.rfind(b"\n") + 1]
        report = buffer.report("", 0.0)
        assert report.spilled == len(spilled_numbers(whole))
        assert report.spilled + report.unacked == 30


def test_a_torn_line_of_somebody_else_takes_nothing_back(pipe: Pipe) -> None:
    """The announcement is long; where only its beginning came out, no record was written."""
    buffer = a_closed_buffer(3)
    resort = LastResort(descriptor=pipe.writing)
    assert resort.write_line(b"a" * (2 * PIPE_BYTES) + b"\n")
    spill = Spill(buffer.spilling, resort, forever)
    assert not spill.step(1.0)
    spill.finish()
    report = buffer.report("", 0.0)
    assert (report.spilled, report.unacked) == (0, 3)
    assert report.streams[0].unacked == [(1, 4)]


def test_the_last_line_of_a_chunk_may_be_the_torn_one(pipe: Pipe) -> None:
    buffer = a_buffer(bytes_max=10**6, chunk_bytes_max=100, stamp_key=None)
    for number in (1, 2):
        buffer.offer("t", body(number, 2 * PIPE_BYTES, stamped=False))
    buffer.close_intake()
    resort = LastResort(descriptor=pipe.writing)
    spill = Spill(buffer.spilling, resort, forever)
    assert not spill.step(1.0)
    spill.finish()
    assert (buffer.report("", 0.0).spilled, buffer.report("", 0.0).unacked) == (0, 2)
    assert [chunk.spilled_entries for chunk in buffer.unsettled()] == [0, 0]


def test_what_is_acked_before_its_turn_is_not_spilled(stderr: Stderr) -> None:
    buffer = a_closed_buffer(30)
    first = taken(buffer)
    records = first.records
    spill = a_spill(buffer, stderr)
    spill.step(0.0)  # no time: it only looks
    buffer.release(first)
    assert spill.step(1.0)
    assert spilled_numbers(stderr.path.read_bytes()) == [*range(records + 1, 31)]
    assert buffer.report("", 0.0).spilled == 30 - records


def test_the_newest_chunk_may_go_first(stderr: Stderr) -> None:
    """Acks come in for the oldest: so the two ends do not do the same work."""
    buffer = a_closed_buffer(30)
    newest = buffer.unsettled()[-1]
    spill = a_spill(buffer, stderr, once_in_time())
    assert not spill.step(1.0, newest_first=True)
    assert newest.spilled_entries == newest.entries
    assert spill.step(3.0)
    numbers = spilled_numbers(stderr.path.read_bytes())
    assert sorted(numbers) == [*range(1, 31)], "each of them once, whatever the order"
    assert numbers[0] > numbers[-1]


def once_in_time() -> Callable[[], float]:
    """A clock by which there is time for one write."""
    times = iter([0.0, 0.0, 0.0])
    return lambda: next(times, 2.0)


def test_nothing_of_an_open_chunk_is_spilled_while_intake_is_open(stderr: Stderr) -> None:
    buffer = a_buffer(bytes_max=10**6, chunk_bytes_max=10**5)
    buffer.offer("t", body(1))
    spill = a_spill(buffer, stderr)
    assert spill.step(1.0)
    assert spill.lines_written == 0
    buffer.seal_all()
    buffer.offer("t", body(2))
    assert spill.step(1.0)
    assert spill.lines_written == 1
    assert 0 < buffer.spilling.bytes_to_spill < buffer.bytes_held
    buffer.close_intake()
    assert spill.step(1.0)
    assert spilled_numbers(stderr.path.read_bytes()) == [1, 2]
    assert buffer.spilling.bytes_to_spill == 0


def test_a_spill_that_is_under_way_is_not_entered_again(stderr: Stderr) -> None:
    """The thread that ends the client may come while another thread still spills ahead."""
    buffer = a_closed_buffer(10)
    inner: list[bool] = []

    def clock() -> float:
        inner.append(spill.step(1.0))
        return 0.0

    spill = a_spill(buffer, stderr, clock)
    assert spill.step(1.0)
    assert spill.step(1.0)
    assert inner
    assert not any(inner)
    assert spilled_numbers(stderr.path.read_bytes()) == [*range(1, 11)]


def test_what_a_spill_took_counts_more_than_the_sample() -> None:
    cost = SpillCost(forever)
    cost.note(10**6, 1.0)
    assert cost.seconds_per_byte > 4e-7
    for _ in range(20):
        cost.note(10**6, 1.0)
    assert cost.seconds_per_byte == pytest.approx(1e-6, rel=0.01)
    cost.note(1000, 1.0)
    assert cost.seconds_per_byte == pytest.approx(1e-6, rel=0.01), "too little to say anything"
    for _ in range(20):
        cost.note(10**6, 0.001)
    assert cost.seconds_per_byte == 5e-8, "never less than is reckoned with"


def test_halves_of_a_split_chunk_are_spilled_too(stderr: Stderr) -> None:
    buffer = a_closed_buffer(3)
    whole = taken(buffer)
    spill = a_spill(buffer, stderr)
    spill.step(0.0)
    buffer.departure.split(whole)
    assert spill.step(1.0)
    assert spilled_numbers(stderr.path.read_bytes()) == [1, 2, 3]


def test_a_chunk_that_is_acked_while_it_is_copied_is_not_spilled(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory may hold another chunk's records by then."""
    buffer = a_closed_buffer(3)
    chunk = taken(buffer)
    others = a_closed_buffer(6).unsettled()[-1].data

    def acked_meanwhile(_: object) -> bytes:
        buffer.release(chunk)
        return bytes(others)

    monkeypatch.setattr(type(chunk), "data", property(acked_meanwhile))
    assert Spill(buffer.spilling, LastResort(descriptor=pipe.writing), forever).step(1.0)
    assert pipe.read() == b""


# -- a socket, as under systemd's journal or Node's child_process ----------------------------------


@pytest.mark.parametrize("kernel", ["this", "older"])
def test_a_socket_is_not_waited_for(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older kernel has no flag that keeps a write from blocking, but one for a message.

    Another process may fill the socket after `poll` has found room.
    """
    if kernel == "older":
        monkeypatch.delattr(os, "RWF_NOWAIT", raising=False)
        monkeypatch.setattr(select, "poll", Ready)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        resort = LastResort(descriptor=theirs.fileno())
        while resort.write_line(LINE):
            pass
        assert theirs.getblocking()
        while resort.torn or not resort.write_line(b"end\n"):
            ours.recv(1 << 20)
            resort.write_line(LINE)


@pytest.mark.parametrize("kind", ["SOCK_DGRAM", "SOCK_SEQPACKET"])
def test_a_socket_for_messages_gets_the_lines_of_a_write_in_one(kind: str) -> None:
    """It holds a few messages of any length."""
    ours, theirs = socket.socketpair(type=getattr(socket, kind))
    with ours, theirs:
        resort = LastResort(descriptor=theirs.fileno())
        lines = [LINE] * 700
        assert resort.write_lines(lines) == 700
        assert ours.recv(1 << 20) == b"".join(lines)
        line = b"y" * (300 * 1024) + b"\n"  # more than a message may have
        assert resort.write_line(line)
        got = b""
        while len(got) < len(line):
            got += ours.recv(1 << 20)
            resort.step_back()
        assert got == line


def test_a_socket_without_a_descriptor_for_its_duplicate(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        monkeypatch.setattr(os, "dup", raising(OSError(errno.EMFILE, os.strerror(errno.EMFILE))))
        assert LastResort(descriptor=theirs.fileno()).write_line(LINE)
        assert ours.recv(1000) == LINE


@pytest.mark.parametrize("blocks", [True, False], ids=["blocking", "non-blocking"])
def test_a_default_timeout_for_sockets_changes_nothing_for_stderr(blocks: bool) -> None:
    """Python would make the application's own stderr non-blocking, and have each write wait."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(blocks)
        socket.setdefaulttimeout(3600)
        try:
            resort = LastResort(descriptor=theirs.fileno())
        finally:
            socket.setdefaulttimeout(None)
        assert os.get_blocking(theirs.fileno()) == blocks
        while resort.write_line(LINE):
            pass


# -- an exception at each point of a write ---------------------------------------------------------

STDERR_ROOM = str(Path(logship._stderr.__file__).parent)
FIRST = b"f" * 6000 + b"\n"  # more than the pipe takes at once
SECOND = b"s\n"


class Scene:
    """Two lines on their way through a small pipe."""

    def __init__(self) -> None:
        self.pipe = Pipe()
        self.resort = LastResort(descriptor=self.pipe.writing)
        self.read = b""

    def write(self, line: bytes) -> None:
        """Write a line, and read until all of it is there."""
        while not self.resort.write_line(line):
            self.read += self.pipe.read()
        while self.resort.torn:
            self.read += self.pipe.read()
            self.resort.step_back()
        self.read += self.pipe.read()


def test_a_line_behind_an_interrupted_write_can_be_read() -> None:
    scenes: list[Scene] = []  # the first one warms up

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        scene = Scene()
        scenes.append(scene)
        return lambda: scene.write(FIRST), raising(Interruption)

    for run in every_point(prepare, room=STDERR_ROOM):
        scene = scenes[-1]
        with contextlib.suppress(Interruption):
            run()
        for line in FIRST, SECOND:
            scene.write(line)
        lines = scene.read.splitlines(keepends=True)
        assert FIRST in lines
        assert lines[-1] == SECOND
        scene.pipe.close()
