"""The inputs of a measure: its time, its servers, its directory, and a progress callback."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.conditions import conditions, server_version
from benchmarks.performance.results import Measured

T = TypeVar("T")

QUICK, FULL, LEAST, TURN = "quick", "full", "least", "turn"

_REPEATS = 5


@dataclass
class Job:
    """One measure's part of a run.

    Attributes:
        directory: For its files; absolute.
        effort: `quick`: a few turns of a second or less, for use during development; `full`:
            figures to publish; `least`: once, to see that it works.
        servers: As `--server` says them, the embedded one first.
        is_for_trees: Whether another checkout is measured in the same turn: one turn of `quick`,
            and of the subjects logship alone with its ceilings.
        tell: Called with the step that begins.
    """

    directory: Path
    effort: str
    servers: Sequence[str] = ("embedded",)
    is_for_trees: bool = False
    tell: Callable[[str], None] = lambda step: None
    _names: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    def pick(self, quick: T, full: T, least: T) -> T:
        """Return what this run's effort needs."""
        return {QUICK: quick, FULL: full, LEAST: least}[self.effort]

    def turns(self, quick: int, full: int) -> int:
        """Return how many turns this run takes."""
        return 1 if self.is_for_trees else self.pick(quick, full, 1)

    def repeats(self, quick: int, full: int) -> int:
        """Return how often something short is done, of which one turn alone says little."""
        return _REPEATS if self.is_for_trees else self.pick(quick, full, 1)

    def new_place(self) -> Path:
        """Return a new, empty directory below its own."""
        place = self.directory / f"{next(self._names):03}"
        place.mkdir(parents=True)
        return place

    @property
    def stderr(self) -> Path:
        """The file for what measured programs say."""
        return self.directory / "stderr"

    def measured(self, **options: Any) -> Measured:
        """Return an empty result that knows its conditions, those of this moment."""
        under_what = conditions({"effort": self.effort, **options})
        under_what["servers"] = {name: version_of(name) for name in self.servers}
        return Measured(under_what)


def in_turns(subjects: Sequence[T], turns: int) -> Iterator[tuple[int, T]]:
    """Yield turn and subject: A B C, C B A, A B C, so that neighbours stay neighbours."""
    for turn in range(turns):
        for subject in subjects if turn % 2 == 0 else reversed(subjects):
            yield turn, subject


def version_of(server: str) -> str:
    """Return what a server of `--server` calls itself."""
    kind, _, executable = server.partition(":")
    if kind == "embedded":
        return "logship receive --count" if executable else "logship receive"
    program = executable or kind
    return server_version(program) if shutil.which(program) else "not found"
