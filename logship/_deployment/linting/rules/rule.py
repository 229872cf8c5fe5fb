"""What a rule is: a small pure function, and beside it all that is said about it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

from logship._deployment.linting.model import Finding, Mistake, Platform, Severity, Unit

DEPLOYMENTS = (Platform.ECS, Platform.KUBERNETES, Platform.COMPOSE)
WITH_IMAGES = (*DEPLOYMENTS, Platform.DOCKERFILE)
ENVIRONMENT = ("environment", "env", "ENV")
"""The keys of a container's variables, one for each platform."""
MOUNTS = ("mountPoints", "volumeMounts", "volumes")
"""The keys of a container's mounts, one for each platform."""

Check = Callable[..., Iterator[Mistake]]
"""Is given a unit, and one of its parts if the rule names those that it is for."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        name: The name in findings, `--ignore` and comments.
        severity: How bad its findings are.
        check: Yields the mistakes.
        finds: What it finds, in one line.
        effect: What happens because of it, in one line.
        why: The facts behind it, in a few sentences: the docstring of the check.
        of: The attribute of a unit that has the parts to check one by one; empty for all at once.
        platforms: The platforms that it checks.
        keys: The keys of a container or pod that it is about; the first one there gives the line.
    """

    name: str
    severity: Severity
    check: Check
    _: KW_ONLY
    finds: str
    effect: str
    why: str
    of: str = ""
    platforms: tuple[Platform, ...] = DEPLOYMENTS
    keys: tuple[str, ...] = ()

    def findings(self, unit: Unit) -> Iterator[Finding]:
        """Yield what it finds in a unit."""
        if unit.platform not in self.platforms:
            return
        parts = [(unit, each) for each in getattr(unit, self.of)] if self.of else [(unit,)]
        for part in parts:
            for each in self.check(*part):
                container = each.of or part[-1].name
                keys = (each.key, *self.keys) if each.key else self.keys
                line = each.line or unit.line_of(container, keys)
                effect = each.effect or self.effect
                yield Finding(self.name, self.severity, container, effect, each.change, line)


def _rule(severity: Severity, **said: Any) -> Callable[[Check], Rule]:
    """Make a function the check of the rule that has its name and docstring; `said` is the rest."""

    def rule(check: Check) -> Rule:
        name = check.__name__.strip("_").replace("_", "-")
        return Rule(name, severity, check, why=" ".join((check.__doc__ or "").split()), **said)

    return rule


class Each:
    """Makes rules that check the parts of a unit one after the other, or a unit as a whole."""

    def __init__(self, of: str = "") -> None:
        self.error = functools.partial(_rule, Severity.ERROR, of=of)
        self.warning = functools.partial(_rule, Severity.WARNING, of=of)
        self.note = functools.partial(_rule, Severity.NOTE, of=of)


applications = Each("applications")
configurations = Each("configurations")
containers = Each("containers")
helpers = Each("helpers")
of_logship = Each("of_logship")
own_sidecars = Each("own_sidecars")
senders = Each("senders")
sidecars = Each("sidecars")
units = Each()
with_last_resort = Each("with_last_resort")
