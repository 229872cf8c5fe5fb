"""Reads the plugins in a configuration of Fluent Bit, in both of its forms."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from logship.deployment.linting.model import LintError
from logship.deployment.linting.yamltext import YamlMissing, parse_yaml

Plugin = dict[str, str]
"""A plugin's options; names and values are in lower case, because Fluent Bit ignores the case."""

_HEAD = re.compile(r"^[ \t]*\[(\w+)\][ \t\r]*$", re.MULTILINE)


def inputs(text: str) -> list[Plugin]:
    """Return the inputs of a configuration; none if it is another program's."""
    return _plugins(text)["inputs"]


def outputs(text: str) -> list[Plugin]:
    """Return the outputs of a configuration; none if it is another program's."""
    return _plugins(text)["outputs"]


def line(text: str, option: str, value: str) -> str:
    """Return the line that sets an option, in the form that a configuration has."""
    return f"{option}{' ' if _HEAD.search(text) else ': '}{value}"


@functools.lru_cache(maxsize=1)  # several rules ask for one text, and YAML takes long to parse
def _plugins(text: str) -> dict[str, list[Plugin]]:
    found: dict[str, list[Plugin]] = {"inputs": [], "outputs": []}
    for section, plugin in _classic(text) if _HEAD.search(text) else _yaml(text):
        if section in found:
            found[section].append(plugin)
    return found


def _classic(text: str) -> Iterator[tuple[str, Plugin]]:
    _, *parts = _HEAD.split(text)
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        lines = [line.split(maxsplit=1) for line in body.lower().splitlines()]
        options = [words for words in lines if len(words) == 2 and not words[0].startswith("#")]
        yield f"{name.lower()}s", {option: value.strip() for option, value in options}


def _yaml(text: str) -> Iterator[tuple[str, Plugin]]:
    try:
        documents = parse_yaml(text)
    except YamlMissing:
        return  # YAML inside of JSON; with the extra for YAML files the parser is there
    except LintError:
        return  # some other program's configuration
    for pipeline in [each.get("pipeline") for each in documents if isinstance(each, dict)]:
        for section, plugins in pipeline.items() if isinstance(pipeline, dict) else ():
            for each in plugins if isinstance(plugins, list) else ():
                if isinstance(each, dict):
                    yield str(section), _lowered(each)


def _lowered(options: dict[Any, Any]) -> Plugin:
    return {str(option).lower(): str(value).lower() for option, value in options.items()}
