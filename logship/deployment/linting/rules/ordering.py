"""The order of stops: the sidecar must outlive its clients, the recoverer the application.

Containers stop in the reverse of their declared start order. Without a declared order they stop at
the same moment, and the sidecar is usually faster.
"""

from __future__ import annotations

from collections.abc import Iterator

from logship.deployment.linting.model import ECS, KUBERNETES, Container, Finding, Role, Unit

_MISSING, _REVERSED = "depends-on", "depends-on-reversed"


def missing(unit: Unit) -> Iterator[Finding]:
    """Yield containers that ship records and are not ordered behind their sidecar."""
    sidecars = [each.name for each in unit.of_role(Role.SIDECAR)]
    recoverers = [each.name for each in unit.of_role(Role.RECOVERER)]
    for container in unit.of_role(Role.APPLICATION, Role.RECOVERER):
        needs = unit.needs(container)
        is_application = unit.role(container) is Role.APPLICATION
        wanted = [sidecars]
        if is_application and "LOGSHIP_SPOOL_DIR" in container.environment:
            wanted.append(recoverers)
        for names in wanted:
            lacking = [name for name in names if name not in needs and name != container.name]
            if lacking and not needs.intersection(names):
                yield _missing(unit, container, lacking[0])


def _missing(unit: Unit, container: Container, other: str) -> Finding:
    if unit.platform == KUBERNETES:
        night = (
            f"{other} is no init container with restartPolicy: Always that starts before "
            f"{container.name}, so both get SIGTERM at the same moment and the last records meet a "
            "closed port; a Job whose plain sidecar runs on never completes"
        )
        return Finding(_MISSING, container.name, night, _native(unit, other))
    night = (
        f"{other} gets SIGTERM together with {container.name}, is gone first, and the last records "
        "meet a closed port"
    )
    return Finding(_MISSING, container.name, night, _depends(unit, other))


def _native(unit: Unit, other: str) -> str:
    del unit
    return f"initContainers: [{{ name: {other}, restartPolicy: Always, … }}]"


def _depends(unit: Unit, other: str) -> str:
    if unit.platform == ECS:
        return f'"dependsOn": [{{ "containerName": "{other}", "condition": "HEALTHY" }}]'
    return f"depends_on: {{ {other}: {{ condition: service_healthy }} }}"


def reversed_order(unit: Unit) -> Iterator[Finding]:
    """Yield sidecars and recoverers that are ordered behind an application."""
    if unit.platform == KUBERNETES:
        return  # there the list is the order, and a wrong order is a missing one
    applications = {each.name for each in unit.of_role(Role.APPLICATION)}
    recoverers = {each.name for each in unit.of_role(Role.RECOVERER)}
    for container in unit.of_role(Role.SIDECAR, Role.RECOVERER):
        over = applications | (recoverers if unit.role(container) is Role.SIDECAR else set())
        for name in sorted(unit.needs(container) & over):
            night = (
                f"{container.name} depends on {name}, so it starts last and is stopped first: "
                f"everything that {name} logs while it stops meets a closed port"
            )
            word = "dependsOn" if unit.platform == ECS else "depends_on"
            change = f"remove {name} from {word} of {container.name}; in {name}: "
            change += _depends(unit, container.name)
            yield Finding(_REVERSED, container.name, night, change)
