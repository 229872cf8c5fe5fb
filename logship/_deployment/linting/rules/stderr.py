"""Log drivers that make the last resort useless: they drop, or lead back to the sidecar."""

from __future__ import annotations

from collections.abc import Iterator

from logship._deployment.linting.model import Container, Mistake, Platform, Unit
from logship._deployment.linting.rules.rule import WITH_IMAGES, senders, with_last_resort
from logship._deployment.linting.rules.snippets import form, variable

_BACK = {"awsfirelens", "fluentd"}
"""Drivers that send stderr to the sidecar that has just failed."""

_KEYS = ("logConfiguration", "logging")


@with_last_resort.error(
    finds="stderr, the last resort, leads back to the sidecar or nowhere",
    effect="records that the dead sidecar could not take are sent to it again, or are in no log",
    platforms=(Platform.ECS, Platform.COMPOSE),
    keys=_KEYS,
)
def _stderr_driver(unit: Unit, container: Container) -> Iterator[Mistake]:
    """The drivers awsfirelens and fluentd hand a container's output to the sidecar. Without
    `logConfiguration` Fargate keeps no output.
    """
    driver = container.log_driver
    if driver in (*_BACK, "none") or (driver is None and unit.may_be_fargate):
        blocking = '"logDriver": "awslogs", "options": { "mode": "blocking", … }'
        ecs = f'"logConfiguration": {{ {blocking} }}'
        yield Mistake(form(unit, "logging: { driver: local }", ecs=ecs))


@with_last_resort.warning(
    finds="stderr, the last resort, is dropped when the log driver's buffer is full",
    effect="of the records that the sidecar did not take, the driver silently drops some",
    platforms=(Platform.ECS, Platform.COMPOSE),
    keys=_KEYS,
)
def _stderr_non_blocking(unit: Unit, container: Container) -> Iterator[Mistake]:
    """Since 25 June 2025 `non-blocking` is the default mode of every driver on ECS, with a buffer
    of 10 MB that drops what does not fit.
    """
    if container.log_driver in (*_BACK, "none"):
        return
    is_default = unit.platform == Platform.ECS and container.log_driver is not None
    mode = container.log_options.get("mode", "non-blocking" if is_default else "")
    if mode == "non-blocking":
        yield Mistake(form(unit, "mode: blocking", ecs='"mode": "blocking"'))


@senders.warning(
    finds="a `LOGSHIP_LAST_RESORT` of `none`",
    effect="records that the sidecar does not take are dropped; only their numbers are reported",
    platforms=WITH_IMAGES,
    keys=("$LOGSHIP_LAST_RESORT",),
)
def _last_resort_none(unit: Unit, container: Container) -> Iterator[Mistake]:
    """With `stderr`, the default, logship writes a record to stderr that it can neither deliver nor
    keep. With `none` it drops the record, counts it and declares its number.
    """
    if container.value("LOGSHIP_LAST_RESORT") == "none":
        yield Mistake(variable(unit, "LOGSHIP_LAST_RESORT", "stderr"))
