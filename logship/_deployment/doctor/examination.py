"""All checks in their order: settings first, because nothing can be checked without them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from logship import _namesake, _system
from logship._client.parts import new_compressor, refuse_impossible
from logship._delivery.credentials import tls_context
from logship._deployment.doctor.result import Result, failure, warning
from logship._deployment.doctor.sidecars import MONITOR_VARIABLE, Sending, SidecarExamination
from logship._deployment.doctor.spooling import check_spool
from logship._deployment.doctor.surroundings import (
    check_memory,
    check_nofile,
    check_package,
    check_stderr,
    check_stop_timeout,
    check_tag,
)
from logship._deployment.linting.shapes import count_or_none
from logship._ecs.awaited_tag import default_tag
from logship._ecs.reader import read_task
from logship._settings import Settings, memory_limit_bytes, variable_name
from logship._settings.unknown import unknown_variables
from logship.errors import SettingsError

if _system.IS_POSIX:
    import resource

_STDERR = 2


async def examine(
    environ: Mapping[str, str], sending: Sending, workers: int
) -> AsyncGenerator[Result, None]:
    """Yield the results of all checks; `workers` processes of this container have a client."""
    yield check_package(_namesake.other_distribution(), is_replaced=_namesake.is_replaced())
    try:
        settings = usable_settings(environ)
    except SettingsError as error:
        yield failure("settings", str(error), "correct the settings first")
        return
    task = read_task(environ)
    default = default_tag(settings, task)[0] or settings.tag
    yield _settings_result(settings, default)
    if text := unknown_variables(environ):
        yield warning("variables", text, "rename or remove them")
    is_named = bool(sending.tag or environ.get(variable_name("tag")))
    tag = sending.tag or default
    sending = dataclasses.replace(sending, tag=tag)
    rates: list[float] = []
    monitor_port = count_or_none(environ.get(MONITOR_VARIABLE))
    for endpoint in settings.endpoints:
        examination = SidecarExamination(settings, endpoint, sending, task, monitor_port)
        async with contextlib.aclosing(examination.results()) as results:
            async for result in results:
                yield result
        if examination.bytes_per_second is not None:
            rates.append(examination.bytes_per_second)
    own = task.own if task else None
    yield check_tag(tag, environ, task, is_default=not is_named and tag == settings.tag)
    if _system.IS_POSIX:
        yield check_nofile(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    yield check_memory(settings, memory_limit_bytes(), workers)
    yield check_stop_timeout(settings, min(rates, default=None), workers)
    for result in check_spool(settings, workers):
        yield result
    is_open = sys.__stderr__ is not None  # if not, another file may have its descriptor by now
    yield check_stderr(settings, own, describe_descriptor(_STDERR) if is_open else "")


def usable_settings(environ: Mapping[str, str]) -> Settings:
    """Return the application's settings, after a check of the files and libraries that they name.

    Raises:
        SettingsError: A setting is wrong, or names a file or a library that does not exist.
    """
    settings = Settings.from_env(environ)
    refuse_impossible(settings)
    tls_context(settings)
    new_compressor(settings)
    return settings


def _settings_result(settings: Settings, tag: str) -> Result:
    if settings.disabled:
        return warning(
            "settings",
            "LOGSHIP_DISABLED is set: the application ships nothing",
            "unset it if records are wanted",
        )
    endpoints = ", ".join(map(str, settings.endpoints))
    return Result("settings", f"{endpoints}, tag {tag!r}")


def describe_descriptor(descriptor: int) -> str:
    """Return what a descriptor is: `pipe`, `terminal`, a path, or nothing if it is closed."""
    try:
        mode = os.fstat(descriptor).st_mode
        if os.isatty(descriptor):
            return "terminal"
        if stat.S_ISFIFO(mode):
            return "pipe"
    except OSError:
        return ""
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:  # no /proc
        return "a file" if stat.S_ISREG(mode) else "a device"
