"""What was found, at a glance, and under what conditions, in a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.performance.glance import glance_of
from benchmarks.performance.results import Measured, Results


def summary_of(results: Results) -> list[str]:
    """Return the figures that most readers look for, and where and with what they were taken."""
    return [*glance_of(results), *_measured_on(results)]


def _measured_on(results: Results) -> Iterator[str]:
    """Name machine, versions and servers; by measure if not all had the same."""
    measures: dict[str, list[str]] = {}
    for name, measured in results.items():
        measures.setdefault(_surroundings(measured), []).append(name)
    for found, names in measures.items():
        if found:
            yield f"{', '.join(names)}: {found}." if len(measures) > 1 else f"{found}."


def _surroundings(measured: Measured) -> str:
    found = measured.conditions
    versions = [f"{name} {version}" for name, version in found.get("versions", {}).items()]
    commit = f"commit {found['commit']}" if found.get("commit") else ""
    servers = found.get("servers", {}).values()
    parts = [*_machine(found), found.get("python", ""), commit, *versions, *servers]
    return ", ".join(part for part in parts if part)


def conditions_line(measured: Measured) -> str:
    """Return effort, options, how busy the machine was, and when."""
    found = measured.conditions
    loads = " / ".join(f"{load:g}" for load in found.get("load_average", ()))
    parts = [
        _options(found.get("options", {})),
        f"load average before it {loads}" if loads else "",
        found.get("started", "").replace("T", " ").removesuffix("+00:00"),
    ]
    return " · ".join(part for part in parts if part)


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


def _machine(found: Mapping[str, Any]) -> list[str]:
    """Return platform and CPUs, without what a distributor appended to the kernel's version."""
    platform = " ".join(word.partition("-")[0] for word in found.get("platform", "").split(" "))
    return [platform, f"{found['cpus']} CPUs" if "cpus" in found else ""]
