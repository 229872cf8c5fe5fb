"""What records have in common with those before them, so that it is packed once.

A program logs by few statements: record after record has the same fields with the same values, but
for one text. Then the bytes of an entry before that text and behind it are known, and whoever finds
them here has nothing to pack but the text. Whether a record is such a one is asked of a private
copy of its items, by a look into a mapping; nothing here costs a step for each field.

Only texts are known, and only by their value: numbers that are equal may be packed differently
(1, 1.0, True), while what is equal to a text and has its hash, a subclass or a proxy of one, is
written like that text by the longer way too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack

Items = tuple[tuple[str, Any], ...]
"""A record's fields, in their order."""

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

_OTHERS = {0: slice(1, None), -1: slice(None, -1)}
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


TEXT_HEADERS = tuple(map(text_header, range(1024)))
"""That of most texts, by their size."""


Pattern = tuple[str, int, slice, dict[Items, tuple[bytes, bytes]]]
"""Records that differ in one text: the text's field; its place, 0 for the first or -1 for the last;
which items are the others; and by those, what an entry has between its time and the text's header,
and what between the text and the stamp. A plain tuple, which is taken apart in a third of the time
that a named one needs."""


class Repeats:
    """Looks at records that fit no pattern, and finds the one that they have, if it is of use.

    May be used by several threads at once: they see each other's records.

    Args:
        extra_fields: How many fields a map's header counts beyond the record's own.

    Attributes:
        pattern: What to ask of each record; None where that would be in vain.
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
        self._seen: set[tuple[str, int, Items]] = set()
        self._looks = 0
        self._wait = WAIT_MIN
        self._learned_from = 0
        self._number = 0
        self.pattern: Pattern | None = None

    def look_at(self, fields: Mapping[str, Any], number: int) -> int:
        """Learn from a record that fits no pattern.

        Args:
            fields: Of plain values under names that are not reserved, which nobody changes.
            number: How many records there were before it, those that fit among them.

        Returns:
            How many that fit none, from now on, until the next is to be shown.
        """
        items = tuple(fields.items())
        pattern = self.pattern
        if pattern is None:
            return self._look_for_one(items, number)
        if self._has(pattern, items):
            self._learn(pattern, items)
        self._learned_from += 1
        if self._learned_from < LEARN_FROM:
            return 1
        misses = LEARN_FROM if self._learned_from == LEARN_FROM else LOOK_EVERY
        if number - self._number < (1 + _WORTH) * misses:
            self.pattern = None
            return self._wait_longer()
        self._wait, self._number = WAIT_MIN, number
        return LOOK_EVERY

    def _look_for_one(self, items: Items, number: int) -> int:
        """See whether one of the records before differs in nothing but a text at one end."""
        pattern = self._pattern_of(items)
        if pattern is not None:
            self._found = self.pattern = pattern
            self._learned_from, self._number = 0, number
        self._looks += 1
        if self._looks < SEEN_MAX and pattern is None:
            return 1
        self._looks = 0
        self._seen.clear()
        return 1 if pattern is not None else self._wait_longer()

    def _pattern_of(self, items: Items) -> Pattern | None:
        """Return the pattern of a record and one that was seen, and learn from it."""
        for at, which in _OTHERS.items() if items else ():
            pattern = self._found
            if pattern is None or pattern[:2] != (items[at][0], at):
                pattern = items[at][0], at, which, {}
            if self._has(pattern, items):
                key = items[at][0], at, items[which]
                if key in self._seen:
                    self._learn(pattern, items)
                    return pattern
                self._seen.add(key)
        return None

    def _wait_longer(self) -> int:
        wait, self._wait = self._wait, min(2 * self._wait, WAIT_MAX)
        return wait

    def _has(self, pattern: Pattern, items: Items) -> bool:
        """Tell whether a record has the pattern, whatever the others are."""
        text_name, text_at, which, _ = pattern
        if not items or items[text_at][0] != text_name or type(items[text_at][1]) is not str:
            return False
        values = [value for _, value in items[which]]
        return (
            {*map(type, values)} <= {str}
            and sum(map(len, values)) <= _OTHERS_CHARACTERS_MAX
            and len(items) + self._extra_fields <= _SMALL_MAP_FIELDS_MAX
        )

    def _learn(self, pattern: Pattern, items: Items) -> None:
        """Remember what is around the text of a record that has the pattern."""
        text_name, text_at, which, around = pattern
        if len(around) >= _OTHERS_KNOWN_MAX:
            around.clear()
        others = items[which]
        begins = bytes([0x80 | len(items) + self._extra_fields])
        named = msgpack.packb(text_name)
        packed = b"".join(msgpack.packb(each) for item in others for each in item)
        is_first = text_at == 0
        around[others] = (begins + named, packed) if is_first else (begins + packed + named, b"")
