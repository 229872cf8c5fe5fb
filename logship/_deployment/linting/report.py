"""Judges a file: its findings, those that are ignored, or why nothing in it was judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from logship._deployment.linting.documents import ignored_in, is_script, read_units
from logship._deployment.linting.marks import LintError
from logship._deployment.linting.model import Finding, Platform, Unit
from logship._deployment.linting.rules import RULES
from logship._deployment.linting.rules.configurations import of_sidecars

FINDINGS_MAX: Final = 5_000
"""In one file, those that are ignored too."""

NO_LOGSHIP: Final = (
    "no container with an image shows that it uses logship (by a LOGSHIP_ variable or a logship "
    "command), and no configuration takes records over the forward protocol"
)
SCRIPT: Final = "a script is judged where the command of a container in another FILE names it"


Ignored = tuple[str, str | None]
"""A rule, and a container; None stands for all."""


def read_ignored(text: str) -> Ignored:
    """Return what `RULE` or `RULE:CONTAINER` means.

    Raises:
        LintError: There is no such rule.
    """
    rule, _, container = text.partition(":")
    if rule not in RULES:
        raise LintError(f"{rule!r} is not a rule; the rules are {', '.join(RULES)}")
    return rule, container or None


@dataclass(frozen=True, slots=True)
class FileReport:
    """The findings in one file.

    Attributes:
        name: The file's.
        findings: The findings that are not ignored.
        ignored: How many findings were ignored.
        why_not_judged: Why no rule was applied to anything in it; None if one was.
    """

    name: str
    findings: tuple[Finding, ...] = ()
    ignored: int = 0
    why_not_judged: str | None = None


def judge(
    name: str,
    text: str,
    ignoring: tuple[Ignored, ...] = (),
    named: Callable[[str], str | None] = lambda _: None,
    *,
    is_spot: bool = False,
) -> FileReport:
    """Return the findings in a file.

    Args:
        name: The file's.
        text: Its content.
        ignoring: Rules that are ignored.
        named: Returns the text of a file that this one names, None if it is not in sight.
        is_spot: Whether ECS tasks are known to run on Fargate Spot.

    Raises:
        LintError: The file cannot be checked; the text names it.
    """
    if is_script(name, text):
        return FileReport(name, why_not_judged=SCRIPT)
    try:
        unwanted = {*ignoring, *map(read_ignored, ignored_in(text))}
        units = [
            dataclasses.replace(each, named=named, is_spot=each.is_spot or is_spot)
            for each in _judged(read_units(name, text))
        ]
        found = _findings(units)
    except LintError as error:
        raise LintError(f"{name}: {error}") from None
    except RecursionError:
        raise LintError(f"{name}: it is nested too deep") from None
    found.sort(key=lambda each: each.line or 0)
    kept = [
        each
        for each in found
        if unwanted.isdisjoint(((each.rule, None), (each.rule, each.container)))
    ]
    why = None if units else NO_LOGSHIP
    return FileReport(name, tuple(kept), len(found) - len(kept), why)


def _judged(units: list[Unit]) -> Iterator[Unit]:
    """Yield what the rules are for; containers only if one of the file belongs to logship.

    A configuration whose inputs are in sight, and take no records over the forward protocol, is
    not that of a sidecar of logship.
    """
    shows = any(each.shows_logship or each.platform == Platform.DOCKERFILE for each in units)
    for unit in units:
        containers = unit.containers if shows else ()
        made = filter(None, (each.output for each in containers))
        configurations = (*of_sidecars(unit), *made)
        if containers or configurations:
            yield dataclasses.replace(unit, containers=containers, configurations=configurations)


def _findings(units: Iterable[Unit]) -> list[Finding]:
    """Return all findings, without duplicates in a unit."""
    found: list[Finding] = []
    left = FINDINGS_MAX
    for unit in units:
        of_rules = (finding for rule in RULES.values() for finding in rule.findings(unit))
        own = list(islice(of_rules, left + 1))
        left -= len(own)
        if left < 0:
            raise LintError(f"it has more than {FINDINGS_MAX:,} findings")
        found += dict.fromkeys(own)
    return found
