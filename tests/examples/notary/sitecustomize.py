"""Keeps the ledger of a program that knows nothing of it: an example, as its users copy it.

Python imports a module of this name when a process begins, a spawned worker too. Each record that
is on its way to logship's handler gets a marker in front of its message, and the marker goes into
the ledger *after* the handler returned. Nothing of logship is imported or asked.
"""

import logging

from application import new_marker, write_down

_call_handlers = logging.Logger.callHandlers


def _call_handlers_and_note(logger: logging.Logger, record: logging.LogRecord) -> None:
    if not _is_shipped(logger):
        _call_handlers(logger, record)
        return
    marker = new_marker()
    record.msg = f"{marker} {record.msg}"
    _call_handlers(logger, record)
    write_down(marker)


def _is_shipped(logger: logging.Logger) -> bool:
    """Tell whether a record of this logger reaches a handler of logship's."""
    current: logging.Logger | None = logger
    while current is not None:
        if any(
            type(each).__module__ == "logship._installation.handler" for each in current.handlers
        ):
            return True
        current = current.parent if current.propagate else None
    return False


logging.Logger.callHandlers = _call_handlers_and_note  # type: ignore[method-assign, assignment]
