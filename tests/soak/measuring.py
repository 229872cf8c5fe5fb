"""What the processes of a soak hold, seen from outside, and whether it grows."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE_MIB = os.sysconf("SC_PAGESIZE") / 2**20
MIB = 2**20
WARM_UP_SHARE = 0.3
"""Of the samples: until then buffers, allocators and caches take what they need."""


@dataclass(frozen=True)
class Bound:
    """How much a figure may grow along the fitted line, after the warm-up.

    Attributes:
        slack: In all, however long it takes: what is in hand at a moment varies.
        per_minute: More for each minute.
    """

    slack: float
    per_minute: float = 0.0


BOUNDS: Mapping[str, Bound] = {
    "rss MiB": Bound(4.0, 0.1),
    "descriptors": Bound(4),
    "threads": Bound(3),
    "tasks": Bound(4),
    "objects": Bound(4_000, 50),
    "files": Bound(8),
    "disk MiB": Bound(16.0),
}


@dataclass(frozen=True)
class Series:
    """One figure of one process, over time.

    Attributes:
        name: Of process and figure.
        figure: A key of `BOUNDS`.
        points: Seconds and value.
    """

    name: str
    figure: str
    points: list[tuple[float, float]]

    @property
    def settled(self) -> list[tuple[float, float]]:
        return self.points[int(len(self.points) * WARM_UP_SHARE) :]

    @property
    def growth_per_minute(self) -> float:
        seconds, values = zip(*self.settled, strict=True)
        return statistics.linear_regression(seconds, values).slope * 60

    @property
    def growth_max_per_minute(self) -> float:
        minutes = (self.settled[-1][0] - self.settled[0][0]) / 60
        bound = BOUNDS[self.figure]
        return bound.slack / minutes + bound.per_minute

    @property
    def is_flat(self) -> bool:
        """Whether it grows no more than that."""
        return self.growth_per_minute <= self.growth_max_per_minute

    def __str__(self) -> str:
        values = [value for _, value in self.settled]
        first, last = self.points[0][1], values[-1]
        return (
            f"{self.name:22} {self.figure:12} {first:10,.1f} {statistics.median(values):10,.1f} "
            f"{max(values):10,.1f} {last:10,.1f} {self.growth_per_minute:+10.2f} "
            f"{self.growth_max_per_minute:10.2f}{'' if self.is_flat else '  GROWS'}"
        )


HEADING = (
    f"{'process':22} {'figure':12} {'first':>10} {'median':>10} {'most':>10} {'last':>10} "
    f"{'a minute':>10} {'allowed':>10}"
)


class Samples:
    """Everything that was measured."""

    def __init__(self) -> None:
        self._points: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)

    def add(self, seconds: float, name: str, figures: Iterable[tuple[str, float]]) -> None:
        """Add what was seen of one process at a moment."""
        for figure, value in figures:
            self._points[name, figure].append((seconds, value))

    @property
    def series(self) -> list[Series]:
        """Every figure of every process that was seen often enough to fit a line."""
        found = [Series(*key, points) for key, points in self._points.items()]
        return [each for each in found if len(each.settled) > 2]


def figures_of_process(pid: int, watched: Path) -> Iterator[tuple[str, float]]:
    """Yield what a living process holds; nothing where it has ended."""
    with contextlib.suppress(OSError):
        process = Path(f"/proc/{pid}")
        yield "rss MiB", int((process / "statm").read_text().split()[1]) * PAGE_MIB
        yield "descriptors", len(os.listdir(process / "fd"))  # noqa: PTH208 - the fastest
        yield "threads", len(os.listdir(process / "task"))  # noqa: PTH208
        tasks, objects = watched.read_text().split()
        yield "tasks", int(tasks)
        yield "objects", int(objects)


def figures_of_directories(roots: Iterable[Path]) -> Iterator[tuple[str, float]]:
    """Yield how many files there are below the directories, and what they take on the disk."""
    files = size = 0
    for root in roots:
        for directory, _, names in os.walk(root):  # passes over what is removed meanwhile
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    size += Path(directory, name).stat().st_blocks * 512
                    files += 1
    yield "files", files
    yield "disk MiB", size / MIB
