"""From `logging` to the client: one mapping a record, packed in the thread that logs.

`logging.Handler.handle` holds the handler's lock around `emit`, so that one worker that waits for
space would stop every other thread, an event loop's among them. Nothing here needs that lock:
`handle` is overridden and takes none.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from logship._hooks.interruptions import is_interruption
from logship._installation.tracing import CurrentSpan

if TYPE_CHECKING:
    from logship._client.emitter import Emitter
    from logship._installation.floods import FloodControl

KEPT_BACK_KEY = "records_kept_back"
"""The field that says how many records like this one were kept back before it."""

_OWN_ATTRIBUTES = vars(logging.LogRecord("", 0, "", 0, "", None, None))
_SET_LATER = ("asctime", "message", "taskName")  # by formatters, and by `logging` since 3.12
_OF_UVICORN = ("color_message",)  # the message once more, with escape codes, for its formatter
_NOT_EXTRA = frozenset((*_OWN_ATTRIBUTES, *_SET_LATER, *_OF_UVICORN))
_OWN_COUNT = len(_OWN_ATTRIBUTES)
_LAST_OWN = next(reversed(_OWN_ATTRIBUTES))
_EXCEPTION_FORMATTER = logging.Formatter()


class Handler(logging.Handler):
    """Ships log records through a client.

    A record becomes a mapping. Its fields are the formatted message (under `message_key`), `level`,
    `logger`, `thread` (for threads other than the main thread), `exception` and `stack` (if there
    are any), every `extra` field under its own name, and `trace_id` and `span_id` inside a span of
    OpenTelemetry.

    Closing the handler does not close the client, because `dictConfig` closes handlers while the
    program goes on. `flush` does nothing, so `logging.shutdown` waits for no ack: programs flush
    handlers after each record, and `dictConfig` does so while it holds the lock of `logging`. To
    wait for acks, as before `os._exit`, call `flush` of the client.

    Args:
        client: Where records go: a `BackgroundClient`, or a `Client` whose loop runs.
        level: As of `logging.Handler`.
        message_key: The field for the message's text; by default as the client's settings say.
        tag: The tag of the records; by default the client's.
        severity_key: The field for the level's number, as OpenTelemetry counts; by default as the
            client's settings say. An empty text means no such field.
        floods: Keeps records back if there are too many; None for no limits.
    """

    def __init__(
        self,
        client: Emitter,
        level: int | str = logging.NOTSET,
        *,
        message_key: str | None = None,
        tag: str | None = None,
        severity_key: str | None = None,
        floods: FloodControl | None = None,
    ) -> None:
        settings = client.settings  # first: `logging.shutdown` closes what `__init__` below notes
        super().__init__(level)
        self.client = client
        self._message_key = message_key or settings.message_key
        self._tag = tag
        given = settings.severity_key if severity_key is None else severity_key
        self._severity_key = given or None
        self._floods = floods
        # Of arguments without their message no rule can tell whether they are secrets.
        self._shows_arguments = settings.redact is None
        self._span = CurrentSpan()

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit the record, without the handler's lock; see `logging.Handler.handle`."""
        if self.filters:
            verdict: bool | logging.LogRecord = self.filter(record)
            if not verdict:
                return False
            if isinstance(verdict, logging.LogRecord):  # since 3.12 it may replace the record
                record = verdict
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Ship the record; an error in the application's own formatting goes to `handleError`."""
        if self._floods is not None and self._is_kept_back(self._floods, record):
            return
        try:
            time_ns = int(record.created * 1_000_000) * 1000
        except (AttributeError, TypeError, ValueError, OverflowError):  # it was made by hand
            time_ns = time.time_ns()
        if not self._span.looked_ns <= time_ns < self._span.due_ns:
            self._span.look(time_ns)
        try:
            fields = self.fields(record)
        except Exception as error:
            if is_interruption(error):
                raise
            if self._shows_arguments:
                self._show_error(record)
            fields = self.unformatted(record)
        self.client.emit(fields, self._tag, time_ns=time_ns, writes_refused=True)

    def close(self) -> None:
        """Close the handler. If its client has ended, correct the report that the client gave.

        `logging.shutdown` runs behind logship's exit hook, and closes first the handlers that were
        made last. What these hold back, as `MemoryHandler` does, they log here.
        """
        self.client.correct_report()
        super().close()

    def _show_error(self, record: logging.LogRecord) -> None:
        """Call `handleError`; it raises what `sys.stderr` raises, as where that is closed."""
        try:
            self.handleError(record)
        except Exception as error:
            if is_interruption(error):
                raise

    def _is_kept_back(self, floods: FloodControl, record: logging.LogRecord) -> bool:
        """Tell whether there are too many such records; this one is counted then."""
        try:
            reason = floods.reason(record)
            if reason is None:
                return False
            is_kept_back = self.client.withhold(reason, self._tag)
            if not is_kept_back:
                floods.kept_back_before(record)  # forgets it: this record is written to stderr
            return is_kept_back
        except Exception as error:
            if is_interruption(error):
                raise
            return False  # the record's name is not text, or the client cannot begin in a child

    def fields(
        self, record: logging.LogRecord, unformatted: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the record as a mapping.

        Args:
            record: What was logged.
            unformatted: The fields in place of its text, which cannot be formatted.
        """
        fields: dict[str, Any]
        attributes = record.__dict__  # a filter may have removed some, such as `taskName`
        if unformatted is None:
            fields = {
                self._message_key: record.getMessage()
                if self.formatter is None
                else self.format(record),
                "level": record.levelname,
                "logger": record.name,
            }
        else:
            fields = {**unformatted, "level": record.levelname, "logger": record.name}
        if self._severity_key is not None:
            fields[self._severity_key] = severity_number(record.levelno)
        thread = attributes.get("threadName")
        if thread != "MainThread" and thread is not None:
            fields["thread"] = thread
        if self.formatter is None or unformatted is not None:
            if exception := attributes.get("exc_info"):
                fields["exception"] = _EXCEPTION_FORMATTER.formatException(exception)
            elif exception_text := attributes.get("exc_text"):  # it came from another process
                fields["exception"] = exception_text
            if stack := attributes.get("stack_info"):
                fields["stack"] = stack
        if len(attributes) != _OWN_COUNT or next(reversed(attributes)) != _LAST_OWN:
            _add_extra(fields, attributes)
        if self._span.trace is not None:
            self._span.add_to(fields)
        if self._floods is not None and (count := self._floods.kept_back_before(record)):
            fields.setdefault(KEPT_BACK_KEY, count)
        return fields

    def unformatted(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return what can be said of a record whose arguments do not fit its message.

        A filter may have removed what the message is made of, or the names.
        """
        fields = {
            self._message_key: getattr(record, "msg", None),
            "logging_error": "the arguments could not be merged into the message",
        }
        if self._shows_arguments:
            fields["arguments"] = getattr(record, "args", None)
        try:
            return self.fields(record, fields)
        except Exception as error:
            if is_interruption(error):
                raise
            level, name = getattr(record, "levelname", None), getattr(record, "name", None)
            return {**fields, "level": level, "logger": name}


def severity_number(level: int) -> int:
    """Return a level as OpenTelemetry counts: DEBUG is 5, INFO 9, WARNING 13, ERROR 17."""
    return min(max(level * 4 // 10 + 1, 1), 24)


def _add_extra(fields: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Add what the application gave as `extra`, under names that are still free."""
    # `logging` sets its own attributes first. If none is missing, what is extra stands behind them.
    names = [*attributes]
    are_first = names[_OWN_COUNT - 1 : _OWN_COUNT] == [_LAST_OWN]
    for name in names[_OWN_COUNT:] if are_first else names:
        if name not in _NOT_EXTRA:
            free = name
            while free in fields:
                free = f"extra_{free}"
            fields[free] = attributes[name]
