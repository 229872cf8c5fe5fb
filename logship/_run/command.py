"""The command itself: started with two pipes for its output.

It inherits everything else from `run`: standard input, open descriptors, ignored signals,
environment, working directory. It is the leader of a separate process group. Otherwise a Ctrl-C at
a terminal would reach it twice, from the terminal and from `run`, and for many programs the second
one means "at once". So at a terminal its group becomes the foreground group. A Ctrl-Z then stops
the command alone, and the shell waits for `run`, so `run` stops with it.

In a pipeline the reader of `run` may need the terminal, as a pager does. So the command's group
becomes the foreground group only when the command uses the terminal. Until then, and where standard
input is not the terminal, the keys' signals reach `run`, and `run` passes them on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from logship._run.statuses import NOT_EXECUTABLE, NOT_FOUND
from logship.errors import LogshipError

_JOB_CONTROL = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})

_OF_KEYS = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP})
"""The signals that a terminal sends to all processes of its foreground group."""

_PIPE_MODE = 0o666
"""Programs that gave up root open /dev/stdout by name; the pipe's own mode would refuse them."""

_PIPE_BYTES = 256 * 1024
"""Node writes without waiting, and `process.exit()` drops what the pipe did not take. More would
use up too much of the 64 MiB that Linux lets a user's pipes hold."""


class CannotStart(LogshipError):  # noqa: N818 - it names the thing, as its siblings do
    """The command cannot be started; `exit_code` is that of a shell for it."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Command:
    """The running command; `stdout` and `stderr` are the reading ends of its output."""

    def __init__(self, words: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            CannotStart: There is no such command, or it cannot be run.
        """
        self.name = Path(words[0]).name
        try:
            self.stdout, stdout = _pipe()
            self.stderr, stderr = _pipe()
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                list(words),
                stdout=stdout,
                stderr=stderr,
                env=environ,
                close_fds=False,  # those of `run` close at exec; the user's belong to the command
                process_group=0,
            )
        except (OSError, ValueError) as error:
            raise _cannot_start(words[0], environ, error) from error
        os.close(stdout)
        os.close(stderr)
        self.pid = self._process.pid
        self._process.returncode = 0  # only the reaper waits for it
        is_read = stat.S_ISFIFO(os.fstat(1).st_mode)  # by a program that may need the terminal
        self._has_terminal = not is_read and _lend_terminal(self.pid)

    def signal(self, signum: int, *, whole_group: bool) -> None:
        """Send it a signal. Call it before the reaping: another process may get its number.

        Raises:
            PermissionError: It belongs to another user, and we may not signal those.
        """
        with contextlib.suppress(ProcessLookupError):
            if whole_group or (signum in _OF_KEYS and _is_foreground_of_its_terminal()):
                os.killpg(self.pid, signum)
            else:
                os.kill(self.pid, signum)

    def take_terminal(self) -> bool:
        """Give the terminal to the command if `run` is its foreground now, as after `fg`.

        Returns:
            Whether the command got it now.
        """
        is_lent = _lend_terminal(self.pid)
        self._has_terminal |= is_lent
        return is_lent

    def stop_with_it(self) -> None:
        """If a Ctrl-Z has stopped the command, stop `run` too, until the shell continues it.

        Call it in the main thread, before the reaping. Without a shell the kernel stops no process
        of our group, and the command goes on at once. The kernel also stops a command that uses the
        terminal and does not have it. If `run` is in the background, the command has to wait for
        the shell's SIGCONT, which `run` passes on: without the terminal it would stop again.
        """
        if not (os.isatty(0) or _is_foreground_of_its_terminal()):
            return
        try:
            stopped = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
        except ChildProcessError:  # it has ended
            return
        if stopped is None or stopped.si_status not in _JOB_CONTROL:
            return
        uses_terminal = stopped.si_status != signal.SIGTSTP
        if uses_terminal and self.take_terminal():
            return
        self.leave_terminal()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        if not uses_terminal:
            self.take_terminal()
            self.signal(signal.SIGCONT, whole_group=True)

    def leave_terminal(self) -> None:
        """Make `run` the foreground again if the command is that."""
        if self._has_terminal:
            with contextlib.suppress(OSError):
                if os.tcgetpgrp(0) == self.pid:
                    os.tcsetpgrp(0, os.getpgrp())


def _is_foreground(terminal: int = 0) -> bool:
    """Return whether `run` is the foreground of a terminal; by default that of standard input."""
    with contextlib.suppress(OSError):
        return os.tcgetpgrp(terminal) == os.getpgrp()
    return False


def _is_foreground_of_its_terminal() -> bool:
    """Return whether `run` is that, also where standard input is a pipe."""
    with contextlib.suppress(OSError):  # it has no terminal, as in most containers
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
        try:
            return _is_foreground(terminal)
        finally:
            os.close(terminal)
    return False


def _lend_terminal(group: int) -> bool:
    """If `run` is the foreground of a terminal, make `group` that; return whether it is."""
    if not _is_foreground():
        return False
    with contextlib.suppress(OSError):
        # The kernel would stop a background process that takes the terminal back, and after
        # `stty tostop` also one that writes to it.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, group)
        os.killpg(group, signal.SIGCONT)  # it may have read too early, and been stopped
        return True
    return False


def _pipe() -> tuple[int, int]:
    read_descriptor, write_descriptor = os.pipe()
    os.set_blocking(read_descriptor, False)
    os.fchmod(write_descriptor, _PIPE_MODE)
    with contextlib.suppress(OSError):  # the user's pipes hold too much already
        fcntl.fcntl(write_descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read_descriptor, write_descriptor


def _cannot_start(word: str, environ: Mapping[str, str], error: Exception) -> CannotStart:
    if isinstance(error, ValueError):  # a zero byte: no such name can exist
        return CannotStart(f"cannot run {word!r}: {error}", NOT_FOUND)
    if not isinstance(error, FileNotFoundError):
        hint = ""
        if isinstance(error, OSError) and error.errno == errno.ENOEXEC:
            hint = "; a script needs a first line such as #!/bin/sh"
        text = error.strerror if isinstance(error, OSError) else str(error)
        return CannotStart(f"cannot run {word}: {text}{hint}", NOT_EXECUTABLE)
    if shutil.which(word, path=environ.get("PATH")) is not None:
        text = (
            f"cannot run {word}: its interpreter does not exist, which is that in the first line "
            "of a script, or the loader of a program that was built for another C library"
        )
        return CannotStart(text, NOT_FOUND)
    where = "there is no such file" if "/" in word else "it is not on PATH"
    return CannotStart(f"cannot run {word}: {where}", NOT_FOUND)
