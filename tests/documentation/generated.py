"""The parts of pages that are written from the code: `python -m tests.documentation.generated`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.documentation import commands, limits, metrics, reasons, rules, settings
from tests.support.programs import REPOSITORY


@dataclass(frozen=True)
class Part:
    """A part of a page, between two comments.

    Attributes:
        name: Of the part, in the comments.
        page: Its path in the repository.
        write: Returns its text.
    """

    name: str
    page: str
    write: Callable[[], str]

    @property
    def path(self) -> Path:
        """The file."""
        return REPOSITORY / self.page

    @property
    def begin(self) -> str:
        """The comment before it."""
        return f"<!-- {self.name}: written by python -m tests.documentation.generated -->\n"

    @property
    def end(self) -> str:
        """The comment behind it."""
        return f"<!-- end of {self.name} -->\n"

    def page_of_today(self) -> str:
        """Return the page with what the code says now."""
        head, _, rest = self.path.read_text(encoding="utf-8").partition(self.begin)
        return f"{head}{self.begin}{self.write()}{self.end}{rest.partition(self.end)[2]}"


PARTS = [
    Part("limits", "docs/security.md", limits.table),
    Part("settings", "docs/settings.md", settings.sections),
    Part("commands", "docs/cli.md", commands.sections),
    Part("metrics", "docs/metrics.md", metrics.table),
    Part("reasons", "docs/record.md", reasons.table),
    Part("rules", "docs/lint.md", rules.table),
]

if __name__ == "__main__":
    for part in PARTS:
        part.path.write_text(part.page_of_today(), encoding="utf-8")
