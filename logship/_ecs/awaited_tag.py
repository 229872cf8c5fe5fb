"""The tag that FireLens routes, which is known only when the metadata endpoint answers."""

from __future__ import annotations

from collections.abc import Callable

from logship._ecs.advice import default_tag
from logship._ecs.reader import TASK_SECONDS_MAX, TaskReader
from logship._settings import Settings

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
