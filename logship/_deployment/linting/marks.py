"""Documents that know in which lines of their file they are, of JSON and YAML.

YAML is read by PyYAML if it is installed: only an extra of the package depends on it. Compose's
`!reset` stands for nothing, `!override` and Fluentd's `!fluent/s` for what is behind them. Any
other tag of a platform makes a mapping, as CloudFormation's `!Ref` does: `{"Fn::Ref": …}`. Aliases
may repeat only so much: a few lines can name each other so that they stand for a billion.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from logship.errors import LogshipError

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"(\s*:)?|[{}]', re.DOTALL)

YAML_CHARACTERS_MAX: Final = 1024 * 1024
"""Of one text. PyYAML takes up to 20 µs and 350 bytes for each."""
REPEATED_MAX: Final = 1_000_000
"""Values and characters that a text's aliases may stand for, all together."""
NUMBER_CHARACTERS_MAX: Final = 18
"""A longer number is a text: it is no setting, to read `1:2:3…` costs its length squared, and
numbers from 2**61 on can all have one hash."""


class LintError(LogshipError):
    """A file cannot be checked; the text names it and says why."""


class Marked(dict[Any, Any]):
    """A mapping of a file.

    Attributes:
        line: The line in which it begins, from 1.
        lines: The line of each of its keys.
        blocks: The keys whose value is a text of several lines, and the line of its first one.
    """

    line: int = 0
    lines: Mapping[Any, int] = {}
    blocks: Mapping[Any, int] = {}


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


def parse_yaml(text: str) -> list[Any]:
    """Return a text's documents; empty ones are left out.

    Raises:
        LintError: It is not YAML, or longer than `YAML_CHARACTERS_MAX`, or PyYAML is not installed.
    """
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError:
        raise LintError("YAML needs PyYAML: pip install PyYAML (JSON needs nothing)") from None
    if len(text) > YAML_CHARACTERS_MAX:
        raise LintError(f"its YAML is longer than {YAML_CHARACTERS_MAX // 1024 // 1024} MiB")
    loader = _loader(yaml)
    try:
        return [each for each in yaml.load_all(text, Loader=loader) if each is not None]
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        raise LintError(f"it is not YAML: {where}{what}") from None
    except (ValueError, ArithmeticError, AttributeError, LookupError):
        # So PyYAML refuses `!!int x`, `!!timestamp x`, `!!bool x`, `!!int`. The first shows the x.
        raise LintError("it is not YAML: a value is not of the type that its tag names") from None


def _loader(yaml: Any) -> Any:
    """Return a loader that refuses what aliases could make endless."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        size = repeated = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            is_alias = self.check_event(yaml.AliasEvent)
            before = self.size
            node = super().compose_node(parent, index)
            if is_alias:
                self.repeat(node)
            else:
                self.measure(node, before)
            return node

        def measure(self, node: Any, before: int) -> None:
            if isinstance(node, yaml.ScalarNode):
                self.size += len(node.value)
                is_long = len(node.value) > NUMBER_CHARACTERS_MAX
                # YAML 1.1 takes `1001:0` for 60,060; what reads these files does not.
                if node.tag in numbers and (is_long or ":" in node.value):
                    node.tag = "tag:yaml.org,2002:str"
            if node.tag == "!override":  # of compose: in place of what other files say
                node.tag = self.resolve(type(node), node.value, (True, False))
            self.size += 1
            node.size = self.size - before

        def repeat(self, node: Any) -> None:
            if not hasattr(node, "size"):  # it is not yet composed
                raise LintError("this YAML cannot be read: an alias stands for itself")
            self.size += node.size
            self.repeated += node.size
            if self.repeated > REPEATED_MAX:
                raise LintError("this YAML cannot be read: its aliases repeat too much")

        def construct_marked(self, node: Any) -> Any:
            marked = Marked()
            yield marked  # first, so that an alias may stand for it
            marked.update(self.construct_mapping(node))  # which puts merged keys into the node
            keys = [(self.construct_object(key), key, value) for key, value in node.value]
            marked.line = node.start_mark.line + 1
            marked.lines = {name: key.start_mark.line + 1 for name, key, _ in keys}
            marked.blocks = {
                name: value.start_mark.line + 2
                for name, _, value in keys
                if getattr(value, "style", None) == "|"
            }

        def construct_tagged(self, suffix: str, node: Any) -> Any:
            if isinstance(node, yaml.ScalarNode):
                return {f"Fn::{suffix}": node.value}
            if isinstance(node, yaml.SequenceNode):
                return {f"Fn::{suffix}": self.construct_sequence(node, deep=True)}
            return {f"Fn::{suffix}": self.construct_mapping(node, deep=True)}

    numbers = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    Loader.add_constructor("tag:yaml.org,2002:map", Loader.construct_marked)
    Loader.add_multi_constructor("!", Loader.construct_tagged)
    Loader.add_constructor("!reset", lambda *_: None)
    Loader.add_constructor("!fluent/s", Loader.construct_scalar)
    return Loader
