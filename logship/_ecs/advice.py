"""What a task's definition means for a client in it, and what to change. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from logship._ecs.task import FIRELENS_DRIVER, Task, TaskContainer
from logship._settings.environment import is_firelens_task


class StderrRisk(NamedTuple):
    """Why the last resort is not safe in this container.

    Attributes:
        text: What its log driver does.
        remedy: What to change in the task definition.
        loses_all: Whether each line that is written there may be lost.
    """

    text: str
    remedy: str
    loses_all: bool


def stderr_risk(own: TaskContainer) -> StderrRisk | None:
    """Return what makes standard error unsafe, or None if the log driver keeps all lines.

    Since 25 June 2025 log drivers without a `mode` are non-blocking by the default of ECS.
    """
    driver, mode = own.log_driver, own.log_options.get("mode")
    if driver == FIRELENS_DRIVER:
        return StderrRisk(
            "the log driver awsfirelens sends stderr back to the same sidecar",
            'give the container "logDriver": "awslogs" with "mode": "blocking"',
            loses_all=True,
        )
    if driver in (None, "none"):
        return StderrRisk("there is no log driver", "give it one: awslogs", loses_all=True)
    if mode != "blocking":
        return StderrRisk(
            f"the log driver {driver} is {mode or 'non-blocking (the default on ECS)'}: when its "
            "buffer is full it drops in silence",
            '"mode": "blocking" in the options of logConfiguration',
            loses_all=False,
        )
    return None


def is_firelens(environ: Mapping[str, str], task: Task | None) -> bool:
    """Return whether the sidecar is FireLens; ECS sets its address for that log driver alone.

    An address that the container itself sets may be that of another sidecar. Outside of ECS, and in
    a task where no container has the driver, it is.
    """
    if task is None:
        return is_firelens_task(environ)
    is_named = bool(environ.get("FLUENT_HOST")) or task.own.log_driver == FIRELENS_DRIVER
    return is_named and task.routed_tag is not None
