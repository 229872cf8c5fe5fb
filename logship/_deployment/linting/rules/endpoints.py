"""Whether a sidecar listens where the application sends."""

from __future__ import annotations

from collections.abc import Iterator

from logship._deployment.linting.commands import option_of, settings_from
from logship._deployment.linting.model import LOOPBACK, Container, Mistake, Platform, Role, Unit
from logship._deployment.linting.rules.rule import of_logship, senders, units
from logship._deployment.linting.rules.snippets import variable
from logship._deployment.linting.shapes import count_or_none
from logship._settings.unknown import setting_variables

_VARIABLE = "LOGSHIP_ENDPOINTS"
_FIRELENS = ("FLUENT_HOST", "FLUENT_PORT")
_KEYS = (f"${_VARIABLE}", *(f"${name}" for name in _FIRELENS), "environment", "env")
_PORT = 24224
_SIDECAR_PORT = "LOGSHIP_PORT"
_FOR_OTHERS = ("host", "container:", "$")
"""What a network begins with that containers outside of the file may share."""
_SHARED = ("host", "container:", "service:")
"""What a network of compose begins with that is of the host, or of a container."""
_AGGREGATOR_PORTS = ("LOGSHIP_AGGREGATOR_PORT", "LOGSHIP_AGGREGATOR_STANDBY_PORT")


def _tcp_endpoints(container: Container) -> Iterator[tuple[str, int]]:
    """Yield host and port of each endpoint that a file shows; a container by its own name."""
    values = {name: container.value(name) for name in (_VARIABLE, *_FIRELENS)}
    given = {name: text for name, text in values.items() if text and "$" not in text}
    if not given.keys() & {_VARIABLE, _FIRELENS[0]}:
        return
    settings = settings_from(*given.items())
    for each in settings.endpoints if settings else ():
        if each.host:
            yield container.aliases.get(each.host, each.host), each.port


def sends_elsewhere(unit: Unit, container: Container) -> bool:
    """Return whether a file shows endpoints, and all of them are outside of the unit."""
    hosts = [host for host, _ in _tcp_endpoints(container)]
    return bool(hosts) and not any(host in LOOPBACK or host in unit.by_name for host in hosts)


@senders.error(
    finds=(
        "an endpoint that names a container which can only be reached on loopback, or which is in "
        "no network of the application"
    ),
    effect="the name does not resolve, no record arrives, and all go to stderr",
    keys=_KEYS,
)
def _endpoint_name(unit: Unit, container: Container) -> Iterator[Mistake]:
    """The containers of a pod, of an ECS task with `awsvpc` (always so on Fargate), and of compose
    services with `network_mode: service:…` share one network namespace. Their names do not resolve
    there: they reach each other on 127.0.0.1. In compose a name resolves only in the networks that
    both services are in. A service with a `network_mode` is in none of them: it has no name there,
    and with `host`, `none` or `bridge` it finds no other service by its name.
    """
    for host, port in _tcp_endpoints(container):
        other = unit.by_name.get(host)
        if other is None or other is container or host in unit.services:
            continue
        loopback = variable(unit, _VARIABLE, f"tcp://127.0.0.1:{port}")
        if other.network is not None and other.network == container.network:
            if other.network != f"service:{host}":
                yield Mistake(loopback)
        elif not _may_resolve(container, other):
            yield Mistake(_sharing(container, other, loopback), key="network_mode")
        elif container.joined and other.joined and container.joined.isdisjoint(other.joined):
            names = ", ".join(sorted({*container.joined, min(other.joined)}))
            yield Mistake(f"networks: [{names}]", key="networks")


@senders.error(
    platforms=(Platform.ECS, Platform.COMPOSE),
    finds="an endpoint on loopback where no sidecar shares the network namespace",
    effect="it is the container itself and not a sidecar: no record arrives, and all go to stderr",
    keys=_KEYS,
)
def _endpoint_loopback(unit: Unit, container: Container) -> Iterator[Mistake]:
    """In compose each service has a network namespace of its own, and so has each container of an
    ECS task with `bridge`, the mode of a definition that names none: loopback leads back to the
    application. The name of the service, or an ECS link, leads to the sidecar.
    """
    for host, port in _tcp_endpoints(container):
        if host in LOOPBACK and _is_alone(unit, container):
            yield Mistake(_to_sidecar(unit, container, port))


@senders.warning(
    platforms=(Platform.ECS, Platform.COMPOSE),
    finds="no `LOGSHIP_ENDPOINTS` where no sidecar shares the network namespace",
    effect=(
        "unless the image sets it, the default leads to the container itself and not to a sidecar, "
        "and all records go to stderr"
    ),
    keys=_KEYS,
)
def _endpoint_default(unit: Unit, container: Container) -> Iterator[Mistake]:
    """The default is `tcp://127.0.0.1:24224`. In compose each service has a network namespace of
    its own, and so has each container of an ECS task with `bridge`: loopback leads back to the
    application. The file does not show what the image sets.
    """
    # ECS sets `FLUENT_HOST` for the log driver awsfirelens.
    if container.log_driver == "awsfirelens" or not _is_alone(unit, container):
        return
    if all(container.is_empty(name) for name in (_VARIABLE, _FIRELENS[0])):
        yield Mistake(_to_sidecar(unit, container, _PORT))


def _is_alone(unit: Unit, container: Container) -> bool:
    """Return whether no other container shares the network, and a sidecar is elsewhere."""
    if (container.network or "host").startswith(_FOR_OTHERS):
        return False
    others = [each for each in unit.containers if each.network == container.network]
    return len(others) == 1 and (unit.platform == Platform.ECS or any(unit.sidecars))


def _to_sidecar(unit: Unit, container: Container, port: int) -> str:
    """Return the lines that lead a container away from its own loopback."""
    sidecar = next(iter(unit.sidecars), None)
    if sidecar and not _may_resolve(container, sidecar):
        return _sharing(container, sidecar)
    name = sidecar.name if sidecar else "SIDECAR"
    return variable(unit, _VARIABLE, f"tcp://{name}:{port}")


def _may_resolve(container: Container, other: Container) -> bool:
    """Return whether both have names in networks of compose, or the file does not say."""
    network = other.network or ""
    is_guest = network.startswith(_SHARED) and network != f"service:{other.name}"
    if is_guest or container.joined is None:
        return not is_guest
    return bool(container.joined) and other.joined != frozenset()


def _sharing(container: Container, other: Container, *lines: str) -> str:
    """Return the lines that let a container reach another one on loopback."""
    if (container.network or "").startswith(_FOR_OTHERS):
        return "; ".join((*lines, f"in {other.name}: network_mode: {container.network}"))
    return "; ".join((f"network_mode: {other.network}", *lines))


@senders.error(
    finds="an endpoint with a port on which no sidecar listens",
    effect="the connection is refused, no record arrives, and all go to stderr",
    keys=_KEYS,
)
def _endpoint_port(unit: Unit, container: Container) -> Iterator[Mistake]:
    """logship's sidecars listen on `LOGSHIP_PORT`, by default 24224. So does the sidecar that
    FireLens makes, and `logship receive` unless `--bind` says otherwise. For other sidecars the
    rule knows the port if all of their configuration is in the same file, or if 24224 is declared.
    """
    for host, port in _tcp_endpoints(container):
        reached = [each for each in unit.sidecars if _leads_to(container, host, each)]
        ports = [_port_of(unit, each, port) for each in reached]
        if not ports or None in ports or port in ports:
            continue
        if any(str(port) in each.text for each in (*unit.configurations, *unit.routes)):
            continue
        listening = " or ".join(dict.fromkeys(map(str, ports)))
        effect = (
            f"no sidecar listens on port {port}, only on {listening}: the connection is refused, "
            "and all records go to stderr"
        )
        right = f"tcp://{f'[{host}]' if ':' in host else host}:{ports[0]}"
        yield Mistake(variable(unit, _VARIABLE, right), effect)


def _leads_to(container: Container, host: str, sidecar: Container) -> bool:
    if host in LOOPBACK:
        return sidecar.network is not None and sidecar.network == container.network
    return host == sidecar.name


def _port_of(unit: Unit, sidecar: Container, wanted: int) -> int | None:
    """Return the port for the forward protocol; None if the file does not show it.

    A sidecar that is not logship's may have another input on the wanted port.
    """
    if sidecar.receives:
        bind = option_of(sidecar, "--bind")
        return count_or_none(bind.rpartition(":")[2]) if bind else _PORT
    if sidecar.is_logships:
        return count_or_none(sidecar.value("LOGSHIP_PORT", f"{_PORT}"))
    if sidecar.is_firelens:
        return None if sidecar.has_own_configuration else _PORT
    if wanted in sidecar.ports:
        return None
    return _configured_port(unit) or (_PORT if _PORT in sidecar.ports else None)


def _configured_port(unit: Unit) -> int | None:
    """Return the port of the only forward input; None if the configuration does not show it."""
    inputs = [each for found in unit.routes for each in found.inputs if each.type == "forward"]
    if len(inputs) != 1 or "unix_path" in inputs[0].options:
        return None
    if not all(each.is_whole for each in (*unit.routes, *inputs)):
        return None
    return count_or_none(inputs[0].written.get("port", f"{_PORT}"))


@units.error(
    platforms=(Platform.ECS, Platform.COMPOSE),
    finds="a sidecar that listens on its own loopback, where no application is",
    effect="the connection is refused, no record arrives, and all go to stderr",
    keys=("$LOGSHIP_BIND", "environment", "env"),
)
def _sidecar_bind(unit: Unit) -> Iterator[Mistake]:
    """logship's sidecars listen on 127.0.0.1, because the containers of a task share it. A
    container with another network namespace reaches them only if `LOGSHIP_BIND` is 0.0.0.0.
    """
    endpoints = [(each, *one) for each in unit.senders for one in _tcp_endpoints(each)]
    for sidecar in unit.sidecars:
        bind = sidecar.value("LOGSHIP_BIND", LOOPBACK[1])
        is_wanted = any(
            host == sidecar.name
            and sidecar.network not in (None, each.network)
            and _may_resolve(each, sidecar)
            for each, host, _ in endpoints
        )
        if is_wanted and sidecar.is_logships and not sidecar.receives and bind in LOOPBACK:
            yield Mistake(variable(unit, "LOGSHIP_BIND", "0.0.0.0"), of=sidecar.name)  # noqa: S104 - an advice


@of_logship.error(
    finds="a Service whose variables Kubernetes injects under names of logship",
    effect="the container does not start, or reaches no destination: its port is a URL",
    platforms=(Platform.KUBERNETES,),
)
def _service_links(unit: Unit, container: Container) -> Iterator[Mistake]:
    """For each Service in the namespace that has a cluster IP Kubernetes sets variables in all
    pods: a Service named `logship` sets `LOGSHIP_PORT=tcp://10.0.0.1:24224`, `logship-metrics` sets
    `LOGSHIP_METRICS_PORT`, and `logship-aggregator` sets `LOGSHIP_AGGREGATOR_PORT`. The sidecar or
    the application takes this URL for its port.
    Variables that the pod sets itself win, and `enableServiceLinks: false` keeps out the others.
    logship ignores a `FLUENT_PORT` in this form.
    """
    names = setting_variables()
    if unit.role(container) is Role.SIDECAR:
        names = [_SIDECAR_PORT] if container.is_logships else []
        is_forwarding = (container.value("LOGSHIP_OUTPUT") or "").startswith("aggregator")
        if is_forwarding and not container.is_fluent_bit:  # that takes a URL for the default
            names += _AGGREGATOR_PORTS
    for name in names:
        service = name.removesuffix("_PORT").lower().replace("_", "-")
        is_set = unit.has_service_links and name.endswith("_PORT") and unit.services.get(service)
        is_copied = name == _SIDECAR_PORT and "://" in (container.value(name) or "")
        if is_copied or (is_set and container.is_unset(name)):
            effect = (
                f"{name} is tcp://…, as Kubernetes sets it for a Service named {service}, and "
                f"not a port number: {container.name} does not start, or reaches nothing"
            )
            right = variable(unit, name, f"{_PORT}" if name == _SIDECAR_PORT else "…")
            change = f"enableServiceLinks: false, or {right}"
            yield Mistake(change, effect, key=f"${name}")
