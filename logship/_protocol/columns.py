"""JSON lines of many records at once, of which most have the same names in the same order.

That is what one program's records nearly always have, and what makes a receiver fast: what stands
between the values is the same in every line, the values of one name stand in a column, and a
column is checked and written by a few calls that run in C, whatever the number of its values.
What comes out is what `json_line` makes of each record before `line_bytes`, or an exception.
"""

from __future__ import annotations

import json.encoder
from collections.abc import Iterable, Sequence
from itertools import chain, groupby, repeat
from typing import Any

from logship._protocol.jsonlines import json_text

_RUN_MIN = 8
"""Where fewer records one behind the other have the same names, they are not worth columns."""

_NAMES_MAX = 1 << 16
"""Names that are listed without a look at how many of them there are."""

quoted_text = json.encoder.encode_basestring
"""Returns a text as JSON has it, without escapes for what is not ASCII."""

NEED_ESCAPES = [*map(chr, range(0x20)), '"', "\\"]
"""The characters that JSON cannot have in a text as they are."""


def lines_text(head: str, times: Sequence[int], records: Sequence[dict[Any, Any]]) -> str:
    """Return a JSON line for each record.

    Args:
        head: what each line begins with, up to the time.
        times: nanoseconds since 1970 of each record.
        records: as many; not empty.

    Raises:
        ValueError, TypeError, RecursionError: a record holds what JSON cannot say.
    """
    names = tuple(records[0])
    count = len(names) * len(records)
    may_be_one_run = count <= _NAMES_MAX or count == sum(map(len, records))
    if may_be_one_run and [*chain.from_iterable(records)] == [*names] * len(records):
        runs = [(names, len(records))]
    else:
        runs = [(names, len([*run])) for names, run in groupby(map(tuple, records))]
        if len(runs) * _RUN_MIN > len(records) + _RUN_MIN:
            return _rows(head, times, records)
    texts, start = [], 0
    for names, count in runs:
        end = start + count
        texts.append(_columns(head, times[start:end], records[start:end], names))
        start = end
    return "".join(texts)


def _rows(head: str, times: Sequence[int], records: Sequence[dict[Any, Any]]) -> str:
    pairs = zip(times, records, strict=True)
    return "".join([f'{head}{time},"record":{json_text(record)}}}\n' for time, record in pairs])


def _columns(
    head: str, times: Sequence[int], records: Sequence[dict[Any, Any]], names: tuple[str, ...]
) -> str:
    count, width = len(records), len(names)
    values = [*chain.from_iterable(map(dict.values, records))]
    parts: list[Iterable[str]] = [map(str, times)]
    before, comma = ',"record":{', ""
    for index, name in enumerate(names):
        column = values[index::width]
        before += f"{comma}{quoted_text(name)}:"
        comma = ","
        first = column[0]
        if type(first) is str and column.count(first) == count:  # a level, a host, a logger
            before += quoted_text(first)
            continue
        mark, texts = _column(column)
        parts += [repeat(before + mark), texts]
        before = mark
    end = before + "}}\n"
    parts.append(chain(repeat(end + head, count - 1), (end,)))  # each but the last begins the next
    return "".join(chain((head,), chain.from_iterable(zip(*parts, strict=False))))


def _column(values: list[Any]) -> tuple[str, Iterable[str]]:
    """Return what must stand on both sides of each value of one name, and the values."""
    kinds = set(map(type, values))
    if kinds == {str}:
        if any(map("".join(values).__contains__, NEED_ESCAPES)):
            return "", map(quoted_text, values)
        return '"', values
    if kinds == {int}:
        return "", map(str, values)
    return "", map(json_text, values)
