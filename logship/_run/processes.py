"""The processes below `run`, as /proc shows them, and the one place where they are reaped.

PID 1 inherits every orphan. If it reaped only its own child, the process table would fill. Two
reapers would take each other's statuses. If `run` is not PID 1, it asks the kernel for the orphans
all the same (`PR_SET_CHILD_SUBREAPER`, prctl(2)), so it can wait for the command's daemons in both
cases.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection, Container, Iterator
from pathlib import Path

from logship._run.statuses import Death

_PROC = Path("/proc")
_PR_SET_CHILD_SUBREAPER = 36
_KILL_PASSES = 3


def become_subreaper() -> None:
    """Make orphans children of this process. For PID 1 they always are."""
    if os.getpid() == 1:
        return
    with contextlib.suppress(ImportError, OSError, AttributeError):  # a Python without ctypes
        import ctypes  # noqa: PLC0415 - megabytes that PID 1 need not pay for

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap() -> Iterator[Death]:
    """Reap every ended child, and return how it ended; never waits."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        name = name_of(ended.si_pid)  # a zombie still has a name
        _, status = os.waitpid(ended.si_pid, 0)
        yield Death(ended.si_pid, name, os.waitstatus_to_exitcode(status))


def name_of(pid: int) -> str:
    """Return the name of a process, or a question mark."""
    try:
        name = (_PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"
    return "".join(character if character.isprintable() else "?" for character in name)


def descendants(pid: int, spared: Container[int] = ()) -> Iterator[int]:
    """Yield the numbers of all processes below `pid`, parents before their children.

    Args:
        pid: The number of their ancestor.
        spared: Processes that are left out, with those below them.
    """
    parents = [pid]
    while parents:
        for child in children(parents.pop()):
            if child not in spared:
                yield child
                parents.append(child)


def kill_all(spared: Collection[int] = ()) -> None:
    """Kill every process below this one, but these and those below them."""
    if os.getpid() == 1 and not spared:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        return
    for _ in range(_KILL_PASSES):  # one that forks meanwhile may be missed
        for pid in list(descendants(os.getpid(), spared)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def holders_of(files: set[str]) -> dict[str, int]:
    """Return, for each of these files that is open below this process, a process that has it open.

    One pass through the processes finds all: a server may have hundreds of them.
    """
    holders: dict[str, int] = {}
    for pid in descendants(os.getpid()):
        if holders.keys() == files:
            break
        for file in files & open_files(pid):
            holders.setdefault(file, pid)
    return holders


def open_files(pid: int) -> set[str]:
    """Return the names of the files that a process has open, as far as /proc shows them."""
    found = set()
    with contextlib.suppress(OSError):
        for link in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(link.readlink()))
    return found


def exit_code_of_zombie(pid: int) -> int | None:
    """Return how a process ended that is not reaped yet (proc(5), field 52 of stat).

    The kernel shows a 0 to processes without the permission, so a 0 says nothing.
    """
    with contextlib.suppress(OSError, ValueError):
        # Behind the name, which is in parentheses and may hold anything.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z":
            return os.waitstatus_to_exitcode(int(fields[49])) or None
    return None


def children(pid: int) -> list[int]:
    """Return the numbers of the children of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found
