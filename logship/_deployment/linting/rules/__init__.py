"""Every rule, by name: each is a small pure function that yields the mistakes of a unit."""

from __future__ import annotations

from logship._deployment.linting.rules import (
    configurations,
    endpoints,
    entrypoints,
    ordering,
    packages,
    resources,
    servers,
    sidecars,
    stderr,
    stopping,
    variables,
)
from logship._deployment.linting.rules.rule import Rule

_MODULES = (
    *(ordering, stopping, entrypoints, stderr, endpoints, servers, sidecars, configurations),
    *(resources, packages, variables),
)

RULES: dict[str, Rule] = {
    each.name: each
    for module in _MODULES
    for each in vars(module).values()
    if isinstance(each, Rule)
}
