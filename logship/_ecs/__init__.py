"""The ECS task that a program runs in: its names, log drivers and images."""

from __future__ import annotations

from logship._ecs.advice import StderrRisk, default_tag, is_firelens, stderr_risk, unrouted
from logship._ecs.awaited_tag import AwaitedTag
from logship._ecs.reader import (
    TASK_SECONDS_MAX,
    TIMEOUT_SECONDS,
    VARIABLE,
    TaskReader,
    read_task,
    task_reader,
)
from logship._ecs.task import FIRELENS_DRIVER, Task, TaskContainer

__all__ = [
    "FIRELENS_DRIVER",
    "TASK_SECONDS_MAX",
    "TIMEOUT_SECONDS",
    "VARIABLE",
    "AwaitedTag",
    "StderrRisk",
    "Task",
    "TaskContainer",
    "TaskReader",
    "default_tag",
    "is_firelens",
    "read_task",
    "stderr_risk",
    "task_reader",
    "unrouted",
]
