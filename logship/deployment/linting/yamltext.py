"""YAML, by PyYAML where it is installed: it is no dependency of the package, but of an extra.

Tags that a platform gave a meaning of its own, such as compose's `!reset`, stand for nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

from logship.deployment.linting.model import LintError

HOW_TO_INSTALL = "YAML needs PyYAML: pip install 'logship-forward[lint]' (JSON needs nothing)"


class YamlMissing(LintError):  # noqa: N818 - it names the state, as its siblings do
    """There is no parser for YAML; the text says what to install."""


def parse_yaml(text: str) -> list[Any]:
    """Return a text's documents; empty ones are left out.

    Raises:
        YamlMissing: PyYAML is not installed.
        LintError: It is no YAML.
    """
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError:
        raise YamlMissing(HOW_TO_INSTALL) from None
    loader: Any = type("Loader", (yaml.SafeLoader,), {})
    loader.add_multi_constructor("!", lambda *_: None)
    try:
        return [each for each in yaml.load_all(text, Loader=loader) if each is not None]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise LintError(f"it is no YAML: {_where(error)}{_what(error)}") from None


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "


def _what(error: Exception) -> str:
    return " ".join(str(getattr(error, "problem", None) or error).split())
