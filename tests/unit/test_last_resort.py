"""Standard error of every kind: written at once or not at all, and never waited for.

Every test here would hang, not fail, if a write could block: pytest's timeout is the judge.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import resource
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import logship._stderr
from logship._stderr.last_resort import LastResort
from logship._stderr.writers import nonblocking_writer
from tests.support.raising import raising
from tests.unit.clients import Stderr
from tests.unit.interruptions import Interruption, every_point
from tests.unit.pipes import LINE, PIPE_BYTES, Interposed, Pipe


class Ready:
    """A poll to which every descriptor is ready, as one is until another process fills it."""

    def register(self, *_: Any) -> None:
        pass

    def poll(self, _: int) -> list[int]:
        return [-1]


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
