"""Under what conditions a measure was taken, in a line for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.performance.results import Measured


def conditions_line(measured: Measured) -> str:
    """Return effort, options and machine."""
    found = measured.conditions
    loads = " / ".join(f"{load:g}" for load in found.get("load_average", ()))
    parts = [
        _options(found.get("options", {})),
        found.get("python", ""),
        _system(found.get("platform", "")),
        f"{found['cpus']} CPUs" if "cpus" in found else "",
        f"load average before it {loads}" if loads else "",
        found.get("started", "").replace("T", " ").removesuffix("+00:00"),
    ]
    return " · ".join(part for part in parts if part)


def machine_line(measured: Measured) -> str:
    """Return the machine and the day."""
    found = measured.conditions
    parts = [
        _system(found.get("platform", "")),
        f"{found['cpus']} CPUs" if "cpus" in found else "",
        found.get("python", ""),
        found.get("started", "").partition("T")[0].partition(" ")[0],
    ]
    return ", ".join(part for part in parts if part)


def versions_line(measured: Measured) -> str:
    """Return what was measured, and into which servers."""
    found = measured.conditions
    versions = [f"{name} {version}" for name, version in found.get("versions", {}).items()]
    return ", ".join([*versions, *found.get("servers", {}).values()])


def _options(options: Mapping[str, Any]) -> str:
    """Return `--quick`, and each option by name."""
    effort = [f"--{options['effort']}"] if "effort" in options else []
    others = [
        f"{name.replace('_', ' ')} {value:,.10g}"
        if isinstance(value, int | float)
        else f"{name} {value}"
        for name, value in options.items()
        if name != "effort"
    ]
    return ", ".join(effort + others)


def _system(platform: str) -> str:
    """Return the platform without what a distributor appended to the kernel's version."""
    return " ".join(word.partition("-")[0] for word in platform.split(" "))
