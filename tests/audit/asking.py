"""Asks `logship audit`, as a person does."""

from __future__ import annotations

from click.testing import CliRunner, Result

from logship._cli import main


def audit(*arguments: str, stdin: bytes = b"", code: int | None = None) -> Result:
    """Return what the command says; its exit code must be `code`, where one is given."""
    result = CliRunner().invoke(main, ["audit", *arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert code is None or result.exit_code == code, result.output
    return result
