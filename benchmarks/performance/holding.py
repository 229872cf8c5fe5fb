"""A process that holds records (`programs.hold`), told what to do and watched from outside."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.performance.job import Job
from benchmarks.processes import start_program
from benchmarks.sidecars import Address

PROGRAM = "benchmarks.performance.programs.hold"
BOUND_BYTES = 64 << 20
"""The buffer, where a measure fills it."""
ANSWER_SECONDS_MAX = 180.0
LOOK_SECONDS = 0.05
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
        process = start_program(
            PROGRAM,
            *(subject, *address, spool, bound_bytes),
            stdin=subprocess.PIPE,
            stderr=stderr,
        )
    try:
        yield Holder(process, job.stderr)
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def watching(holder: Holder) -> Iterator[list[int]]:
    """Give what is seen of a process's memory until the block has ended."""
    seen: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            seen.append(holder.rss_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
        seen.append(holder.rss_bytes())
    finally:
        over.set()
        thread.join()
