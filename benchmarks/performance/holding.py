"""A process that holds records (`programs.hold`), told what to do and watched from outside."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.performance.job import Job
from benchmarks.processes import REPOSITORY, clean_environ, command_line
from benchmarks.sidecars import Address

PROGRAM = "benchmarks.performance.programs.hold"
BOUND_BYTES = 64 << 20
"""The buffer, where a measure fills it."""
ANSWER_SECONDS_MAX = 180.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Holder:
    """The process: `tell` it something and get its answer."""

    def __init__(self, process: subprocess.Popen[str], stderr: Path) -> None:
        self._process = process
        self._stderr = stderr

    def tell(self, task: str, *arguments: object) -> dict[str, Any]:
        """Send it a command; return its answer when the command is done.

        Raises:
            BenchmarkError: It ended, or took far too long and was ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(ANSWER_SECONDS_MAX, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(" ".join([task, *map(str, arguments)]) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            raise BenchmarkError(f"the measured program ended during {task}; see {self._stderr}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def rss_bytes(self) -> int:
        """Return its resident set at this moment; 0 when it is gone."""
        try:
            fields = Path(f"/proc/{self._process.pid}/statm").read_text().split()
        except (OSError, IndexError):
            return 0
        return int(fields[1]) * PAGE_BYTES if len(fields) > 1 else 0


@contextlib.contextmanager
def holding(
    job: Job, subject: str, address: Address, bound_bytes: int = BOUND_BYTES
) -> Iterator[Holder]:
    """Give such a process, connected to this address once it has something to send."""
    spool = job.new_place() if subject == "logship-spool" else ""
    with job.stderr.open("a") as stderr:
        process = subprocess.Popen(
            command_line(PROGRAM, subject, *address, spool, bound_bytes),
            cwd=REPOSITORY,
            env=clean_environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        yield Holder(process, job.stderr)
    finally:
        process.kill()
        process.communicate()


class Watch:
    """Looks at a process's memory from a thread, until it is told that it is over."""

    LOOK_SECONDS = 0.05

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._begun = time.monotonic()
        self.points: list[tuple[float, float]] = []
        self.marks: list[tuple[float, str]] = []

    def mark(self, name: str) -> None:
        """Note that something begins now."""
        self.marks.append((time.monotonic() - self._begun, name))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self.LOOK_SECONDS):
            if size := self._holder.rss_bytes():
                self.points.append((round(time.monotonic() - self._begun, 3), size))
