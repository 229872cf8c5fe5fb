"""Compose files: services as containers of one unit, stopped against `depends_on`.

Docker gives a container 10 s if there is no `stop_grace_period`. A command written as one text is
split into words, and no shell runs it. `${NAME:-default}` counts as its default, as for `docker
compose up` without the variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from logship.deployment.linting.model import (
    COMPOSE,
    Container,
    Mount,
    ServerConfiguration,
    Unit,
    Volume,
)
from logship.deployment.linting.quantities import compose_bytes, seconds, whole
from logship.deployment.linting.shapes import listing, mapping, text_of, text_or_none, texts, words

_STOP_SECONDS = 10.0
_DEFAULT = re.compile(r"\$\{\w+:?-((?:(?!\$\{)[^}])*)\}")
_NETWORK_TYPES = ("nfs", "nfs4", "cifs")


def is_compose(document: Any) -> bool:
    """Tell whether a document is one."""
    return isinstance(document, dict) and isinstance(document.get("services"), dict)


def read_compose(document: dict[str, Any]) -> Unit:
    """Return the project of a compose file.

    Raises:
        LintError: It does not have the shape of a compose file.
    """
    volumes = mapping(document.get("volumes"), "volumes")
    services = mapping(document["services"], "services")
    return Unit(
        platform=COMPOSE,
        name=str(document.get("name", "compose")),
        containers=tuple(
            _container(str(name), mapping(each, str(name)), volumes)
            for name, each in services.items()
        ),
        configurations=tuple(_configurations(document)),
    )


def _container(name: str, service: dict[str, Any], volumes: dict[str, Any]) -> Container:
    logging = mapping(service.get("logging"), f"{name}: logging")
    stop = service.get("stop_grace_period")
    return Container(
        name=name,
        image=str(service.get("image", "")),
        words=words(service.get("entrypoint"), f"{name}: entrypoint")
        + words(service.get("command"), f"{name}: command"),
        environment=_environment(service, name),
        depends_on=_depends_on(service),
        stop_seconds=_STOP_SECONDS if stop is None else seconds(_filled(str(stop))),
        stop_is_given=stop is not None,
        stop_signal=_stop_signal(service),
        memory_bytes=_memory(service),
        log_driver=text_or_none(logging.get("driver"), f"{name}: driver"),
        log_options=texts(logging.get("options"), f"{name}: options"),
        user=None if service.get("user") is None else _filled(str(service["user"])),
        mounts=tuple(_mounts(service, volumes)),
        nofile_soft=_nofile(service),
    )


def _stop_signal(service: dict[str, Any]) -> str | None:
    given = service.get("stop_signal")
    return None if given is None else _filled(str(given))


def _filled(text: str) -> str:
    return _DEFAULT.sub(r"\1", text)


def _environment(service: dict[str, Any], name: str) -> dict[str, str | None]:
    given = service.get("environment")
    if isinstance(given, list):
        pairs = [str(each).partition("=") for each in given]
        found = {key: _filled(value) if sign else None for key, sign, value in pairs}
    else:
        found = {
            str(key): None if value is None else _filled(text_of(value))
            for key, value in mapping(given, f"{name}: environment").items()
        }
    return {key: None if value and "${" in value else value for key, value in found.items()}


def _depends_on(service: dict[str, Any]) -> tuple[str, ...]:
    given = service.get("depends_on")
    names = given if isinstance(given, dict) else listing(given, "depends_on")
    return tuple(str(each) for each in names)


def _memory(service: dict[str, Any]) -> int | None:
    deploy = mapping(service.get("deploy"), "deploy")
    resources = mapping(deploy.get("resources"), "resources")
    limit = mapping(resources.get("limits"), "limits").get("memory", service.get("mem_limit"))
    return None if limit is None else compose_bytes(_filled(str(limit)))


def _mounts(service: dict[str, Any], volumes: dict[str, Any]) -> Iterator[Mount]:
    for each in listing(service.get("volumes"), "volumes"):
        yield _mount(each, volumes)
    tmpfs = service.get("tmpfs")
    for each in [tmpfs] if isinstance(tmpfs, str) else listing(tmpfs, "tmpfs"):
        path = str(each).partition(":")[0]
        yield Mount(name=f"tmpfs {path}", path=path, kind=Volume.MEMORY)


def _mount(given: Any, volumes: dict[str, Any]) -> Mount:
    if isinstance(given, str):
        source, _, rest = _filled(given).partition(":")
        path, _, mode = rest.partition(":")
        if not path:  # an anonymous volume
            return Mount(name=source, path=source, kind=Volume.MANAGED)
        kind = Volume.BIND if source[:1] in "./~" else _named(source, volumes)
        return Mount(name=source, path=path, kind=kind, read_only="ro" in mode.split(","))
    long = mapping(given, "a volume")
    name, path = str(long.get("source", "")), str(long.get("target", ""))
    kinds = {"bind": Volume.BIND, "tmpfs": Volume.MEMORY}
    kind = kinds.get(str(long.get("type"))) or _named(name, volumes)
    return Mount(name=name, path=path, kind=kind, read_only=bool(long.get("read_only")))


def _named(name: str, volumes: dict[str, Any]) -> Volume:
    options = mapping(mapping(volumes.get(name), name).get("driver_opts"), "driver_opts")
    if options.get("type") in _NETWORK_TYPES:
        return Volume.NETWORK
    return Volume.MEMORY if options.get("type") == "tmpfs" else Volume.MANAGED


def _nofile(service: dict[str, Any]) -> int | None:
    limit = mapping(service.get("ulimits"), "ulimits").get("nofile")
    if isinstance(limit, dict):
        limit = limit.get("soft")
    return None if limit is None else whole(limit, "ulimits.nofile")


def _configurations(document: dict[str, Any]) -> Iterator[ServerConfiguration]:
    for name, each in mapping(document.get("configs"), "configs").items():
        content = mapping(each, str(name)).get("content")
        if isinstance(content, str):
            yield ServerConfiguration(name=str(name), text=content)
