"""Shows that processes with one stderr leave each other's lines whole, also long ones.

A line of more than PIPE_BUF bytes goes into a pipe in parts. In these tests each last resort stands
for a process: it has opened the pipe for itself.
"""

from __future__ import annotations

import os

import pytest

from logship._stderr.last_resort import LastResort
from logship._stderr.writers import PipeWriter
from tests.unit.pipes import LINE, PIPE_BYTES, Pipe

LONG = b"y" * (3 * PIPE_BYTES) + b"\n"


def processes(pipe: Pipe, count: int) -> list[LastResort]:
    return [LastResort(descriptor=pipe.writing) for _ in range(count)]


def written(process: LastResort, pipe: Pipe) -> bytes:
    """Return what is in the pipe, and what a process writes until its line is over."""
    got = pipe.read()
    while process.torn:
        process.step_back()
        got += pipe.read()
    return got


@pytest.mark.parametrize("line", [LINE, LONG], ids=["short", "long"])
def test_no_line_gets_into_the_middle_of_a_long_one(pipe: Pipe, line: bytes) -> None:
    one, other = processes(pipe, 2)
    assert one.write_line(LONG)
    got = pipe.read()
    assert not other.write_line(line), "though the pipe has room"
    got += written(one, pipe)
    assert other.write_line(line)
    assert got + written(other, pipe) == LONG + line


def test_short_lines_wait_for_no_process(pipe: Pipe) -> None:
    writers = processes(pipe, 3)
    for each in writers * 5:
        assert each.write_line(LINE)
    assert pipe.read() == LINE * 15


def test_a_process_that_cannot_begin_its_long_line_keeps_no_turn(pipe: Pipe) -> None:
    one, other = processes(pipe, 2)
    filled = pipe.fill()
    assert not one.write_line(LONG)
    pipe.read(filled)
    assert other.write_line(LINE)
    assert pipe.read() == LINE


def test_a_process_that_dies_in_its_long_line_lets_others_write(pipe: Pipe) -> None:
    one, other = processes(pipe, 2)
    assert one.write_line(LONG)
    pipe.read()
    assert not other.write_line(LINE)
    del one
    assert other.write_line(LINE)
    assert pipe.read() == LINE


def test_a_process_that_is_stopped_in_its_long_line_holds_others_up_once(pipe: Pipe) -> None:
    now = 0.0
    again = os.open(f"/proc/self/fd/{pipe.writing}", os.O_WRONLY | os.O_NONBLOCK)
    (stopped,), writer = processes(pipe, 1), PipeWriter(again, lambda: now)
    assert stopped.write_line(LONG)
    pipe.read()
    assert writer(LINE) == 0
    now = 60.0
    assert writer(LINE * 2) == len(LINE) * 2
    assert writer(LINE * 100) < len(LINE) * 100, "the pipe is full now"
    pipe.read()
    assert writer(LINE) == len(LINE), "and nothing more is waited for"


def test_the_wait_for_a_turn_lasts_while_the_pipe_is_full(pipe: Pipe) -> None:
    """The process that has the turn may be at work: its reader is slow."""
    now = 0.0
    again = os.open(f"/proc/self/fd/{pipe.writing}", os.O_WRONLY | os.O_NONBLOCK)
    (slow,), writer = processes(pipe, 1), PipeWriter(again, lambda: now)
    assert slow.write_line(LONG)
    assert writer(LINE) == 0
    now = 60.0
    assert writer(LINE) == 0
    got = pipe.read()
    assert writer(LINE) == 0
    assert got + written(slow, pipe) == LONG
