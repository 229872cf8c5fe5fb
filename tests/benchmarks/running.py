"""Runs commands of `python -m benchmarks` in a directory of their own, as a person would."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from benchmarks.__main__ import main

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "benchmarks"]
ENVIRON = os.environ | {"PYTHONPATH": str(REPOSITORY)}


def benchmarks(
    directory: Path, command: str, *words: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, since imports take longer than most commands."""
    settings = {"PYTHONPATH": str(REPOSITORY), **environ}
    with contextlib.chdir(directory):
        ended = CliRunner().invoke(main.commands[command], words, env=settings)
    assert isinstance(ended.exception, SystemExit | None), ended.exception
    return subprocess.CompletedProcess(words, ended.exit_code, ended.stdout, ended.stderr)


def loss_in(directory: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Run `loss`; return exit code, the JSON of the only row, and all that was printed."""
    written = directory / "loss.json"
    ended = benchmarks(directory, "loss", *words, "--json", str(written))
    row = json.loads(written.read_text())["rows"][0] if written.exists() else {}
    return ended.returncode, row, ended.stdout + ended.stderr
