"""The table of rules in docs/lint.md."""

from __future__ import annotations

from logship._deployment.linting.rules import RULES


def table() -> str:
    """Return the table, in the code's order."""
    lines = ["| rule | severity | finds | where | effect |", "|---|---|---|---|---|"]
    for each in RULES.values():
        where = ", ".join(each.platforms)
        row = (f"`{each.name}`", each.severity, each.finds, where, each.effect)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"
