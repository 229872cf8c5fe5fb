"""An environment of its own for a peer that cannot live in ours."""

from __future__ import annotations

import sys

from benchmarks.errors import BenchmarkError
from benchmarks.processes import REPOSITORY, run_to_end

AIOFLUENT = "aiofluent==1.2.9"
MAKE_SECONDS_MAX = 180.0


def aiofluent_python(*, may_make: bool = True) -> str:
    """Return the interpreter of an environment with aiofluent, made where it is missing.

    aiofluent wants `msgpack-python`, whose files would overwrite those of `msgpack`.

    Args:
        may_make: Whether there is time for that.

    Raises:
        BenchmarkError: There is no network, or no such package.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    place = REPOSITORY / ".venv" / f"aiofluent-{version}"
    python, ready = place / "bin" / "python", place / ".ready"
    if not ready.exists() and not may_make:
        raise BenchmarkError("there is none yet, and no time for it")
    if not ready.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(place)])
        _run([str(python), "-m", "pip", "install", *_QUIETLY, AIOFLUENT])
        ready.touch()
    return str(python)


_QUIETLY = ("--quiet", "--disable-pip-version-check", "--retries", "1")


def _run(command: list[str]) -> None:
    done = run_to_end(command, MAKE_SECONDS_MAX)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
        raise BenchmarkError(words[-1])
