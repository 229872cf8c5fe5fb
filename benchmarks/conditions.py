"""Under what conditions figures were taken, so that a reader can judge or repeat them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from typing import Any

from benchmarks.processes import REPOSITORY, run_to_end

DISTRIBUTIONS = ("logship-forward", "msgpack", "fluent-logger")


def conditions(options: dict[str, Any]) -> dict[str, Any]:
    """Return machine, versions and the options of the command, ready for JSON."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "commit": commit(),
        "versions": {name: importlib.metadata.version(name) for name in DISTRIBUTIONS},
        "options": options,
    }


def commit() -> str:
    """Return the commit of this checkout.

    Empty where no file shows it: outside of a checkout, in a linked work tree, after `git gc`.
    """
    directory = REPOSITORY / ".git"
    try:
        head = (directory / "HEAD").read_text().strip()
        branch = head.removeprefix("ref: ")
        return (head if branch == head else (directory / branch).read_text().strip())[:8]
    except OSError:
        return ""


def server_version(executable: str) -> str:
    """Return what `executable --version` says first."""
    lines = run_to_end([executable, "--version"], 60).stdout.strip().splitlines()
    return lines[0] if lines else "unknown"
