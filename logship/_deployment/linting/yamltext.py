"""YAML, by PyYAML if it is installed: only an extra of the package depends on it.

Tags that a platform gave a meaning of its own, such as compose's `!reset`, stand for nothing.
Aliases may repeat only so much: a few lines can name each other so that they stand for a billion.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from logship._deployment.linting.marks import Marked
from logship._deployment.linting.model import LintError

HOW_TO_INSTALL = "YAML needs PyYAML: pip install PyYAML (JSON needs nothing)"

YAML_CHARACTERS_MAX: Final = 1024 * 1024
"""Of one text. PyYAML takes up to 20 µs and 350 bytes for each."""
REPEATED_MAX: Final = 1_000_000
"""Values and characters that a text's aliases may stand for, all together."""
NUMBER_CHARACTERS_MAX: Final = 18
"""A longer number is a text: it is no setting, to read `1:2:3…` costs its length squared, and
numbers from 2**61 on can all have one hash."""


class YamlMissing(LintError):  # noqa: N818 - it names the state, as its siblings do
    """There is no parser for YAML; the text says what to install."""


def parse_yaml(text: str) -> list[Any]:
    """Return a text's documents; empty ones are left out.

    Raises:
        YamlMissing: PyYAML is not installed.
        LintError: It is not YAML, or longer than `YAML_CHARACTERS_MAX`.
    """
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError:
        raise YamlMissing(HOW_TO_INSTALL) from None
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
                if len(node.value) > NUMBER_CHARACTERS_MAX and node.tag in numbers:
                    node.tag = "tag:yaml.org,2002:str"
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
            marked.blocks = frozenset(
                name for name, _, value in keys if getattr(value, "style", None) == "|"
            )

    numbers = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    Loader.add_constructor("tag:yaml.org,2002:map", Loader.construct_marked)
    Loader.add_multi_constructor("!", lambda *_: None)
    return Loader
