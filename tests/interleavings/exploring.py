"""Explores the scenes; `python -m tests.interleavings` does it in full."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.interleavings.scenes import SCENES, Scene
from tests.interleavings.scheduler import Explored, explore
from tests.interleavings.watching import Watch, watching


@contextmanager
def _no_collection() -> Iterator[None]:
    """Have the collector run no code in the middle of a run: runs must be repeatable."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Depth(NamedTuple):
    """How deep a scene is explored.

    Attributes:
        preemptions: At most so many.
        raises: Whether an exception interrupts a thread at one point, each in its turn.
    """

    preemptions: int
    raises: bool = False

    def __str__(self) -> str:
        return f"{self.preemptions} preemptions{' and an exception' if self.raises else ''}"

    @classmethod
    def full(cls, name: str) -> tuple[Depth, ...]:
        """Return what `make interleavings` explores."""
        more = int(name.startswith("small"))
        return cls(2 + more), cls(more, raises=True)


QUICK = (Depth(1), Depth(0, raises=True))
"""What every test run explores."""


def explore_scene(name: str, depth: Depth) -> tuple[Explored, Watch]:
    """Explore a scene; begin again where an attribute is found to be open."""
    watch = Watch()
    with _no_collection(), watching(watch):
        while True:
            watch.has_grown = False
            explored = explore(
                lambda scheduler: Scene(watch, scheduler, **SCENES[name]),
                preemptions=depth.preemptions,
                raises=depth.raises,
                until=lambda: watch.has_grown,
            )
            if explored.fault or not watch.has_grown:
                return explored, watch
            gc.collect()
