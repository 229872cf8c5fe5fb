"""Documents that know in which lines of their file they are: JSON here, YAML in `yamltext`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"(\s*:)?|[{}]', re.DOTALL)


class Marked(dict[Any, Any]):
    """A mapping of a file.

    Attributes:
        line: The line in which it begins, from 1.
        lines: The line of each of its keys.
        blocks: The keys whose value is a text of several lines that begins in the next line.
    """

    line: int = 0
    lines: Mapping[Any, int] = {}
    blocks: frozenset[Any] = frozenset()


def lines_of(value: Any) -> dict[str, int]:
    """Return the lines of a mapping's keys, and its own under the empty name; none if unknown."""
    if not isinstance(value, Marked):
        return {}
    return {**{str(key): line for key, line in value.lines.items()}, "": value.line}


def line_of(value: Any, key: str = "") -> int | None:
    """Return the line of a mapping's key, or else its own; None if it is unknown."""
    return value.lines.get(key) or value.line if isinstance(value, Marked) else None


def parse_json(text: str) -> Any:
    """Return what a JSON text holds, with `Marked` mappings.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deep.
    """
    places = _places(text)

    def marked(pairs: list[tuple[str, Any]]) -> Marked:
        found = Marked(pairs)
        found.line, lines = next(places)
        found.lines = dict(zip((key for key, _ in pairs), lines, strict=False))
        return found

    return json.loads(text, object_pairs_hook=marked)


def _places(text: str) -> Iterator[tuple[int, list[int]]]:
    """Yield the line of each object and those of its keys, in the order in which objects end."""
    line, counted = 1, 0
    open_objects: list[tuple[int, list[int]]] = []
    for token in _TOKEN.finditer(text):
        line, counted = line + text.count("\n", counted, token.start()), token.start()
        if token[0] == "{":
            open_objects.append((line, []))
        elif token[0] == "}":
            yield open_objects.pop()
        elif token[1]:
            open_objects[-1][1].append(line)
