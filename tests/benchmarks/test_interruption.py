"""A benchmark that is called off leaves no process behind."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.benchmarks.running import COMMAND, ENVIRON
from tests.support.waiting import wait_until


def processes_of(directory: Path) -> list[str]:
    """Return the command lines that name `directory`, of all that runs on this machine."""
    return [
        words
        for words in map(_command_line, Path("/proc").glob("[0-9]*"))
        if str(directory) in words
    ]


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""  # it ended while we looked


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_its_application_and_its_sidecar(
    tmp_path: Path, number: signal.Signals
) -> None:
    words = ["loss", "--shipper", "fluent-logger", "--seconds", "60"]
    benchmark = subprocess.Popen(
        [*COMMAND, *words],
        cwd=tmp_path,
        env=ENVIRON,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: any(tmp_path.rglob("ledger.txt")), "the application logs")
        assert len(processes_of(tmp_path)) == 2
        benchmark.send_signal(number)
        assert benchmark.wait(60) != 0
    finally:
        benchmark.kill()
        benchmark.wait()
    assert processes_of(tmp_path) == []
