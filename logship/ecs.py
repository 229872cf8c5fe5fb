"""What ECS says of the task that we are in: its names, log drivers and images.

FireLens puts a task's names into the records that it carries. An application that ships by itself
has to find them out, from the task metadata endpoint (version 4): a plain HTTP server on a
link-local address that every container of a task can ask. No call waits for it: it is asked on a
thread of its own. Where it does not answer in time, or otherwise than documented, we know nothing,
which is no failure.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from logship.hooks.threads import OwnThread
from logship.settings import TASK_METADATA_VARIABLE, Settings

VARIABLE = TASK_METADATA_VARIABLE
TIMEOUT_SECONDS = 1.0
"""For each step of an answer; the endpoint is on the same host and takes milliseconds."""

TASK_SECONDS_MAX = 5.0
"""For all attempts. A task that has just begun, with a quarter of a CPU, may be refused at first;
what waits for the answer is in the buffer meanwhile, and costs nothing."""

_RETRY_SECONDS = 0.25

_DRAIN_SHARE = 0.15
"""Of a drain's budget: less than the share without an ack after which it begins to spill."""

FIRELENS_DRIVER = "awsfirelens"


class TaskContainer(NamedTuple):
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
    log_options: Mapping[str, str] = MappingProxyType({})
    id: str = ""


class Task(NamedTuple):
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
    def firelens_tag(self) -> str | None:
        """What FireLens' own log driver would use here; None where it routes nothing of ours.

        It makes outputs for containers with that driver alone. Agents that say nothing of drivers
        are old ones, on EC2.
        """
        is_routed = self.own.log_driver in (None, FIRELENS_DRIVER)
        return self._tag_of(self.own) if is_routed and self.own.name else None

    @property
    def routed_tag(self) -> str | None:
        """A tag that FireLens routes: ours, or else the first container's that has one."""
        routed = [each for each in self.others if each.log_driver == FIRELENS_DRIVER]
        return self.firelens_tag or next(map(self._tag_of, routed), None)

    def _tag_of(self, container: TaskContainer) -> str:
        return f"{container.name}-firelens-{self.id or 'logship'}"

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


class StderrRisk(NamedTuple):
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
    if driver == FIRELENS_DRIVER:
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
    return bool(environ.get("FLUENT_HOST")) or (
        own is not None and own.log_driver == FIRELENS_DRIVER
    )


def unrouted(tag: str) -> str:
    """Return what happens to records with this tag, up to what the variable should be set to."""
    return (
        f"the tag {tag!r} matches no output that FireLens makes, which acknowledges such records "
        "and throws them away; set LOGSHIP_TAG"
    )


def default_tag(settings: Settings, task: Task | None) -> tuple[str | None, str]:
    """Return the tag of records that name none, and what a person should be told of it.

    None is a tag that cannot be known now: the setting's has to do, and a recoverer of what is
    left under it may know better.
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


def read_task(environ: Mapping[str, str], timeout_seconds: float = TIMEOUT_SECONDS) -> Task | None:
    """Return the task, or None outside of ECS and where the metadata cannot be read.

    Args:
        environ: As `os.environ`.
        timeout_seconds: For each step of each of the two answers.
    """
    from logship.httpjson import get_json  # noqa: PLC0415 - only a program in a task pays for HTTP

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
        seconds_max: So long it asks again where it got no good answer.

    Attributes:
        task: None until it is known, and for good where it cannot be found out.
    """

    def __init__(self, environ: Mapping[str, str], seconds_max: float = TASK_SECONDS_MAX) -> None:
        self._environ = environ
        self._seconds_max = seconds_max
        self._pid = -1
        self._has_ended = False
        self._waiting: list[Callable[[], None]] = []
        self.task: Task | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be known, because it is known or is not being asked for."""
        if self.task is not None or not self._environ.get(VARIABLE):
            return True
        return self._pid == os.getpid() and self._has_ended

    def start(self) -> None:
        """Begin to read, outside of ECS not; a second call changes nothing.

        In a forked child what the parent has read holds too. What it was only reading is read
        anew, because its thread is not here.
        """
        if self.is_over or self._pid == os.getpid():
            return
        # Here, not in the thread: a child that is forked while it imports would find the
        # module locked for good.
        import logship.httpjson  # noqa: F401, PLC0415 - only a program in a task pays for HTTP

        self._pid, self._has_ended, self._waiting = os.getpid(), False, []
        try:
            OwnThread(self._read, "ecs").start()
        except RuntimeError:  # at interpreter exit: nothing is begun
            self._has_ended = True

    def when_over(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once it is over, by any thread; twice, if it is just ending."""
        self._waiting = [*self._waiting, callback]
        if self.is_over:
            callback()

    def _read(self) -> None:
        until = time.monotonic() + self._seconds_max
        try:
            self.task = read_task(self._environ)
            while self.task is None and time.monotonic() + _RETRY_SECONDS < until:
                time.sleep(_RETRY_SECONDS)
                self.task = read_task(self._environ)
        finally:
            self._has_ended = True
            for callback in self._waiting:
                callback()


_readers: dict[str, TaskReader] = {}


def task_reader(environ: Mapping[str, str]) -> TaskReader:
    """Return the one reader of this process, so that the metadata are read once.

    Args:
        environ: As `os.environ`.
    """
    return _readers.setdefault(environ.get(VARIABLE, ""), TaskReader(environ))


class AwaitedTag:
    """The tag by which FireLens routes, awaited until it is known or has been waited for.

    Args:
        reader: Of the metadata.
        is_wanted: Whether there is anybody who needs it.

    Attributes:
        is_over: Whether it is not awaited any more; set by the client.
        deadline_seconds: When it will be over at the latest, monotonic; None before `begin`.
    """

    def __init__(self, reader: TaskReader, *, is_wanted: bool) -> None:
        self._reader = reader
        self.is_over = not is_wanted or reader.task is not None
        self.deadline_seconds: float | None = None

    @property
    def task(self) -> Task | None:
        """What is known of the task."""
        return self._reader.task

    def begin(self, now_seconds: float, callback: Callable[[], None]) -> None:
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
        """Take only a part of the time that is left to deliver what waits. From any thread."""
        if self.deadline_seconds is not None:
            end = now_seconds + max(0.0, budget_seconds) * _DRAIN_SHARE
            self.deadline_seconds = min(self.deadline_seconds, end)

    def is_due(self, now_seconds: float) -> bool:
        """Tell whether there is nothing to wait for any more, and `is_over` does not say so yet."""
        if self.is_over or self.deadline_seconds is None:
            return False
        return self._reader.is_over or now_seconds >= self.deadline_seconds


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
