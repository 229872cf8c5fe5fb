"""Becomes a program in which a call into the system fails: `injection.py FAULT NOTES TARGET ...`.

FAULT is `CALL:ERROR:OCCURRENCE`, such as `write:ENOSPC:2`; with a `+` behind it all later calls
fail too. It may be `count`: then nothing fails, and each call is noted. TARGET is `logship` with
its arguments, or a Python file. Each process counts for itself, and a forked one goes on with its
parent's count.

The functions are replaced in Python, before logship is imported. That reaches what logship and the
standard library's Python code call. It does not reach imports, name resolution, OpenSSL, the
allocator, what C code calls by itself, or stores into a mapping: where a page of one cannot be had,
the kernel sends SIGBUS. EINTR is an `InterruptedError` here, which CPython shows only where it does
not repeat the call by itself.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import fcntl
import functools
import io
import mmap
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from tests.support.targets import become

SHORT = "short"
_ONLY_OURS = ("stat", "listdir", "dup")
"""The standard library makes these all the time; they fail only where logship makes them."""

_LEDGER = "application"
"""The module that writes the ledger: its calls never fail."""

_PROBE = "_get_default_tempdir"
"""The function of `tempfile` that writes a file to try a directory: what it cannot remove would
stay in each directory that it tries."""

_ONLY_NETWORK = (socket.AF_INET, socket.AF_INET6)
"""A loop wakes itself through a socket of another family."""

_write = os.write


class Fault:
    """The one call that fails.

    Args:
        text: `CALL:ERROR:OCCURRENCE`, or `count`.
        notes: The file for a line on each call that was counted, or on the one that failed.
    """

    def __init__(self, text: str, notes: str) -> None:
        self.call, self.error, occurrence = (text + "::0").split(":")[:3]
        self._occurrence = int(occurrence.removesuffix("+"))
        self._lasts = occurrence.endswith("+")
        self._seen = 0
        self._notes = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def strikes(self, call: str) -> bool:
        """Count a call, and tell whether it is the one that fails."""
        caller = sys._getframe(2)
        if _name_of(caller) == _LEDGER or caller.f_code.co_name == _PROBE:
            return False
        if call in _ONLY_OURS and not _name_of(caller).startswith("logship"):
            return False
        if self.call == "count":
            self._note(call)
        if call != self.call:
            return False
        self._seen += 1
        if self._seen == self._occurrence:
            self._note(call)
            return True
        return self._lasts and self._seen > self._occurrence

    def exception(self) -> OSError:
        number = getattr(errno, self.error)
        return OSError(number, os.strerror(number))

    def _note(self, call: str) -> None:
        frame = sys._getframe(3)
        while not _name_of(frame).startswith("logship") and frame.f_back is not None:
            frame = frame.f_back
        _write(self._notes, f"{call} {_name_of(frame)}:{frame.f_lineno}\n".encode())


def _name_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


Shorten = Callable[..., Any]


def failing(fault: Fault, call: str, function: Any, shorten: Shorten | None = None) -> Any:
    """Return `function` so that it fails, or does less, when the fault strikes."""

    @functools.wraps(function)
    def replacement(*args: Any, **named: Any) -> Any:
        if not fault.strikes(call):
            return function(*args, **named)
        if fault.error == SHORT and shorten is not None:
            return shorten(function, *args, **named)
        raise fault.exception()

    return replacement


def replace_all(fault: Fault) -> None:
    for call, holder, name, shorten in (
        ("open", os, "open", None),
        ("write", os, "write", _write_less),
        ("write", os, "writev", _writev_less),
        ("fallocate", os, "posix_fallocate", None),
        ("fallocate", os, "ftruncate", None),
        ("rename", os, "rename", None),
        ("rename", os, "replace", None),
        ("fsync", os, "fsync", None),
        ("fsync", os, "fdatasync", None),
        ("flock", fcntl, "flock", None),
        ("flock", fcntl, "lockf", None),
        ("read", os, "read", _read_less),
        ("read", os, "pread", _read_less),
        ("mkdir", os, "mkdir", None),
        ("unlink", os, "unlink", None),
        ("pipe", os, "pipe", None),
        ("pipe", socket, "socketpair", None),
        ("fork", subprocess, "_fork_exec", None),
        ("pwrite", os, "pwrite", _pwrite_less),
        ("stat", os, "stat", None),
        ("stat", os, "lstat", None),
        ("rmdir", os, "rmdir", None),
        ("listdir", os, "listdir", None),
        ("listdir", os, "scandir", None),
        ("statvfs", os, "fstatvfs", None),
        ("seek", os, "lseek", None),
        ("dup", os, "dup", None),
        ("dup", os, "dup2", None),
    ):
        setattr(holder, name, failing(fault, call, getattr(holder, name), shorten))
    _replace_methods(fault)
    _replace_open(fault)
    _replace_mmap(fault)
    _replace_thread_start(fault)
    _replace_fork(fault)


def _write_less(write: Any, descriptor: int, data: Any) -> Any:
    return write(descriptor, _half(data))


def _writev_less(writev: Any, descriptor: int, parts: Any) -> Any:
    return writev(descriptor, [_half(parts[0])])


def _pwrite_less(pwrite: Any, descriptor: int, data: Any, place: int) -> Any:
    return pwrite(descriptor, _half(data), place)


def _read_less(read: Any, descriptor: int, count: int, *place: int) -> Any:
    return read(descriptor, min(count, 1), *place)


def _half(data: Any) -> memoryview:
    view = memoryview(data).cast("B")
    return view[: max(1, len(view) // 2)]


def _replace_methods(fault: Fault) -> None:
    """Replace methods of sockets, for connections of the network alone."""
    for call, name, shorten in (
        ("connect", "connect", None),
        ("connect", "connect_ex", None),
        ("accept", "accept", None),
        ("send", "send", lambda send, self, data, *more: send(self, _half(data), *more)),
        ("send", "sendmsg", lambda send, self, parts: send(self, [_half(next(iter(parts)))])),
        ("recv", "recv", lambda recv, self, count, *more: recv(self, min(count, 1), *more)),
        ("recv", "recv_into", lambda recv, self, into: recv(self, into, 1)),
    ):
        method = getattr(socket.socket, name)
        setattr(socket.socket, name, _on_the_network(fault, call, method, shorten))


def _on_the_network(fault: Fault, call: str, method: Any, shorten: Shorten | None) -> Any:
    replaced = failing(fault, call, method, shorten)

    @functools.wraps(method)
    def replacement(self: socket.socket, *args: Any, **named: Any) -> Any:
        chosen = replaced if self.family in _ONLY_NETWORK else method
        return chosen(self, *args, **named)

    return replacement


def _replace_open(fault: Fault) -> None:
    """Replace the builtin, which opens no file where it is given a descriptor."""
    original = builtins.open

    @functools.wraps(original)
    def replacement(file: Any, *args: Any, **named: Any) -> Any:
        if not isinstance(file, int) and fault.strikes("open"):
            raise fault.exception()
        return original(file, *args, **named)

    builtins.open = io.open = replacement


def _replace_mmap(fault: Fault) -> None:
    class Mapping(mmap.mmap):
        def __new__(cls, *args: Any, **named: Any) -> Any:
            if fault.strikes("mmap"):
                raise fault.exception()
            return super().__new__(cls, *args, **named)

    mmap.mmap = Mapping  # type: ignore[misc]


def _replace_thread_start(fault: Fault) -> None:
    """Replace what `Thread.start` calls; CPython tells of any error there in the same words."""
    name = "_start_joinable_thread"
    if not hasattr(threading, name):  # before 3.13
        name = "_start_new_thread"
    original = getattr(threading, name)

    @functools.wraps(original)
    def replacement(*args: Any, **named: Any) -> Any:
        if fault.strikes("thread"):
            raise RuntimeError("can't start new thread")
        return original(*args, **named)

    setattr(threading, name, replacement)


def _replace_fork(fault: Fault) -> None:
    """Replace fork(2) by one that fails where the kernel's does: between CPython's hooks."""
    original = os.fork

    @functools.wraps(original)
    def replacement() -> int:
        if not fault.strikes("fork"):
            return original()
        ctypes.pythonapi.PyOS_BeforeFork()
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        raise fault.exception()

    os.fork = replacement


def main() -> None:
    _, fault, notes, *target = sys.argv
    replace_all(Fault(fault, notes))
    become(target)


if __name__ == "__main__":
    main()
