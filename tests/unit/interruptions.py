"""Interrupts a call at each of its bytecodes in turn: deterministic, and no point is left out.

`sys.settrace` with opcode events stops before every instruction in the buffer's modules. There
the test does something else (what a signal handler or a `__del__` would), or raises.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import logship._buffer

BUFFER_ROOM = str(Path(logship._buffer.__file__).parent)


class Interrupter:
    """Runs a call and does `act` before its n-th instruction.

    Args:
        act: What to do there; it may raise.
        at: Which one, from 0.
    """

    def __init__(self, act: Callable[[], object], at: int) -> None:
        self.done = False
        self._act = act
        self._left = at

    def run(self, call: Callable[[], object]) -> None:
        """Make the call."""
        tracing = sys.gettrace()
        sys.settrace(self._trace)
        try:
            call()
        finally:
            sys.settrace(tracing)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(BUFFER_ROOM):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not self.done:
            self._left -= 1
            if self._left < 0:
                self.done = True
                self._act()
        return self._trace


def _warm_up(call: Callable[[], object], _: object) -> None:
    """Make a call without interrupting it: Python 3.12 counts opcodes from the second on."""
    Interrupter(lambda: None, sys.maxsize).run(call)


def every_point(
    prepare: Callable[[], tuple[Callable[[], object], Callable[[], object]]],
    *,
    first: int = 0,
    step: int = 1,
) -> Iterator[Callable[[], None]]:
    """Yield a run for each point of interruption, each with a fresh scene.

    Args:
        prepare: Makes the scene; returns the call, and what interrupts it.
        first: The first point, from 0.
        step: From then on only every so-manieth point, where all of them would take too long.
    """
    _warm_up(*prepare())
    at = first
    while True:
        call, act = prepare()
        interrupter = Interrupter(act, at)
        yield functools.partial(interrupter.run, call)
        if not interrupter.done:
            assert at > 0, "nothing was ever interrupted"
            return
        at += step
