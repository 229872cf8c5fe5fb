"""Records as a person reads them: time, tag, level, message, and the other fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import click

from logship._quoting import visible

LEVEL_KEYS: Final = ("level", "severity", "severity_text", "levelname")
MESSAGE_KEYS: Final = ("message", "log", "msg")
STAMP_KEY: Final = "logship_id"
VALUE_CHARACTERS_MAX: Final = 500
"""Of a field on the record's line; a longer one would bury the others."""

_COLOURS: Final = {
    "TRACE": "bright_black",
    "DEBUG": "bright_black",
    "INFO": "green",
    "NOTICE": "green",
    "WARN": "yellow",
    "WARNING": "yellow",
    "ERROR": "red",
    "CRITICAL": "red",
    "FATAL": "red",
}


def pretty_lines(json_lines: bytes, *, coloured: bool) -> bytes:
    """Return lines for a person in place of the receiver's JSON lines.

    No text of a record begins a line or an escape sequence of its own. The lines of a text that has
    several, as a traceback, follow indented.

    Args:
        json_lines: Of `logship receive`, each with its end.
        coloured: Whether they are for a terminal that shows colours.
    """
    lines = (line for each in json_lines.splitlines() for line in _shown(each, coloured))
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _shown(json_line: bytes, coloured: bool) -> list[str]:
    try:
        return [*_lines(json_line, coloured)]
    except RecursionError:  # nested deeper than this Python reads or writes
        return [visible(json_line.decode())]


def _lines(json_line: bytes, coloured: bool) -> Iterator[str]:
    document = json.loads(json_line)
    record: dict[str, Any] = dict(document["record"])
    level = str(_taken(record, LEVEL_KEYS))
    message, *more = str(_taken(record, MESSAGE_KEYS)).splitlines() or [""]
    record.pop(STAMP_KEY, None)
    long = {name: record.pop(name) for name in [*record] if _has_lines(record[name])}

    def styled(text: str, **style: Any) -> str:
        return click.style(text, **style) if coloured and any(style.values()) else text

    parts = (
        styled(_time(document["time_ns"]), dim=True),
        styled(visible(document["tag"]), fg="cyan"),
        styled(f"{visible(level):<8}", fg=_COLOURS.get(level.upper())),
        visible(message),
        styled(" ".join(f"{visible(name)}={_value(record[name])}" for name in record), dim=True),
    )
    yield "  ".join(filter(None, parts)).rstrip()
    yield from (f"    {visible(line)}" for line in more)
    for name, text in long.items():
        yield f"    {styled(visible(name), dim=True)}:"
        yield from (f"      {visible(line)}" for line in text.splitlines())


def _taken(record: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Take the first of these fields out of the record; an empty text if it has none."""
    name = next((name for name in names if name in record), None)
    return "" if name is None else record.pop(name)


def _has_lines(value: Any) -> bool:
    return isinstance(value, str) and "\n" in value


def _value(value: Any) -> str:
    if isinstance(value, str) and value and " " not in value:
        return visible(value, VALUE_CHARACTERS_MAX)
    return visible(json.dumps(value, ensure_ascii=False), VALUE_CHARACTERS_MAX)


def _time(time_ns: Any) -> str:
    """Return the local time to the millisecond; a time that no calendar has as its number.

    A number beyond 64 bits may be a text in the line, as any other value there.
    """
    try:
        return f"{datetime.fromtimestamp(time_ns / 1e9):%Y-%m-%d %H:%M:%S.%f}"[:-3]
    except (TypeError, ValueError, OverflowError, OSError):
        return f"{time_ns} ns"
