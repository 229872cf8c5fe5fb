"""What records have in common with those before them, so that it is packed once.

A program logs by few statements: record after record has the same fields with the same values, but
for one text. Then the bytes of an entry before that text and behind it are known, and whoever finds
them here has nothing to pack but the text. Whether a record is such a one is asked by comparing a
private copy of it, without the text, with the last one that was: no step for each field in Python.

Only of records that are all texts: numbers that are equal may be packed differently (1, 1.0, True).
Records are compared as mappings are. So what says that it is equal to a text or a name that is
known, as a proxy does, is written as that; and fields may be written in the order of the last
record that has the same. To ask each value for its type would cost a tenth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

Items = tuple[tuple[str, Any], ...]
"""A record's fields, in their order."""

Around = tuple[bytes, bytes]
"""What an entry has between its time and the text's header, and between the text and the stamp."""

Known = dict[Items, tuple[dict[str, str], Around]]
"""By the other fields of a record: a mapping of them to compare the next record with, whose names
and values are plain texts, whatever was found to be equal to them; and what is around the text."""

Pattern = tuple[str, dict[str, str], Around, Known]
"""Records that differ in one text: its field; what the other fields were last, and what was around
the text there; and all others that are known. A plain tuple, which is taken apart in a third of the
time that a named one needs."""

LEARN_FROM = 64
"""So many records that did not fit a new pattern are learned from one after the other: at first
there is much to learn."""

LOOK_EVERY = 16
"""One of so many that did not fit is learned from later."""

SEEN_MAX = 16
"""So many records, one after the other, are compared to find a pattern."""

WAIT_MIN = 32
"""So many pass before that is tried again; each time that there was none, or that it was not worth
its while, twice as many. To ask in vain costs what finding it saves."""

WAIT_MAX = 1 << 13

_WORTH = 2
"""So many must fit for one that does not."""

_SMALL_MAP_FIELDS_MAX = 15
_OTHERS_KNOWN_MAX = 256
_OTHERS_CHARACTERS_MAX = 1024


def text_header(size: int) -> bytes:
    """Return what msgpack writes before a text of `size` bytes.

    Raises:
        OverflowError: It is longer than msgpack can say.
    """
    if size < 0x20:
        return bytes([0xA0 | size])
    if size <= 0xFF:
        return bytes([0xD9, size])
    if size <= 0xFFFF:
        return b"\xda" + size.to_bytes(2, "big")
    return b"\xdb" + size.to_bytes(4, "big")


TEXT_HEADERS = tuple(map(text_header, range(512)))
"""That of most texts, by their size."""


class Repeats:
    """Looks at records that fit no pattern, and finds the one that they have, if it is of use.

    May be used by several threads at once: they see each other's records.

    Args:
        extra_fields: How many fields a map's header counts beyond the record's own.

    Attributes:
        pattern: What to ask of each record; None where that would be in vain. Who finds that a
            record has others than the last one, and that they are known, may put them there.
    """

    __slots__ = (
        "_extra_fields",
        "_found",
        "_learned_from",
        "_looks",
        "_number",
        "_seen",
        "_wait",
        "pattern",
    )

    def __init__(self, extra_fields: int = 1) -> None:
        self._extra_fields = extra_fields
        self._found: Pattern | None = None  # the last one, in use or not
        self._seen: set[tuple[str, Items]] = set()
        self._looks = 0
        self._wait = WAIT_MIN
        self._learned_from = 0
        self._number = 0
        self.pattern: Pattern | None = None

    def look_at(self, fields: Mapping[str, Any], number: int, any_fitted: bool) -> int:
        """Learn from a record that fits no pattern.

        Args:
            fields: Of plain values under known names, which nobody changes.
            number: Its place in its stream. Those of the stream that are not asked count as if
                they fitted.
            any_fitted: Whether one of those that are asked did since the last look.

        Returns:
            How many that fit none, from now on, until the next is to be shown.
        """
        pattern = self.pattern
        if pattern is None:
            return self._look_for_one(fields, number)
        if self._is_small(fields, pattern[0]):
            self._learn(pattern[0], pattern[3], fields)
        self._learned_from += 1
        if self._learned_from < LEARN_FROM:
            return 1
        is_first = self._learned_from == LEARN_FROM
        misses = LEARN_FROM if is_first else LOOK_EVERY
        fitted = number - self._number - misses
        if fitted < _WORTH * misses or not (any_fitted or is_first):
            return self.give_up()
        self._wait, self._number = WAIT_MIN, number
        return LOOK_EVERY

    def give_up(self) -> int:
        """Ask no record any more for a while; return how many must pass until one is shown."""
        self.pattern = None
        return self._wait_longer()

    def _look_for_one(self, fields: Mapping[str, Any], number: int) -> int:
        """See whether one of the records before differs in nothing but a text."""
        self._looks += 1
        name = self._text_of(fields)
        if self._looks < SEEN_MAX and name is None:
            return 1
        self._looks = 0
        self._seen.clear()
        if name is None:
            return self._wait_longer()
        known = self._found[3] if self._found is not None and self._found[0] == name else {}
        others, around = self._learn(name, known, fields)
        self._learned_from, self._number = 0, number
        self._found = self.pattern = name, others, around, known
        return 1

    def _text_of(self, fields: Mapping[str, Any]) -> str | None:
        """Return the field in which a record differs from one that was seen."""
        for name in fields:
            if not self._is_small(fields, name):
                continue
            key = name, tuple(item for item in fields.items() if item[0] != name)
            if key in self._seen:
                return name
            self._seen.add(key)
        return None

    def _is_small(self, fields: Mapping[str, Any], text_name: str) -> bool:
        """Tell whether it is a record of texts, that one among them, and not much is to be kept.

        Of plain texts, also the names: from here on they stand for all that is equal to them.
        """
        return (
            {*map(type, fields), *map(type, fields.values())} == {str}
            and text_name in fields
            and len(fields) + self._extra_fields <= _SMALL_MAP_FIELDS_MAX
            and sum(map(len, fields.values())) - len(fields[text_name]) <= _OTHERS_CHARACTERS_MAX
        )

    def _learn(
        self, text_name: str, known: Known, fields: Mapping[str, Any]
    ) -> tuple[dict[str, str], Around]:
        """Remember what is around a record's text, and return it with the other fields."""
        if len(known) >= _OTHERS_KNOWN_MAX:
            known.clear()
        items = tuple(fields.items())
        at = [*fields].index(text_name)
        before, behind = items[:at], items[at + 1 :]
        begin = bytes([0x80 | len(items) + self._extra_fields])
        around = begin + _packed(before) + msgpack.packb(text_name), _packed(behind)
        found = known[before + behind] = dict(before + behind), around
        return found

    def _wait_longer(self) -> int:
        wait, self._wait = self._wait, min(2 * self._wait, WAIT_MAX)
        return wait


def _packed(items: Items) -> bytes:
    return b"".join(msgpack.packb(each) for item in items for each in item)
