"""What was found, at a glance, and under what conditions, in a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.performance.glance import glance_of
from benchmarks.performance.results import Measured, Results


def summary_of(results: Results) -> list[str]:
    """Return the figures that most readers look for, and where and with what they were taken."""
    return [*glance_of(results), *_measured_on(results), *_versions(results)]


def _measured_on(results: Results) -> Iterator[str]:
    """Name the machine and the day."""
    for measured in results.values():
        found = measured.conditions
        day = found.get("started", "").partition("T")[0]
        parts = [*_machine(found), found.get("python", ""), day]
        if line := ", ".join(part for part in parts if part):
            yield f"Measured on {line}."
            return


def _versions(results: Results) -> Iterator[str]:
    """Name what was measured, and into which servers; by measure if not all had the same."""
    measures: dict[str, list[str]] = {}
    for name, measured in results.items():
        measures.setdefault(_versions_of(measured), []).append(name)
    for versions, names in measures.items():
        if versions:
            yield f"{', '.join(names)}: {versions}." if len(measures) > 1 else f"{versions}."


def _versions_of(measured: Measured) -> str:
    found = measured.conditions
    versions = [f"{name} {version}" for name, version in found.get("versions", {}).items()]
    commit = [f"commit {found['commit']}"] if found.get("commit") else []
    return ", ".join([*commit, *versions, *found.get("servers", {}).values()])


def conditions_line(measured: Measured) -> str:
    """Return effort, options and machine."""
    found = measured.conditions
    loads = " / ".join(f"{load:g}" for load in found.get("load_average", ()))
    parts = [
        _options(found.get("options", {})),
        found.get("python", ""),
        *_machine(found),
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
