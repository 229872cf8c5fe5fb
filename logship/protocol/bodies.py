"""The beginnings of many entries at once, column by column.

Who hands many records over has records that are alike, nearly always: the same names in the same
order. Then what stands between the values is the same in each of them and is packed once, as is a
value that all of them share, and the rest is looked at and packed a column at a time, by a few
calls that run in C whatever the number of its values.
"""

from __future__ import annotations

import contextlib
import math
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, groupby, repeat
from typing import Any

import msgpack

from logship.protocol.entries import KEPT_BYTES_MAX, entry_head, pack_record
from logship.protocol.plain import FLAT_TYPES, NAMES, NotPlain

RUN_RECORDS_MIN = 16
"""Where fewer records one behind the other have the same names, they are not worth columns."""

_NUMBER_BYTES_MAX = 9
_FLAT_TYPES_AND_FLOAT = FLAT_TYPES | {float}
_NONE: frozenset[str] = frozenset()

_idle: Callable[[Any], bytes] | None = None
"""What packs the next values, while nobody does; as `entries` has it for single records."""


class Bodies:
    """The beginnings of entries, which want their stamps.

    Args:
        constants: What is the same in all of them: one more than there are columns.
        columns: What differs. The n-th body is ``constants[0] + columns[0][n] + constants[1] + …``.
        count: How many there are.

    Attributes:
        count: As given.
        size: How many bytes they have.
    """

    __slots__ = ("_columns", "_constants", "count", "size")

    def __init__(
        self, constants: list[bytes], columns: Sequence[Sequence[bytes]], count: int
    ) -> None:
        self._constants = constants
        self._columns = columns
        self.count = count
        self.size = self._constant_bytes() * count + sum(sum(map(len, each)) for each in columns)

    @classmethod
    def of(cls, bodies: Sequence[bytes]) -> Bodies:
        """Return bodies of which nothing is known."""
        return cls([b"", b""], [bodies], len(bodies))

    def __getitem__(self, index: int) -> bytes:
        """Return one of them."""
        column_values = [each[index] for each in self._columns]
        pairs = zip(self._constants, [*column_values, b""], strict=True)
        return b"".join(chain.from_iterable(pairs))

    def sizes(self, begin: int = 0) -> list[int]:
        """Return how many bytes each has, from the `begin`-th on."""
        constant, count = self._constant_bytes(), self.count - begin
        columns = [map(len, each[begin:]) for each in self._columns]
        return [*map(sum, zip(repeat(constant, count), *columns, strict=True))]

    def stamped(self, begin: int, suffix: bytes, ends: Sequence[bytes]) -> bytes:
        """Return entries one behind the other: the bodies from the `begin`-th on, with stamps.

        Args:
            begin: Which is the first.
            suffix: What stands behind each of them.
            ends: What stands behind that; as many entries are returned.
        """
        end = begin + len(ends)
        parts: list[Iterable[bytes]] = []
        *between, last = self._constants
        for constant, column in zip(between, self._columns, strict=True):
            if constant:
                parts.append(repeat(constant))
            parts.append(column[begin:end])
        parts += repeat(last + suffix), ends
        return b"".join(chain.from_iterable(zip(*parts, strict=False)))

    def _constant_bytes(self) -> int:
        return sum(map(len, self._constants))


def pack_records(
    records: Sequence[Any],
    time_ns: int,
    extra_fields: int = 1,
    also_reserved: frozenset[str] = _NONE,
    bytes_max: int = sys.maxsize,
) -> Bodies:
    """Pack the beginnings of the entries of records of one time; each is as `pack_record` makes it.

    Never raises an `Exception` for what a record holds either: what is not plain goes the way of
    single records.

    Args:
        records: What the application logged, at least one; what is no mapping becomes its
            `message`.
        time_ns: When, all of it; nanoseconds since 1970.
        extra_fields: How many fields each map's header counts beyond the record's own.
        also_reserved: Names besides `logship_*` that the caller will append.
        bytes_max: No more are packed than about so many bytes hold, but one.

    Returns:
        The first of them or all: those that are alike, and that there is room for.
    """
    arguments = (records, time_ns, extra_fields, also_reserved, bytes_max)
    if len(records) >= RUN_RECORDS_MIN:
        with contextlib.suppress(Exception):  # see `pack_record`, which will meet it as well
            return _pack_columns(*arguments)
    return _pack_one_by_one(*arguments)


def _pack_one_by_one(
    records: Sequence[Any],
    time_ns: int,
    extra_fields: int,
    also_reserved: frozenset[str],
    bytes_max: int,
) -> Bodies:
    bodies: list[bytes] = []
    size = 0
    for record in records:
        body = pack_record(record, time_ns, extra_fields, also_reserved)
        size += len(body)
        if bodies and size > bytes_max:
            break
        bodies.append(body)
    return Bodies.of(bodies)


def _pack_columns(
    records: Sequence[Any],
    time_ns: int,
    extra_fields: int,
    also_reserved: frozenset[str],
    bytes_max: int,
) -> Bodies:
    """Do what `pack_records` does, if the first of these records are plain and alike.

    Raises:
        NotPlain: They are not.
        Exception: Whatever msgpack, the hash of a key or a time that fits no EventTime raises.
    """
    global _idle  # noqa: PLW0603 - see there
    copies = _alike(records)
    names = [*copies[0]]
    if not (NAMES.issuperset(names) and also_reserved.isdisjoint(names)):
        raise NotPlain
    values = [*chain.from_iterable(map(dict.values, copies))]
    columns = [_Column(values[at :: len(names)]) for at in range(len(names))]
    count = _fitting(columns, len(copies), bytes_max)
    pack, _idle = _idle, None
    if pack is None:
        pack = msgpack.Packer().pack
    constants, packed = [], []
    before = entry_head(time_ns, len(names) + extra_fields)
    for name, column in zip(names, columns, strict=True):
        before += pack(name)
        if column.is_shared:
            before += pack(column.values[0])
        else:
            constants.append(before)
            packed.append([*map(pack, column.values[:count])])
            before = b""
    bodies = Bodies([*constants, before], packed, count)
    if bodies.size < KEPT_BYTES_MAX:
        _idle = pack
    return bodies


class _Column:
    """The values of one name.

    Attributes:
        values: As given; msgpack may pack them as they are.
        is_shared: Whether they are all one text, as a level is, a host or a logger.
        is_text: Whether they are texts.

    Raises:
        NotPlain: One of them is not plain.
    """

    __slots__ = ("is_shared", "is_text", "values")

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        kinds = {*map(type, values)}
        self.is_text = kinds == {str}
        # Of texts alone: anything else may say that it is equal to one.
        self.is_shared = self.is_text and values.count(values[0]) == len(values)
        if not kinds <= FLAT_TYPES:
            if not kinds <= _FLAT_TYPES_AND_FLOAT:
                raise NotPlain
            if not all(math.isfinite(value) for value in values if type(value) is float):
                raise NotPlain

    def sizes(self) -> Iterable[int]:
        """Return about how many bytes each value has."""
        if self.is_shared:
            return repeat(len(self.values[0]), len(self.values))
        if self.is_text:
            return map(len, self.values)
        return [len(each) if type(each) is str else _NUMBER_BYTES_MAX for each in self.values]


def _alike(records: Sequence[Any]) -> list[dict[str, Any]]:
    """Return private copies of the first records, those that have the same names in one order.

    Raises:
        NotPlain: One of all of them is no mapping or has a name that is no text, or they are few.
    """
    if {*map(type, records)} != {dict}:
        raise NotPlain
    copies: list[dict[str, Any]] = [*map(dict.copy, records)]
    names = [*chain.from_iterable(copies)]
    if not {*map(type, names)} <= {str}:
        raise NotPlain
    # A longer one would have a name twice, and for each shorter one there would be a longer one.
    if names != [*copies[0]] * len(copies):
        _, run = next(groupby(copies, key=list))
        copies = [*run]
    if len(copies) < RUN_RECORDS_MIN:
        raise NotPlain
    return copies


def _fitting(columns: list[_Column], count: int, bytes_max: int) -> int:
    """Return how many of the first records have no more than about so many bytes, at least one."""
    if sum(sum(each.sizes()) for each in columns) <= bytes_max:
        return count
    sizes = map(sum, zip(*[each.sizes() for each in columns], strict=True))
    return max(1, bisect_right([*accumulate(sizes)], bytes_max))
