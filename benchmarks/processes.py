"""Starts other programs: commands that come to an end, and the measured programs among them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError

REPOSITORY = Path(__file__).parents[1]
PROGRAM_SECONDS_MAX = 300.0


def clean_environ() -> dict[str, str]:
    """Return our environment, cleared of what would make a run depend on this machine."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LOGSHIP_", "FLUENT_", "ECS_", "KUBERNETES_"))
    }


def command_line(module: str, *arguments: object, python: str = sys.executable) -> list[str]:
    """Return how a module is run as a program, in the repository's root."""
    return [python, "-m", module, *map(str, arguments)]


def start_program(module: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a module as a program, whose stdout is read; `options` are those of `Popen`."""
    usual: dict[str, Any] = {
        "cwd": REPOSITORY,
        "env": clean_environ(),
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "text": True,
    }
    return subprocess.Popen(command_line(module, *arguments), **(usual | options))


def kill_children() -> None:
    """SIGKILL every child that still runs, with its process group if it leads one.

    An interruption inside `Popen` leaves a process that no object knows. The kernel knows it.
    """
    children: list[str] = []
    for each in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread ended meanwhile
            children += each.read_text().split()
    for child in map(int, children):
        with contextlib.suppress(OSError):  # the child did
            leads = os.getpgid(child) == child
            (os.killpg if leads else os.kill)(child, signal.SIGKILL)


def run_to_end(
    command: Sequence[str], seconds_max: float, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository's root until it ends.

    Args:
        command: The words.
        seconds_max: When it is ended.
        options: Of `subprocess.run`, in the place of what is said here.

    Raises:
        BenchmarkError: It did not end.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    usual: dict[str, Any] = {"cwd": REPOSITORY, **pipes}
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=seconds_max,
            check=False,
            **(usual | options),
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{' '.join(command)}: no end after {seconds_max:g} s") from error


def run_program(
    module: str,
    *arguments: object,
    stderr: Path,
    python: str = sys.executable,
    environ: Mapping[str, str] | None = None,
    seconds_max: float = PROGRAM_SECONDS_MAX,
) -> Any:
    """Run a module of the benchmarks and return the JSON document on its stdout.

    Args:
        module: Its dotted name.
        arguments: Of its command line.
        stderr: Takes what it says.
        python: The interpreter, where it is not ours.
        environ: Variables beside our own, which are cleared of what is said about a shipper.
        seconds_max: When it is ended.

    Raises:
        BenchmarkError: It failed, or did not end.
    """
    environ = clean_environ() | dict(environ or {})
    command = command_line(module, *arguments, python=python)
    with stderr.open("ab") as said:
        done = run_to_end(command, seconds_max, env=environ, stderr=said)
    if done.returncode:
        raise BenchmarkError(f"{module} ended with {done.returncode}; see {stderr}")
    return json.loads(done.stdout)
