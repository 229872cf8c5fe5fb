"""What ECS says of the task that we are in: its names, log drivers and images.

FireLens puts a task's names into the records that it carries. An application that ships by itself
has to find them out, from the task metadata endpoint (version 4): a plain HTTP server on a
link-local address that every container of a task can ask. Nobody waits for it: it is asked on a
thread of its own. Where it does not answer in time, or otherwise than documented, we know nothing,
which is no failure.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from logship.background import BackgroundClient
from logship.process import stopfile
from logship.settings import program_name
from logship.threads import OwnThread

VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
TIMEOUT_SECONDS = 1.0
"""For each step of an answer; the endpoint is on the same host and takes milliseconds."""


@dataclass(frozen=True, slots=True)
class TaskContainer:
    """One container of a task.

    Attributes:
        name: As in the task definition.
        image: With its tag.
        log_driver: Of its stdout and stderr; None where the metadata do not say.
        log_options: Of that driver.
        id: The container runtime's.
    """

    name: str
    image: str = ""
    log_driver: str | None = None
    log_options: Mapping[str, str] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """The task that we are in. A text is empty where the metadata do not say.

    Attributes:
        own: Our container.
        others: All others.
        cluster: Its short name or ARN.
        arn: Of the task; it ends in the task's id.
        definition: Family and revision, `web:7`.
        availability_zone: Where it runs.
    """

    own: TaskContainer
    others: tuple[TaskContainer, ...] = ()
    cluster: str = ""
    arn: str = ""
    definition: str = ""
    availability_zone: str = ""

    @property
    def id(self) -> str:
        """The last part of the ARN."""
        return self.arn.rpartition("/")[2]

    @property
    def firelens_tag(self) -> str:
        """What FireLens' own log driver would use, so that its outputs match."""
        return f"{self.own.name}-firelens-{self.id or 'logship'}"

    @property
    def fields(self) -> dict[str, str]:
        """What names the task and the container, as fields of a record; named as FireLens does."""
        every = {
            "ecs_cluster": self.cluster,
            "ecs_task_arn": self.arn,
            "ecs_task_definition": self.definition,
            "ecs_availability_zone": self.availability_zone,
            "container_id": self.own.id,
            "container_name": self.own.name,
            "container_image": self.own.image,
        }
        return {name: value for name, value in every.items() if value}


@dataclass(frozen=True, slots=True)
class StderrRisk:
    """Why the last resort is not safe in this container.

    Attributes:
        text: What its log driver does.
        remedy: What to change in the task definition.
        loses_all: Whether nothing that is written there can be relied on.
    """

    text: str
    remedy: str
    loses_all: bool


def stderr_risk(own: TaskContainer) -> StderrRisk | None:
    """Return what makes standard error unsafe, or None where the log driver keeps it.

    Since 25 June 2025 log drivers without a `mode` are non-blocking by the default of ECS.
    """
    driver, mode = own.log_driver, own.log_options.get("mode")
    if driver == "awsfirelens":
        return StderrRisk(
            "the log driver awsfirelens hands stderr back to the same sidecar",
            'give the container "logDriver": "awslogs" with "mode": "blocking"',
            loses_all=True,
        )
    if driver in (None, "none"):
        return StderrRisk("there is no log driver", "give it one: awslogs", loses_all=True)
    if mode != "blocking":
        return StderrRisk(
            f"the log driver {driver} is {mode or 'non-blocking by the default of ECS'}: when its "
            "buffer is full it drops in silence",
            '"mode": "blocking" in the options of logConfiguration',
            loses_all=False,
        )
    return None


def is_firelens(environ: Mapping[str, str], own: TaskContainer | None) -> bool:
    """Tell whether the sidecar is FireLens'; ECS sets its address for that log driver alone."""
    return bool(environ.get("FLUENT_HOST")) or (own is not None and own.log_driver == "awsfirelens")


def read_task(environ: Mapping[str, str], timeout_seconds: float = TIMEOUT_SECONDS) -> Task | None:
    """Return the task, or None outside of ECS and where the metadata cannot be read.

    Args:
        environ: As `os.environ`.
        timeout_seconds: For each step of each of the two answers.
    """
    from logship.httpjson import get_json  # noqa: PLC0415 - only who is in a task pays for HTTP

    base = environ.get(VARIABLE, "")
    if not base:
        return None
    own = get_json(base, timeout_seconds)
    task = get_json(f"{base}/task", timeout_seconds) if isinstance(own, dict) else None
    if not isinstance(own, dict) or not isinstance(task, dict):
        return None
    return _task(own, task)


class TaskReader:
    """Reads the metadata on a thread of its own; `task` is what it has found out so far.

    Args:
        environ: As `os.environ`.

    Attributes:
        task: None until it is known, and for good where it cannot be found out.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._thread: threading.Thread | None = None
        self.task: Task | None = None

    def start(self) -> None:
        """Begin to read, outside of ECS not; a second call changes nothing."""
        if self._thread is None and self._environ.get(VARIABLE):
            # Here, not in the thread: a child that is forked while it imports would find the
            # module locked for good.
            import logship.httpjson  # noqa: F401, PLC0415 - only who is in a task pays for HTTP

            self._thread = OwnThread(self._read, "ecs")
            with contextlib.suppress(RuntimeError):  # at interpreter exit: nothing is begun
                self._thread.start()

    def after_fork_in_child(self) -> None:
        """What the parent has read holds here too; if it was still reading, its thread is gone."""
        self._thread = None if self.task is None else self._thread

    def _read(self) -> None:
        self.task = read_task(self._environ)


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
        self._reader = TaskReader(environ)
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
        self._reader.after_fork_in_child()
        self._has_told = False

    def _warn_of_stderr(self, task: Task) -> None:
        risk = stderr_risk(task.own)
        if risk is not None and self._client.settings.last_resort == "stderr":
            self._client.last_resort.warn(
                "ecs-stderr",
                f"stderr, the last resort, is not safe here: {risk.text}; {risk.remedy}",
            )

    def _warn_of_tag(self, task: Task) -> None:
        """Warn where nobody chose a tag and FireLens, which routes by it, knows no such one."""
        tag = self._client.settings.tag
        if not is_firelens(self._environ, task.own) or tag != program_name():
            return
        if not tag.startswith(f"{task.own.name}-firelens"):
            self._client.last_resort.warn(
                "ecs-tag",
                f"the tag {tag!r} matches no output that FireLens makes, which acknowledges such "
                f"records and throws them away; set LOGSHIP_TAG={task.firelens_tag}",
            )

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


def _task(own: dict[str, Any], task: dict[str, Any]) -> Task:
    listed = task.get("Containers")
    containers = listed if isinstance(listed, list) else []
    ours = own.get("DockerId")
    family, revision = _text(task, "Family"), _text(task, "Revision")
    return Task(
        _container(own),
        tuple(
            _container(each)
            for each in containers
            if isinstance(each, dict) and each.get("DockerId") != ours
        ),
        cluster=_text(task, "Cluster"),
        arn=_text(task, "TaskARN"),
        definition=f"{family}:{revision}" if family and revision else family,
        availability_zone=_text(task, "AvailabilityZone"),
    )


def _container(found: dict[str, Any]) -> TaskContainer:
    driver, options = found.get("LogDriver"), found.get("LogOptions")
    return TaskContainer(
        name=_text(found, "Name"),
        image=_text(found, "Image"),
        log_driver=driver if isinstance(driver, str) else None,
        log_options=options if isinstance(options, dict) else {},
        id=_text(found, "DockerId"),
    )


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    return str(value) if isinstance(value, (str, int)) else ""
