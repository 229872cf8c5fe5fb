"""`install()` with the first log record of a program, for `logship run --install`.

A program that logs nothing must not pay for a client. And its start does not show whether it calls
`install()` itself, or whether gevent, uWSGI or a subinterpreter forbid it. So `install()` is called
when `logging` makes the first record that it would ship, before any handler gets that.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from logship._hooks.locking import SectionLock

_WAIT_SECONDS_MAX = 5.0
"""How long a thread waits while another one calls `install()`. That one may wait for a lock that
the waiting thread holds: `dictConfig` holds that of `logging`, and a handler that it makes may log.
"""


def await_it() -> None:
    """Call `install()` before the first record of this program is handled.

    The level of the root logger is the one that `install()` chooses, from now on: with Python's own
    default no record would be made for INFO.
    """
    root = logging.getLogger()
    if root.level == logging.WARNING and not root.handlers:
        root.setLevel(logging.INFO)
    logging.setLogRecordFactory(FirstRecord(logging.getLogRecordFactory()))


class FirstRecord:
    """A factory of log records that calls `install()` once, and another factory for each."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._is_over = False
        self._lock = SectionLock()
        self._lock.be_taken_by_forks()

    def __call__(self, *args: Any, **named: Any) -> logging.LogRecord:
        """Make a record."""
        if not self._is_over and _may_be_shipped(*args[:1]):
            self._install()
        record: logging.LogRecord = self._make(*args, **named)
        return record

    def _install(self) -> None:
        """Call `install()`, or wait for the thread that does. A thread of logship does not wait.

        If a signal handler raises in the middle, the next record has it called again.
        """
        from logship._hooks.threads import is_own  # noqa: PLC0415 - asyncio, for a program that logs

        if not is_own():
            self._lock.run(self._install_once, None, _WAIT_SECONDS_MAX)

    def _install_once(self) -> None:
        if not self._is_over:
            _install()
            self._is_over = True


def _may_be_shipped(name: object = None) -> bool:
    """Tell whether the root logger's handlers get this logger's records, or `loggers` names it.

    gunicorn's logger passes none on. It logs before a program is loaded that calls `basicConfig`
    or `dictConfig`, and before gevent patches the workers.
    """
    if os.environ.get("LOGSHIP_LOGGERS"):
        return True
    logger = logging.root.manager.loggerDict.get(name)  # type: ignore[call-overload]
    while isinstance(logger, logging.Logger):
        if not logger.propagate:
            return False
        logger = logger.parent
    return True


def _install() -> None:
    """Call `install()`, unless the program did; if that fails, say so and go on."""
    from logship._hooks.interruptions import is_interruption  # noqa: PLC0415 - as above
    from logship._stderr.last_resort import LastResort  # noqa: PLC0415 - as above

    try:
        from logship._installation import installation  # noqa: PLC0415 - msgpack may be missing

        if installation.is_installed():
            return
        client = installation.install(console=False)
        if not client.settings.disabled:
            _remove_consoles()
    except Exception as error:
        if is_interruption(error):
            raise
        text = f"run --install: only the lines of this program are shipped: {error}"
        LastResort().warn("install", text)


def _remove_consoles() -> None:
    """Remove the root logger's handlers that print: `run` would ship what they print as well."""
    root = logging.getLogger()
    for each in list(root.handlers):
        if isinstance(each, logging.StreamHandler) and each.stream in (sys.stdout, sys.stderr):
            root.removeHandler(each)
