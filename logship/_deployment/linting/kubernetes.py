"""Kubernetes manifests: the pods that workloads make, and configurations in ConfigMaps.

A pod has one grace period. Native sidecars (init containers with `restartPolicy: Always`) start
before the main containers, in their order, and stop after them in reverse order. Kubernetes has no
other order. A manifest cannot set the number of open files.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from logship._deployment.linting.marks import line_of, lines_of
from logship._deployment.linting.model import (
    CONTAINERS_MAX,
    Condition,
    Container,
    Mount,
    Platform,
    Unit,
    Volume,
)
from logship._deployment.linting.sections import Configuration, parse_all
from logship._deployment.linting.shapes import (
    declared_ports,
    kubernetes_bytes,
    mapping,
    mappings,
    seconds,
    under,
    variable_lines,
    variables,
    whole,
    words,
)

_GRACE_SECONDS = 30.0
_READ_ONLY = {"configMap", "secret", "projected", "downwardAPI"}
_POD_KEYS = ("terminationGracePeriodSeconds", "securityContext", "volumes")
"""Keys of a pod that rules about its containers are about."""
_CONFIGURATION_ENDINGS = (".conf", ".yaml", ".yml")
_SLEEP = re.compile(r"\bsleep\s+([0-9]{1,18}(?:\.[0-9]+)?[smh]?)(?![0-9.])")


def read_manifests(documents: list[dict[str, Any]]) -> Iterator[Unit]:
    """Yield the pods of a file's objects; ConfigMaps of the file belong to all of them.

    Raises:
        LintError: An object does not have the shape of a Kubernetes object.
    """
    objects = [each for document in documents for each in _objects(document)]
    config_maps = [each for each in objects if each.get("kind") == "ConfigMap"]
    named = [(_metadata(each, "name"), [*_configurations(each)]) for each in config_maps]
    configurations = parse_all(place for _, places in named for place in places)
    parsed = iter(configurations)
    maps = {name: tuple(islice(parsed, len(places))) for name, places in named}
    services = _services(objects)
    every = {name: each for found in services.values() for name, each in found.items()}
    for document in objects:
        for spec in _pods(document):
            namespace = _metadata(document, "namespace")
            near = ChainMap(services.get(namespace, {}), services.get("", {}))
            yield _pod(document, spec, maps, near if namespace else every)
    if configurations:
        yield Unit(platform=Platform.KUBERNETES, name="ConfigMap", configurations=configurations)


def _metadata(document: dict[str, Any], key: str) -> str:
    return str(under(document, "metadata").get(key, ""))


def _services(objects: list[dict[str, Any]]) -> dict[str, dict[str, bool]]:
    """Return the Services by their namespaces, and whether each has a cluster IP.

    One that names no namespace may be in any.
    """
    found: dict[str, dict[str, bool]] = {}
    for each in objects:
        if each.get("kind") == "Service":
            spec = under(each, "spec")
            has_address = spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName"
            services = found.setdefault(_metadata(each, "namespace"), {})
            services[_metadata(each, "name")] = has_address
    return found


def _objects(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if str(document.get("kind")).endswith("List"):
        for each in mappings(document.get("items"), "items"):
            yield from _objects(each)
    else:
        yield document


def _pods(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the pods in an object of any kind, such as Argo's Rollout, wherever they are in it.

    A patch of kustomize makes none: it names containers, and has no image for them.
    """
    containers = value.get("containers") if isinstance(value, dict) else None
    if isinstance(containers, list):
        named = [each for each in containers if isinstance(each, dict)]
        if not named or any("image" in each for each in named):
            yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _pods(each)


def _pod(
    document: dict[str, Any],
    spec: dict[str, Any],
    maps: dict[str, tuple[Configuration, ...]],
    services: Mapping[str, bool],
) -> Unit:
    grace = spec.get("terminationGracePeriodSeconds")
    grace_seconds = _GRACE_SECONDS if grace is None else float(whole(grace, "grace period"))
    volumes = {str(each.get("name")): each for each in mappings(spec.get("volumes"), "volumes")}
    first = mappings(spec.get("initContainers"), "initContainers")
    main = mappings(spec.get("containers"), "containers")
    containers: list[Container] = []
    definitions = [*first, *main][: CONTAINERS_MAX + 1]  # the caller refuses more than the limit
    for index, definition in enumerate(definitions):
        native = [each.name for each in containers if each.is_native_sidecar]
        is_init = index < len(first)
        containers.append(
            _container(definition, volumes, spec, grace_seconds, native, is_init=is_init)
        )
    group = under(spec, "securityContext").get("fsGroup")
    return Unit(
        platform=Platform.KUBERNETES,
        name=_metadata(document, "name") or "pod",
        containers=tuple(containers),
        grace_seconds=grace_seconds,
        group=None if group is None else whole(group, "fsGroup"),
        routes=_routes(containers, volumes, maps),
        services=services,
        has_service_links=spec.get("enableServiceLinks") is not False,
        lines=lines_of(spec),
    )


def _routes(
    containers: list[Container],
    volumes: dict[str, dict[str, Any]],
    maps: dict[str, tuple[Configuration, ...]],
) -> tuple[Configuration, ...]:
    """Return the configurations of a pod's only sidecar, if all that it mounts are in sight."""
    sidecars = [each for each in containers if each.is_sidecar()]
    if len(sidecars) != 1:
        return ()
    mounted = [volumes.get(each.name, {}) for each in sidecars[0].mounts]
    if any(each.keys() & {"secret", "projected", "hostPath"} for each in mounted):
        return ()
    names = dict.fromkeys(
        str(under(each, "configMap").get("name")) for each in mounted if "configMap" in each
    )
    if not names.keys() <= maps.keys():
        return ()
    return tuple(each for name in names for each in maps[name])


def _container(
    definition: dict[str, Any],
    volumes: dict[str, dict[str, Any]],
    pod: dict[str, Any],
    grace_seconds: float,
    native: list[str],
    *,
    is_init: bool,
) -> Container:
    name = str(definition.get("name", "container"))
    is_native = is_init and definition.get("restartPolicy") == "Always"
    memory = under(definition, "resources", "limits").get("memory")
    stop_signal = under(definition, "lifecycle").get("stopSignal")
    pod_lines = {key: line for key in _POD_KEYS if key in pod and (line := line_of(pod, key))}
    security = under(pod, "securityContext") | mapping(definition.get("securityContext"), name)
    return Container(
        name=name,
        image=str(definition.get("image") or ""),
        image_is_empty="image" in definition and not definition["image"],
        words=words(definition.get("command"), f"{name}: command")
        + words(definition.get("args"), f"{name}: args"),
        environment=_environment(definition),
        has_more_variables=bool(definition.get("envFrom")),
        depends_on=dict.fromkeys(native, Condition.STARTED),
        stop_seconds=grace_seconds,
        stop_signal=None if stop_signal is None else str(stop_signal),
        pre_stop_seconds=_pre_stop_seconds(definition),
        memory_bytes=None if memory is None else kubernetes_bytes(memory),
        user=_user(security),
        mounts=tuple(_mounts(definition, volumes)),
        is_native_sidecar=is_native,
        runs_first=is_init and not is_native,
        network="pod" if not pod.get("hostNetwork") else "host",
        ports=declared_ports(definition.get("ports")),
        lines=pod_lines | lines_of(definition) | variable_lines(definition.get("env")),
    )


def _environment(definition: dict[str, Any]) -> dict[str, str | None]:
    """Return its variables; one that refers to others is unknown."""
    found = variables(definition.get("env"), "env")
    return {name: None if "$(" in (value or "") else value for name, value in found.items()}


def _pre_stop_seconds(definition: dict[str, Any]) -> float:
    """Return the seconds of a preStop hook, if it is a `sleep` or a command with one."""
    hook = under(definition, "lifecycle", "preStop")
    sleep = under(hook, "sleep").get("seconds")
    if sleep is not None:
        return float(whole(sleep, "preStop.sleep.seconds"))
    command = words(under(hook, "exec").get("command"), "preStop.exec.command")
    return sum(map(seconds, _SLEEP.findall(" ".join(command))), 0.0)


def _user(security: dict[str, Any]) -> str | None:
    if "runAsUser" in security:
        return str(security["runAsUser"])
    return "non-root" if security.get("runAsNonRoot") else None


def _mounts(definition: dict[str, Any], volumes: dict[str, dict[str, Any]]) -> Iterator[Mount]:
    for each in mappings(definition.get("volumeMounts"), "volumeMounts"):
        name = str(each.get("name"))
        volume = volumes.get(name, {})
        empty = under(volume, "emptyDir")
        limit = empty.get("sizeLimit")
        yield Mount(
            name=name,
            path=str(each.get("mountPath")),
            kind=_kind(volume, empty),
            sub_path=str(each.get("subPath") or each.get("subPathExpr") or ""),
            read_only=bool(each.get("readOnly") or volume.keys() & _READ_ONLY),
            bytes_max=None if limit is None else kubernetes_bytes(limit),
        )


def _kind(volume: dict[str, Any], empty: dict[str, Any]) -> Volume:
    if "emptyDir" in volume:
        return Volume.MEMORY if empty.get("medium") == "Memory" else Volume.EMPTY
    if "hostPath" in volume:
        return Volume.BIND
    if volume.keys() & {"nfs", "cephfs", "glusterfs", "azureFile"}:
        return Volume.NETWORK
    return Volume.CLAIM


def _configurations(document: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    data = under(document, "data")
    for key, text in data.items():
        if isinstance(text, str) and str(key).endswith(_CONFIGURATION_ENDINGS):
            yield data, key, str(key)
