"""The tag that FireLens routes, which is known only when the metadata endpoint answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from logship._ecs.reader import TASK_SECONDS_MAX, TaskReader
from logship._settings import Settings

if TYPE_CHECKING:
    from logship._ecs.task import Task

_DRAIN_SHARE = 0.15
"""The share of a drain's budget for which the tag is awaited. It is less than the share without an
ack after which a drain begins to spill."""


class AwaitedTag:
    """The tag of records that name none: FireLens' is awaited until it is known or time is over.

    Args:
        settings: Of the client.
        reader: Of the metadata.
        may_adopt: Whether records of dead processes may need FireLens' tag, whatever the settings.

    Attributes:
        is_over: Whether the tag is not awaited any more. The client sets it after it has sent the
            records that waited.
        deadline_seconds: When it will be over at the latest, monotonic; None before `begin`.
    """

    def __init__(self, settings: Settings, reader: TaskReader, *, may_adopt: bool) -> None:
        self._settings = settings
        self._reader = reader
        is_wanted = (settings.firelens_tag or may_adopt) and not settings.disabled
        self.is_over = not is_wanted or reader.task is not None
        self.deadline_seconds: float | None = None

    @property
    def holds_records(self) -> bool:
        """Whether records that name no tag wait for it."""
        return self._settings.firelens_tag and not self.is_over

    def found(self) -> tuple[str | None, str]:
        """Return the tag as far as it is known, and a warning about it; see `default_tag`."""
        return default_tag(self._settings, self._reader.task)

    def routed(self) -> str | None:
        """Return the tag that FireLens routes, for what dead processes left under none."""
        task = self._reader.task
        return None if task is None else task.routed_tag

    def begin(self, now_seconds: float, callback: Callable[[], object]) -> None:
        """Begin to wait; a second call changes nothing.

        Args:
            now_seconds: Monotonic.
            callback: Called, by any thread, when it may be over.
        """
        if self.is_over or self.deadline_seconds is not None:
            return
        self.deadline_seconds = now_seconds + TASK_SECONDS_MAX
        self._reader.start()
        self._reader.when_over(callback)

    def limit(self, now_seconds: float, budget_seconds: float) -> None:
        """Wait only for a part of the time that is left for the drain. From any thread."""
        if self.deadline_seconds is not None:
            end = now_seconds + max(0.0, budget_seconds) * _DRAIN_SHARE
            self.deadline_seconds = min(self.deadline_seconds, end)

    def is_due(self, now_seconds: float) -> bool:
        """Return whether the wait is over although `is_over` does not say so yet."""
        if self.is_over or self.deadline_seconds is None:
            return False
        return self._reader.is_over or now_seconds >= self.deadline_seconds


def unrouted(tag: str) -> str:
    """Return what happens to records with this tag. The caller appends the value to set."""
    return (
        f"the tag {tag!r} matches no output that FireLens makes, which acknowledges such records "
        "and throws them away; set LOGSHIP_TAG"
    )


def default_tag(settings: Settings, task: Task | None) -> tuple[str | None, str]:
    """Return the tag of records that name none, and a warning about it.

    The tag is None if it cannot be known now. Then the setting's tag is used, and a recoverer of
    the remaining records may know the right one.
    """
    tag = settings.tag
    if not settings.firelens_tag:
        return tag, ""
    if task is None:
        warning = f"the ECS task metadata do not answer, so that {unrouted(tag)}"
        return None, f"{warning}=<container>-firelens-<any name>"
    if task.firelens_tag is not None:
        return task.firelens_tag, ""
    if task.routed_tag is not None:
        return tag, f"{unrouted(tag)}={task.routed_tag}"
    return tag, ""  # no container here has FireLens' driver: a sidecar of another kind
