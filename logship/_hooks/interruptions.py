"""Recognises exceptions that an application's signal handler raised.

A signal handler runs in the middle of any Python code, also of logship. Its exception is meant for
the application (a task's time limit, a test's timeout), so it must pass. An exception of a record's
`__repr__` must not. Only the traceback tells the two apart: it has a frame of a function that was
called with a signal's number and the frame that it interrupted. Many handlers drop these arguments.
So a function that is registered for a signal counts too. All functions of one decorator share the
code of its wrapper, so one of any arguments counts only where it has dropped them.
"""

from __future__ import annotations

import inspect
import signal
import traceback
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any


def is_from_outside(error: BaseException) -> bool:
    """Return whether this is the application's own: Ctrl-C, or what a signal handler raised."""
    return not isinstance(error, Exception) or is_interruption(error)


def is_interruption(error: BaseException) -> bool:
    """Return whether a signal handler, or a function that it called, raised this exception."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if len(frames) < 2:
        return False  # it was raised where it was caught, or in C
    # `valid_signals` needs much of the stack.
    codes = {_code_of(signal.getsignal(signum)) for signum in range(1, signal.NSIG)}
    return any(
        _was_called_as_handler(frame) or (frame.f_code in codes and not _rest_of_arguments(frame))
        for frame, _ in frames
    )


def _was_called_as_handler(frame: FrameType) -> bool:
    """Return whether a frame's arguments are those of a signal handler.

    The arguments are the application's objects, so only their types and identities are looked at.
    """
    return any(
        second is frame.f_back and type(first) in {int, signal.Signals} and 0 < first < signal.NSIG
        for first, second in pairwise(_arguments(frame))
    )


def _arguments(frame: FrameType) -> list[Any]:
    """Return the positional arguments that a frame still has."""
    code, values = frame.f_code, frame.f_locals
    named = [values.get(name) for name in code.co_varnames[: code.co_argcount]]
    return [*named, *_rest_of_arguments(frame)]


def _rest_of_arguments(frame: FrameType) -> tuple[Any, ...]:
    """Return what a function of any arguments still has of those that have no name."""
    code = frame.f_code
    if not code.co_flags & inspect.CO_VARARGS:
        return ()
    rest = frame.f_locals.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount])
    return rest if type(rest) is tuple else ()


def _code_of(handler: object) -> CodeType | None:
    """Return the code of a function, a method, a partial or an object that can be called."""
    for _ in range(8):  # wrapped in each other
        code = getattr(handler, "__code__", None)
        if isinstance(code, CodeType):
            return code
        inner = getattr(handler, "__func__", None) or getattr(handler, "func", None)
        handler = inner or getattr(type(handler), "__call__", None)  # noqa: B004 - its code
    return None
