"""Uncaught exceptions of all threads become records."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logship._installation.handler import Handler


def take_uncaught(handler: Handler) -> None:
    """Ship uncaught exceptions, and then do what was done with them before."""
    previous, previous_in_threads = sys.excepthook, threading.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _emit(handler, error)
        previous(kind, error, trace)

    def hook_in_threads(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            _emit(handler, args.exc_value)
        previous_in_threads(args)

    sys.excepthook, threading.excepthook = hook, hook_in_threads


def _emit(handler: Handler, error: BaseException) -> None:
    text = f"uncaught {type(error).__name__}: {_text(error)}"
    found = type(error), error, error.__traceback__
    record = logging.LogRecord("logship.uncaught", logging.CRITICAL, "", 0, text, (), found)
    if record.levelno >= handler.level:
        handler.handle(record)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception's own __str__ may raise
        return "(its text cannot be read)"
