"""Checks of the container and its orchestrator: descriptors, memory, stop timeout, stderr.

Each check is a function of values that its caller has read, so that a test can describe any
container.
"""

from __future__ import annotations

from collections.abc import Mapping

from logship import _namesake
from logship._deployment.doctor.result import Result, failure, skipped, warning
from logship._deployment.limits import (
    MEMORY_SHARE_MAX,
    MEMORY_SHARE_WANTED,
    drain_budget_seconds,
    fair_buffer_bytes,
    size,
)
from logship._ecs.advice import is_firelens, stderr_risk
from logship._ecs.task import Task, TaskContainer
from logship._settings import MIB, Settings
from logship._version import __version__

_NOFILE_MIN, _NOFILE_WANTED = 1024, 4096
_STOP_SHARE_WANTED = 0.5


def check_package(other: str | None, *, is_replaced: bool) -> Result:
    """Check that no other project's package has the directory `logship`, or had it.

    Args:
        other: The metadata of such a package.
        is_replaced: Whether a file of this package is gone.
    """
    name = "package"
    if is_replaced:
        text = f"`import logship` finds another project's package ({other or 'removed since'})"
        return failure(name, text, _namesake.ADVICE)
    if other is not None:
        text = f"another project's package is installed too ({other}); removing it breaks this one"
        return warning(name, text, _namesake.ADVICE)
    return Result(name, f"logship-forward {__version__}")


def check_nofile(soft: int) -> Result:
    """Check how many files a process may open; a batch with 1,024 failed because of it."""
    text = f"{soft} open files" if soft >= 0 else "no limit of open files"
    if soft < 0 or soft >= _NOFILE_WANTED:
        return Result("nofile", text)
    outcome = failure if soft < _NOFILE_MIN else warning
    return outcome(
        "nofile",
        f"only {text}: a busy program may then be unable to reconnect",
        "raise the soft limit of nofile to 65535 (ECS: ulimits; compose: ulimits.nofile)",
    )


def check_memory(settings: Settings, memory_bytes: int | None, workers: int) -> Result:
    """Compare the memory limit with the buffers of all workers, all of them full."""
    needed = settings.buffer_bytes_max * workers
    text = f"{workers} x {size(settings.buffer_bytes_max)} of buffer"
    if memory_bytes is None:
        return Result("memory", f"{text}, and no memory limit")
    text = f"{text} of a memory limit of {size(memory_bytes)}"
    share = needed / memory_bytes
    if share <= MEMORY_SHARE_WANTED:
        return Result("memory", text)
    outcome = failure if share > MEMORY_SHARE_MAX else warning
    return outcome(
        "memory",
        f"{text}: when the sidecar is gone they fill up, and the container may be killed for it",
        f"LOGSHIP_BUFFER_BYTES_MAX={fair_buffer_bytes(memory_bytes, workers)}, or a container with "
        "more memory",
    )


def check_stop_timeout(settings: Settings, bytes_per_second: float | None, workers: int) -> Result:
    """Compare the time between SIGTERM and SIGKILL with the time that full buffers take to drain.

    It is a failure only if the rest would be dropped. A spool keeps the rest, and the spill writes
    it to stderr and names it.

    Args:
        settings: The application's.
        bytes_per_second: Of entries, acked by the sidecar; None if it was not measured.
        workers: Processes that drain into the same sidecar at once.
    """
    stop = settings.stop_timeout_seconds
    name = "stop-timeout"
    if not bytes_per_second:
        return skipped(name, f"{stop:g} s; no rate was measured to compare with it")
    has_spool = settings.spool_dir is not None
    held = (settings.spool_bytes_max if has_spool else settings.buffer_bytes_max) * workers
    drain = held / bytes_per_second
    budget = drain_budget_seconds(stop, settings.buffer_bytes_max, has_spool=has_spool)
    text = (
        f"full {'spools' if has_spool else 'buffers'} ({size(held)}) drain in {drain:.1f} s "
        f"at the measured {bytes_per_second / MIB:.1f} MiB/s; of the stop timeout of {stop:g} s, "
        f"{budget:.1f} s are left for it beside the reserve for stderr"
    )
    if drain <= budget * _STOP_SHARE_WANTED:
        return Result(name, text)
    if has_spool:
        advice = "a recoverer, which ships the rest; or a longer stop timeout"
        return warning(name, text, advice)
    advice = (
        "a longer stop timeout (and LOGSHIP_STOP_TIMEOUT_SECONDS to match), a smaller "
        "LOGSHIP_BUFFER_BYTES_MAX, or a spool; a larger --burst measures better"
    )
    if drain <= budget:
        return warning(name, f"{text}, and it takes more than half of them", advice)
    if settings.last_resort == "none":
        return failure(name, f"{text}; the rest is dropped", advice)
    return warning(name, f"{text}; the rest goes to stderr", advice)


def check_tag(
    tag: str, environ: Mapping[str, str], task: Task | None, *, is_default: bool = False
) -> Result:
    """Check whether the tag is the application's, and whether FireLens has an output for it.

    It is a warning where FireLens makes none: a configuration of its own may have one, and is not
    in the task metadata.

    Args:
        tag: The tag of the test records.
        environ: As `os.environ`.
        task: The ECS task, if the task metadata name it.
        is_default: Whether the tag is the name of the program that runs, which is this one.
    """
    if not is_firelens(environ, task):
        if not is_default:
            text = f"{tag!r}; an ack does not show that an output of the sidecar takes this tag"
            return Result("tag", f"{text}: look for its records at the destination")
        return warning(
            "tag",
            f"{tag!r} is the name of this program: without LOGSHIP_TAG the application's tag is "
            "the name of its own program, and its records may take another route",
            "--tag with the name of the application's program, or LOGSHIP_TAG",
        )
    routed = [f"{each.name}-firelens" for each in task.routed] if task else []
    if any(map(tag.startswith, routed)):
        return Result("tag", f"{tag!r} is one that FireLens routes")
    routed = routed or ["<container>-firelens"]
    return warning(
        "tag",
        f"{tag!r}: FireLens makes outputs only for {' and '.join(f'{each}*' for each in routed)}; "
        "a tag that no output matches is acknowledged and thrown away",
        f"LOGSHIP_TAG={routed[0]}-logship, unless a configuration of your own for the FireLens "
        "container has an output for this tag",
    )


def check_stderr(settings: Settings, own: TaskContainer | None, descriptor: str) -> Result:
    """Check where the lines of the last resort go.

    Args:
        settings: The application's.
        own: This container, if the task metadata name it.
        descriptor: What standard error is: a path, `pipe`, `terminal`, or nothing if closed.
    """
    if settings.last_resort == "none":
        return warning(
            "stderr",
            "LOGSHIP_LAST_RESORT=none: records that the sidecar does not take are dropped",
            "set it to stderr, unless records must not be readable there",
        )
    if descriptor in ("", "/dev/null"):
        return failure(
            "stderr",
            f"stderr is {descriptor or 'closed'}: the last resort reaches no log",
            "start the program with a stderr that the container's log driver reads",
        )
    if own is None:
        return Result(
            "stderr",
            f"stderr is {descriptor}; what the log driver behind it does cannot be seen from here",
        )
    risk = stderr_risk(own)
    if risk is None:
        return Result("stderr", f"the log driver {own.log_driver} is blocking")
    outcome = failure if risk.loses_all else warning
    return outcome("stderr", risk.text, risk.remedy)
