"""The table of reasons in docs/record.md."""

from __future__ import annotations

from logship._reasons import DROPPED, ELSEWHERE, ON_PURPOSE


def table() -> str:
    """Return the table."""
    lines = ["| reason | what it means | what to do |", "|---|---|---|"]
    for reason, (meaning, remedy) in {**DROPPED, **ELSEWHERE, **ON_PURPOSE}.items():
        lines.append(f"| `{reason}` | {meaning} | {remedy} |")
    return "\n".join(lines) + "\n"
