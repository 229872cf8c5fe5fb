"""What records have in common with those before them, so that it is packed once.

A program logs by few statements: record after record has the same fields with the same values, but
for one text or two. Then the bytes of an entry around these are known, and whoever finds them here
has nothing to pack but the texts. Whether a record is such a one is asked by comparing a private
copy of it, without the texts, with the last one that was: no step for each field in Python.

Only of records that are all texts: numbers that are equal may be packed differently (1, 1.0, True).
Records are compared as mappings are. So what says that it is equal to a text or a name that is
known, as a proxy does, is written as that; and fields may be written in the order of the last
record that has the same. To ask each value for its type would cost a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import msgpack

from logship.protocol.layouts import Around, Layouts

Items = tuple[tuple[str, Any], ...]
"""A record's fields, in their order."""

Texts = tuple[str, str | None]
"""The fields that differ, in their order: one, or two."""

Known = dict[Items, tuple[dict[str, str], Around]]
"""By the other fields of a record: a mapping of them to compare the next record with, whose names
and values are plain texts, whatever was found to be equal to them; and what is around the texts."""

Pattern = tuple[str, str | None, dict[str, str], Around, Known]
"""Records that differ in a text or two: their fields; what the other fields were last, and what was
around the texts there; and all others that are known. A plain tuple, which is taken apart in a
third of the time that a named one needs."""

LEARN_FROM = 64
"""So many records that did not fit a new pattern are learned from one after the other: at first
there is much to learn."""

LOOK_EVERY = 16
"""One of so many that did not fit is learned from later."""

SEEN_MAX = 16
"""So many records, one after the other, are compared to find a pattern of one text; if there is
none, one of two will do."""

WAIT_MIN = 32
"""So many pass before that is tried again; each time that there was none, or that it was not worth
its while, twice as many. To ask in vain costs what finding it saves."""

WAIT_MAX = 1 << 13

_WORTH = 2
"""So many must fit for one that does not."""

_SMALL_MAP_FIELDS_MAX = 15
_PAIRED_FIELDS_MAX = 8
"""Of records with more fields than that, no two are tried: there are too many pairs."""

_OTHERS_KNOWN_MAX = 256
_OTHERS_CHARACTERS_MAX = 1024


class Repeats:
    """Looks at records that fit no pattern, and finds the one that they have, if it is of use.

    May be used by several threads at once: they see each other's records.

    Args:
        extra_fields: How many fields a map's header counts beyond the record's own.
        layouts: Where what is around texts that are forgotten had its layouts.

    Attributes:
        pattern: What to ask of each record; None where that would be in vain. Who finds that a
            record has others than the last one, and that they are known, may put them there.
    """

    __slots__ = (
        "_extra_fields",
        "_found",
        "_layouts",
        "_learned_from",
        "_looks",
        "_number",
        "_seen",
        "_wait",
        "pattern",
    )

    def __init__(self, extra_fields: int = 1, layouts: Layouts | None = None) -> None:
        self._extra_fields = extra_fields
        self._layouts = layouts or Layouts()
        self._found: Pattern | None = None  # the last one, in use or not
        self._seen: set[tuple[Texts, Items]] = set()
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
        if self._is_small(fields, pattern[:2]):
            self._learn(pattern[:2], pattern[4], fields)
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
        """See whether one of the records before differs in nothing but a text, or two."""
        self._looks += 1
        texts = self._texts_of(fields, [(name, None) for name in fields])
        pair = None
        if len(fields) <= _PAIRED_FIELDS_MAX:
            pair = self._texts_of(fields, combinations(fields, 2))
        if self._looks < SEEN_MAX and texts is None:
            return 1
        self._looks = 0
        self._seen.clear()
        texts = texts or pair
        if texts is None:
            return self._wait_longer()
        known: Known = {}
        if self._found is not None and self._found[:2] == texts:
            known = self._found[4]
        else:
            self._layouts.forget()  # with another pattern, if there was one
        others, around = self._learn(texts, known, fields)
        self._learned_from, self._number = 0, number
        self._found = self.pattern = *texts, others, around, known
        return 1

    def _texts_of(self, fields: Mapping[str, Any], candidates: Iterable[Texts]) -> Texts | None:
        """Return the fields in which a record differs from one that was seen."""
        for texts in candidates:
            if not self._is_small(fields, texts):
                continue
            key = texts, tuple(item for item in fields.items() if item[0] not in texts)
            if key in self._seen:
                return texts
            self._seen.add(key)
        return None

    def _is_small(self, fields: Mapping[str, Any], texts: Texts) -> bool:
        """Tell whether it is a record of texts, those among them, and not much is to be kept.

        Of plain texts, also the names: from here on they stand for all that is equal to them.
        """
        names = [name for name in texts if name is not None]
        return (
            {*map(type, fields), *map(type, fields.values())} == {str}
            and [name for name in fields if name in texts] == names
            and len(fields) + self._extra_fields <= _SMALL_MAP_FIELDS_MAX
            and sum(len(fields[name]) for name in fields if name not in texts)
            <= _OTHERS_CHARACTERS_MAX
        )

    def _learn(
        self, texts: Texts, known: Known, fields: Mapping[str, Any]
    ) -> tuple[dict[str, str], Around]:
        """Remember what is around a record's texts, and return it with the other fields."""
        if len(known) >= _OTHERS_KNOWN_MAX:
            known.clear()
            self._layouts.forget()
        others: list[tuple[str, Any]] = []
        parts = [b""]
        for name, value in fields.items():
            parts[-1] += msgpack.packb(name)
            if name in texts:
                parts.append(b"")
            else:
                parts[-1] += msgpack.packb(value)
                others.append((name, value))
        before, *between, behind = parts
        map_header = bytes([0x80 | len(fields) + self._extra_fields])
        around = Around(map_header, before, b"".join(between), behind, {}, {})
        found = known[tuple(others)] = dict(others), around
        return found

    def _wait_longer(self) -> int:
        wait, self._wait = self._wait, min(2 * self._wait, WAIT_MAX)
        return wait
