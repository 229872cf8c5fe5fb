"""The volume that a spool is on: its filesystem, and what a person should know of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

SUPERVISED = "supervised"
"""A file beside a spool that `logship run` made for its command."""

MOUNTS = Path("/proc/self/mountinfo")

_NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "virtiofs"}
)
_COPY_ON_WRITE = frozenset({"bcachefs", "btrfs", "nilfs2", "zfs"})


def is_supervised(path: Path) -> bool:
    """Tell whether `logship run` made this spool: then only `run` ships what is left there.

    A file of another user proves nothing: anyone can make one beside a spool in `/tmp`.
    """
    with contextlib.suppress(OSError):
        return (path.parent / SUPERVISED).lstat().st_uid in (0, os.geteuid())
    return False


def volume_warning(path: Path) -> str | None:
    """Return what a person should know of the filesystem under `path`, or None."""
    kind = filesystem_of(path)
    if kind in _NETWORK or kind.startswith("fuse"):
        return (
            f"the spool {path} is on a network filesystem ({kind}): locks and mapped files may not "
            "be reliable there; give it a local volume"
        )
    if kind in _COPY_ON_WRITE:
        return (
            f"the spool {path} is on a copy-on-write filesystem ({kind}): if it becomes full, a "
            "write to a mapped file can end the program; keep it from becoming full"
        )
    if kind == "overlay" and not is_supervised(path):
        return (
            f"the spool {path} is in the container's own layer ({kind}), which ends with the "
            "container; mount a volume there"
        )
    return None


def filesystem_of(path: Path) -> str:
    """Return the type of the filesystem that `path` is on, or nothing where it is unknown."""
    best, kind = "", ""
    with contextlib.suppress(OSError):
        target = os.path.realpath(path)
        for mount_point, filesystem in _mounts():
            is_above = target == mount_point or target.startswith(mount_point.rstrip("/") + "/")
            if is_above and len(mount_point) >= len(best):
                best, kind = mount_point, filesystem
    return kind


def _mounts() -> Iterator[tuple[str, str]]:
    """Yield mount point and type of every mount (proc(5), /proc/self/mountinfo)."""
    for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
        before, _, behind = line.partition(" - ")
        mount_point = before.split(" ")[4]
        for code, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
            mount_point = mount_point.replace(code, character)
        yield mount_point, behind.split(" ")[0]
