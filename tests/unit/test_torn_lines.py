"""A signal handler's exception at each point of a write to stderr leaves no line that is torn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import logship._stderr
from logship._stderr.last_resort import LastResort
from tests.unit.interruptions import every_point
from tests.unit.test_lastresort import Pipe

STDERR_ROOM = str(Path(logship._stderr.__file__).parent)
FIRST = b"f" * 6000 + b"\n"  # more than the pipe takes at once
SECOND = b"s\n"


class LateError(Exception):
    """What the handler raises."""


class Scene:
    """Two lines on their way through a small pipe."""

    def __init__(self) -> None:
        self.pipe = Pipe()
        self.resort = LastResort(descriptor=self.pipe.writing)
        self.read = b""

    def write(self, line: bytes) -> None:
        """Write a line, and read until all of it is there."""
        while not self.resort.write_line(line):
            self.read += self.pipe.read()
        while self.resort.torn:
            self.read += self.pipe.read()
            self.resort.step_back()
        self.read += self.pipe.read()


def test_a_line_behind_an_interrupted_write_can_be_read() -> None:
    scenes: list[Scene] = []  # the first one warms up

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        scene = Scene()
        scenes.append(scene)
        return lambda: scene.write(FIRST), interrupt

    for run in every_point(prepare, room=STDERR_ROOM):
        scene = scenes[-1]
        with contextlib.suppress(LateError):
            run()
        for line in FIRST, SECOND:
            scene.write(line)
        lines = scene.read.splitlines(keepends=True)
        assert FIRST in lines
        assert lines[-1] == SECOND
        scene.pipe.close()


def interrupt() -> None:
    """Do what a signal handler may do."""
    raise LateError
