"""Under what conditions figures were taken, so that a reader can judge or repeat them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from typing import Any

DISTRIBUTIONS = ("logship-forward", "msgpack", "fluent-logger")


def conditions(options: dict[str, Any]) -> dict[str, Any]:
    """Return machine, versions and the options of the command, ready for JSON."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "versions": {name: importlib.metadata.version(name) for name in DISTRIBUTIONS},
        "options": options,
    }


def server_version(executable: str) -> str:
    """Return what `executable --version` says first."""
    answer = subprocess.run(
        [executable, "--version"], capture_output=True, text=True, check=False, timeout=60
    )
    return answer.stdout.strip().splitlines()[0] if answer.stdout.strip() else "unknown"


def clean_environ() -> dict[str, str]:
    """Return our environment, cleared of what would make a run depend on this machine."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LOGSHIP_", "FLUENT_", "ECS_", "KUBERNETES_"))
    }
