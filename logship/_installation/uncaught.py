"""Uncaught exceptions of all threads become records."""

from __future__ import annotations

import sys
import threading
import traceback
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logship._client.emitter import Emitter


def take_uncaught(client: Emitter) -> None:
    """Ship uncaught exceptions, and then do what was done with them before."""
    previous, previous_in_threads = sys.excepthook, threading.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _emit(client, error, threading.current_thread().name)
        previous(kind, error, trace)

    def hook_in_threads(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            _emit(client, args.exc_value, args.thread.name if args.thread else "")
        previous_in_threads(args)

    sys.excepthook, threading.excepthook = hook, hook_in_threads


def _emit(client: Emitter, error: BaseException, thread: str) -> None:
    client.emit(
        {
            client.settings.message_key: f"uncaught {type(error).__name__}: {_text(error)}",
            "level": "CRITICAL",
            "logger": "logship.uncaught",
            "thread": thread,
            "exception": "".join(traceback.format_exception(error)),
        }
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception's own __str__ may raise
        return "(its text cannot be read)"
