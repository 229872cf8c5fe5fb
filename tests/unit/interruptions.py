"""Interrupts a call at each of its bytecodes in turn: deterministic, and no point is left out.

`sys.settrace` with opcode events stops before every instruction in the buffer's modules. There
the test does something else (what a signal handler or a `__del__` would), or raises.

Where an exception can really come from outside is narrower: the interpreter looks for signals
when a function begins, after a call, and when a loop turns. `at_signal_points` keeps to those.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import logship.buffer

BUFFER_ROOM = str(Path(logship.buffer.__file__).parent)


@functools.cache
def _names(code: CodeType) -> dict[int, str]:
    return {each.offset: each.opname for each in dis.get_instructions(code)}


class Interrupter:
    """Runs a call and does `act` before its n-th instruction.

    Args:
        act: What to do there; it may raise.
        at: Which one, from 0.
        at_signal_points: Count only instructions before which a signal handler may run.
    """

    def __init__(self, act: Callable[[], object], at: int, *, at_signal_points: bool) -> None:
        self.done = False
        self._act = act
        self._left = at
        self._at_signal_points = at_signal_points
        self._last: dict[FrameType, str] = {}

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
        if event == "opcode":
            self._instruction(frame)
        return self._trace

    def _instruction(self, frame: FrameType) -> None:
        before = self._last.get(frame, "RESUME")
        self._last[frame] = _names(frame.f_code)[frame.f_lasti]
        if self.done or (self._at_signal_points and not _looks_for_signals(before)):
            return
        self._left -= 1
        if self._left < 0:
            self.done = True
            self._act()


def _warm_up(call: Callable[[], object], _: object) -> None:
    """Make a call without interrupting it: Python 3.12 counts opcodes from the second on."""
    Interrupter(lambda: None, sys.maxsize, at_signal_points=False).run(call)


def _looks_for_signals(opname: str) -> bool:
    return opname == "RESUME" or opname.startswith(("CALL", "JUMP_BACKWARD"))


def every_point(
    prepare: Callable[[], tuple[Callable[[], object], Callable[[], object]]],
    *,
    at_signal_points: bool = False,
    step: int = 1,
) -> Iterator[Callable[[], None]]:
    """Yield a run for each point of interruption, each with a fresh scene.

    Args:
        prepare: Makes the scene; returns the call, and what interrupts it.
        at_signal_points: As for `Interrupter`.
        step: Only every so-manieth point, where all of them would take too long.
    """
    _warm_up(*prepare())
    at = 0
    while True:
        call, act = prepare()
        interrupter = Interrupter(act, at, at_signal_points=at_signal_points)
        yield functools.partial(interrupter.run, call)
        if not interrupter.done:
            assert at > 0, "nothing was ever interrupted"
            return
        at += step
