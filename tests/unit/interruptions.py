"""Interrupts a call at each of its bytecodes in turn: deterministic, and no point is left out.

`sys.settrace` with opcode events stops before every instruction in the modules of one room. There
the test does something else (what a signal handler or a `__del__` would), or raises.
"""

from __future__ import annotations

import functools
import gc
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import logship._buffer

BUFFER_ROOM = str(Path(logship._buffer.__file__).parent)


class Interruption(Exception):  # noqa: N818 - what a signal handler raises, as Celery's time limit
    """Raised in the middle of a call."""


def interrupted_by_a_handler(*_: object) -> NoReturn:
    """Raise as a signal handler of the application does, whose arguments tell that it is one."""

    def handle(number: int, frame: FrameType) -> NoReturn:
        raise Interruption(number, frame)

    handle(signal.SIGALRM, sys._getframe())


class Interrupter:
    """Runs a call and does `act` before its n-th instruction.

    Args:
        act: What to do there; it may raise.
        at: Which one, from 0.
        room: The directory of the modules whose instructions count.
    """

    def __init__(self, act: Callable[[], object], at: int, room: str = BUFFER_ROOM) -> None:
        self.done = False
        self._room = room
        self._act = act
        self._left = at

    def run(self, call: Callable[[], object]) -> None:
        """Make the call.

        An exception at some bytecodes of an `except` stays the thread's handled one, and keeps all
        that its frames have, such as open files. A generator takes it along at its end.
        """
        for _ in self._steps(call):
            pass

    def _steps(self, call: Callable[[], object]) -> Iterator[None]:
        tracing = sys.gettrace()
        gc.disable()  # destructors of earlier scenes are not to run in this one
        sys.settrace(self._trace)
        try:
            call()
        finally:
            sys.settrace(tracing)
            gc.enable()
        yield

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._room):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not self.done:
            self._left -= 1
            if self._left < 0:
                self.done = True
                sys.settrace(None)
                self._act()
        return self._trace


def _warm_up(room: str, call: Callable[[], object], _: object) -> None:
    """Make a call without interrupting it: Python 3.12 counts opcodes from the second on."""
    Interrupter(lambda: None, sys.maxsize, room).run(call)


def every_point(
    prepare: Callable[[], tuple[Callable[[], object], Callable[[], object]]],
    *,
    step: int = 1,
    room: str = BUFFER_ROOM,
) -> Iterator[Callable[[], None]]:
    """Yield a run for each point of interruption, each with a fresh scene.

    Args:
        prepare: Makes the scene; returns the call, and what interrupts it.
        step: Only every so-manieth point, where all of them would take too long.
        room: As of `Interrupter`.
    """
    _warm_up(room, *prepare())
    at = 0
    while True:
        call, act = prepare()
        interrupter = Interrupter(act, at, room)
        yield functools.partial(interrupter.run, call)
        if not interrupter.done:
            assert at > 0, "nothing was ever interrupted"
            return
        at += step
