"""A standard error that is a socket, as under systemd's journal or Node's child_process.

A test here would hang, not fail, if a write could block: pytest's timeout is the judge.
"""

from __future__ import annotations

import errno
import os
import select
import socket

import pytest

from logship._stderr.last_resort import LastResort
from tests.unit.test_lastresort import LINE, Ready


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
    def fail(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    ours, theirs = socket.socketpair()
    with ours, theirs:
        monkeypatch.setattr(os, "dup", fail)
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
