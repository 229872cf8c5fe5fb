"""The order of starts and stops: a sidecar outlives its clients, a recoverer its application."""

from __future__ import annotations

from collections.abc import Iterator

from logship._deployment.linting.commands import stop_setting_seconds
from logship._deployment.linting.model import Condition, Container, Mistake, Platform, Role, Unit
from logship._deployment.linting.rules.endpoints import sends_elsewhere
from logship._deployment.linting.rules.rule import helpers, senders, units
from logship._deployment.linting.rules.snippets import form, quoted

_KEYS = ("dependsOn", "depends_on")
_FLUENT_BIT_CHECK = ["/bin/busybox", "sh", "/fluent-bit/bin/healthcheck"]
"""The image of `sidecar/fluent-bit` has no other shell."""


@units.error(
    finds=("an application or recoverer that is not ordered behind its sidecar (or its recoverer)"),
    effect="both get SIGTERM together; the application's last records meet a closed port",
    keys=_KEYS,
)
def _depends_on(unit: Unit) -> Iterator[Mistake]:
    """ECS and compose stop containers in the reverse order of their dependencies. Links and
    `volumesFrom` are dependencies too, and in compose a shared namespace such as `network_mode:
    service:…`. ECS adds one for containers with the log driver awsfirelens. Kubernetes orders only
    native sidecars, init containers with `restartPolicy: Always`, which stop after the main
    containers. A plain sidecar outlives its application if its preStop hook sleeps for as long as
    the application may take. A container whose endpoints are all outside of the file needs no order
    behind the sidecar.
    """
    sidecars = [each for each in unit.sidecars if not _blocks(each)]
    recoverers = [each for each in unit.recoverers if not _blocks(each)]
    for container in unit.senders:
        needs = unit.needs(container) | _kept_until_it_stops(unit, container)
        is_application = unit.role(container) is Role.APPLICATION
        wanted = [] if sends_elsewhere(unit, container) else [sidecars]
        if is_application and "LOGSHIP_SPOOL_DIR" in container.environment:
            wanted.append(recoverers)
        for others in wanted:
            if others and needs.isdisjoint(each.name for each in others):
                yield _missing(unit, container, others[0])


def _kept_until_it_stops(unit: Unit, container: Container) -> set[str]:
    """Return the names of those whose preStop hook sleeps until a container has stopped."""
    if container.is_native_sidecar:  # it stops after all main containers and their hooks
        return set()
    least = max(container.pre_stop_seconds + (stop_setting_seconds(unit, container) or 0.0), 1.0)
    return {each.name for each in unit.containers if each.pre_stop_seconds >= least}


def _missing(unit: Unit, container: Container, other: Container) -> Mistake:
    if unit.platform == Platform.KUBERNETES:
        effect = (
            f"{other.name} is not an init container with restartPolicy: Always that starts before "
            f"{container.name}, so both get SIGTERM at the same moment and the last records meet a "
            "closed port; a Job whose plain sidecar runs on never completes"
        )
        return Mistake(_native(other), effect, of=container.name)
    lost = "the last records meet a closed port"
    if unit.role(other) is Role.RECOVERER:
        lost = "what the application leaves on its spool stays there"
    effect = f"{other.name} gets SIGTERM together with {container.name} and ends first, and {lost}"
    return Mistake(_depends(unit, other), effect, of=container.name)


def _native(container: Container) -> str:
    return f"initContainers: [{{ name: {container.name}, restartPolicy: Always, … }}]"


def _depends(unit: Unit, other: Container) -> str:
    """Return the line that orders a container behind another one, and a check if that has none.

    A recoverer takes no connections: it must have started, and has no health to wait for.
    """
    is_recoverer = unit.role(other) is Role.RECOVERER
    condition = "service_started" if is_recoverer else "service_healthy"
    of_ecs = "START" if is_recoverer else "HEALTHY"
    change = form(
        unit,
        f"depends_on: {{ {other.name}: {{ condition: {condition} }} }}",
        ecs=f'"dependsOn": [{{ "containerName": "{other.name}", "condition": "{of_ecs}" }}]',
    )
    has_check = is_recoverer or other.has_health_check
    if has_check is None:  # then the image's counts
        has_check = other.is_logships
    return change if has_check else f"{change}; {_health_check(unit, other)}"


def _health_check(unit: Unit, container: Container) -> str:
    """Return the line of a health check, by the command that the image has for it."""
    words = ["…"]
    if container.is_logships:
        words = _FLUENT_BIT_CHECK if container.is_fluent_bit else ["logship-healthcheck"]
    test = f"[{quoted('CMD', *words)}]"
    check = form(
        unit, f"healthcheck: {{ test: {test} }}", ecs=f'"healthCheck": {{ "command": {test} }}'
    )
    return f"in {container.name}: {check}"


@units.error(
    finds="a sidecar or recoverer that is ordered behind an application, and so stopped first",
    effect="the sidecar stops first, and the application's last records meet a closed port",
    platforms=(Platform.ECS, Platform.COMPOSE),
    keys=_KEYS,
)
def _depends_on_reversed(unit: Unit) -> Iterator[Mistake]:
    """A container that depends on another one starts after it, and is stopped before it. In
    Kubernetes the order of the list counts, and the rule depends-on finds a wrong order.
    """
    applications = {each.name for each in unit.applications}
    recoverers = {each.name for each in unit.recoverers}
    for container in unit.helpers:
        over = applications | (recoverers if unit.role(container) is Role.SIDECAR else set())
        for name in sorted(unit.needs(container) & over):
            word = form(unit, "depends_on, network_mode or links", ecs="dependsOn")
            change = f"remove {name} from {word} of {container.name}; in {name}: "
            yield Mistake(change + _depends(unit, container), of=container.name)


@senders.error(
    finds="a container that waits for the health of another one that has no health check",
    effect="the application never starts",
    platforms=(Platform.ECS, Platform.COMPOSE),
    keys=_KEYS,
)
def _depends_on_unchecked(unit: Unit, container: Container) -> Iterator[Mistake]:
    """ECS looks only at the `healthCheck` of the task definition, not at the HEALTHCHECK of the
    image. Compose looks at both, but not at a health check that is switched off.
    """
    for other in _waited_for(unit, container, Condition.HEALTHY):
        if other.has_health_check is False:
            yield Mistake(_health_check(unit, other))


@senders.error(
    finds="an application or recoverer that waits for the end of its sidecar",
    effect="the application never starts",
    platforms=(Platform.ECS, Platform.COMPOSE),
    keys=_KEYS,
)
def _depends_on_completed(unit: Unit, container: Container) -> Iterator[Mistake]:
    """A sidecar runs until it is stopped, so the conditions COMPLETE, SUCCESS and
    `service_completed_successfully` are never met.
    """
    for other in _waited_for(unit, container, Condition.COMPLETED):
        if unit.role(other) is Role.SIDECAR:
            yield Mistake(_depends(unit, other))


@senders.note(
    finds="an application or recoverer that starts before its sidecar listens",
    effect=(
        "the first records wait in the buffer; those of a program that ends at once go to stderr"
    ),
    platforms=(Platform.ECS, Platform.COMPOSE),
    keys=_KEYS,
)
def _depends_on_started(unit: Unit, container: Container) -> Iterator[Mistake]:
    """The condition START, and compose's short form `depends_on: [sidecar]`, wait for the start of
    the process and not for its port. logship connects again, so a program that keeps running loses
    nothing. A program that ends before it has reached a sidecar waits only 3 s.
    """
    for other in _waited_for(unit, container, Condition.STARTED):
        if unit.role(other) is Role.SIDECAR and not other.is_firelens:
            yield Mistake(_depends(unit, other))


def _waited_for(unit: Unit, container: Container, condition: Condition) -> Iterator[Container]:
    """Yield the containers of which a container waits for this condition."""
    for name, given in container.depends_on.items():
        if given is condition and name in unit.by_name:
            yield unit.by_name[name]


@helpers.error(
    finds="a sidecar or recoverer as init container without `restartPolicy: Always`",
    effect="the pod waits forever in its init phase, and the application never starts",
    platforms=(Platform.KUBERNETES,),
)
def _init_sidecar(unit: Unit, container: Container) -> Iterator[Mistake]:
    """Kubernetes runs init containers one after the other, each to its end, before it starts the
    main containers. Only `restartPolicy: Always` makes an init container a native sidecar.
    """
    if _blocks(container):
        yield Mistake(_native(container))


def _blocks(container: Container) -> bool:
    """Return whether a container runs forever before the others begin."""
    if not container.runs_first:
        return False
    if container.recovers_or_runs:
        return "--watch" in container.words
    return not container.words or container.receives or container.is_logships
