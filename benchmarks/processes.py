"""Runs a measured program as a process of its own and reads the document that it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.conditions import clean_environ
from benchmarks.errors import BenchmarkError

REPOSITORY = Path(__file__).parents[1]
PROGRAM_SECONDS_MAX = 300.0


def command_line(module: str, *arguments: object, python: str = sys.executable) -> list[str]:
    """Return how a module of the benchmarks is run as a program, in the repository's root."""
    return [python, "-m", module, *map(str, arguments)]


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
    with stderr.open("ab") as said:
        try:
            done = subprocess.run(
                command_line(module, *arguments, python=python),
                cwd=REPOSITORY,
                env=clean_environ() | dict(environ or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                timeout=seconds_max,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(
                f"{module} has not ended after {seconds_max:g} s; see {stderr}"
            ) from error
    if done.returncode:
        raise BenchmarkError(f"{module} ended with {done.returncode}; see {stderr}")
    return json.loads(done.stdout)
