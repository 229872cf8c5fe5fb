"""Checks whether the spool's directory can hold a spool.

The check uses the same code that writes spools: it makes a process directory there, locks, fills
and removes it. A directory that was missing is removed too. If another descriptor could take the
lock as well, a recoverer would ship and remove the records of a living process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from logship._deployment.doctor.result import Result, failure, skipped, warning
from logship._deployment.limits import size
from logship._settings import MIB, Settings
from logship._spool.directories import NotTaken, ProcessDirectory
from logship._spool.files import closing
from logship._spool.spool_directory import SpoolError, make_spool_directory, open_spool_directory
from logship._spool.volumes import filesystem_of, volume_warning

_TRIED_BYTES = 1 * MIB
_CHECK = "spool"


def check_spool(settings: Settings, workers: int) -> Iterator[Result]:
    """Yield the results about the spool's directory."""
    if settings.spool_dir is None:
        yield skipped(
            _CHECK, "none is set: if the process is killed, records that are not acked are lost"
        )
        return
    path = Path(settings.spool_dir)
    made = False
    try:
        made = make_spool_directory(path)
        yield _tried(path, settings.spool_bytes_max * workers)
    except (SpoolError, OSError) as error:
        reason = str(error) if isinstance(error, SpoolError) else f"{path}: {error.strerror}"
        yield failure(
            _CHECK,
            f"cannot be used: {reason}",
            f"make {path} a directory of user {os.geteuid()} on a local volume; in an image: "
            "mkdir, chown and VOLUME",
        )
        return
    finally:
        if made:
            with contextlib.suppress(OSError):  # a client has begun to use it
                path.rmdir()
    if filesystem_of(path) in ("tmpfs", "ramfs"):
        yield warning(
            _CHECK,
            f"{path} is in memory: it counts against the container's limit",
            "mount a volume on a disk there, or count it in the memory limit",
        )
    if trouble := volume_warning(path):
        yield warning(_CHECK, trouble, "mount a local volume of the host there")


def _tried(path: Path, wanted_bytes: int) -> Result:
    ours = ProcessDirectory.begin(path, os.urandom)
    try:
        os.close(ours.allocate("segment-00000000.spool", _TRIED_BYTES))
        locks = _locks_work(path, ours)
        free = ours.free_bytes()
    finally:
        ours.remove()
    if not locks:
        return failure(
            _CHECK,
            f"{path}: a lock there does not keep other processes out",
            "give it a local filesystem: a recoverer would take living processes for dead ones",
        )
    text = f"{path} can be written and locked, {size(free)} free above its floor"
    if free >= wanted_bytes:
        return Result(_CHECK, text)
    outcome = failure if free <= 0 else warning
    return outcome(
        _CHECK,
        f"{text}, and spools may grow to {size(wanted_bytes)}",
        "a larger volume, or a smaller LOGSHIP_SPOOL_BYTES_MAX",
    )


def _locks_work(path: Path, ours: ProcessDirectory) -> bool:
    """Return whether a locked directory cannot be taken over."""
    with closing(open_spool_directory(path)) as parent:
        taken = ProcessDirectory.take_over(parent, ours.name)
    if isinstance(taken, ProcessDirectory):
        taken.leave()
    return taken is NotTaken.LOCKED
