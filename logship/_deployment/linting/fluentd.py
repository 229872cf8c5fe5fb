"""Reads the sections of a configuration of Fluentd, with their lines."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from logship._deployment.linting import fluentbit
from logship._deployment.linting.model import ServerConfiguration

_IS_FLUENTD = re.compile(
    r"^[ \t]*<(match|source|label|buffer|system|filter|worker)\b", re.MULTILINE
)
_IS_BUFFER = re.compile(
    r"^[ \t]*(total_limit_size|overflow_action|retry_\w+|chunk_limit_size|flush_\w+)\s",
    re.MULTILINE,
)
_HEAD = re.compile(r"<(\w+)\b([^>]*)>[ \t]*(?:#.*)?$")
_SIZE = re.compile(r"([0-9]{1,18})([kmgt]?)b?", re.IGNORECASE)
_DEFAULT = re.compile(
    r"""^"?#\{ENV(?:\.fetch\(['"]\w+['"], |\[['"]\w+['"]\] *\|\| *)['"]([^'"]*)['"]\)?\}"?$"""
)
"""`#{ENV.fetch('NAME', 'default')}`, or `#{ENV['NAME'] || 'default'}`."""
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_ALTERNATIVES = re.compile(r"\{([^{}]*)\}")
_GLOB = re.compile(r"\*\*\.|\.\*\*$|\*\*|\*|[^*]")
_PARTS = {"**.": r"(?:.*\.)?", ".**": r"(?:\..*)?", "**": ".*", "*": r"[^.]*"}
PATTERN_CHARACTERS_MAX = 1000
"""A longer pattern is not compared."""


@dataclass(slots=True)
class Section:
    """A section.

    Attributes:
        name: `match`, `source`, `buffer`; empty for the whole text.
        argument: The pattern of a match, `**` where it has none; the keys of a buffer.
        line: Where in its file it begins.
        options: Values by name, as written; of an option that is there twice, the last.
        lines: The line of each option.
        sections: Those in it.
        is_whole: Whether it has an end, and includes no other file.
    """

    name: str
    argument: str
    line: int
    options: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    is_whole: bool = True

    def option(self, name: str, default: str = "") -> str:
        """Return an option, in lower case; that of a variable's default, if it has one."""
        value = self.options.get(name, default)
        found = _DEFAULT.match(value)
        return (found[1] if found else value).strip("\"'").lower()

    @property
    def type(self) -> str:
        """Its plugin."""
        return self.option("@type") or self.option("type")

    def first(self, name: str) -> Section | None:
        """Return the first section of a name in it."""
        return next((each for each in self.sections if each.name == name), None)

    def line_of(self, option: str) -> int:
        """Return the line of an option, or that of the section."""
        return self.lines.get(option, self.line)

    def all(self, name: str) -> Iterator[Section]:
        """Yield the sections of a name in it, at any depth."""
        for each in self.sections:
            if each.name == name:
                yield each
            yield from each.all(name)


DEPTH_MAX = 20
"""Of sections in each other; deeper ones count as beside each other."""


def is_fluentd(configuration: ServerConfiguration) -> bool:
    """Return whether a configuration is one of Fluentd, or a part of one."""
    text = configuration.text
    is_part = bool(_IS_FLUENTD.search(text) or _IS_BUFFER.search(text))
    return is_part and not fluentbit.is_classic(text)


@functools.lru_cache(maxsize=16)  # several rules ask for one
def parse(configuration: ServerConfiguration) -> Section:
    """Return all of it as one section; lines that Fluentd would refuse are left out."""
    whole = Section("", "", configuration.line)
    path = [whole]
    for index, raw in enumerate(configuration.text.split("\n"), start=1):
        line, number = raw.strip(), configuration.line_of(index)
        if line.startswith("</"):
            if len(path) > 1 and path[-1].name == line[2:].partition(">")[0].strip():
                path.pop()
        elif found := _HEAD.match(line):
            all_tags = "**" if found[1] == "match" else ""
            section = Section(found[1], found[2].strip() or all_tags, number)
            path[-1].sections.append(section)
            if len(path) <= DEPTH_MAX:
                path.append(section)
        elif line and not line.startswith("#"):
            _read_option(path, line, number)
    for each in path[1:]:
        each.is_whole = False
    return whole


def _read_option(path: list[Section], line: str, number: int) -> None:
    name, _, value = line.replace("\t", " ").partition(" ")
    if name in ("@include", "include"):
        for each in path:
            each.is_whole = False
    path[-1].options[name] = value.split(" #")[0].strip()
    path[-1].lines[name] = number


def size_of(text: str) -> int | None:
    """Return the bytes of a size, `8m`; None if it is none."""
    found = _SIZE.fullmatch(text.strip())
    return None if found is None else int(found[1]) * 1024 ** _POWERS[found[2].lower()]


def matches(patterns: str, tag: str) -> bool:
    """Return whether a tag matches one of a match's patterns; True if it cannot be told."""
    if len(patterns) > PATTERN_CHARACTERS_MAX or "#{" in patterns or "/" in patterns:
        return True
    return any(_matches(each, tag) for each in patterns.split())


def _matches(pattern: str, tag: str) -> bool:
    found = _ALTERNATIVES.search(pattern)
    if found is not None:
        before, after = pattern[: found.start()], pattern[found.end() :]
        if _ALTERNATIVES.search(after) or len(found[1]) > 100:
            return True  # more than one choice in a pattern is not compared
        return any(_matches(f"{before}{each}{after}", tag) for each in found[1].split(","))
    parts = (_PARTS.get(each) or re.escape(each) for each in _GLOB.findall(pattern))
    return re.fullmatch("".join(parts), tag) is not None
