"""Reads the tables of `near_misses.txt` and `mistakes.txt`: deployments, and what is found in them.

    # A comment.
    compose ecs/batch.json: app.image "a", app.user - → app.command *
        blind-ack nofile: ["app"]
        ok: "app --verbose"

A line without indentation begins a group: deployments that have no mistake, by platform and name,
and changes that all cases of the group have. Each indented line is a case: the rules that find
something, and its own changes. Behind an arrow the group has the places whose values its cases
give in that order. A change is a place, as `change` takes it, and a value in JSON; `-` removes what
is there. A line that ends in a backslash continues on the next one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lint.deployments import BASES, GONE, Base, Deployment, change

_DECODER = json.JSONDecoder()
_PLACE = re.compile(r"[,\s]*(\$?\w[^\s]*)\s+")


@dataclass(frozen=True)
class Case:
    """A case of a table.

    Attributes:
        name: What pytest calls it.
        bases: The deployments that are changed.
        changes: New values by their places.
        rules: All that find something.
    """

    name: str
    bases: tuple[Base, ...]
    changes: dict[str, Any]
    rules: tuple[str, ...]

    def deployment(self, base: Base) -> Deployment:
        """Return one of the deployments, changed."""
        return change(base.make(), self.changes)


@dataclass(frozen=True)
class Edit:
    """A mistake in a template of `sidecar/`.

    Attributes:
        rule: The rule that must find it.
        path: The template.
        old: What is there.
        new: What stands there after it.
    """

    rule: str
    path: str
    old: str
    new: str

    @property
    def name(self) -> str:
        """What pytest calls it."""
        return f"{self.rule}-{self.path.rpartition('/')[2]}-{self.new.strip()[:30]}"


def cases_of(file: str) -> Iterator[Case]:
    """Yield the cases of a table."""
    for name, group, line in _lines(file):
        yield _case(name, group, line)


def edits() -> Iterator[Edit]:
    """Yield those of `edits.txt`."""
    for _, group, line in _lines("edits.txt"):
        path, _, old = group.partition(": ")
        rule, _, new = line.strip().partition(": ")
        yield Edit(rule, path, json.loads(old), json.loads(new))


def _lines(file: str) -> Iterator[tuple[str, str, str]]:
    """Yield each indented line of a file beside this module, with a name and its group's line."""
    text = (Path(__file__).parent / file).read_text().replace("\\\n", " ")
    group = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#"):
            continue
        if line.startswith(" "):
            yield f"{number}-{line.strip():.60}", group, line
        elif line:
            group = line


def _case(name: str, group: str, line: str) -> Case:
    names, _, common = group.partition(":")
    common, _, places = common.partition("→")
    rules, _, own = line.strip().partition(": ")
    changes = dict(_changes(common))
    if places:
        changes |= zip(places.split(), _values(own), strict=True)
    else:
        changes |= dict(_changes(own))
    bases = tuple(base for each in names.split() for base in BASES if _is_named(base, each))
    found = () if rules == "ok" else tuple(rules.split())
    return Case(name, bases, changes, found)


def _is_named(base: Base, name: str) -> bool:
    """Return whether a base has a platform and a name; `PLATFORM/*` stands for all of it."""
    platform, _, own = name.partition("/")
    firsts = {each.platform: each.name for each in reversed(BASES)}
    return base.platform == platform and (own or firsts[platform]) in ("*", base.name)


def _changes(text: str) -> Iterator[tuple[str, Any]]:
    while text.strip(" ,"):
        found = _PLACE.match(text)
        assert found is not None, text
        value, text = _value(text[found.end() :])
        yield found[1], value


def _values(text: str) -> Iterator[Any]:
    while text.strip(" ,"):
        value, text = _value(text.lstrip(" ,"))
        yield value


def _value(text: str) -> tuple[Any, str]:
    if text.startswith("-"):
        return GONE, text[1:]
    value, end = _DECODER.raw_decode(text)
    return value, text[end:]
