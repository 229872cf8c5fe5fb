"""Asks `logship audit`, as a person does, and the parts of which it is made."""

from __future__ import annotations

from collections.abc import Iterable

from click.testing import CliRunner, Result

from logship._audit.audit import Audit
from logship._audit.lines import Found, read_line
from logship._audit.verdict import Verdict
from logship._cli import main


def audit(*arguments: str, stdin: bytes = b"", code: int | None = None) -> Result:
    """Return what the command says; its exit code must be `code`, where one is given."""
    result = CliRunner().invoke(main, ["audit", *arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert code is None or result.exit_code == code, result.output
    return result


def judged(*lines: bytes | Iterable[bytes], stamp_key: str = "logship_id") -> Verdict:
    """Return what these lines prove."""
    audit = Audit(stamp_key)
    for line in lines:
        audit.feed([line] if isinstance(line, bytes) else line)
    return audit.verdict()


def read(line: bytes | str) -> Found:
    """Return what one line says."""
    [found] = read_line(line.decode() if isinstance(line, bytes) else line)
    return found
