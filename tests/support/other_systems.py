"""Windows and macOS, as far as a program sees them: Linux without the names that these lack.

`python -m tests.support.other_systems win32 PROGRAM.py` runs a program so, and with `logship …` in
the place of PROGRAM.py the command. What `NAMES` lists is taken from typeshed, which mypy uses for
`--platform`; `tests/process/test_other_systems.py` compares it.

The standard library is imported first, as the system that this really is. So `os.name` stays, and
an event loop is still Linux's, without what the other system's loop refuses. Numbers of signals
stay too.
"""

from __future__ import annotations

import asyncio
import asyncio.selector_events
import enum
import errno
import importlib
import os
import platform
import runpy
import select
import selectors
import signal
import socket
import stat
import sys
from collections.abc import Iterable
from typing import Any

IMPORTED_BEFORE = (
    "asyncio.unix_events click ctypes multiprocessing.util pathlib shutil ssl subprocess tempfile "
    "urllib.request"
)
"""Modules that look at the system when they are imported."""

MODULES = {"win32": "fcntl grp pty pwd resource syslog termios tty", "darwin": ""}
"""Modules that cannot be imported there."""

NAMES = {
    "win32": {
        "os": "O_ACCMODE O_CLOEXEC O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC "
        "O_TMPFILE P_ALL P_PID P_PIDFD SEEK_DATA SEEK_HOLE WEXITED WEXITSTATUS WIFEXITED "
        "WIFSIGNALED WNOHANG WNOWAIT WSTOPPED WTERMSIG chown copy_file_range ctermid eventfd "
        "fchdir fchmod fchown fdatasync fork forkpty fstatvfs get_blocking getegid geteuid getgid "
        "getloadavg getpgid getpgrp getpriority getrandom getsid getuid killpg lchown lockf major "
        "memfd_create minor mkfifo mknod nice openpty pidfd_open pipe2 posix_fadvise "
        "posix_fallocate posix_spawn pread preadv pwrite pwritev readv register_at_fork "
        "sched_getaffinity sched_yield sendfile set_blocking setpgid setsid setuid splice statvfs "
        "sync sysconf tcgetpgrp tcsetpgrp ttyname uname wait wait3 wait4 waitid writev",
        "signal": "ITIMER_PROF ITIMER_REAL ITIMER_VIRTUAL SIG_BLOCK SIG_SETMASK SIG_UNBLOCK "
        "SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT SIGHUP SIGIO SIGIOT SIGKILL SIGPIPE SIGPOLL SIGPROF "
        "SIGPWR SIGQUIT SIGRTMAX SIGRTMIN SIGSTKFLT SIGSTOP SIGSYS SIGTRAP SIGTSTP SIGTTIN SIGTTOU "
        "SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ alarm getitimer pause "
        "pidfd_send_signal pthread_kill pthread_sigmask setitimer siginterrupt sigpending "
        "sigtimedwait sigwait sigwaitinfo",
        "socket": "AF_NETLINK AF_UNIX AF_VSOCK MSG_DONTWAIT MSG_NOSIGNAL SCM_RIGHTS SOCK_CLOEXEC "
        "SOCK_NONBLOCK SO_PEERCRED SO_REUSEPORT TCP_CORK TCP_INFO TCP_USER_TIMEOUT recv_fds "
        "send_fds",
        "select": "EPOLLET EPOLLIN EPOLLOUT EPOLL_CLOEXEC PIPE_BUF POLLERR POLLHUP POLLIN POLLNVAL "
        "POLLOUT epoll poll",
        "mmap": "MADV_DONTFORK MADV_DONTNEED MADV_WILLNEED MAP_ANON MAP_ANONYMOUS MAP_POPULATE "
        "MAP_PRIVATE MAP_SHARED PROT_READ PROT_WRITE",
        "time": "CLOCK_BOOTTIME CLOCK_MONOTONIC CLOCK_REALTIME clock_gettime clock_gettime_ns "
        "tzset",
    },
    "darwin": {
        "os": "O_PATH O_TMPFILE P_PIDFD copy_file_range eventfd fdatasync getrandom memfd_create "
        "pidfd_open pipe2 posix_fadvise posix_fallocate sched_getaffinity splice waitid",
        "signal": "SIGCLD SIGPOLL SIGPWR SIGRTMAX SIGRTMIN SIGSTKFLT pidfd_send_signal "
        "sigtimedwait sigwaitinfo",
        "socket": "AF_NETLINK AF_VSOCK MSG_MORE SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED "
        "TCP_INFO TCP_USER_TIMEOUT",
        "select": "EPOLLET EPOLLIN EPOLLOUT EPOLL_CLOEXEC epoll",
        "mmap": "MADV_DONTFORK MAP_POPULATE",
        "time": "CLOCK_BOOTTIME",
        "fcntl": "F_GETPIPE_SZ F_SETPIPE_SZ",
    },
}
"""Names of modules that this Linux has and the oldest supported Python there has not."""

WINDOWS_SIGNALS = ("SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM")
O_BINARY = 0x8000
SIGBREAK = 21
"""Ctrl-Break, on Windows. Linux has another signal of this number."""

_LINUX_MADVISE = (18, 23)
"""MADV_WIPEONFORK and MADV_POPULATE_WRITE."""


def become(system: str) -> None:
    """Let this process see the system `win32` or `darwin` from now on."""
    for name in IMPORTED_BEFORE.split():
        importlib.import_module(name)
    platform.uname()  # which it remembers
    _replace_signals(system)
    for name, missing in NAMES[system].items():
        module = importlib.import_module(name)
        for each in missing.split():
            if hasattr(module, each):
                delattr(module, each)
    for name in MODULES[system].split():
        sys.modules[name] = None  # type: ignore[assignment]
    every_loop: Any = selectors
    every_loop.DefaultSelector = selectors.SelectSelector
    _hide_files_of_linux()
    (_become_windows if system == "win32" else _become_macos)()
    sys.platform = system


def _replace_signals(system: str) -> None:
    """Have the module know the signals of this system alone."""
    missing = NAMES[system]["signal"].split()
    known = {each.name: each.value for each in signal.Signals if each.name not in missing}
    if system == "win32":
        known = {name: known[name] for name in WINDOWS_SIGNALS}
        known.update(SIGBREAK=SIGBREAK, CTRL_C_EVENT=0, CTRL_BREAK_EVENT=1)
    signals: Any = enum.IntEnum("Signals", known)  # type: ignore[misc]
    for each in signals:
        setattr(signal, each.name, each)
    valid = {each for each in signals if each.name.startswith("SIG")}
    set_handler, get_handler = signal.signal, signal.getsignal

    def checked_signal(signum: int, handler: Any) -> Any:
        if signum not in valid:
            raise ValueError("invalid signal value" if system == "win32" else "out of range")
        return set_handler(signum, handler)

    module: Any = signal
    module.Signals, module.NSIG = signals, 23 if system == "win32" else 32
    module.valid_signals = lambda: set(valid)
    module.signal = checked_signal
    module.getsignal = lambda signum: get_handler(signum) if signum in valid else None


def _hide_files_of_linux() -> None:
    """Hide /proc and /sys."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir"):
            _refuse(arguments[0])

    read_link = os.readlink

    def readlink(path: Any, **options: Any) -> Any:
        _refuse(path)
        return read_link(path, **options)

    sys.addaudithook(refuse)
    module: Any = os
    module.readlink = readlink


def _refuse(path: Any) -> None:
    if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(("/proc", "/sys")):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def _become_windows() -> None:
    loop: Any = asyncio.SelectorEventLoop
    for name in ("add_signal_handler", "remove_signal_handler", "create_unix_connection"):
        delattr(loop, name)  # that of the base class raises NotImplementedError
    asyncio.selector_events._HAS_SENDMSG = False  # type: ignore[attr-defined]
    for name in ("sendmsg", "recvmsg", "recvmsg_into", "sendmsg_afalg"):
        setattr(socket.socket, name, _Missing())
    module: Any = socket
    module.socketpair = _socketpair
    _check_open()
    _refuse_to_select_files()


class _Missing:
    """An attribute that is not there."""

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError("this system has no such method")


def _socketpair(*_: Any) -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        return one, server.accept()[0]


def _check_open() -> None:
    """Refuse files that Windows would open as text, with another end of lines."""
    open_file = os.open

    def checked(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        is_ours = sys._getframe(1).f_globals.get("__name__", "").startswith("logship.")
        assert not is_ours or flags & O_BINARY, f"{path} is opened without O_BINARY"
        assert not options, "Windows knows no dir_fd"
        return open_file(path, flags & ~O_BINARY, mode)

    module: Any = os
    module.open, module.O_BINARY = checked, O_BINARY


def _refuse_to_select_files() -> None:
    """Have `select.select` know nothing but sockets."""
    wait = select.select

    def checked(*sets: Any) -> Any:
        _check_sockets([each for some in sets[:3] for each in some])
        return wait(*sets)

    module: Any = select
    module.select = checked


def _check_sockets(files: Iterable[Any]) -> None:
    for each in files:
        descriptor = each if isinstance(each, int) else each.fileno()
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise OSError(10038, "An operation was attempted on something that is not a socket")


def _become_macos() -> None:
    import mmap

    class Mapping(mmap.mmap):
        def madvise(self, option: int, *where: int) -> None:
            if option in _LINUX_MADVISE:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            super().madvise(option, *where)

    module: Any = mmap
    module.mmap = Mapping


def _run(system: str, words: list[str]) -> None:
    become(system)
    sys.argv[:] = words
    if words[0] == "logship":
        runpy.run_module("logship", run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    _run(sys.argv[1], sys.argv[2:])
