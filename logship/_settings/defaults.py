"""Defaults that depend on where the program runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

MIB = 1024 * 1024

TASK_METADATA_VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"
"""Where a container of an ECS task asks for the task's metadata."""

STOP_FILE_VARIABLE = "LOGSHIP_STOP_FILE"
"""`logship run` sets it for programs inside its command; see `process/stopfile.py`."""


def buffer_bytes_for(memory_limit: int | None) -> int:
    """Return the default buffer's size: memory limit / 16, between 4 MiB and 64 MiB."""
    if memory_limit is None:
        return 64 * MIB
    return max(4 * MIB, min(64 * MIB, memory_limit // 16))


def chunk_bytes_for(buffer_bytes_max: int) -> int:
    """Return the default chunk's size: 512 KiB, but a full window takes half of the buffer at most.

    A chunk that was sent may arrive, so it cannot make room for others. If a full window took all
    of the buffer, a sidecar that hangs would leave no room.
    """
    return min(512 * 1024, buffer_bytes_max // 16)


def memory_limit_bytes(cgroup: str | os.PathLike[str] = "/sys/fs/cgroup") -> int | None:
    """Return this container's memory limit (cgroup v2, then v1), or None where there is none."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            with open(os.path.join(cgroup, name), encoding="utf-8") as file:
                text = file.read().strip()
        except OSError:
            continue
        # cgroup v1 writes a number near 2**63 where there is no limit.
        if text.isdigit() and int(text) < 1 << 60:
            return int(text)
    return None


def program_name() -> str:
    """Return the name of the program or package that runs; `logship` where that is no tag."""
    path = sys.argv[0].rstrip("/") if sys.argv else ""
    if path == "-m":  # while Python imports the packages of the module: `-m package`, `-mpackage`
        module = "".join(sys.orig_argv[-len(sys.argv) :][:1])
        path = (module.partition("m")[2] if module.startswith("-") else module).replace(".", "/")
    program = os.path.splitext(os.path.basename(path))[0]
    if program == "__main__":  # as under `python -m package`
        program = os.path.basename(os.path.dirname(path))
    is_name = program.isprintable() and program not in ("", ".", "..", "-c", "-m")
    return program if is_name else "logship"


def stop_timeout_for(environ: Mapping[str, str]) -> float:
    """Return the seconds between SIGTERM and SIGKILL to expect: 30 under ECS or Kubernetes, else 9.

    ECS and Kubernetes give 30 s by default. Docker gives 10 s, of which one is left for the shell,
    the interpreter's exit and the engine's own delay.
    """
    signs = (TASK_METADATA_VARIABLE, "AWS_EXECUTION_ENV", "KUBERNETES_SERVICE_HOST")
    return 30.0 if any(sign in environ for sign in signs) else 9.0
