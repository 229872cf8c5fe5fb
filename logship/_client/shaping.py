"""What becomes of a record before it is packed, where settings ask for it: other fields and names.

Records of a client without such settings do not come by here: for them the packer adds the context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from logship._client.context import current_fields
from logship._hooks.interruptions import is_interruption
from logship._protocol.entries import SECOND_NS
from logship._protocol.readable import plain_record
from logship._settings import Settings

Fields = dict[Any, Any]
Shape = Callable[[Any, int], Fields]


def shaper(settings: Settings) -> Shape | None:
    """Return a function that returns a record as it shall be shipped; None where it is as it is.

    It takes the record and its time, nanoseconds since the epoch.
    """
    steps: list[Shape] = []
    if settings.rename:
        steps.append(_renaming(dict(settings.rename)))
    if settings.time_key is not None:
        told = _seconds if settings.time_format == "epoch" else _iso_time
        steps.append(_timing(settings.time_key, told))
    if not steps and settings.redact is None:
        return None

    def shape(record: Any, time_ns: int) -> Fields:
        fields = in_context(record)
        for step in steps:
            fields = step(fields, time_ns)
        return fields

    return shape


def in_context(record: Any) -> Fields:
    """Return a record as a mapping, with the fields of its context; its own win."""
    own = record if type(record) is dict else _mapping_of(record)
    return {**(current_fields() or {}), **own}


def _mapping_of(record: Any) -> Fields:
    """Return any record as a mapping."""
    try:
        if isinstance(record, Mapping):
            return dict(record)
    except Exception as error:
        if is_interruption(error):
            raise
    return plain_record(record, lambda _: False)[0]


def _renaming(names: Mapping[Any, str]) -> Shape:
    """Return what gives fields new names. A field keeps its name if the record has the new one."""

    def rename(fields: Fields, _: int) -> Fields:
        new = {name: names.get(name, name) for name in fields}
        return {name if new[name] in fields else new[name]: value for name, value in fields.items()}

    return rename


def _timing(key: str, told: Callable[[int], str | float | None]) -> Shape:
    """Return what adds the time as a field, unless the record has one of that name."""

    def add(fields: Fields, time_ns: int) -> Fields:
        return {key: told(time_ns), **fields}

    return add


def _seconds(time_ns: int) -> float | None:
    try:
        return time_ns / SECOND_NS
    except (OverflowError, TypeError):
        return None  # as below


def _iso_time(time_ns: int) -> str | None:
    try:
        seconds, nanoseconds = divmod(time_ns, SECOND_NS)
        moment = datetime.fromtimestamp(seconds, UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
    except (OverflowError, ValueError, OSError, TypeError):
        return None  # no calendar goes so far, or it is no whole number
