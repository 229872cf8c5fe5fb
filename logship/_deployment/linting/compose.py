"""Compose files: services as containers of one unit, stopped against `depends_on`.

Docker gives a container 10 s if there is no `stop_grace_period`. A command written as one text is
split into words, and no shell runs it. `${NAME:-default}` counts as its default, as for `docker
compose up` without the variable. A value with a variable that has no default is unknown.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from logship._deployment.linting.marks import LintError, lines_of
from logship._deployment.linting.model import Condition, Container, Mount, Platform, Unit, Volume
from logship._deployment.linting.sections import Configuration, parse_all
from logship._deployment.linting.shapes import (
    compose_bytes,
    is_on,
    links,
    listing,
    mapping,
    seconds,
    text_of,
    texts,
    under,
    whole,
    words,
)

_STOP_SECONDS = 10.0
_DEFAULT = re.compile(r"(?<!\$)\$\{\w+:?-((?:(?!\$\{)[^}])*)\}")
_REFERENCE = re.compile(r"\$\{[^{}]*\}")
_CONDITIONS = {
    "service_healthy": Condition.HEALTHY,
    "service_completed_successfully": Condition.COMPLETED,
}
_SHARED = ("network_mode", "ipc", "pid", "uts", "cgroup")
"""Keys whose value may be `service:` and the name of another one."""
_PLACES = {"image", "build", "extends"}
"""Where a service's image is from. One without any is a part: another file has the rest."""
_NETWORK_TYPES = ("nfs", "nfs4", "cifs")

_Services = dict[str, dict[str, Any]]


def read_compose(document: dict[str, Any]) -> Unit:
    """Return the project of a compose file.

    Raises:
        LintError: It does not have the shape of a compose file, or needs other files.
    """
    if document.get("include"):
        raise _unresolved("include")
    given, volumes = _with_defaults(under(document, "services")), under(document, "volumes")
    services = {str(name): under(given, name) for name in given}
    configs = under(document, "configs")
    configurations = parse_all(
        (under(configs, name), "content", str(name))
        for name in configs
        if isinstance(under(configs, name).get("content"), str)
    )
    aliases = _aliases(services)
    namespaces = _namespaces(services, aliases)
    joined = _joined(services, under(document, "networks"))
    lines = lines_of(given)
    containers = tuple(
        dataclasses.replace(
            _container(name, service, volumes),
            network=namespaces[name],
            joined=joined.get(namespaces[name]),
            aliases=aliases | links(service.get("links")) | _extra_hosts(service),
            lines=_lines(service, lines.get(name)),
        )
        for name, service in services.items()
        if not _PLACES.isdisjoint(service)
    )
    return Unit(
        platform=Platform.COMPOSE,
        name=str(document.get("name", "compose")),
        containers=containers,
        configurations=configurations,
        routes=_routes(services, containers, configurations),
        lines=lines_of(document),
    )


def _unresolved(what: str) -> LintError:
    return LintError(f"{what} is not resolved; lint the output of `docker compose config` instead")


def _routes(
    services: _Services,
    containers: tuple[Container, ...],
    configurations: tuple[Configuration, ...],
) -> tuple[Configuration, ...]:
    """Return the configurations of the only sidecar, if all that it gets are in sight."""
    sidecars = [each for each in containers if each.is_sidecar()]
    if len(sidecars) != 1 or any("/etc" in each.path for each in sidecars[0].mounts):
        return ()
    service = services[sidecars[0].name]
    by_name = {each.name: each for each in configurations}
    names = [
        str(each if isinstance(each, str) else mapping(each, "a config").get("source"))
        for each in listing(service.get("configs"), "configs")
    ]
    if service.get("build") or not by_name.keys() >= set(names):
        return ()
    return tuple(by_name[name] for name in names)


def _aliases(services: _Services) -> dict[str, str]:
    """Return the services by their other names and addresses, unless two have the same."""
    found: dict[str, set[str]] = {}
    for name, service in services.items():
        names = [service.get("container_name"), service.get("hostname")]
        networks = service.get("networks")
        if isinstance(networks, dict):
            for each in networks:
                network = under(networks, each)
                names += listing(network.get("aliases"), "aliases")
                names += [network.get("ipv4_address"), network.get("ipv6_address")]
        for each in filter(None, names):
            found.setdefault(str(each), set()).add(name)
    return {alias: owners.pop() for alias, owners in found.items() if len(owners) == 1}


def _namespaces(services: _Services, aliases: dict[str, str]) -> dict[str, str]:
    """Return the network namespace of each service: its own, another one's, or the host's."""
    own = {}
    for name, service in services.items():
        mode = str(service.get("network_mode"))
        if (other := mode.removeprefix("container:")) != mode and other in aliases:
            mode = f"service:{aliases[other]}"
        is_shared = mode == "host" or mode.startswith(("service:", "container:", "$"))
        own[name] = mode if is_shared else f"service:{name}"
    return {name: own.get(mode.removeprefix("service:"), mode) for name, mode in own.items()}


def _joined(services: _Services, networks: dict[str, Any]) -> dict[str, frozenset[str]]:
    """Return the networks of each network namespace in which names resolve, by their keys.

    Of several keys that name the same network, it is the first one. Docker's own network, `bridge`,
    has no names but those of links.
    """
    names = {str(key): str(under(networks, key).get("name", key)) for key in networks}
    keys = {name: key for key, name in reversed(names.items())}
    found: dict[str, frozenset[str]] = {"host": frozenset()}
    for name, service in services.items():
        given, mode = service.get("networks"), service.get("network_mode")
        listed = given if isinstance(given, dict) else listing(given, "networks")
        joined = {names.get(each, each) for each in map(str, listed or ["default"])}
        if mode is None and not any("$" in each for each in joined):
            found[f"service:{name}"] = frozenset(keys.get(each, each) for each in joined)
        elif mode == "none" or (mode == "bridge" and not service.get("links")):
            found[f"service:{name}"] = frozenset()
    return found


def _container(name: str, service: dict[str, Any], volumes: dict[str, Any]) -> Container:
    """Return a service without its networks and lines."""
    if service.get("extends"):
        raise _unresolved(f"{name}: extends")
    logging = mapping(service.get("logging"), f"{name}: logging")
    return Container(
        name=name,
        image=str(service.get("image", "")),
        words=words(service.get("entrypoint"), f"{name}: entrypoint")
        + words(service.get("command"), f"{name}: command"),
        environment=_environment(service, name),
        has_more_variables=bool(service.get("env_file")),
        depends_on=_depends_on(service),
        stop_seconds=_stop_seconds(service),
        stop_signal=_value(service, "stop_signal"),
        dockerfile=_dockerfile(service),
        memory_bytes=_memory(service),
        log_driver=_value(logging, "driver"),
        log_options=texts(logging.get("options"), f"{name}: options"),
        user=_value(service, "user") or None,
        mounts=tuple(_mounts(name, service, volumes)),
        has_more_mounts=bool(service.get("volumes_from")),
        nofile_soft=_nofile(service),
        has_health_check=_has_health_check(service),
    )


def _extra_hosts(service: dict[str, Any]) -> dict[str, str]:
    """Return the addresses of its own file of hosts, by their names."""
    given = service.get("extra_hosts")
    if isinstance(given, dict):
        return texts(given, "extra_hosts")
    parts = (re.split("[:=]", str(each), maxsplit=1) for each in listing(given, "extra_hosts"))
    return {name: address for name, *rest in parts for address in rest}


def _has_health_check(service: dict[str, Any]) -> bool | None:
    """Return False if it is switched off, None where only the image may have one."""
    check = under(service, "healthcheck")
    if is_on(check.get("disable")) or check.get("test") in (["NONE"], "NONE"):
        return False
    return True if check.get("test") else None


def _lines(service: dict[str, Any], line: int | None) -> dict[str, int]:
    variables = lines_of(service.get("environment"))
    lines = lines_of(service) | {f"${name}": each for name, each in variables.items() if name}
    return lines | ({"": line} if line else {})


def _stop_seconds(service: dict[str, Any]) -> float:
    if service.get("stop_grace_period") is None:
        return _STOP_SECONDS
    given = _value(service, "stop_grace_period")
    return math.nan if given is None else seconds(given)


def _value(parent: dict[str, Any], key: str) -> str | None:
    """Return the text under a key; None if there is none, or it is unknown."""
    given = parent.get(key)
    return None if given is None else _filled(str(given))


def _dockerfile(service: dict[str, Any]) -> str:
    """Return the Dockerfile of which all is built, relative to this file; empty if unsure.

    An earlier stage may have another stop signal, and an argument may change it.
    """
    given = service.get("build")
    build = given if isinstance(given, dict) else {"context": given}
    context, name = build.get("context"), build.get("dockerfile", "Dockerfile")
    if not isinstance(context, str) or not isinstance(name, str):
        return ""
    if any(map(build.get, ("target", "args", "dockerfile_inline"))):
        return ""
    context, name = _filled(context), _filled(name)
    return "" if context is None or name is None else str(PurePosixPath(context, name))


def _filled(text: str) -> str | None:
    """Return a text as the container gets it; None if a variable in it has no default."""
    parts = text.split("$$")
    return None if any("$" in each for each in parts) else "$".join(parts)


def _with_defaults(value: Any) -> Any:
    """Return a value of the file with the defaults of all variables that have one."""
    if isinstance(value, dict):
        found = copy.copy(value)  # which has the lines of its keys
        found.update({key: _with_defaults(each) for key, each in value.items()})
        return found
    if isinstance(value, list):
        return [_with_defaults(each) for each in value]
    return _DEFAULT.sub(r"\1", value) if isinstance(value, str) else value


def _environment(service: dict[str, Any], name: str) -> dict[str, str | None]:
    given = service.get("environment")
    if isinstance(given, list):
        pairs = [str(each).partition("=") for each in given]
        return {key: _filled(value) if sign else None for key, sign, value in pairs}
    return {
        str(key): None if value is None else _filled(text_of(value))
        for key, value in mapping(given, f"{name}: environment").items()
    }


def _depends_on(service: dict[str, Any]) -> dict[str, Condition]:
    conditions = dict.fromkeys(_implied(service), Condition.STARTED)
    given = service.get("depends_on")
    if not isinstance(given, dict):
        given = dict.fromkeys(map(str, listing(given, "depends_on")))
    for name, each in given.items():
        condition = str(mapping(each, "depends_on").get("condition"))
        conditions[str(name)] = _CONDITIONS.get(condition, Condition.STARTED)
    return conditions


def _implied(service: dict[str, Any]) -> Iterator[str]:
    """Yield the services that compose orders a service behind without `depends_on`."""
    modes = [str(service.get(key)) for key in _SHARED]
    yield from (each.removeprefix("service:") for each in modes if each.startswith("service:"))
    yield from links(service.get("links")).values()
    for each in listing(service.get("volumes_from"), "volumes_from"):
        yield str(each).partition(":")[0]


def _memory(service: dict[str, Any]) -> int | None:
    limits = under(service, "deploy", "resources", "limits")
    limit = _value(limits, "memory") if "memory" in limits else _value(service, "mem_limit")
    return None if limit is None else compose_bytes(limit)


def _mounts(owner: str, service: dict[str, Any], volumes: dict[str, Any]) -> Iterator[Mount]:
    for each in listing(service.get("volumes"), "volumes"):
        yield _mount(owner, each, volumes)
    tmpfs = service.get("tmpfs")
    for each in [tmpfs] if isinstance(tmpfs, str) else listing(tmpfs, "tmpfs"):
        path = str(each).partition(":")[0]
        yield Mount(name=f"{path} of {owner}", path=path, kind=Volume.MEMORY)


def _mount(owner: str, given: Any, volumes: dict[str, Any]) -> Mount:
    if isinstance(given, str):
        # Those in references, such as `${NAME:?it is missing}`, separate nothing.
        given = _REFERENCE.sub(lambda found: found[0].replace(":", ""), given)
        source, _, rest = given.partition(":")
        path, _, mode = rest.partition(":")
        if not path:  # an anonymous volume
            return Mount(name=f"{source} of {owner}", path=source, kind=Volume.MANAGED)
        kind = Volume.BIND if source[:1] in "./~" else _named(source, volumes)
        return Mount(name=source, path=path, kind=kind, read_only="ro" in mode.split(","))
    long = mapping(given, "a volume")
    path = str(long.get("target", ""))
    name = str(long.get("source", f"{path} of {owner}"))
    kinds = {"bind": Volume.BIND, "tmpfs": Volume.MEMORY}
    kind = kinds.get(str(long.get("type"))) or _named(name, volumes)
    return Mount(
        name=name,
        path=path,
        kind=kind,
        sub_path=str(under(long, "volume").get("subpath", "")),
        read_only=is_on(long.get("read_only")),
    )


def _named(name: str, volumes: dict[str, Any]) -> Volume:
    options = under(volumes, name, "driver_opts")
    if options.get("type") in _NETWORK_TYPES:
        return Volume.NETWORK
    return Volume.MEMORY if options.get("type") == "tmpfs" else Volume.MANAGED


def _nofile(service: dict[str, Any]) -> int | None:
    limits = under(service, "ulimits")
    nofile = limits.get("nofile")
    limit = _value(nofile, "soft") if isinstance(nofile, dict) else _value(limits, "nofile")
    return None if limit is None else whole(limit, "ulimits.nofile")
