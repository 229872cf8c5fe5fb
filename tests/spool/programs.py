"""Real processes with a spool: an application with a ledger, recoverers, and who judges them.

The ledger is written after `emit` returned, by code that imports nothing of logship; the sidecar's
output file is read as JSON lines. Whatever the ledger names must be in the output.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.commands import LOGSHIP
from tests.support.receiver_process import ReceiverProcess
from tests.support.waiting import wait_until

APPLICATION = """
import itertools, os, signal, sys, time
import logship
name, rate, ledger = sys.argv[1], int(sys.argv[2]), os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND)
client = logship.BackgroundClient(logship.Settings.from_env(os.environ))
if "fork" in sys.argv[4:]:
    if os.fork() == 0:
        client.emit({"message": name + "-child"}, "child")
        os.write(ledger, (name + "-child\\n").encode())
        signal.alarm(600)  # it lives on without its parent until the test kills it
        signal.pause()
begun = time.monotonic()
for number in itertools.count():
    marker = name + "-" + str(number)
    if client.emit({"message": marker, "pad": "x" * 400}, "tag" + str(number % 2)):
        os.write(ledger, (marker + "\\n").encode())
    if number % 30 == 0:
        time.sleep(max(0.0, begun + number / rate - time.monotonic()))
"""

NOWHERE = "tcp://127.0.0.1:1"
"""An endpoint without a server."""


def kill(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait()


@dataclass
class Spools:
    """One spool's directory, its applications and recoverers, and a sidecar.

    Attributes:
        directory: Of everything.
        receiver: The sidecar.
    """

    directory: Path
    receiver: ReceiverProcess
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _names: int = 0

    def __post_init__(self) -> None:
        self.spool.mkdir(exist_ok=True)
        self.ledger_path.touch()

    @property
    def spool(self) -> Path:
        return self.directory / "spool"

    @property
    def ledger_path(self) -> Path:
        return self.directory / "ledger"

    @property
    def ledger(self) -> set[str]:
        """Markers whose `emit` returned True; a torn last line is no claim."""
        return set(self.ledger_path.read_text().split("\n")[:-1])

    @property
    def delivered(self) -> list[str]:
        """Markers in the sidecar's output."""
        lines = (each["record"] for each in self.receiver.records())
        return [each["message"] for each in lines if not each["message"].startswith("logship: ")]

    def missing(self) -> list[str]:
        """Return what the ledger names and the output does not have."""
        return sorted(self.ledger - set(self.delivered))

    def environ(self, endpoint: str | None = None, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "LOGSHIP_ENDPOINTS": endpoint or self.receiver.endpoint,
            "LOGSHIP_BACKOFF_SECONDS_BASE": "0.01",
            "LOGSHIP_BACKOFF_SECONDS_MAX": "0.05",
            **more,
        }

    def start_application(
        self, rate: int, *words: str, endpoint: str | None = None, spool: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start an application that logs `rate` records a second until it is killed."""
        self._names += 1
        command = [sys.executable, "-c", APPLICATION, f"m{self._names}", str(rate)]
        return self._start(
            [*command, str(self.ledger_path), *words],
            self.environ(endpoint, LOGSHIP_SPOOL_DIR=str(spool or self.spool)),
        )

    def start_recoverer(
        self, *words: str, stdout: int = subprocess.PIPE, **more: str
    ) -> subprocess.Popen[bytes]:
        command = [*LOGSHIP, "recover", "--spool", str(self.spool), *words]
        return self._start(command, self.environ(**more), stdout=stdout)

    def recover(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run `logship recover` to its end; return its exit code and report."""
        process = self.start_recoverer(*words)
        out, _ = process.communicate(timeout=120)
        return process.returncode, json.loads(out.splitlines()[-1])

    def wait_for_ledger(self, records: int) -> None:
        wait_until(
            lambda: self.ledger_path.read_bytes().count(b"\n") >= records,
            f"{records} records in the ledger",
            60,
        )

    def _start(
        self, command: list[str], environ: dict[str, str], stdout: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        with (self.directory / "stderr").open("ab") as stderr:
            process = subprocess.Popen(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    @property
    def stderr(self) -> str:
        return (self.directory / "stderr").read_text()

    def end_all(self) -> None:
        """End what is left, forked children too."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@contextlib.contextmanager
def spools_in(directory: Path) -> Iterator[Spools]:
    """Return everything, with a sidecar that runs."""
    with ReceiverProcess.start(directory / "out") as receiver:
        spools = Spools(directory, receiver)
        try:
            yield spools
        finally:
            spools.end_all()
