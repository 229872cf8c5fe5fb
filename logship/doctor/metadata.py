"""What ECS says of the task that we are in: log drivers and images, from its metadata endpoint.

The endpoint is a plain HTTP server on a link-local address that every container of a task can
ask. Where it does not answer within two seconds, or answers otherwise than documented, we know
nothing, which is no failure.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
_TIMEOUT_SECONDS = 2.0
_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TaskContainer:
    """One container of a task.

    Attributes:
        name: As in the task definition.
        image: With its tag.
        log_driver: Of its stdout and stderr; None where the metadata do not say.
        log_options: Of that driver.
    """

    name: str
    image: str = ""
    log_driver: str | None = None
    log_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """The task that we are in.

    Attributes:
        own: Our container.
        others: All others.
    """

    own: TaskContainer
    others: tuple[TaskContainer, ...] = ()


def read_task(environ: Mapping[str, str]) -> Task | None:
    """Return the task, or None outside of ECS and where the metadata cannot be read."""
    base = environ.get(VARIABLE, "")
    own, task = get_json(base), get_json(f"{base}/task" if base else "")
    if not isinstance(own, dict) or not isinstance(task, dict):
        return None
    listed = task.get("Containers")
    containers = listed if isinstance(listed, list) else []
    ours = own.get("DockerId")
    return Task(
        _container(own),
        tuple(
            _container(each)
            for each in containers
            if isinstance(each, dict) and each.get("DockerId") != ours
        ),
    )


def get_json(url: str) -> Any:
    """Return what an HTTP server answers as JSON, or None whatever goes wrong."""
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            return None
        connection = http.client.HTTPConnection(
            parts.hostname, parts.port or 80, timeout=_TIMEOUT_SECONDS
        )
        connection.request("GET", parts.path or "/")
        return json.loads(connection.getresponse().read(_BYTES_MAX))
    except (OSError, ValueError, http.client.HTTPException):
        return None


def _container(found: dict[str, Any]) -> TaskContainer:
    options = found.get("LogOptions")
    return TaskContainer(
        name=str(found.get("Name", "")),
        image=str(found.get("Image", "")),
        log_driver=found.get("LogDriver"),
        log_options=options if isinstance(options, dict) else {},
    )
