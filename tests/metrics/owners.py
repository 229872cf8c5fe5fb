"""Owners of pages: forked children that only hold a page, with numbers that the test knows."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from logship._metrics.pages import Pages
from logship._metrics.sums import slot, zeros

ACCEPTED, WAITING = slot("records_accepted_total"), slot("records_waiting")
DRAINED = slot("processes_ended_total", "drained")
KILLED = slot("processes_ended_total", "killed")
KEY = "0123456789abcdef"


class Owners:
    """Processes that hold a page each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pids: list[int] = []

    def start(self, accepted: float, *, is_done: bool = True, waiting: float = 0.0) -> int:
        """Start one that says so much; return its pid when its page is written."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                numbers = zeros()
                numbers[ACCEPTED], numbers[WAITING] = accepted, waiting
                Pages(self._directory, KEY).write(numbers, is_done=is_done)
                os.write(write, b"!")
                signal.pause()
            finally:
                os._exit(1)
        os.close(write)
        assert os.read(read, 1) == b"!"
        os.close(read)
        self._pids.append(pid)
        return pid

    def kill(self, pid: int) -> None:
        """End one with SIGKILL."""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._pids.remove(pid)

    def kill_all(self) -> None:
        """End all."""
        for pid in list(self._pids):
            self.kill(pid)


def accepted_in(directory: Path) -> float:
    return Pages(directory, KEY).total().numbers[ACCEPTED]


def names(directory: Path, start: str) -> list[str]:
    return sorted(each.name for each in directory.iterdir() if each.name.startswith(start))
