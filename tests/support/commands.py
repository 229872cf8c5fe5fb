"""Commands that run to their end: what they said, and how they ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

LOGSHIP = (sys.executable, "-c", "from logship._cli import main; main()")
"""The command `logship`, of the Python that runs the tests."""


def ran(
    *words: str | Path, code: int | None = 0, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Return what a command came to that has run to its end; a minute of it is a hang.

    Args:
        words: The command.
        code: What it must end with; None where the test looks at that itself.
        options: Of `subprocess.run`.
    """
    given: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60, **options}
    ended: subprocess.CompletedProcess[str] = subprocess.run(words, check=False, **given)
    assert code in (None, ended.returncode), f"{ended.returncode} and not {code}: {ended}"
    return ended


def ran_python(
    program: str, *words: str | Path, code: int | None = 0, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Return the same of a program, which is its text."""
    return ran(sys.executable, "-c", program, *words, code=code, **options)
