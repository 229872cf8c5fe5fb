"""The common model of ECS, Kubernetes and compose, so that each rule is written once.

A reader turns a file into `Unit`s: containers that start and stop together. A rule checks a unit
and yields `Finding`s. This module knows no format of deployment files, and does no I/O.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Final

from logship._deployment.linting.sections import Configuration
from logship._deployment.linting.shell import last_command

CONTAINERS_MAX: Final = 1000
"""In one unit: rules compare each container with all others."""
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

_SIDECAR_NAME = re.compile(
    r"fluent-?d(?![a-z])|fluent-?bit|(?<![a-z])log[-_]router|logship-sidecar|^(logging-)?sidecar$",
    re.IGNORECASE,
)
_COMMAND = re.compile(r"\blogship\W+(receive|recover|run|pipe)\b")
_OURS = re.compile(r"logship-(sidecar|fluent)")
_OUTPUT_VARIABLES = {
    *("LOGSHIP_OUTPUT", "LOGSHIP_S3_BUCKET", "LOGSHIP_KAFKA_BROKERS", "LOGSHIP_AGGREGATOR_HOST"),
}
"""Variables that only logship's own sidecars read."""
_OTHER_COMMAND = re.compile(r"\blogship\W+(audit|doctor|lint)\b")
_SCRIPT = re.compile(r"""(?<=\s-c)\s+(['"])(.*?)\1""", re.DOTALL)
"""What a shell inside a shell is given; its commands count, unlike those in other quotes."""


class Platform(enum.StrEnum):
    """What a file is for."""

    ECS = "ecs"
    KUBERNETES = "kubernetes"
    COMPOSE = "compose"
    DOCKERFILE = "dockerfile"
    CONFIGURATION = "configuration"
    """Of a sidecar."""


class Role(enum.Enum):
    """What a container does with logs."""

    APPLICATION = "application"
    RECOVERER = "recoverer"
    SIDECAR = "sidecar"
    OTHER = "other"


class Condition(enum.Enum):
    """What a container that another one depends on must have done."""

    STARTED = "started"
    HEALTHY = "healthy"
    COMPLETED = "completed"


class Volume(enum.Enum):
    """What is behind a mount; it decides the owner and the lifetime of the data."""

    BIND = "a directory of the host"
    MANAGED = "a volume that takes its owner from the image's directory"
    CLAIM = "a claimed volume"
    EMPTY = "an empty directory of the pod"
    MEMORY = "memory"
    NETWORK = "a network filesystem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A directory of a container that is not its own layer.

    Attributes:
        name: The volume's; two containers that mount the same one share it.
        path: In the container.
        kind: What is behind it.
        sub_path: The directory of the volume that is mounted, if it is not all of it.
        read_only: Whether it is read-only.
        bytes_max: The size above which the platform ends the container, or None.
    """

    name: str
    path: str
    kind: Volume
    sub_path: str = ""
    read_only: bool = False
    bytes_max: int | None = None

    def covers(self, path: str) -> bool:
        """Return whether `path` is in it."""
        return f"{path.rstrip('/')}/".startswith(f"{self.path.rstrip('/')}/")

    def place_of(self, path: str) -> tuple[str, str]:
        """Return the volume, and where a path that it covers is in it."""
        rest = path.removeprefix(self.path.rstrip("/")).strip("/")
        return self.name, f"{self.sub_path}/{rest}".strip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container.

    Attributes:
        name: Unique in its unit.
        image: With its tag, as written.
        image_is_empty: Whether the file has an image for it, which is nothing.
        words: Entrypoint and command, one after the other; empty if those of the image are used.
        environment: Values by name; None where the value comes from elsewhere.
        has_more_variables: Whether others come from a file or object that is not in sight.
        depends_on: What other containers must have done before it starts, by their names.
        stop_seconds: Between SIGTERM and SIGKILL; the platform's default if none is given, NaN if
            the file does not show it.
        stop_signal: What the platform sends, as written; None for the image's own.
        dockerfile: The Dockerfile that it is built from as it is, by its path; else empty.
        installs_other_package: Whether a Dockerfile installs another project's `logship` for it.
        pre_stop_seconds: The part of that time that a hook uses before the stop signal.
        memory_bytes: Its limit, or its task's.
        log_driver: Of its own stdout and stderr; None for the platform's default.
        log_options: Of that driver.
        output: What FireLens makes of them for the sidecar; None if it makes none.
        user: As written, `10001:10001`; `non-root` if no more is said; None for the image's user.
        mounts: Its volumes.
        has_more_mounts: Whether it has those of another container too, which are not followed.
        nofile_soft: How many descriptors it may open; None for the platform's default.
        is_firelens: Whether ECS makes its configuration.
        has_own_configuration: Whether that includes another one, which is not in sight.
        is_native_sidecar: Whether Kubernetes stops it after the main containers.
        runs_first: Whether it ends before the others begin.
        has_health_check: Whether the file gives it one; None where the image's own counts.
        is_essential: Whether ECS stops the task when it ends.
        is_restarted: Whether ECS starts it again when it ends.
        network: Containers with the same one share loopback; None if the file does not say.
        joined: The networks of its namespace in which names of services resolve; None if the file
            does not say.
        aliases: Containers and addresses by further names under which it reaches them.
        ports: Those that it is declared to listen on.
        lines: Where its parts are in the file, by their keys; variables as `$NAME`, itself as "".
    """

    name: str
    image: str = ""
    image_is_empty: bool = False
    words: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    has_more_variables: bool = False
    depends_on: Mapping[str, Condition] = field(default_factory=dict)
    stop_seconds: float = 30.0
    stop_signal: str | None = None
    dockerfile: str = ""
    installs_other_package: bool = False
    pre_stop_seconds: float = 0.0
    memory_bytes: int | None = None
    log_driver: str | None = None
    log_options: Mapping[str, str] = field(default_factory=dict)
    output: Configuration | None = None
    user: str | None = None
    mounts: tuple[Mount, ...] = ()
    has_more_mounts: bool = False
    nofile_soft: int | None = None
    is_firelens: bool = False
    has_own_configuration: bool = False
    is_native_sidecar: bool = False
    runs_first: bool = False
    has_health_check: bool | None = None
    is_essential: bool = True
    is_restarted: bool = False
    network: str | None = None
    joined: frozenset[str] | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)

    def is_sidecar(self) -> bool:
        """Return whether it takes logs from the others, judged by name, image and command."""
        if self.is_firelens or self._has_output:
            return True
        by_name = _SIDECAR_NAME.search(self.image.rpartition("/")[2])
        # A container that runs first may prepare files for the sidecar, and have its name too.
        if not self.runs_first:
            by_name = by_name or _SIDECAR_NAME.search(self.name)
        return bool(by_name or self.receives) and not self.recovers_or_runs

    @property
    def is_logships(self) -> bool:
        """Whether it is a sidecar of logship's own, with its variables."""
        return self._has_output or bool(_OURS.search(self.image))

    @property
    def has_own_variables(self) -> bool:
        """Whether it shows that the variables of logship's own sidecars are its own."""
        return self.is_logships or self._is_set_up

    @property
    def is_fluent_bit(self) -> bool:
        """Whether its image, or a variable that only this sidecar of logship reads, says so."""
        is_named = "fluent-bit" in self.image.rpartition("/")[2]
        return is_named or "LOGSHIP_GRACE_SECONDS" in self.environment

    @property
    def receives(self) -> bool:
        """Whether its command is `logship receive`."""
        return "receive" in self._commands

    @property
    def recovers(self) -> bool:
        """Whether its command is `logship recover`."""
        return "recover" in self._commands

    @property
    def recovers_or_runs(self) -> bool:
        """Whether its command is a logship command that sends records."""
        return not self._commands.isdisjoint(("recover", "run", "pipe"))

    @property
    def _commands(self) -> set[str]:
        return set(_COMMAND.findall(self.line))

    @property
    def ships(self) -> bool:
        """Whether it shows that it ships with logship."""
        if self.is_sidecar() or self.recovers:
            return False
        return self._is_set_up or self.recovers_or_runs

    @property
    def _is_set_up(self) -> bool:
        return any(name.startswith("LOGSHIP_") for name in self.environment)

    @property
    def _has_output(self) -> bool:
        return not _OUTPUT_VARIABLES.isdisjoint(self.environment)

    @property
    def ships_nothing(self) -> bool:
        """Whether its command, or the last one of its script, only looks at logs or settings."""
        last = last_command(_SCRIPT.sub(r" \2", self.line))
        return _OTHER_COMMAND.search(last) is not None and not self.recovers_or_runs

    @property
    def line(self) -> str:
        """Its command as one text."""
        return " ".join(self.words)

    def value(self, name: str, default: str | None = None) -> str | None:
        """Return a variable's value: `default` if it is surely unset, None if unknown or empty."""
        return default if self.is_unset(name) else self.environment.get(name) or None

    def is_unset(self, name: str) -> bool:
        """Return whether an environment variable certainly has no value."""
        return not self.has_more_variables and name not in self.environment

    def is_empty(self, name: str) -> bool:
        """Return whether an environment variable certainly has no value, or an empty one."""
        return self.is_unset(name) or self.environment.get(name) == ""

    def mount_of(self, path: str) -> Mount | None:
        """Return the innermost mount that contains `path`."""
        covering = [mount for mount in self.mounts if mount.covers(path)]
        return max(covering, key=lambda mount: len(mount.path), default=None)

    @property
    def runs_as_root(self) -> bool | None:
        """Whether its user is root; None where the file does not say."""
        if self.user is None:
            return None
        return self.user.partition(":")[0] in ("0", "root")


def _of(*roles: Role) -> functools.cached_property[list[Container]]:
    """Return an attribute of `Unit`: its containers that have one of these roles."""
    return functools.cached_property(
        lambda unit: [each for each in unit.containers if unit.role(each) in roles]
    )


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Containers that are started and stopped together: a task, a pod, a compose project.

    Attributes:
        platform: What its file is for.
        name: The task's family, the workload, the project.
        containers: In their order.
        grace_seconds: Kubernetes: for the whole pod; None elsewhere.
        group: Kubernetes: the volumes' group (`fsGroup`); None where there is none.
        is_spot: Whether it is known to run on Fargate Spot.
        may_be_fargate: Whether Fargate's limits hold.
        configurations: Of sidecars, where in sight.
        routes: All that route the records of its containers, if they are known; else none.
        services: The Kubernetes Services in its namespace, and whether each has an address.
        has_service_links: Whether Kubernetes sets variables with these addresses.
        named: Returns the text of a file that it names, None if that is not in sight: a shell
            script by its base name, a Dockerfile by its path.
        lines: Where its parts are in the file, by their keys.
    """

    platform: Platform
    name: str
    containers: tuple[Container, ...] = ()
    grace_seconds: float | None = None
    group: int | None = None
    is_spot: bool = False
    may_be_fargate: bool = False
    configurations: tuple[Configuration, ...] = ()
    routes: tuple[Configuration, ...] = ()
    services: Mapping[str, bool] = field(default_factory=dict)
    has_service_links: bool = True
    named: Callable[[str], str | None] = lambda _: None
    lines: Mapping[str, int] = field(default_factory=dict)

    applications = _of(Role.APPLICATION)
    recoverers = _of(Role.RECOVERER)
    sidecars = _of(Role.SIDECAR)
    senders = _of(Role.APPLICATION, Role.RECOVERER)
    helpers = _of(Role.RECOVERER, Role.SIDECAR)
    of_logship = _of(Role.APPLICATION, Role.RECOVERER, Role.SIDECAR)

    @functools.cached_property
    def with_last_resort(self) -> list[Container]:
        """The senders that write to stderr what they can neither deliver nor keep."""
        return [each for each in self.senders if each.value("LOGSHIP_LAST_RESORT") != "none"]

    @functools.cached_property
    def own_sidecars(self) -> list[Container]:
        """The sidecars of logship's own, whose variables and directories are known."""
        return [
            each
            for each in self.sidecars
            if each.has_own_variables and not each.receives and not each.is_firelens
        ]

    @functools.cached_property
    def by_name(self) -> dict[str, Container]:
        """Its containers by their names."""
        return {each.name: each for each in self.containers}

    def line_of(self, container: str, keys: tuple[str, ...]) -> int | None:
        """Return the line of the first of its keys that a container or the unit has, or its own."""
        own = self.by_name[container].lines if container in self.by_name else {}
        lines = (where.get(key) for where in (own, self.lines) for key in (*keys, ""))
        return next(filter(None, lines), None)

    @property
    def shows_logship(self) -> bool:
        """Whether a container shows that it belongs to logship."""
        return any(
            each.ships or each.recovers or each.is_logships or each.receives
            for each in self.containers
        )

    def role(self, container: Container) -> Role:
        """Return what a container does with logs.

        If no container shows that it uses logship, all containers that share the network with a
        sidecar of logship's own count as applications, because the image may have all settings.
        """
        if container.ships_nothing:
            return Role.OTHER
        if container.recovers:
            return Role.RECOVERER
        if container.is_sidecar():
            return Role.SIDECAR
        if container.ships:
            return Role.APPLICATION
        if container.runs_first:
            return Role.OTHER
        may_ship = (
            self.platform == Platform.DOCKERFILE
            or container.network in self._networks_without_signs
        )
        return Role.APPLICATION if may_ship else Role.OTHER

    @functools.cached_property
    def _networks_without_signs(self) -> set[str]:
        """The networks of logship's sidecars, if no container shows that it uses logship."""
        if any(each.ships for each in self.containers):
            return set()
        sidecars = (each for each in self.containers if each.is_sidecar() and each.is_logships)
        return {each.network for each in sidecars if each.network is not None}

    def needs(self, container: Container) -> set[str]:
        """Return the names of all containers that must have started before `container`."""
        return self._needed.get(container.name, {*container.depends_on})

    @functools.cached_property
    def _needed(self) -> dict[str, set[str]]:
        needed: dict[str, set[str]] = {}
        for each in self.in_order:
            names = each.depends_on.keys() & needed
            needed[each.name] = names.union(*map(needed.__getitem__, names))
        return needed

    @functools.cached_property
    def in_order(self) -> list[Container]:
        """The containers, each behind those that it depends on; none if that is impossible."""
        by_name = self.by_name
        graph = {name: each.depends_on.keys() & by_name for name, each in by_name.items()}
        try:
            return [by_name[name] for name in TopologicalSorter(graph).static_order()]
        except CycleError:
            return []


class Severity(enum.StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Records will be lost, or the containers do not start."""
    WARNING = "warning"
    """Records may be lost, after something else has gone wrong."""
    NOTE = "note"
    """The file does not show whether it is right; a person should look."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """What a rule yields.

    Attributes:
        change: The lines to write instead.
        effect: What will happen because of it, in one sentence; empty for what the rule says.
        of: The name of its container; empty for the part of the unit that the check was given.
        key: The container's key or variable that is wrong, before those that the rule is about.
        line: Its line in the file; None for that of the keys.
    """

    change: str
    effect: str = ""
    _: KW_ONLY
    of: str = ""
    key: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake with its rule, the rule's severity, and its line if that is known."""

    rule: str
    severity: Severity
    container: str
    effect: str
    change: str
    line: int | None
