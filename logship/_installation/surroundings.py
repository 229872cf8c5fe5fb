"""What `install` warns of because it is around the program, and not in its records."""

from __future__ import annotations

import functools
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from logship import _namesake
from logship._hooks.dispositions import disposition_of
from logship._settings import STOP_FILE_VARIABLE
from logship._settings.unknown import unknown_variables


def warn_of_surroundings(warn: Callable[[str, str], object]) -> None:
    """Warn, by a word for the kind and a text, of what a person should change."""
    texts = {
        "namesake": _namesake_text(),
        "variables": unknown_variables(os.environ),
        "thread": _thread_text(),
    }
    for kind, text in texts.items():
        if text:
            warn(kind, text)


def warn_of_basic_config(warn: Callable[[str, str], object]) -> None:
    """Have `logging.basicConfig` tell when it does nothing because of our handler."""
    configure = logging.basicConfig

    @functools.wraps(configure)
    def basic_config(**options: Any) -> None:
        if options and not options.get("force"):
            warn(
                "basicConfig",
                "logging.basicConfig had no effect, because the root logger has a handler "
                "already, that of logship.install(); call basicConfig before install",
            )
        configure(**options)

    logging.basicConfig = basic_config


def _namesake_text() -> str:
    """Return a sentence about the other package that is called logship; it may break this one."""
    other = _namesake.other_distribution()
    if other is None:
        return ""
    return (
        f"another project's package logship is installed too ({other}), and its removal would "
        f"break this one: {_namesake.ADVICE}"
    )


def _thread_text() -> str:
    """Return a sentence about stops without a clock, unless `logship run` ships what they lose.

    A handler of the program starts none there, so the drain at its end may come too late.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main or STOP_FILE_VARIABLE in os.environ:
        return ""
    found = disposition_of(signal.SIGTERM)
    if found is None or found is signal.SIG_IGN:
        return ""
    return (
        "install() was not called in the main thread, which alone can handle signals: SIGTERM may "
        "end this program before its last records are delivered; call it in the main thread"
    )
