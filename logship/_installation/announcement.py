"""Announces the ECS task that a program runs in."""

from __future__ import annotations

from collections.abc import Mapping

from logship._client.background import BackgroundClient
from logship._ecs.advice import is_firelens, stderr_risk
from logship._ecs.awaited_tag import unrouted
from logship._ecs.reader import task_reader
from logship._ecs.task import Task
from logship._settings import STOP_FILE_VARIABLE, program_name


class TaskAnnouncement:
    """Announces the task once: warns of what its definition makes unsafe, and ships a record.

    Every record of a process has the stream's name in its stamp. So one record with the task's
    fields says where all of them come from.

    Inside `logship run` this process does not warn, because the supervisor warns for all processes
    of the container.
    """

    def __init__(self, client: BackgroundClient, environ: Mapping[str, str]) -> None:
        self._client = client
        self._environ = environ
        self._reader = task_reader(environ)
        self._has_warned = STOP_FILE_VARIABLE in environ
        self._has_told = False

    def tell(self) -> None:
        """Announce new information about the task, if any; called now and then, and at exit.

        The first call begins to read the metadata.
        """
        if self._has_warned and self._has_told:
            return
        self._reader.start()  # again, if a fork came in between
        task = self._reader.task
        if task is None:
            return
        if not self._has_warned:
            self._has_warned = True
            self._warn_of_stderr(task)
            self._warn_of_tag(task)
        self._tell_stream(task)

    def after_fork_in_child(self) -> None:
        """Announce again in a child, which has streams of its own; its parent has warned."""
        self._has_told = False

    def _warn_of_stderr(self, task: Task) -> None:
        risk = stderr_risk(task.own)
        if risk is not None and self._client.settings.last_resort == "stderr":
            self._client.last_resort.warn(
                "ecs-stderr",
                f"stderr, the last resort, is not safe here: {risk.text}; {risk.remedy}",
            )

    def _warn_of_tag(self, task: Task) -> None:
        """Warn if no tag was set and ECS set no `FLUENT_HOST`, although the task has FireLens."""
        settings, routed = self._client.settings, task.routed_tag
        if settings.firelens_tag or settings.tag != program_name():
            return
        if not is_firelens(self._environ, task):
            return
        if not settings.tag.startswith(f"{task.own.name}-firelens"):
            self._client.last_resort.warn("ecs-tag", f"{unrouted(settings.tag)}={routed}")

    def _tell_stream(self, task: Task) -> None:
        """Put one record with the fields into the stream of a process that has logged."""
        client = self._client
        if self._has_told or not client.settings.ecs_fields:
            return
        if not client.used or client.intake_closed:
            return
        self._has_told = True
        told = {"level": "INFO", "logger": "logship.ecs", **task.fields}
        client.emit({client.settings.message_key: "logship: the task of this stream", **told})
