"""Fields of every record that name the service, the task, the pod or the host.

Names are those of OpenTelemetry's semantic conventions for resources.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote

from logship._ecs.reader import task_reader
from logship._ecs.task import Task

BEGIN_SECONDS_MAX = 1.0
"""How long a client with the identity `ecs` waits for the metadata of its task, when it begins."""

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_KUBERNETES = {
    "k8s.pod.name": ("K8S_POD_NAME", "POD_NAME", "HOSTNAME"),
    "k8s.pod.uid": ("K8S_POD_UID", "POD_UID"),
    "k8s.namespace.name": ("K8S_NAMESPACE_NAME", "POD_NAMESPACE"),
    "k8s.node.name": ("K8S_NODE_NAME", "NODE_NAME"),
    "k8s.container.name": ("K8S_CONTAINER_NAME", "CONTAINER_NAME"),
}
"""Variables that deployments set from the downward API. The first one that is set wins."""


def identity_fields(sources: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of these sources, words of a setting; the first that knows a name wins."""
    fields: dict[str, str] = {}
    for source in reversed(sources):
        fields |= _SOURCES[source](environ)
    return fields


def _from_otel(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what OpenTelemetry's own variables say; see its specification of resources."""
    fields = {}
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            fields[name.strip()] = unquote(value.strip())
    if service := environ.get("OTEL_SERVICE_NAME"):
        fields["service.name"] = service
    return fields


def _from_task(environ: Mapping[str, str]) -> dict[str, str]:
    reader, over = task_reader(environ), threading.Event()
    reader.start()
    reader.when_over(over.set)
    over.wait(BEGIN_SECONDS_MAX)
    return {} if reader.task is None else task_fields(reader.task)


def task_fields(task: Task) -> dict[str, str]:
    """Return the fields of an ECS task and its container."""
    family, _, revision = task.definition.partition(":")
    every = {
        "cloud.availability_zone": task.availability_zone,
        "aws.ecs.cluster.arn": task.cluster,
        "aws.ecs.task.arn": task.arn,
        "aws.ecs.task.family": family,
        "aws.ecs.task.revision": revision,
        "container.id": task.own.id,
        "container.name": task.own.name,
        "container.image.name": task.own.image,
    }
    return {name: value for name, value in every.items() if value}


def _from_pod(environ: Mapping[str, str]) -> dict[str, str]:
    if "KUBERNETES_SERVICE_HOST" not in environ:
        return {}
    fields = {}
    for name, variables in _KUBERNETES.items():
        value = next(filter(None, map(environ.get, variables)), None)
        if value is not None:
            fields[name] = value
    if "k8s.namespace.name" not in fields and (namespace := _namespace()):
        fields["k8s.namespace.name"] = namespace
    return fields


def _namespace() -> str:
    try:
        return _NAMESPACE.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _from_host(_: Mapping[str, str]) -> dict[str, str]:
    return {"host.name": socket.gethostname(), "process.pid": str(os.getpid())}


_SOURCES: dict[str, Callable[[Mapping[str, str]], dict[str, str]]] = {
    "otel": _from_otel,
    "ecs": _from_task,
    "kubernetes": _from_pod,
    "host": _from_host,
}
