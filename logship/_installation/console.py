"""The handler that prints records, without their secrets where the client redacts them."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from logship._hooks.interruptions import is_interruption
from logship._installation.handler import Handler

if TYPE_CHECKING:
    from logship._client.emitter import Emitter

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def console_handler(client: Emitter) -> logging.Handler:
    """Return a handler that prints the records that a client ships to stderr."""
    redacts = client.settings.redact is not None
    handler = RedactedConsole(client) if redacts else logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    return handler


class RedactedConsole(logging.StreamHandler[Any]):
    """Prints records to stderr without their secrets, which a client redacts.

    It redacts the fields that are shipped, and formats the message, the exception and the stack
    that are then in them. A record that is withheld is not printed.
    """

    def __init__(self, client: Emitter) -> None:
        super().__init__()
        self._client = client
        self._message_key = client.settings.message_key
        self._new_names: dict[Any, str] = dict(client.settings.rename)
        self._shipped = Handler(client)

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record."""
        try:
            intake = self._client.intake
            shown = intake.shown(self._fields(record), time.time_ns())
            shown = None if shown is None else intake.readable(shown)
        except Exception as error:
            if is_interruption(error):
                raise
            return  # the client warns of it, because it meets the same error
        if shown is not None:
            super().emit(self._redacted(record, shown))

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        try:
            return self._shipped.fields(record)
        except Exception as error:
            if is_interruption(error):
                raise
            return self._shipped.unformatted(record)

    def _redacted(self, record: logging.LogRecord, shown: Mapping[Any, Any]) -> logging.LogRecord:
        """Return a record with the texts that may be shown."""

        def text(name: str) -> str:
            return str(shown.get(name, shown.get(self._new_names.get(name), "")))

        line = copy.copy(record)
        line.msg, line.args, line.exc_info = text(self._message_key), (), None
        line.name, line.exc_text, line.stack_info = text("logger"), text("exception"), text("stack")
        return line
