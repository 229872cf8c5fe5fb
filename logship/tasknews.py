"""Tells people and the stream what ECS says of the task that a program is in, once.

A warning where the task definition makes something unsafe, and one record that names the task.
"""

from __future__ import annotations

from collections.abc import Mapping

from logship.client.background import BackgroundClient
from logship.ecs import Task, is_firelens, stderr_risk, task_reader, unrouted
from logship.process import stopfile
from logship.settings import program_name


class TaskNews:
    """Tells once what the metadata say: a warning to people, and a record to the stream.

    Every record of a process has the stream's name in its stamp, so one record with the fields
    says where they all come from, and the others carry and cost nothing.

    Args:
        client: Whose stream it is.
        environ: As `os.environ`.
    """

    def __init__(self, client: BackgroundClient, environ: Mapping[str, str]) -> None:
        self._client = client
        self._environ = environ
        self._reader = task_reader(environ)
        # `logship run` is in the same container, and warns for all in it.
        self._has_warned = stopfile.VARIABLE in environ
        self._has_told = False

    def start(self) -> None:
        """Begin to read the metadata."""
        self._reader.start()

    def tell(self) -> None:
        """Tell what is known by now and not told yet; called now and then, and at the exit."""
        if self._has_warned and self._has_told:
            return
        self._reader.start()  # anew, where a fork came between
        task = self._reader.task
        if task is None:
            return
        if not self._has_warned:
            self._has_warned = True
            self._warn_of_stderr(task)
            self._warn_of_tag(task)
        self._tell_stream(task)

    def after_fork_in_child(self) -> None:
        """The child has streams of its own; its container is the parent's, which has warned."""
        self._has_told = False

    def _warn_of_stderr(self, task: Task) -> None:
        risk = stderr_risk(task.own)
        if risk is not None and self._client.settings.last_resort == "stderr":
            self._client.last_resort.warn(
                "ecs-stderr",
                f"stderr, the last resort, is not safe here: {risk.text}; {risk.remedy}",
            )

    def _warn_of_tag(self, task: Task) -> None:
        """Warn where no tag was chosen, ECS set no `FLUENT_HOST`, and yet there is FireLens."""
        settings, routed = self._client.settings, task.routed_tag
        if settings.firelens_tag or settings.tag != program_name():
            return
        if not is_firelens(self._environ, task.own) or routed is None:
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
