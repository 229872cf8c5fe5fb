"""Log drivers that make the last resort useless: they drop, or lead back to the sidecar."""

from __future__ import annotations

from collections.abc import Iterator

from logship.deployment.linting.model import COMPOSE, ECS, Container, Finding, Role, Unit

_BACK = {"awsfirelens", "fluentd"}
"""Drivers that send stderr to the sidecar that has just failed."""


def driver(unit: Unit) -> Iterator[Finding]:
    """Yield containers whose stderr leads to the sidecar, or nowhere."""
    for container in _with_last_resort(unit):
        name = container.log_driver
        if name in _BACK:
            night = (
                f"what logship writes to stderr because the sidecar is gone, the driver {name} "
                "hands to the same sidecar"
            )
            yield Finding("stderr-driver", container.name, night, _safe(unit))
        elif name == "none" or (name is None and unit.platform == ECS and unit.may_be_fargate):
            night = "stderr leads nowhere, so records that the sidecar did not take are lost"
            yield Finding("stderr-driver", container.name, night, _safe(unit))


def non_blocking(unit: Unit) -> Iterator[Finding]:
    """Yield containers whose stderr is dropped when its driver's buffer is full.

    ECS: since 25 June 2025 that is the default of every driver, with a buffer of 10 MB.
    """
    for container in _with_last_resort(unit):
        if container.log_driver in (*_BACK, "none", None):
            continue
        mode = container.log_options.get("mode")
        if mode == "non-blocking" or (mode is None and unit.platform == ECS):
            how = "is non-blocking" if mode else "has no mode, and ECS' default is non-blocking"
            night = (
                f"the log driver {how}: when its buffer is full it drops, in silence, what logship "
                "wrote to stderr because the sidecar did not take it"
            )
            change = '"mode": "blocking"' if unit.platform == ECS else "mode: blocking"
            yield Finding("stderr-non-blocking", container.name, night, change)


def _with_last_resort(unit: Unit) -> Iterator[Container]:
    for container in unit.of_role(Role.APPLICATION, Role.RECOVERER):
        if container.value("LOGSHIP_LAST_RESORT") != "none":
            yield container


def _safe(unit: Unit) -> str:
    if unit.platform == COMPOSE:
        return "logging: { driver: local }"
    return '"logConfiguration": { "logDriver": "awslogs", "options": { "mode": "blocking", … } }'
