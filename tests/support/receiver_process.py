"""A real `logship receive` process for tests of everything that ships records."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.commands import LOGSHIP
from tests.support.servers import json_objects
from tests.support.waiting import wait_until

RECEIVE = [*LOGSHIP, "receive"]
"""The command `logship receive`, of the Python that runs the tests."""

_READY = re.compile(r"^logship receive: listening on (\S+)$", re.MULTILINE)


class ReceiverProcess:
    """`logship receive`, running and ready; a context manager that kills what is left of it.

    Make one with `start`. Its output file and what it says on stderr survive `restart`.

    Attributes:
        endpoint: where it listens, as `LOGSHIP_ENDPOINTS` has it: `tcp://127.0.0.1:PORT`,
            `tls://127.0.0.1:PORT` or `unix:///PATH`.
        out: the output file.
        process: the running or ended process.
    """

    process: subprocess.Popen[bytes]

    def __init__(self, out: Path, bind: str, stderr: Path | None, command: Sequence[str]) -> None:
        self.out = out
        self._command = command
        self._stderr_path = stderr or out.with_name(f"{out.name}.stderr")
        self._stderr_path.write_text("")
        self.endpoint = self._start(bind)

    @classmethod
    def start(
        cls,
        out: Path,
        bind: str = "127.0.0.1:0",
        *,
        options: Sequence[str] = (),
        stderr: Path | None = None,
        command: Sequence[str] = RECEIVE,
    ) -> Self:
        """Start a receiver that appends to `out`, and return when it listens.

        Args:
            out: its output file.
            bind: where it listens; port 0 is any free one.
            options: more options of the command.
            stderr: the file for what it says; beside `out` where none is given.
            command: what to run, before the options.
        """
        return cls(out, bind, stderr, [*command, *options])

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return int(self.endpoint.rpartition(":")[2])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """End it with SIGTERM; return its exit code when it has ended."""
        self.process.terminate()
        return self.process.wait(20.0)

    def restart(self) -> None:
        """Start it again where it listened before; it must have ended."""
        assert self.process.poll() is not None, "end it before starting it again"
        self._start(self.endpoint.replace("tls://", "tcp://"))

    def begin_anew(self) -> None:
        """Forget what came so far, once all of it has come; start it where it has ended."""
        wait_until(lambda: not self._is_connected(), "all connections have ended")
        for written in (self.out, self._stderr_path):
            os.truncate(written, 0)
        if self.process.poll() is not None:
            self.restart()

    def _is_connected(self) -> bool:
        """Tell whether a connection to its port is open, or not yet read to its end."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        port, established, close_wait = f":{self.port:04X}", "01", "08"
        return any(row[1].endswith(port) and row[3] in (established, close_wait) for row in rows)

    def stderr(self) -> str:
        """Return all that it said so far, of earlier runs too."""
        return self._stderr_path.read_text()

    def records(self) -> list[dict[str, Any]]:
        """Return all whole lines written so far, decoded: `tag`, `time_ns`, `record`.

        A torn line, such as a kill in the middle of a write leaves, is left out.
        """
        return list(json_objects(self.out))

    def wait_for_records(self, count: int, seconds: float = 20.0) -> list[dict[str, Any]]:
        """Return the lines when there are at least `count`."""
        wait_until(lambda: self.out.read_bytes().count(b"\n") >= count, f"{count} records", seconds)
        return self.records()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _start(self, bind: str) -> str:
        said_before = len(self.stderr())
        with self._stderr_path.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*self._command, "--bind", bind, "--out", str(self.out)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        return self._wait_until_ready(said_before)

    def _wait_until_ready(self, said_before: int) -> str:
        def said_ready_or_ended() -> bool:
            ready = _READY.search(self.stderr(), said_before) is not None
            return ready or self.process.poll() is not None

        wait_until(said_ready_or_ended, "the receiver listens")
        ready = _READY.search(self.stderr(), said_before)
        assert ready, f"the receiver ended instead of listening: {self.stderr()[said_before:]}"
        return ready[1]
