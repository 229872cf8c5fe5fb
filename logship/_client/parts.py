"""The parts that settings ask for: storage, orphans, compression, the wait between attempts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

from logship import _system
from logship._settings import Settings, full_name
from logship.errors import SettingsError

if TYPE_CHECKING:
    from logship._settings.keywords import SettingsKeywords
    from logship._spool.orphans import Orphans
    from logship._spool.storage import SpoolStorage


Uniform = Callable[[float, float], float]
"""Draws a number between two others."""

RETURN_SECONDS = 60.0
"""How long another endpoint is used, at least, before the first one is tried again."""


def chosen_settings(settings: Settings | None, **options: Unpack[SettingsKeywords]) -> Settings:
    """Return the settings of a client: those that it was given, or else those of the environment.

    Args:
        settings: All of them, or None.
        options: Some of them by name; the rest comes from the environment.

    Raises:
        SettingsError: One is wrong, or there are both `settings` and `options`.
    """
    if settings is None:
        return Settings.from_env(os.environ, **options)
    if options:
        raise SettingsError(
            f"{', '.join(options)}: give a Settings object or settings by name, not both; "
            "dataclasses.replace(settings, tag=…) makes another object"
        )
    return settings


def refuse_impossible(settings: Settings) -> None:
    """Refuse settings that this operating system has no means for.

    `Settings` takes them everywhere, because `logship lint` judges the settings of other machines.

    Raises:
        SettingsError: There is such a setting; the text names all.
    """
    if _system.IS_POSIX or settings.disabled:
        return
    needs = {
        "spool_dir": settings.spool_dir,
        "metrics_dir": settings.metrics_dir,
        "endpoints": next((each for each in settings.endpoints if each.scheme == "unix"), None),
    }
    mistakes = [
        f"{full_name(name)}: {value} needs Linux or macOS, and this is {_system.NAME}"
        for name, value in needs.items()
        if value is not None
    ]
    if mistakes:
        raise SettingsError(*mistakes)


def new_spool(settings: Settings, monotonic: Callable[[], float]) -> SpoolStorage | None:
    """Return where chunks lie so that they outlive the process, or None where there is no spool.

    Only a client with a spool imports what that needs. All of it is imported here, in the thread
    that makes the client: later, in a forked child or at interpreter exit, it is there.
    """
    if settings.spool_dir is None or settings.disabled:
        return None
    from pathlib import Path  # noqa: PLC0415 - as above

    from logship._spool.storage import SpoolStorage  # noqa: PLC0415 - as above

    return SpoolStorage(
        _system.absolute(Path(settings.spool_dir)),
        bytes_max=settings.spool_bytes_max,
        memory_bytes_max=settings.buffer_bytes_max,
        chunk_bytes_max=settings.chunk_bytes_max,
        stamp_key=settings.stamp_key if settings.stamp else None,
        syncs=settings.spool_fsync == "interval",
        monotonic=monotonic,
    )


def new_orphans(spool: SpoolStorage, monotonic: Callable[[], float]) -> Orphans | None:
    """Return what dead processes left on this spool; a supervisor ships that itself."""
    from logship._spool.orphans import Orphans  # noqa: PLC0415 - as above
    from logship._spool.volumes import is_supervised  # noqa: PLC0415 - as above

    if is_supervised(spool.path):
        return None
    return Orphans(spool.path, others=spool.lost, monotonic=monotonic)


def new_compressor(settings: Settings) -> Callable[[bytes | bytearray | memoryview], bytes] | None:
    """Return what makes payloads smaller, or None where they are sent as they are.

    Raises:
        SettingsError: The method needs a package that is not installed.
    """
    if settings.compress == "none":
        return None
    from logship._protocol.compression import compressor  # noqa: PLC0415 - few settings need it

    try:
        return compressor(settings.compress)
    except ImportError:
        raise SettingsError(
            "compress (LOGSHIP_COMPRESS): zstd needs Python 3.14 or the package backports.zstd; "
            "pip install backports.zstd, or give gzip or none"
        ) from None


def drawn(low: float, high: float) -> float:
    """Draw a number between two others, from the kernel.

    `random` has one generator for the process. Tasks of an application that seeds it would all draw
    the same waits, and logship's draws would change the application's.
    """
    return low + (high - low) * int.from_bytes(os.urandom(7), "big") / (1 << 56)


def retry_wait(settings: Settings, uniform: Uniform = drawn) -> Callable[[int], float]:
    """Return the wait before the next attempt to connect as a function of the number of failures.

    It is a random part of a bound that doubles with each failure in a row: "full jitter". The wait
    needs no import. A thread that imports a module just after Ctrl-C may change the exit code of
    the program: decision 051.
    """
    base_seconds, seconds_max = settings.backoff_seconds_base, settings.backoff_seconds_max

    def wait_seconds(failures: int) -> float:
        doublings = min(failures - 1, 100)  # a float has no room for 1,024 of them
        return uniform(0.0, min(seconds_max, base_seconds * 2.0**doublings))

    return wait_seconds


def return_wait(uniform: Uniform = drawn) -> float:
    """Draw how long another endpoint is used: the clients that left one together return apart."""
    return uniform(RETURN_SECONDS, 2 * RETURN_SECONDS)


def constant_fields(settings: Settings) -> dict[str, Any]:
    """Return the fields of every record."""
    if not settings.identity:
        return dict(settings.fields)
    from logship._client.identity import identity_fields  # noqa: PLC0415 - few settings need it

    return {**identity_fields(settings.identity, os.environ), **dict(settings.fields)}
