"""Turns whatever an application logs into plain values that every msgpack and JSON reader takes.

A record may hold anything: a bytes key, a NaN, an object whose `repr` raises, a list inside
itself. Fluentd and Fluent Bit acknowledge what they cannot decode and then drop it, and an
exception here would cost the application its record, so each value becomes something readable:
text, finite number, bool, None, list or mapping with text keys. Nothing is shared between calls,
because the application's own code (`repr`, iterators, garbage collection) runs in the middle of
one and may log.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from logship._hooks.interruptions import is_interruption

DEPTH_MAX = 60
"""Levels of nesting kept, the record itself included. Fluent Bit acks a chunk with an entry of more
than 64 levels and drops what is behind it. So the entry around the record and three levels that a
filter adds have their place. Ruby's JSON, which Fluentd's outputs use, stops at 100."""

NODES_MAX = 100_000
"""Values kept in one record: shared references explode, iterators may never end."""

CHARACTERS_MAX = 8 * 1024 * 1024
"""Characters of long texts kept in one record: more than any server takes in one frame."""

SHORT_CHARACTERS_MAX = 128
"""A text of up to so many characters, or a name, is kept whole; `NODES_MAX` bounds these."""

LEFT_OUT_KEY = "logship_left_out"
"""Says in a mapping how it came to hold less than the application's."""

RENAMED_PREFIX = "app_"
"""Put before a field's name that is reserved, so that its value is kept and forges nothing."""

_UNBOUNDED = 1 << 60
_CUT_MARK = "…"
_CUT_BYTES_MIN = 16
"""A text cut shorter than this says nothing."""

NameTest = Callable[[str], bool]
"""Tells whether a field's name is reserved."""


def plain_value(value: Any) -> Any:
    """Return `value`, anything, as plain data.

    That is text, integer, finite float, bool, None, list or mapping. It may be one level deeper
    than a record. The packer then still finds what is nested too deep, and marks the record.
    """
    return _Reader(NODES_MAX, CHARACTERS_MAX, DEPTH_MAX + 1).value(value)


def plain_decoded(value: Any) -> tuple[Any, bool]:
    """Return what was decoded from bytes as plain data, and whether that holds all of it.

    Only `DEPTH_MAX` bounds it: what is decoded from bytes cannot explode.
    """
    reader = _Reader(_UNBOUNDED, _UNBOUNDED)
    return reader.value(value), reader.complete


def plain_record(record: Any, is_reserved: NameTest) -> tuple[dict[str, Any], bool]:
    """Return a record as a mapping of plain values, and whether it holds all of the original.

    Args:
        record: what the application logged; what is not a mapping becomes its `message` field.
        is_reserved: tells whether a name of the first level must be renamed.
    """
    reader = _Reader(NODES_MAX, CHARACTERS_MAX)
    fields = reader.mapping_or_none(record, is_reserved)
    if fields is None:
        fields = {"message": reader.value(record)}
    return fields, reader.complete


def mapping_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return names and values as a mapping. A name that was there before becomes another one."""
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    names = _Names(set(fields), lambda _: False)
    renamed: dict[str, Any] = {}
    for name, value in pairs:
        renamed[names.give(name, is_own=name not in renamed)] = value
    return renamed


def cut_texts(fields: dict[str, Any], excess_bytes: int) -> dict[str, Any] | None:
    """Return plain `fields` with the longest texts cut so that `excess_bytes` fewer are packed.

    All cut texts end at one length, which is the greatest that will do: texts shorter than it
    stay whole. Returns None where the texts are too short to give so much.
    """
    sizes = sorted(_text_sizes(fields), reverse=True)
    limit = _limit_bytes(sizes, excess_bytes)
    return None if limit is None else _cut(fields, limit)


def well_formed(text: str) -> str:
    r"""Return `text` with lone surrogates, which UTF-8 cannot hold, written out as `\udc80`."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


class _Reader:
    """One walk through one record; counts what is left of its bounds.

    Every method that calls the application's code turns its `Exception`s into text. A
    `BaseException` passes: `SystemExit` and `KeyboardInterrupt` come from signal handlers that
    happened to run here, and belong to the application.
    """

    def __init__(self, nodes_max: int, characters_max: int, depth_max: int = DEPTH_MAX) -> None:
        self.complete = True
        self._depth_max = depth_max
        self._nodes_left = nodes_max
        self._characters_left = characters_max
        self._open: set[int] = set()

    def value(self, value: Any) -> Any:
        """Return `value` as plain data; never raises an `Exception`."""
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is bool or value is None:
            return value
        if kind is int:
            return self._integer(value)
        if kind is float:
            return _number(value)
        try:
            return self._container(value) if kind in (dict, list) else self._other(value)
        except Exception as error:
            if is_interruption(error):
                raise
            return self._text(_unreadable(value, error))

    def mapping_or_none(self, value: Any, is_reserved: NameTest) -> dict[str, Any] | None:
        """Return `value` as a mapping with text keys, or None where it is not a mapping at all."""
        try:
            if not isinstance(value, Mapping):
                return None
            self._open.add(id(value))
            return self._mapping(value, is_reserved)
        except Exception as error:
            if is_interruption(error):
                raise
            return {"message": self._text(_unreadable(value, error))}

    def _other(self, value: Any) -> Any:
        kind = type(value)  # not isinstance: a proxy only says that it is a str
        if issubclass(kind, str):
            return self._text(str.__str__(value))
        if issubclass(kind, int):
            return self._integer(int.__index__(value))
        if issubclass(kind, float):
            return _number(float.__float__(value))
        if isinstance(value, (Mapping, list, tuple, set, frozenset, deque)):
            return self._container(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._container(value)
        return self._text(_text_of(value))

    def _container(self, value: Any) -> Any:
        if id(value) in self._open:
            return f"<{_type_name(value)} inside itself>"
        if len(self._open) >= self._depth_max:
            self.complete = False
            return f"<{_type_name(value)} nested more than {self._depth_max} deep>"
        self._open.add(id(value))
        try:
            if type(value) is list:
                return self._list(value)
            if isinstance(value, Mapping):
                return self._mapping(value)
            if dataclasses.is_dataclass(value):
                return self._mapping(_fields_of(value))
            return self._list(value)
        finally:
            self._open.discard(id(value))

    def _list(self, values: Iterable[Any]) -> list[Any]:
        taken, note = self._take(values)
        items = [self.value(item) for item in taken]
        if note is not None:
            items.append(f"<{note}>")
        return items

    def _mapping(
        self, mapping: Mapping[Any, Any], is_reserved: NameTest = lambda _: False
    ) -> dict[str, Any]:
        settled = mapping.copy() if type(mapping) is dict else mapping
        pairs, note = self._take(settled.items())
        fields: dict[str, Any] = {}
        names = None
        for key, value in pairs:
            is_first = type(key) is str and key not in fields
            if is_first and key.isascii() and not is_reserved(key):
                name = self._text(key)
            else:
                names = names or _Names({key for key, _ in pairs if type(key) is str}, is_reserved)
                text = self._key(key)
                name = names.give(text, is_own=is_first and key == text)
            fields[name] = self.value(value)
        if note is not None:
            fields[LEFT_OUT_KEY] = note
        return fields

    def _take(self, values: Iterable[Any]) -> tuple[list[Any], str | None]:
        """Return the items that the bounds allow, and why there are not more of them.

        All are taken before any is read, because reading runs the application's code, and that
        may change the collection.
        """
        taken: list[Any] = []
        note = None
        try:
            taken.extend(islice(values, self._nodes_left + 1))
        except Exception as error:
            if is_interruption(error):
                raise
            note = f"unreadable after {len(taken)} items: {_error_text(error)}"
        if len(taken) > self._nodes_left:
            del taken[self._nodes_left :]
            note = f"more than {NODES_MAX} values in one record"
        self._nodes_left -= len(taken)
        self.complete = self.complete and note is None
        return taken, note

    def _key(self, key: Any) -> str:
        try:
            return self._text(_text_of(key))
        except Exception as error:
            if is_interruption(error):
                raise
            return self._text(_unreadable(key, error))

    def _integer(self, value: int) -> int | str:
        if -(1 << 63) <= value < (1 << 64):
            return value
        try:
            return self._text(str(value))
        except ValueError:  # more digits than sys.set_int_max_str_digits allows
            return self._text(hex(value))

    def _text(self, text: str) -> str:
        if len(text) <= SHORT_CHARACTERS_MAX:
            return well_formed(text)
        if len(text) > self._characters_left:
            text = text[: max(SHORT_CHARACTERS_MAX, self._characters_left)] + _CUT_MARK
            self.complete = False
        self._characters_left = max(0, self._characters_left - len(text))
        return well_formed(text)


class _Names:
    """Gives each field of one mapping a name of its own, whatever two keys look like as text.

    Args:
        owned: the keys that are text already: they have the first right to their names.
        is_reserved: names that are put behind `RENAMED_PREFIX`.
    """

    def __init__(self, owned: set[str], is_reserved: NameTest) -> None:
        self._taken = owned
        self._is_reserved = is_reserved
        self._copies: dict[str, int] = {}

    def give(self, text: str, *, is_own: bool) -> str:
        """Return the name for a key.

        Args:
            text: How the key reads.
            is_own: Whether the key is this text, and the first such key.
        """
        if self._is_reserved(text):
            return self._free(RENAMED_PREFIX + text)
        return text if is_own else self._free(text)

    def _free(self, name: str) -> str:
        found = name
        while found in self._taken:
            self._copies[name] = self._copies.get(name, 1) + 1
            found = f"{name}_{self._copies[name]}"
        self._taken.add(found)
        return found


def _text_sizes(value: Any) -> Iterator[int]:
    """Yield the bytes of every text in plain data; keys are not texts, they are never cut."""
    if isinstance(value, str):
        yield len(value.encode())
    elif isinstance(value, dict):
        for item in value.values():
            yield from _text_sizes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _text_sizes(item)


def _limit_bytes(sizes: list[int], excess_bytes: int) -> int | None:
    """Return the length to which texts must be cut so that `excess_bytes` go.

    Args:
        sizes: bytes of each text, longest first.
        excess_bytes: how many must go, at least.
    """
    total = 0
    for count, size in enumerate(sizes, start=1):
        total += size
        limit = (total - excess_bytes) // count
        shorter = sizes[count] if count < len(sizes) else 0
        if limit >= max(shorter, _CUT_BYTES_MIN):
            return limit
    return None


def _cut(value: Any, limit_bytes: int) -> Any:
    if isinstance(value, str):
        encoded = value.encode()
        if len(encoded) <= limit_bytes:
            return value
        kept = encoded[: limit_bytes - len(_CUT_MARK.encode())]
        return kept.decode("utf-8", "ignore") + _CUT_MARK
    if isinstance(value, dict):
        return {key: _cut(item, limit_bytes) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item, limit_bytes) for item in value]
    return value


def _number(value: float) -> float | str:
    """Return `value`, or its name in text: JSON has no NaN, and Fluentd's outputs write JSON."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _text_of(value: Any) -> str:
    """Return a key, or a value that is not a container, in the form that people search logs for."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, BaseException):
        return _exception_text(value)
    return str.__str__(value if issubclass(type(value), str) else str(value))


def _exception_text(error: BaseException) -> str:
    """Return `type: text` of an exception, behind its traceback where it has one."""
    if error.__traceback__ is None:
        return "".join(traceback.format_exception_only(error)).rstrip()
    return "".join(traceback.format_exception(error)).rstrip()


def _fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass instance that are set and that its `repr` may show."""
    names = [field.name for field in dataclasses.fields(value) if field.repr]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _unreadable(value: Any, error: Exception) -> str:
    return f"<{_type_name(value)}: unreadable: {_error_text(error)}>"


def _error_text(error: Exception) -> str:
    try:
        return f"{_type_name(error)}: {error}"
    except Exception as raised:
        if is_interruption(raised):
            raise
        return _type_name(error)


def _type_name(value: Any) -> str:
    try:
        return str(type(value).__name__)
    except Exception as error:
        if is_interruption(error):
            raise
        return "object"
