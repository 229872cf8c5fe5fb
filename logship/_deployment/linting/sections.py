"""Reads a configuration of Fluentd or of Fluent Bit as sections, with their lines."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from logship._deployment.linting.marks import (
    YAML_CHARACTERS_MAX,
    LintError,
    Marked,
    line_of,
    parse_yaml,
)
from logship._deployment.linting.shapes import text_of

_IS_FLUENTD = re.compile(
    r"^[ \t]*(<(match|source|label|buffer|system|filter|worker)\b"
    r"|(total_limit_size|overflow_action|retry_\w+|chunk_limit_size|flush_\w+)\s)",
    re.MULTILINE,
)
_HEAD = re.compile(r"<(\w+)\b([^>]*)>[ \t]*(?:#.*)?$")
_DEFAULT = re.compile(
    r"""^"?#\{ENV(?:\.fetch\(['"]\w+['"], |\[['"]\w+['"]\] *\|\| *)['"]([^'"]*)['"]\)?\}"?$"""
)
"""`#{ENV.fetch('NAME', 'default')}`, or `#{ENV['NAME'] || 'default'}`."""
_ALTERNATIVES = re.compile(r"\{([^{}]*)\}")
_GLOB = re.compile(r"\*\*\.|\.\*\*$|\*\*|\*|[^*]")
_OTHER_WILDCARDS = re.compile(r"[?[]")
"""Those of `fnmatch` beside the asterisk, the only one of Fluent Bit."""
_PARTS = {"**.": r"(?:.*\.)?", ".**": r"(?:\..*)?", "**": ".*", "*": r"[^.]*"}
PATTERN_CHARACTERS_MAX = 1000
"""A longer pattern is not compared."""
DEPTH_MAX = 20
"""Of sections in each other; deeper ones count as beside each other."""

_CLASSIC_HEAD = re.compile(r"^[ \t]*\[(\w+)\][ \t\r]*$", re.MULTILINE)
_CLASSIC_INCLUDE = re.compile(r"^[ \t]*@INCLUDE\b", re.MULTILINE | re.IGNORECASE)
_SECTIONS = {"source", "match", "filter", "label", "worker", "Fn::include"}
"""What a list `config` of Fluentd's form in YAML has; the last is `!include FILE`."""
_ARGUMENTS = ("$tag", "$name", "$arg")
"""In that form, what a section in angle brackets has behind its name."""
ON = ("true", "on", "yes", "")
"""What switches an option on; in Fluentd it may stand alone."""

IN_SECTIONS = "{} {}"
_IN_YAML = "{}: {}"
_IN_OPTIONS = '"options": {{ "{}": "{}" }}'
"""How a line that sets an option is written; the last is for the log driver awsfirelens."""


@dataclass(slots=True)
class Section:
    """A section of Fluentd, or a plugin of Fluent Bit or its service.

    Attributes:
        name: `match`, `source`, `buffer`; of Fluent Bit `inputs`, `filters`, `outputs`, `service`.
        line: Where in its file it begins.
        argument: The pattern of a match, `**` where it has none; the keys of a buffer.
        options: Values by name, in lower case; of a variable in Fluentd its default. Names of
            Fluent Bit are in lower case too. Of an option that is there twice, the last.
        written: The same with values as they are written.
        lines: The line of each option.
        sections: Those in it.
        is_whole: Whether it has an end, and includes no other file.
    """

    name: str
    line: int
    argument: str = ""
    options: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    is_whole: bool = True

    def read(self, option: str, written: str, line: int) -> None:
        """Add an option."""
        default = _DEFAULT.match(written)
        option = option.lower()
        self.written[option], self.lines[option] = written, line
        self.options[option] = (default[1] if default else written).strip("\"'").lower()

    @property
    def type(self) -> str:
        """Its plugin: of Fluentd the `@type`, before version 0.14 the `type`."""
        names = (self.options.get(each) for each in ("@type", "name", "type"))
        return next(filter(None, names), "")

    @property
    def has_match(self) -> bool:
        """Whether a plugin says which records it takes."""
        return not self.options.keys().isdisjoint(("match", "match_regex"))

    def first(self, name: str) -> Section | None:
        """Return the first section of a name in it."""
        return next((each for each in self.sections if each.name == name), None)

    def line_of(self, option: str) -> int:
        """Return the line of an option, or that of the section."""
        return self.lines.get(option, self.line)

    def all(self, name: str) -> list[Section]:
        """Return the sections of a name in it, at any depth."""
        found: list[Section] = []
        for each in self.sections:
            found += [each] * (each.name == name) + each.all(name)
        return found


@dataclass
class Configuration(Section):
    """A whole configuration, by the name of its file; it has no section if it is another program's.

    Attributes:
        text: As written.
        is_fluentd: Whether it is one of Fluentd, or a part of one.
        form: How a line that sets an option is written.
        cut: The innermost section at its end that has no end, without which Fluentd does not start.
    """

    text: str = ""
    is_fluentd: bool = False
    form: str = _IN_YAML
    cut: Section | None = None

    @functools.cached_property
    def inputs(self) -> list[Section]:
        """Its sources, or its inputs."""
        return self.all("source" if self.is_fluentd else "inputs")

    @functools.cached_property
    def outputs(self) -> list[Section]:
        """The outputs of Fluent Bit."""
        return self.all("outputs")

    @functools.cached_property
    def outputs_of_fluentd(self) -> list[Section]:
        """The outputs of Fluentd, and those to which one of them copies records."""
        return self.all("match") + self.all("store")

    @functools.cached_property
    def service(self) -> Section | None:
        """The service of Fluent Bit, if it has one."""
        return next(reversed(self.all("service")), None)

    @property
    def _of_service(self) -> dict[str, str]:
        return self.service.options if self.service is not None else {}

    @property
    def lacks_storage(self) -> bool:
        """Whether it certainly has no `storage.path`, which files of a buffer need."""
        return self.is_whole and "storage.path" not in self._of_service

    def is_in_memory(self, plugin: Section) -> bool:
        """Return whether an input keeps its buffer in memory; `$` is a variable."""
        kind = plugin.options.get("storage.type", "memory")
        if "storage.type" not in plugin.options and self._of_service.get("storage.inherit") in ON:
            kind = self._of_service.get("storage.type", kind)
        return kind != "filesystem" and "$" not in kind

    @property
    def has_direct_routes(self) -> bool:
        """Whether outputs get records that they do not match.

        An input may name outputs. The only output gets those of the only input if it has no Match.
        """
        outputs = self.outputs
        is_only_one = len(outputs) == 1 and (len(self.inputs) == 1 or not self.is_whole)
        if is_only_one and not outputs[0].has_match:
            return True
        return any(each.first("routes") for each in self.inputs)

    def setting(self, option: str, value: str) -> str:
        """Return the line that sets an option.

        In the form with sections, quotes would be a part of the value.
        """
        is_quoted = value == "*" and self.form == _IN_YAML
        return self.form.format(option, f'"{value}"' if is_quoted else value)


_Place = Callable[[int], int]
"""Returns the line of the file in which a line of the text is; both begin with 1."""


def parse_all(places: Iterable[tuple[dict[str, Any], str, str]]) -> tuple[Configuration, ...]:
    """Return the configurations that a document has under keys of mappings, each with a name.

    Raises:
        LintError: They are too long.
    """
    given = [*places]
    if sum(len(parent[key]) for parent, key, _ in given) > YAML_CHARACTERS_MAX:
        raise LintError("it has configurations of more than 1 MiB")
    return tuple(_parse_under(*each) for each in given)


def _parse_under(parent: dict[str, Any], key: str, name: str) -> Configuration:
    begins = parent.blocks.get(key) if isinstance(parent, Marked) else None
    if begins is not None:
        return parse(name, parent[key], lambda line: begins + line - 1)
    return parse(name, parent[key], lambda _: line_of(parent, key) or 1)


def parse(name: str, text: str, place: _Place = lambda line: line) -> Configuration:
    """Return what is in a text; lines that Fluentd would refuse are left out."""
    found = Configuration(name, place(1), text=text)
    if _CLASSIC_HEAD.search(text):
        found.form = IN_SECTIONS
        found.is_whole = not _CLASSIC_INCLUDE.search(text)
        found.sections += _classic(text, place)
    elif _IS_FLUENTD.search(text):
        found.is_fluentd, found.form = True, IN_SECTIONS
        _read_fluentd(found, place)
    else:
        documents = [each for each in _documents(text) if isinstance(each, Marked)]
        found.is_fluentd = any(map(is_fluentds, documents))
        found.is_whole = "!include" not in text and not any(
            "includes" in each for each in documents
        )
        for each in documents:
            keys = [key for key in each if found.is_fluentd or key in ("pipeline", "service")]
            _fill(found, each, place, keys)
    return found


def output_of_options(name: str, options: dict[str, Any]) -> Configuration | None:
    """Return the output that FireLens makes of a container's options; None if they name none.

    Args:
        name: The container's.
        options: Of its log driver.
    """
    line = line_of(options) or 0
    found = Configuration(name, line, form=_IN_OPTIONS, is_whole=False)
    found.is_fluentd = "@type" in options
    output = Section("match" if found.is_fluentd else "outputs", line)
    found.sections.append(output)
    for option, value in options.items():
        output.read(str(option), text_of(value), line_of(options, option) or 0)
    return found if output.type else None


def is_fluentds(document: Any) -> bool:
    """Return whether a YAML document is a configuration of Fluentd."""
    listed = document.get("config") if isinstance(document, Marked) else None
    if not isinstance(listed, list) or not listed:
        return False
    return all(isinstance(each, dict) and _SECTIONS.intersection(each) for each in listed)


def _fill(section: Section, content: Marked, place: _Place, keys: Collection[Any]) -> None:
    """Add options and sections in YAML; Fluentd's `config` lists sections by their kinds."""
    for option in keys:
        line = place(content.lines.get(option, content.line))
        parts = content[option] if isinstance(content[option], list) else [content[option]]
        inner = [each for each in parts if isinstance(each, Marked)]
        if option in _ARGUMENTS:
            section.argument = ",".join(map(str, parts))
        elif option == "config" and inner != parts:
            section.read("@include", "", line)
        elif not inner and content[option] is not None:
            section.read(str(option).replace("$", "@"), text_of(content[option]), line)
        for each in inner:
            part = section
            if option != "config":
                part = Section(str(option), place(each.line))
                part.argument = "**" if option == "match" else ""
                section.sections.append(part)
            _fill(part, each, place, each.keys())


def _read_fluentd(found: Configuration, place: _Place) -> None:
    path: list[Section] = [found]
    for index, raw in enumerate(found.text.split("\n"), start=1):
        line, number = raw.strip(), place(index)
        if line.startswith("</"):
            if len(path) > 1 and path[-1].name == line[2:].partition(">")[0].strip():
                path.pop()
        elif head := _HEAD.match(line):
            all_tags = "**" if head[1] == "match" else ""
            section = Section(head[1], number, head[2].strip() or all_tags)
            path[-1].sections.append(section)
            if len(path) <= DEPTH_MAX:
                path.append(section)
        elif line and not line.startswith("#"):
            name, _, rest = line.replace("\t", " ").partition(" ")
            if name in ("@include", "include"):
                for each in path:
                    each.is_whole = False
            path[-1].read(name, rest.split(" #")[0].strip(), number)
    for each in path[1:]:
        found.cut = each
        each.is_whole = False


def _classic(text: str, place: _Place) -> Iterator[Section]:
    plugin = None
    for index, raw in enumerate(text.split("\n"), start=1):
        words, number = raw.strip().split(maxsplit=1), place(index)
        if (head := _CLASSIC_HEAD.match(raw)) is not None:
            name = head[1].lower()
            plugin = Section(name if name == "service" else f"{name}s", number)
            yield plugin
        elif plugin is not None and len(words) == 2 and not words[0].startswith("#"):
            plugin.read(words[0], words[1], number)


def _documents(text: str) -> list[Any]:
    try:
        return parse_yaml(text)
    except LintError:  # another program's; or YAML inside of JSON, without the extra for YAML
        return []


def matches(patterns: str, tag: str) -> bool:
    """Return whether a tag matches one of a <match>'s patterns; True if it cannot be told."""
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


def takes(plugin: Section, tag: str) -> bool:
    """Return whether an output or a filter of Fluent Bit takes a tag; True if it cannot be told."""
    pattern = plugin.written.get("match", "")
    if "match_regex" in plugin.options or "$" in pattern:
        return True
    return fnmatch.fnmatchcase(tag, _OTHER_WILDCARDS.sub(r"[\g<0>]", pattern))
