"""A watch whose looks a test asks for, and what it said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from logship._audit.destinations import output_of
from logship._audit.watch import Watch
from tests.audit.lines import append, delivered


class Watched:
    """A watch of some outputs. Each look comes a second after the last one."""

    def __init__(self, *names: str, **options: Any) -> None:
        self.said: list[str] = []
        self.now = 1_700_000_000.0
        self.names, self.options = names, options
        outputs = [output_of(name) for name in names]
        self.watch = Watch(outputs, say=self.said.append, **options)

    def look(self, seconds: float = 1.0) -> tuple[int, int, int]:
        """Look, and return how many records are proved, missing and duplicated."""
        self.now += seconds
        self.watch.look(self.now)
        figures = self.watch.figures
        return figures.records_proved, figures.records_missing, figures.records_duplicated

    def resumed(self, *names: str) -> Self:
        """Return a watch that goes on with the state of this one, as JSON keeps it."""
        after = type(self)(*(names or self.names), **self.options)
        after.watch.resume(json.loads(json.dumps(self.watch.state())))
        after.now = self.now
        return after


def watching_three() -> Watched:
    """Return a watch that has seen the records 1 to 3 in `out.log`."""
    watched = Watched("out.log*")
    append(Path("out.log"), delivered(1, 3))
    watched.look()
    return watched
