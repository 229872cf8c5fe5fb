"""Runs `python -m benchmarks` in a directory of its own, as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "benchmarks"]
ENVIRON = os.environ | {"PYTHONPATH": str(REPOSITORY)}


def benchmarks(directory: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Return how a command of the benchmarks ended."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=directory,
        env=ENVIRON | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def loss_in(directory: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Run `loss`; return exit code, the JSON of the only row, and all that was printed."""
    written = directory / "loss.json"
    ended = benchmarks(directory, "loss", *words, "--json", str(written))
    row = json.loads(written.read_text())["rows"][0] if written.exists() else {}
    return ended.returncode, row, ended.stdout + ended.stderr
