"""A standard error that will never take bytes again: no process reads it, or it is closed.

It must not end the application, and logship must notice where the application redirected it.
"""

from __future__ import annotations

import errno
import gc
import os
import pty
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from logship._stderr.last_resort import LastResort
from tests.support.commands import ran_python
from tests.support.raising import raising
from tests.unit.pipes import LINE, PIPE_BYTES


class Stderr:
    """A descriptor as an application's stderr is: each child inherits it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reading, self.writing = os.pipe()
        os.set_inheritable(self.writing, True)

    def redirect(self, *, inheritable: bool = True) -> None:
        """Have it be a file from now on."""
        with self.path.open("ab") as file:
            os.dup2(file.fileno(), self.writing, inheritable)

    def lose_reader(self) -> None:
        """Close the reading end of the pipe."""
        os.close(self.reading)
        self.reading = -1

    def text(self) -> bytes:
        return self.path.read_bytes()

    def close(self) -> None:
        for each in (self.reading, self.writing):
            if each >= 0:
                os.close(each)


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[Stderr]:
    fresh = Stderr(tmp_path / "stderr")
    yield fresh
    fresh.close()


# -- it is said to be gone -------------------------------------------------------------------------


def test_a_pipe_without_a_reader_is_gone_and_a_full_one_is_not(stderr: Stderr) -> None:
    resort = LastResort(descriptor=stderr.writing)
    while resort.write_line(LINE):
        pass
    assert not resort.is_gone
    stderr.lose_reader()
    assert not resort.write_line(LINE)
    assert resort.is_gone


def test_a_terminal_is_gone_with_its_window() -> None:
    ours, theirs = pty.openpty()
    resort = LastResort(descriptor=theirs)
    assert resort.write_line(b"hello\n")
    os.close(ours)
    assert not resort.write_line(b"hello\n")
    assert resort.is_gone
    os.close(theirs)


def test_a_volume_with_an_error_may_recover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "stderr").open("wb") as file, monkeypatch.context() as patch:
        patch.setattr(os, "write", raising(OSError(errno.EIO, "an error of the volume")))
        resort = LastResort(descriptor=file.fileno())
        assert not resort.write_line(LINE)
        assert not resort.is_gone


# -- it is redirected ------------------------------------------------------------------------------


def test_lines_go_where_stderr_was_redirected_to_once_the_old_one_has_no_reader(
    stderr: Stderr,
) -> None:
    resort = LastResort(descriptor=stderr.writing)
    assert resort.write_line(LINE)  # which the old one has
    stderr.redirect()
    stderr.lose_reader()
    assert resort.write_line(b"one\n")
    assert resort.write_in_turn(b"two\n")
    assert not resort.is_gone
    assert stderr.text() == b"one\ntwo\n"


def test_it_is_not_gone_for_another_thread_while_the_new_one_is_looked_for(
    stderr: Stderr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That thread cannot write meanwhile, and would give up its lines."""
    resort = LastResort(descriptor=stderr.writing)
    seen = []
    get_inheritable = os.get_inheritable

    def looked(descriptor: int) -> bool:
        seen.append(resort.is_gone)
        return get_inheritable(descriptor)

    monkeypatch.setattr(os, "get_inheritable", looked)
    stderr.redirect()
    stderr.lose_reader()
    assert resort.write_line(LINE)
    assert seen == [False]


def test_stderr_may_be_redirected_after_it_was_gone(stderr: Stderr) -> None:
    resort = LastResort(descriptor=stderr.writing)
    stderr.lose_reader()
    assert not resort.write_line(b"one\n")
    stderr.redirect()
    assert resort.write_line(b"two\n")
    assert not resort.is_gone
    assert stderr.text() == b"two\n"


def test_a_line_of_which_the_old_file_has_a_part_is_whole_in_the_new_one(stderr: Stderr) -> None:
    import fcntl

    fcntl.fcntl(stderr.writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    resort = LastResort(descriptor=stderr.writing)
    line = b"y" * (2 * PIPE_BYTES) + b"\n"
    assert resort.write_line(line)
    assert resort.torn
    stderr.redirect()
    stderr.lose_reader()
    assert resort.write_line(LINE)
    assert stderr.text() == line + LINE


def test_a_socket_may_be_redirected_too(stderr: Stderr) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        os.dup2(theirs.fileno(), stderr.writing)
    resort = LastResort(descriptor=stderr.writing)
    stderr.redirect()
    ours.close()
    assert resort.write_line(LINE)
    assert stderr.text() == LINE


def test_the_next_file_that_becomes_stderr_s_number_is_not_written_to(stderr: Stderr) -> None:
    """The application closed its stderr: Python opens the next file under the free number."""
    resort = LastResort(descriptor=stderr.writing)
    stderr.redirect(inheritable=False)
    stderr.lose_reader()
    assert not resort.write_line(LINE)
    assert resort.is_gone
    assert stderr.text() == b""


@pytest.mark.parametrize("inheritable", [False, True], ids=["a file of its own", "redirected"])
def test_a_file_that_took_the_number_of_a_regular_stderr(
    stderr: Stderr, tmp_path: Path, inheritable: bool
) -> None:
    with (tmp_path / "before").open("wb") as file:
        os.dup2(file.fileno(), stderr.writing)
    resort = LastResort(descriptor=stderr.writing)
    stderr.redirect(inheritable=inheritable)
    assert resort.write_line(LINE) is inheritable
    assert stderr.text() == (LINE if inheritable else b"")
    assert (tmp_path / "before").read_bytes() == b""


def test_a_file_opened_where_stderr_was_closed_from_the_start_is_not_written_to(
    stderr: Stderr,
) -> None:
    with stderr.path.open("ab") as file:
        number = os.dup(stderr.reading)
        os.close(number)
        resort = LastResort(descriptor=number)
        os.dup2(file.fileno(), number)
    assert not resort.write_line(LINE)
    assert stderr.text() == b""
    os.close(number)


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """Give the reading and the writing end of a pipe or a socket."""
    gc.collect()  # else it closes descriptors of the tests before while one counts on numbers
    if request.param == "pipe":
        reading, writing = os.pipe()
    else:
        reading, writing = (each.detach() for each in socket.socketpair())
    os.set_inheritable(writing, True)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_an_application_that_closes_all_descriptors_keeps_its_stderr(ends: tuple[int, int]) -> None:
    """As a daemon does. The writer's own descriptor is closed then, and not closed again."""
    reading, writing = ends
    resort = LastResort(descriptor=writing)
    own = resort._write.descriptor
    assert own != writing
    os.close(own)
    assert resort.write_line(b"one\n")
    assert resort._write.descriptor == own, "the number is taken again"
    assert resort.write_line(b"two\n")
    assert os.read(reading, 100) == b"one\ntwo\n"


@pytest.mark.parametrize("is_stderr", [False, True])
def test_a_line_goes_into_a_file_that_took_the_number_only_if_it_is_stderr_now(
    ends: tuple[int, int], tmp_path: Path, is_stderr: bool
) -> None:
    """As of a daemon that closes all descriptors, and opens a file for its stderr."""
    reading, writing = ends
    resort = LastResort(descriptor=writing)
    own = resort._write.descriptor
    with (tmp_path / "data").open("wb") as file:
        os.dup2(file.fileno(), own)
        if is_stderr:
            os.dup2(file.fileno(), writing)
        assert resort.write_line(b"one\n")
    written = (tmp_path / "data").read_bytes()
    assert written == (b"one\n" if is_stderr else b"")
    assert written or os.read(reading, 100) == b"one\n"
    os.close(own)


def test_a_writer_that_goes_closes_no_file_that_took_the_number(
    ends: tuple[int, int], tmp_path: Path
) -> None:
    resort = LastResort(descriptor=ends[1])
    own = resort._write.descriptor
    with (tmp_path / "data").open("wb") as file:
        os.dup2(file.fileno(), own)
        del resort
        gc.collect()
        assert os.path.sameopenfile(own, file.fileno())
    os.close(own)


# -- its signal ------------------------------------------------------------------------------------

WRITES_WITHOUT_A_READER = """
import os, signal, socket, sys
from logship._stderr.last_resort import LastResort

called = []
handlers = {"default": signal.SIG_DFL, "function": lambda *_: called.append(1)}
signal.signal(signal.SIGPIPE, handlers[sys.argv[2]])
if sys.argv[1] == "socket":
    ours, theirs = socket.socketpair()
    reading, writing = ours.detach(), theirs.detach()
else:
    reading, writing = os.pipe()
real = os.open
if sys.argv[1] == "careful":
    def refuse(*_):
        raise PermissionError
    os.open = refuse
resort = LastResort(descriptor=writing)
os.open = real
os.close(reading)
for _ in range(3):
    assert not resort.write_line(b"line\\n")
assert resort.is_gone
assert not called
assert signal.SIGPIPE not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
print("alive", flush=True)
try:
    os.write(writing, b"the application's own")
except BrokenPipeError:
    sys.stdout.flush()  # a handler runs after a call
    print("called" if called else "ignored")
"""


@pytest.mark.parametrize("kind", ["pipe", "careful", "socket"])
def test_a_line_without_a_reader_does_not_end_the_application(kind: str) -> None:
    """But the application's own write does, as without logship."""
    ended = ran_python(WRITES_WITHOUT_A_READER, kind, "default", code=-signal.SIGPIPE)
    assert (ended.stdout, ended.stderr) == ("alive\n", "")


def test_a_line_without_a_reader_does_not_call_the_application_s_handler() -> None:
    ended = ran_python(WRITES_WITHOUT_A_READER, "pipe", "function")
    assert (ended.stdout, ended.stderr) == ("alive\ncalled\n", "")


def test_a_handler_that_raises_in_the_middle_of_a_write_leaves_the_signal_unblocked() -> None:
    ended = ran_python("""
import os, signal
from logship._stderr.last_resort import LastResort

def fail(number, frame):
    raise KeyError("of the application")

real = signal.pthread_sigmask
def interrupted(how, signals):
    before = real(how, signals)
    if how == signal.SIG_BLOCK and signals:
        signal.raise_signal(signal.SIGUSR1)
    return before

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGUSR1, fail)
signal.pthread_sigmask = interrupted
resort = LastResort()
try:
    resort.write_line(b"line")
except KeyError:
    print(signal.SIGPIPE in real(signal.SIG_BLOCK, ()))
""")
    assert (ended.stdout, ended.stderr) == ("False\n", "")


def test_threads_of_logship_survive_a_sidecar_that_is_gone() -> None:
    """They write to its socket as to any other, and asyncio does not suppress the signal."""
    ended = ran_python(
        """
import signal, socket
from logship._hooks.threads import OwnThread

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
ours, theirs = socket.socketpair()
ours.close()

def send():
    try:
        theirs.send(b"chunk")
    except BrokenPipeError:
        print("alive", flush=True)

thread = OwnThread(send, "test")
thread.start()
thread.join()
theirs.send(b"the application's own")
""",
        code=-signal.SIGPIPE,
    )
    assert (ended.stdout, ended.stderr) == ("alive\n", "")
