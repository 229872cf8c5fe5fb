"""What ECS, Kubernetes and compose have in common, so that each rule is written once.

A reader turns a file into `Unit`s: containers that are started and stopped together. A rule looks
at a unit and yields `Finding`s. Nothing here knows a file format, and nothing does I/O.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from logship.errors import LogshipError

ECS = "ecs"
KUBERNETES = "kubernetes"
COMPOSE = "compose"
CONFIGURATION = "configuration"

_SIDECAR_NAME = re.compile(
    r"fluent-?d|fluent-?bit|log[-_]router|logship-sidecar|^(logging-)?sidecar$", re.IGNORECASE
)
_RECEIVE = re.compile(r"\blogship\W+receive\b")
_RECOVER = re.compile(r"\blogship\W+recover\b")
_SHIP = re.compile(r"\blogship\W+(run|pipe)\b")
_OTHER_COMMAND = re.compile(r"\blogship\W+(audit|doctor|lint)\b")


class LintError(LogshipError):
    """A file cannot be judged; the text names it and says why."""


class Role(enum.Enum):
    """What a container does with logs."""

    APPLICATION = "application"
    RECOVERER = "recoverer"
    SIDECAR = "sidecar"
    OTHER = "other"


class Volume(enum.Enum):
    """What a mount leads to; it decides who owns it and how long it lives."""

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
        kind: What it leads to.
        read_only: Whether nothing can be written there.
        bytes_max: Where the platform ends the container for exceeding it, or None.
    """

    name: str
    path: str
    kind: Volume
    read_only: bool = False
    bytes_max: int | None = None

    def covers(self, path: str) -> bool:
        """Tell whether `path` lies in it."""
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container.

    Attributes:
        name: Unique in its unit.
        image: With its tag, as written.
        words: Entrypoint and command, one behind the other; empty where the image's are taken.
        environment: Values by name; None where the value comes from elsewhere.
        depends_on: Names of containers that must have started before it.
        stop_seconds: Between SIGTERM and SIGKILL; the platform's default where none is given.
        stop_is_given: Whether the file says so itself.
        pre_stop_seconds: What a hook takes of that before the stop signal.
        memory_bytes: Its limit, or its task's.
        log_driver: Of its own stdout and stderr; None where the platform's is taken.
        log_options: Of that driver.
        user: As written, `10001:10001`; None where the image's is taken.
        mounts: Its volumes.
        nofile_soft: How many descriptors it may open; None where the platform's default holds.
        is_firelens: Whether ECS makes its configuration.
        is_native_sidecar: Whether Kubernetes stops it after the main containers.
        runs_first: Whether it ends before the others begin.
    """

    name: str
    image: str = ""
    words: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    stop_seconds: float = 30.0
    stop_is_given: bool = False
    pre_stop_seconds: float = 0.0
    memory_bytes: int | None = None
    log_driver: str | None = None
    log_options: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    mounts: tuple[Mount, ...] = ()
    nofile_soft: int | None = None
    is_firelens: bool = False
    firelens_options: Mapping[str, str] = field(default_factory=dict)
    is_native_sidecar: bool = False
    runs_first: bool = False

    def is_sidecar(self) -> bool:
        """Tell whether it takes logs from the others, as far as name, image and command show."""
        if self.is_firelens or "LOGSHIP_OUTPUT" in self.environment:
            return True
        by_name = _SIDECAR_NAME.search(self.image.rpartition("/")[2])
        if not self.runs_first:  # one that prepares something for the sidecar has its name too
            by_name = by_name or _SIDECAR_NAME.search(self.name)
        return bool(by_name or _RECEIVE.search(self.line)) and not self.recovers_or_ships()

    def recovers_or_ships(self) -> bool:
        """Tell whether its command is one of logship's that sends records."""
        return bool(_RECOVER.search(self.line) or _SHIP.search(self.line))

    @property
    def line(self) -> str:
        """Its command as one text."""
        return " ".join(self.words)

    def value(self, name: str) -> str | None:
        """Return what an environment variable is set to, or None where that is unknown."""
        return self.environment.get(name) or None

    def mount_of(self, path: str) -> Mount | None:
        """Return the mount that `path` lies in, the innermost one."""
        covering = [mount for mount in self.mounts if mount.covers(path)]
        return max(covering, key=lambda mount: len(mount.path), default=None)

    @property
    def runs_as_root(self) -> bool | None:
        """Whether its user is root; None where the file does not say."""
        if self.user is None:
            return None
        return self.user.partition(":")[0] in ("0", "root")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfiguration:
    """A Fluentd's or Fluent Bit's configuration, where it is in sight.

    Attributes:
        name: Its file, or its key in a ConfigMap.
        text: As written.
    """

    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Containers that are started and stopped together: a task, a pod, a compose project.

    Attributes:
        platform: `ecs`, `kubernetes`, `compose`, or `configuration` for files of a sidecar.
        name: The task's family, the workload, the project.
        containers: In their order.
        grace_seconds: Kubernetes: for the whole pod; None elsewhere.
        group: Kubernetes: the volumes' group (`fsGroup`); None where there is none.
        is_spot: Whether it is known to run on Fargate Spot.
        may_be_fargate: Whether Fargate's limits hold.
        configurations: Of sidecars, where in sight.
    """

    platform: str
    name: str
    containers: tuple[Container, ...] = ()
    grace_seconds: float | None = None
    group: int | None = None
    is_spot: bool = False
    may_be_fargate: bool = False
    configurations: tuple[ServerConfiguration, ...] = ()

    def role(self, container: Container) -> Role:
        """Return what a container does with logs.

        Where none of them shows that it uses logship, all that are beside a sidecar are taken for
        applications: everything may be set in the image.
        """
        if _OTHER_COMMAND.search(container.line):
            return Role.OTHER
        if _RECOVER.search(container.line):
            return Role.RECOVERER
        if container.is_sidecar():
            return Role.SIDECAR
        if _ships(container):
            return Role.APPLICATION
        if container.runs_first:
            return Role.OTHER
        return Role.APPLICATION if self._all_may_ship else Role.OTHER

    @functools.cached_property
    def _all_may_ship(self) -> bool:
        nobody_shows = not any(map(_ships, self.containers))
        return nobody_shows and any(each.is_sidecar() for each in self.containers)

    def of_role(self, *roles: Role) -> Iterator[Container]:
        """Yield the containers that have one of these roles."""
        return (each for each in self.containers if self.role(each) in roles)

    def needs(self, container: Container) -> set[str]:
        """Return the names of all containers that must have started before `container`."""
        by_name = {each.name: each for each in self.containers}
        seen: set[str] = set()
        waiting = list(container.depends_on)
        while waiting:
            name = waiting.pop()
            if name not in seen and name in by_name:
                seen.add(name)
                waiting += by_name[name].depends_on
        return seen


def _ships(container: Container) -> bool:
    """Tell whether a container shows that it ships with logship."""
    if container.is_sidecar() or _RECOVER.search(container.line):
        return False
    named = any(name.startswith("LOGSHIP_") for name in container.environment)
    return named or bool(_SHIP.search(container.line))


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake.

    Attributes:
        rule: The rule's name.
        container: Whose; the unit's name where it is all of them.
        night: What will happen because of it, in one sentence.
        change: The lines to write instead.
    """

    rule: str
    container: str
    night: str
    change: str
