"""What was found, in a few sentences, and under what conditions, in a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.performance.figures import FIGURES
from benchmarks.performance.handler import NOTHING, PLAIN
from benchmarks.performance.results import Key, Measured, Results
from benchmarks.performance.serving import COUNTING
from benchmarks.performance.throughput import SINK

_OURS = "logship"
_PEER = "fluent-logger"


def summary_of(results: Results) -> list[str]:
    """Return the sentences; each names what was measured, and none is there without its figures."""
    return [
        *_loss(results.get("loss", Measured({}))),
        *_throughput(results.get("throughput", Measured({}))),
        *_call(results.get("handler", Measured({}))),
        *_measured_on(results),
        *_versions(results),
    ]


def _loss(measured: Measured) -> Iterator[str]:
    subjects = list(dict.fromkeys(key.subject for key in measured.all_keys()))
    told = [f"{subject} {_lost(measured, subject)}" for subject in subjects]
    if told:
        cases = len({key.case for key in measured.all_keys()})
        yield f"Lines lost over {cases} kinds of faults and stops: {', '.join(told)}."


def _lost(measured: Measured, subject: str) -> str:
    """Return how many lines of how many were lost, all runs together."""
    count = {
        figure: sum(
            sample.value
            for sample in measured.samples
            if (sample.figure, sample.subject) == (figure, subject)
        )
        for figure in ("lost", "spilled", "dropped", "delivered")
    }
    return f"{count['lost']:,.0f} of {sum(count.values()):,.0f}"


def _throughput(measured: Measured) -> Iterator[str]:
    key = Key("records_per_second", _OURS, COUNTING)
    rate, ratio = measured.spread(key), measured.ratio(key, key._replace(subject=_PEER, case=SINK))
    if rate is not None and ratio is not None:
        yield (
            f"Into a receiver that counts, logship had {rate.median:,.0f} records a second "
            f"acknowledged, {ratio.median:.1f} times what fluent-logger wrote to a socket "
            "without any acknowledgement."
        )


def _call(measured: Measured) -> Iterator[str]:
    key = Key("call_ns", _OURS, PLAIN)
    call, ratio = measured.spread(key), measured.ratio(key, key._replace(subject=NOTHING))
    if call is not None and ratio is not None:
        shown = FIGURES["call_ns"].shown(call.median)
        yield (
            f"A logging call took {shown} µs with logship, {ratio.median:.2f} times as long as "
            "with a handler that does nothing."
        )


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
