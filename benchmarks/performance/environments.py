"""An environment of its own for a peer that cannot live in ours."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.processes import REPOSITORY

AIOFLUENT = "aiofluent==1.2.9"
MAKE_SECONDS_MAX = 180.0


class CannotMake(Exception):  # noqa: N818 - it is a reason to skip, not a fault
    """The environment cannot be made; the text says why."""


def aiofluent_python(*, may_make: bool = True) -> str:
    """Return the interpreter of an environment with aiofluent, made where it is missing.

    aiofluent wants `msgpack-python`, whose files would overwrite those of `msgpack`.

    Args:
        may_make: Whether there is time for that.

    Raises:
        CannotMake: There is no network, or no such package.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    place = REPOSITORY / ".venv" / f"aiofluent-{version}"
    python, ready = place / "bin" / "python", place / ".ready"
    if not ready.exists() and not may_make:
        raise CannotMake("there is none yet, and no time for it")
    if not ready.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(place)])
        _run([str(python), "-m", "pip", "install", *_QUIETLY, AIOFLUENT])
        ready.touch()
    return str(python)


_QUIETLY = ("--quiet", "--disable-pip-version-check", "--retries", "1")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=MAKE_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotMake(str(error)) from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
        raise CannotMake(words[-1])
