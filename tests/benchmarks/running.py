"""Runs `python -m benchmarks` in a directory of its own, as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.commands import ran

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "benchmarks"]
ENVIRON = os.environ | {"PYTHONPATH": str(REPOSITORY)}


def benchmarks(directory: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    options = {"cwd": directory, "env": ENVIRON | environ, "timeout": 600}
    return ran(*COMMAND, *words, code=None, **options)


def loss_in(directory: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Run `loss`; return exit code, the JSON of the only row, and all that was printed."""
    written = directory / "loss.json"
    ended = benchmarks(directory, "loss", *words, "--json", str(written))
    row = json.loads(written.read_text())["rows"][0] if written.exists() else {}
    return ended.returncode, row, ended.stdout + ended.stderr
