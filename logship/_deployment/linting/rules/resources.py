"""Resources of the container: a spool that outlives it, memory, descriptors."""

from __future__ import annotations

import re
from collections.abc import Iterator

from logship._deployment.limits import MEMORY_SHARE_MAX, fair_buffer_bytes, size
from logship._deployment.linting.commands import option_of, settings_with, workers_of
from logship._deployment.linting.model import Container, Mistake, Mount, Platform, Unit, Volume
from logship._deployment.linting.rules import snippets
from logship._deployment.linting.rules.rule import MOUNTS, applications, of_logship, senders, units
from logship._settings import buffer_bytes_for

_NOFILE_MIN = 4096
_CHANGES_OWNER = re.compile(r"\bch(own|mod)\b")
_MOUNTS = (*MOUNTS, "$LOGSHIP_SPOOL_DIR")


@senders.error(
    finds=(
        "a spool that is on no volume, a read-only, network or too small one, or one at which no "
        "recoverer looks"
    ),
    effect=(
        "a killed process's records are lost, or stay where no recoverer finds them; or the pod is "
        "evicted"
    ),
    keys=_MOUNTS,
)
def _spool_volume(unit: Unit, container: Container) -> Iterator[Mistake]:
    """The spool must outlive its process, so that a recoverer can ship it. A container's own layer
    ends with it. Locks and mapped files are not reliable on network filesystems. A pod whose
    emptyDir exceeds its `sizeLimit` is evicted without a grace period.
    """
    path = _spool_path(container)
    if path and (why := _why_no_spool(unit, container, path)):
        change = f"{snippets.mount(unit, 'spool', path)}, in application and recoverer"
        if unit.platform == Platform.KUBERNETES:
            change += "; volumes: [{ name: spool, emptyDir: {} }]"
        yield Mistake(change, why)


def _why_no_spool(unit: Unit, container: Container, path: str) -> str | None:
    mount = container.mount_of(path)
    if mount is None:
        why = f"{path} is in the container's own layer, with which a killed process's records end"
        return None if container.has_more_mounts else why
    if mount.read_only:
        return f"{path} is mounted read-only, so nothing is spooled at all"
    if mount.kind is Volume.NETWORK:
        return f"{path} is on a network filesystem, where locks and mapped files are not reliable"
    wanted = 0 if container.recovers else workers_of(container) * _spool_bytes(container)
    if mount.bytes_max is not None and wanted > mount.bytes_max:
        return (
            f"spools may grow to {size(wanted)}, but the volume's sizeLimit is "
            f"{size(mount.bytes_max)}, and a pod that exceeds it is evicted without a grace period"
        )
    if unit.recoverers and not any(_recovers(each, mount, path) for each in unit.recoverers):
        return (
            f"no recoverer looks at {path} on the volume {mount.name}: records of a killed process "
            "stay there"
        )
    return None


def _recovers(recoverer: Container, mount: Mount, path: str) -> bool:
    """Return whether a recoverer looks at another container's spool, as far as the file shows."""
    own = _spool_path(recoverer)
    if own is None:
        return recoverer.has_more_mounts or mount.name in [each.name for each in recoverer.mounts]
    place = recoverer.mount_of(own)
    if place is None:
        return recoverer.has_more_mounts
    return place.place_of(own) == mount.place_of(path)


@units.error(
    finds="a spool that the container's user cannot write, or its recoverer's user cannot open",
    effect="no records are spooled, or none are recovered",
    keys=("user", "securityContext", *_MOUNTS),
)
def _spool_owner(unit: Unit) -> Iterator[Mistake]:
    """logship opens no spool of another user. A directory of the host belongs to root; every user
    may write to an emptyDir, and a claimed volume belongs to `fsGroup`.
    """
    for container in unit.senders:
        mount = _spool_mount(container)
        if mount is None or container.runs_as_root is not False:
            continue
        is_roots = mount.kind is Volume.BIND or (mount.kind is Volume.CLAIM and unit.group is None)
        if is_roots and not _is_given_away(unit, mount):
            effect = (
                f"{mount.path} belongs to root and the container runs as {container.user}: the "
                "spool cannot be written, and records are only in memory"
            )
            yield Mistake(_owned(unit, container), effect, of=container.name)
    yield from _strangers(unit)


def _is_given_away(unit: Unit, mount: Mount) -> bool:
    """Return whether a container with the same volume changes an owner or a mode."""
    return any(
        each.name == mount.name
        for other in unit.containers
        if _CHANGES_OWNER.search(other.line)
        for each in other.mounts
    )


def _strangers(unit: Unit) -> Iterator[Mistake]:
    """Yield recoverers that run as another user than the application whose spool they read."""
    for recoverer in unit.recoverers:
        mount = _spool_mount(recoverer)
        for other in unit.applications:
            same = mount and any(each.name == mount.name for each in other.mounts)
            users = [each.user and each.user.partition(":")[0] for each in (recoverer, other)]
            is_known = {None, "non-root"}.isdisjoint(users)
            if same and is_known and users[0] != users[1] and not recoverer.runs_as_root:
                effect = (
                    f"{recoverer.name} runs as {users[0]} and {other.name} as {users[1]}: logship "
                    "opens no spool of another user, so records of a killed process stay there"
                )
                yield Mistake(_same_user(unit, other), effect, of=recoverer.name)


@applications.error(
    finds="buffers of all workers, and a spool in memory, above half of the memory limit",
    effect="the sidecar is gone, buffers fill, and the container is killed for its memory",
    keys=("$LOGSHIP_BUFFER_BYTES_MAX", "memory", "mem_limit", "deploy", "resources"),
)
def _memory_sum(unit: Unit, container: Container) -> Iterator[Mistake]:
    """Each process has its own buffer of `LOGSHIP_BUFFER_BYTES_MAX`. Files of a spool in memory
    count as memory of the container.
    """
    limit = container.memory_bytes
    settings = settings_with(container, "buffer_bytes_max")
    if not limit or settings is None:
        return
    workers = workers_of(container)
    is_default = container.is_empty("LOGSHIP_BUFFER_BYTES_MAX")
    each = buffer_bytes_for(limit) if is_default else settings.buffer_bytes_max
    mount = _spool_mount(container)
    if mount is not None and mount.kind is Volume.MEMORY:
        each += _spool_bytes(container)  # its pages are memory of the container
    if workers * each > limit * MEMORY_SHARE_MAX:
        effect = (
            f"{workers} x {size(each)} of buffers in a container of {size(limit)}: "
            "when the sidecar is gone they fill up, and the container is killed for its "
            "memory, with all records in it"
        )
        fair = fair_buffer_bytes(limit, workers)
        change = snippets.variable(unit, "LOGSHIP_BUFFER_BYTES_MAX", str(fair))
        if mount is not None and mount.kind is Volume.MEMORY:
            change += ", and a spool that is not in memory"
        yield Mistake(change, effect)


@of_logship.warning(
    finds="a limit of fewer than 4,096 open files",
    effect='"Too many open files", and no new connection to the sidecar',
    platforms=(Platform.ECS, Platform.COMPOSE),
    keys=("ulimits",),
)
def _nofile(unit: Unit, container: Container) -> Iterator[Mistake]:
    """Connections, files and the spool's segments take descriptors from the same limit."""
    limit = container.nofile_soft
    if limit is None or not 0 <= limit < _NOFILE_MIN:  # -1 is no limit
        return
    ecs = '"ulimits": [{ "name": "nofile", "softLimit": 65535, "hardLimit": 65535 }]'
    yield Mistake(snippets.form(unit, "ulimits: { nofile: 65535 }", ecs=ecs))


def _spool_path(container: Container) -> str | None:
    """Return the path of a container's spool; None if the file does not show it."""
    path = option_of(container, "--spool") or container.value("LOGSHIP_SPOOL_DIR")
    return None if path is None or "$" in path else path


def _spool_mount(container: Container) -> Mount | None:
    return container.mount_of(_spool_path(container) or "/")


def _spool_bytes(container: Container) -> int:
    """Return the most bytes of one spool; 0 if the file does not show it."""
    settings = settings_with(container, "spool_bytes_max")
    return settings.spool_bytes_max if settings else 0


def _owned(unit: Unit, container: Container) -> str:
    owner = f"as {container.user}"
    return snippets.form(
        unit,
        f"volumes: [spool:…], a named volume, and an image that owns the path {owner}",
        ecs='"volumes": [{ "name": "spool" }] without "sourcePath", and an image that owns the '
        f"directory {owner} and declares it a VOLUME",
        kubernetes="volumes: [{ name: spool, emptyDir: {} }], or securityContext: "
        "{ fsGroup: 10001 }",
    )


def _same_user(unit: Unit, other: Container) -> str:
    return snippets.form(
        unit,
        f'user: "{other.user}"',
        ecs=f'"user": "{other.user}"',
        kubernetes=f"securityContext: {{ runAsUser: {other.user} }}",
    )
