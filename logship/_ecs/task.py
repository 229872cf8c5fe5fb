"""An ECS task and its containers, as the task metadata describe them. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

FIRELENS_DRIVER = "awsfirelens"
TEXT_CHARACTERS_MAX = 2048


class TaskContainer(NamedTuple):
    """One container of a task.

    Attributes:
        name: As in the task definition.
        image: With its tag.
        log_driver: Takes its stdout and stderr; None if the metadata do not say.
        log_options: Of that driver.
        id: Given by the container runtime.
    """

    name: str
    image: str = ""
    log_driver: str | None = None
    log_options: Mapping[str, str] = MappingProxyType({})
    id: str = ""


class Task(NamedTuple):
    """The task that this program runs in. A text is empty if the metadata do not say.

    Attributes:
        own: The program's container.
        others: All other containers.
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
        """The tag of FireLens' own log driver for this container; None if FireLens routes none.

        FireLens makes outputs only for containers with that driver. Old agents, on EC2, name no
        drivers.
        """
        is_routed = self.own.log_driver in (None, FIRELENS_DRIVER)
        return self._tag_of(self.own) if is_routed and self.own.name else None

    @property
    def routed(self) -> list[TaskContainer]:
        """The containers that FireLens makes outputs for, this one first."""
        own = [] if self.firelens_tag is None else [self.own]
        return own + [each for each in self.others if each.log_driver == FIRELENS_DRIVER]

    @property
    def routed_tag(self) -> str | None:
        """A tag that FireLens routes: this container's, or else that of the first other one."""
        return next(map(self._tag_of, self.routed), None)

    def _tag_of(self, container: TaskContainer) -> str:
        return f"{container.name}-firelens-{self.id or 'logship'}"

    @property
    def fields(self) -> dict[str, str]:
        """The names of the task and the container as fields of a record, with FireLens' names."""
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


def task_of(own: dict[str, Any], task: dict[str, Any]) -> Task:
    """Return the task that the two documents of the metadata describe.

    Args:
        own: Of this container.
        task: Of the whole task.
    """
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
    """Return a text, cut where it is longer than the longest ARN: a tag is made from some."""
    value = found.get(name)
    return str(value)[:TEXT_CHARACTERS_MAX] if isinstance(value, (str, int)) else ""
