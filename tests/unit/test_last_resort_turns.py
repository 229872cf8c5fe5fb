"""Calls and threads that write to one standard error: whose turn it is, and how long others wait.

Every test here would hang, not fail, if a write could block: pytest's timeout is the judge.
"""

from __future__ import annotations

import os
import threading

import pytest

from logship._stderr.last_resort import LastResort
from tests.support.commands import ran_python
from tests.support.threads import Later
from tests.unit.pipes import LINE, Interposed, Pipe


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


def test_a_stderr_that_is_not_read_is_waited_for_once(pipe: Pipe) -> None:
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


def test_a_thread_that_the_interpreter_froze_in_a_write_silences_no_other() -> None:
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


def test_the_report_goes_before_lines_written_in_turn(pipe: Pipe) -> None:
    resort = LastResort(descriptor=pipe.writing)
    pipe.fill()
    assert not resort.go_first(b"report\n")
    assert resort.write_in_turn(LINE)
    pipe.read()
    assert resort.write_in_turn(LINE)
    assert pipe.read() == b"", "it is held up, though there is room"
    assert resort.go_first(b"report\n")
    assert pipe.read() == b"report\n" + 2 * LINE


@pytest.mark.parametrize("all_callers_wait", [False, True])
def test_others_let_the_spill_go_first_for_a_bounded_time(
    pipe: Pipe, all_callers_wait: bool
) -> None:
    """At the very end those too that must not wait; before it, those that may."""
    clock = Ticking(0.1)
    resort = LastResort(descriptor=pipe.writing, monotonic=clock)
    patience_seconds = 0.0 if all_callers_wait else 1.0
    resort.begin_spill(all_callers_wait=all_callers_wait)
    assert resort.write_in_turn(b"the spilling thread's own\n", patience_seconds=1.0)
    if not all_callers_wait:
        assert Later(lambda: resort.write_in_turn(b"may not wait\n")).join() is True
    assert len(pipe.read().splitlines()) == 1 + (not all_callers_wait)
    assert clock.seconds < 1.0
    logged_at: list[float] = []

    def log() -> None:
        assert resort.write_in_turn(b"waits\n", patience_seconds=patience_seconds)
        logged_at.append(clock.seconds)

    assert Later(log).join() is None
    assert logged_at[0] > 1.0
    resort.begin_spill(all_callers_wait=all_callers_wait)
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


def test_logging_without_a_pause_does_not_keep_the_spill_from_writing(pipe: Pipe) -> None:
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
