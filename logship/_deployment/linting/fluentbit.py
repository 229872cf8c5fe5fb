"""Reads the plugins in a configuration of Fluent Bit, in both of its forms, with their lines."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from logship._deployment.linting.marks import Marked
from logship._deployment.linting.model import LintError, ServerConfiguration
from logship._deployment.linting.yamltext import parse_yaml

_HEAD = re.compile(r"^[ \t]*\[(\w+)\][ \t\r]*$", re.MULTILINE)
_INCLUDE = re.compile(r"^[ \t]*@INCLUDE\b", re.MULTILINE | re.IGNORECASE)
_SECTIONS = ("inputs", "filters", "outputs")
ON = ("true", "on", "yes", "")
"""What switches an option on, here and in Fluentd; there it may stand alone."""


@dataclass(slots=True)
class Plugin:
    """A plugin, or the service.

    Attributes:
        options: Names and values in lower case, because Fluent Bit ignores the case of names.
        written: The same with values as they are written.
        line: Where in its file it begins.
        lines: The line of each option.
    """

    line: int
    options: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Which plugin it is."""
        return self.options.get("name", "")

    @property
    def has_match(self) -> bool:
        """Whether it says which records it takes."""
        return not self.options.keys().isdisjoint(("match", "match_regex"))

    def line_of(self, option: str) -> int:
        """Return the line of an option, or its own."""
        return self.lines.get(option, self.line)

    def add(self, option: str, value: str, line: int) -> None:
        """Add an option."""
        self.options[option.lower()] = value.lower()
        self.written[option.lower()] = value
        self.lines[option.lower()] = line


@dataclass(slots=True)
class Configuration:
    """A configuration; everything is empty if it is another program's.

    Attributes:
        is_classic: Whether it has the form with sections in brackets.
        inputs: In their order.
        filters: Also.
        outputs: Also.
        service: The service, if it has one.
        is_whole: Whether it includes no other file.
    """

    is_classic: bool
    inputs: list[Plugin] = field(default_factory=list)
    filters: list[Plugin] = field(default_factory=list)
    outputs: list[Plugin] = field(default_factory=list)
    service: Plugin | None = None
    is_whole: bool = True

    @property
    def lacks_storage(self) -> bool:
        """Whether it certainly has no `storage.path`, which files of a buffer need."""
        return self.is_whole and "storage.path" not in self._of_service

    def is_in_memory(self, plugin: Plugin) -> bool:
        """Return whether an input keeps its buffer in memory; `$` is a variable."""
        kind = plugin.options.get("storage.type", "memory")
        if "storage.type" not in plugin.options and self._of_service.get("storage.inherit") in ON:
            kind = self._of_service.get("storage.type", kind)
        return kind != "filesystem" and "$" not in kind

    @property
    def _of_service(self) -> dict[str, str]:
        return self.service.options if self.service is not None else {}

    @property
    def has_direct_routes(self) -> bool:
        """Whether outputs get records that they do not match.

        An input may name outputs. The only output gets those of the only input if it has no Match.
        """
        is_only_one = len(self.outputs) == 1 and (len(self.inputs) == 1 or not self.is_whole)
        if is_only_one and not self.outputs[0].has_match:
            return True
        return any("routes" in each.options for each in self.inputs)

    def setting(self, option: str, value: str) -> str:
        """Return the line that sets an option.

        In the form with sections, quotes would be a part of the value.
        """
        if self.is_classic:
            return f"{option} {value}"
        return f'{option}: "{value}"' if value == "*" else f"{option}: {value}"


def is_classic(text: str) -> bool:
    """Return whether a text has the form with sections in brackets."""
    return _HEAD.search(text) is not None


@functools.lru_cache(maxsize=16)  # several rules ask for one, and YAML takes long to parse
def parse(configuration: ServerConfiguration) -> Configuration:
    """Return what is in a text."""
    found = Configuration(is_classic(configuration.text))
    if found.is_classic:
        found.is_whole = not _INCLUDE.search(configuration.text)
        plugins = _classic(configuration)
    else:
        documents = [each for each in _documents(configuration.text) if isinstance(each, Marked)]
        found.is_whole = not any("includes" in each for each in documents)
        plugins = _yaml(documents, configuration)
    for section, plugin in plugins:
        if section in _SECTIONS:
            getattr(found, section).append(plugin)
        elif section in ("service", "services"):
            found.service = plugin
    return found


def _classic(configuration: ServerConfiguration) -> Iterator[tuple[str, Plugin]]:
    plugin = None
    for index, raw in enumerate(configuration.text.split("\n"), start=1):
        words, number = raw.strip().split(maxsplit=1), configuration.line_of(index)
        if (head := _HEAD.match(raw)) is not None:
            plugin = Plugin(number)
            yield f"{head[1].lower()}s", plugin
        elif plugin is not None and len(words) == 2 and not words[0].startswith("#"):
            plugin.add(words[0], words[1], number)


def _documents(text: str) -> list[Any]:
    try:
        return parse_yaml(text)
    except LintError:  # another program's; or YAML inside of JSON, without the extra for YAML
        return []


def _yaml(
    documents: list[Marked], configuration: ServerConfiguration
) -> Iterator[tuple[str, Plugin]]:
    for document in documents:
        pipeline = document.get("pipeline")
        sections = pipeline if isinstance(pipeline, Marked) else {}
        for section, plugins in {**sections, "service": [document.get("service")]}.items():
            for each in plugins if isinstance(plugins, list) else ():
                if isinstance(each, Marked):
                    yield str(section), _plugin(each, configuration)


def _plugin(options: Marked, configuration: ServerConfiguration) -> Plugin:
    plugin = Plugin(configuration.line_of(options.line))
    for option, value in options.items():
        line = configuration.line_of(options.lines.get(option, options.line))
        plugin.add(str(option), str(value), line)
    return plugin


def matches(output: Plugin, tag: str) -> bool:
    """Return whether a tag matches what an output or a filter takes; True if it cannot be told."""
    pattern = output.written.get("match", "")
    if "match_regex" in output.options or "$" in pattern:
        return True
    parts = [part.strip() for part in pattern.split("*")]
    if len(parts) == 1:
        return tag == parts[0]
    rest = tag.removeprefix(parts[0])
    if rest == tag and parts[0]:
        return False
    for part in parts[1:-1]:
        _, found, rest = rest.partition(part) if part else ("", "*", rest)
        if not found:
            return False
    return rest.endswith(parts[-1])
