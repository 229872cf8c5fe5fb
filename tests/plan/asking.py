"""Asks `logship plan`, as a person and as a program do."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from logship._cli import main


def told(*options: str) -> Result:
    """Return what the command prints, and its exit code."""
    return CliRunner().invoke(main, ["plan", *options])


def planned(*options: str) -> Any:
    """Return the command's JSON."""
    result = told("--json", *options)
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.output)
