"""A plan as lines for a person, and as data for a program. PURE."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from logship._deployment.limits import SIDECAR_BUFFER_BYTES, size
from logship._deployment.planning.arithmetic import Calculation, Deployment, duration
from logship._deployment.planning.figures import Destination
from logship._deployment.planning.plan import fits, verdicts
from logship._settings import MIB, Compress, variable_name

UNKNOWN = "no list price known"
_ECS_CPU_UNITS = 1024
_VOLUME_RESERVE_BYTES = 16 * MIB
"""Two chunks of Fluentd."""
_REMEDY = "Divide the load, or use a faster sidecar."
_REMEDIES = {"memory": "Give the application more memory, or fewer processes."}
"""What helps where no setting does, by the verdict's name."""


def plan_as_json(
    calculation: Calculation, better: Calculation, destinations: dict[str, Destination]
) -> dict[str, Any]:
    """Return all that the plan says. Names end in their unit."""
    answers, is_fit = verdicts(calculation), fits(calculation)
    catch_up = calculation.catch_up_seconds
    return {
        "fits": is_fit,
        "deployment": calculation.deployment._asdict(),
        "verdicts": [each._asdict() for each in answers],
        "record_bytes": calculation.entry_bytes,
        "held_bytes_per_process": calculation.held_bytes,
        "outage_covered_seconds": calculation.covered_seconds,
        "drain_seconds": calculation.drain_seconds,
        "drain_budget_seconds": calculation.drain_budget_seconds,
        "catch_up_seconds": None if math.isinf(catch_up) else catch_up,
        "client_cores": calculation.client_cores,
        "sidecar_cores": calculation.sidecar_cores,
        "sidecar_headroom": calculation.headroom,
        "sidecar_memory_bytes": calculation.sidecar_memory_bytes,
        "sidecar_buffer_bytes": calculation.sidecar_buffer_bytes,
        "records_per_month": calculation.records_per_month,
        "destinations": {
            name: {
                "gb_per_month": calculation.gb_per_month(each),
                "dollars_per_month": calculation.dollars_per_month(each),
                "price": each.price and each.price._asdict(),
            }
            for name, each in destinations.items()
        },
        "recommended": [] if is_fit else list(_settings(calculation, better.deployment)),
        "recommended_fits": fits(better),
        "measured": calculation.figures.sources,
    }


def plan_as_lines(
    calculation: Calculation,
    better: Calculation,
    destinations: dict[str, Destination],
    compress: Compress,
) -> Iterator[str]:
    """Yield the verdict, the answers, the numbers, costs, and settings that fit: `better`."""
    yield _headline(calculation)
    for each in verdicts(calculation):
        yield f"  {'ok  ' if each.fits else 'NOT '} {each.text}"
    yield ""
    yield from _columns(_numbers(calculation))
    if compress != "none":
        yield ""
        yield (
            f"Buffers, spools and these volumes hold records uncompressed. The CPU of {compress} "
            "was not measured: clients use more."
        )
    yield ""
    yield from _columns(_costs(calculation, destinations))
    yield from _recommendation(calculation, better)
    yield ""
    for source in calculation.figures.sources:
        yield "Measured {measured}, {page}: {machine}.".format(**source)


def _headline(calculation: Calculation) -> str:
    each = calculation.deployment
    answer = "fits" if fits(calculation) else "DOES NOT FIT"
    tasks = "in 1 task" if each.tasks == 1 else f"in each of {each.tasks:,} tasks"
    load = f"{each.records_per_second:,.6g} records/s of {each.text_bytes:,} bytes {tasks}"
    return f"{answer}: {load}, {each.sidecar} with {each.cores:g} vCPU"


def _numbers(calculation: Calculation) -> Iterator[tuple[str, ...]]:
    deployment = calculation.deployment
    kind = "buffer" if deployment.spool_bytes_max is None else "spool"
    each = "" if deployment.workers == 1 else f" in each of {deployment.workers} processes"
    yield f"{kind} holds", f"{size(calculation.held_bytes)}{each}"
    yield "outage covered", duration(calculation.covered_seconds)
    yield f"full {kind} drains in", duration(calculation.drain_seconds)
    outage = duration(calculation.outage_seconds)
    yield f"backlog of {outage} caught up in", duration(calculation.catch_up_seconds)
    yield "clients' CPU", f"{calculation.client_cores:.2%} of a core"
    share = calculation.sidecar_cores / deployment.cores
    yield "sidecar's CPU", f"{calculation.sidecar_cores:.2%} of a core, {share:.1%} of what it has"
    yield "sidecar's memory", size(calculation.sidecar_memory_bytes)
    yield f"sidecar's buffer, no destination for {outage}", size(calculation.sidecar_buffer_bytes)


def _costs(
    calculation: Calculation, destinations: dict[str, Destination]
) -> Iterator[tuple[str, ...]]:
    yield "destination", "GB in 30 days", "dollars", "price"
    shown = {
        name: each
        for name, each in destinations.items()
        if each.price is not None or each.billed_step_bytes > 1
    }
    others = {name: each for name, each in destinations.items() if name not in shown}
    if len(others) > 1:  # the same is said of each
        others = {"others": next(iter(others.values()))}
    for name, each in (shown | others).items():
        dollars = calculation.dollars_per_month(each)
        yield (
            name,
            f"{calculation.gb_per_month(each):,.1f}",
            "-" if dollars is None else f"{dollars:,.2f}",
            _price(each),
        )
    if any(each.price is None for each in destinations.values()):
        yield "", "", "", "give yours: --destination NAME --price-per-gb DOLLARS"


def _price(destination: Destination) -> str:
    price = destination.price
    text = UNKNOWN
    if price is not None:
        where = ", ".join(filter(None, (price.region, price.date)))
        text = f"{price.covers} ({where})"
    if destination.billed_step_bytes > 1:
        text += f"; a record is billed as a multiple of {size(destination.billed_step_bytes)}"
    return text


def _columns(rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


def _recommendation(calculation: Calculation, better: Calculation) -> Iterator[str]:
    if fits(calculation):
        return
    yield ""
    yield "Settings that fit:" if fits(better) else "Settings that fit better:"
    yield from (f"  {each}" for each in _settings(calculation, better.deployment))
    for each in verdicts(better):
        if not each.fits:
            yield f"No setting helps: {each.text} {_REMEDIES.get(each.name, _REMEDY)}"


def _settings(calculation: Calculation, better: Deployment) -> Iterator[str]:
    """Yield variables, and fields of ECS container definitions, to paste."""
    deployment = calculation.deployment
    if better.buffer_bytes_max != deployment.buffer_bytes_max:
        assert better.buffer_bytes_max is not None
        yield f"{variable_name('buffer_bytes_max')}={_pasted(better.buffer_bytes_max)}"
    if better.spool_bytes_max != deployment.spool_bytes_max:
        assert better.spool_bytes_max is not None
        volume = size(better.spool_bytes_max * better.workers)
        yield f"{variable_name('spool_dir')}=/spool  # a volume of {volume}, and a recoverer"
        yield f"{variable_name('spool_bytes_max')}={_pasted(better.spool_bytes_max)}"
    if better.stop_timeout_seconds != deployment.stop_timeout_seconds:
        seconds = f"{better.stop_timeout_seconds:g}"
        yield f"{variable_name('stop_timeout_seconds')}={seconds}"
        yield f'"stopTimeout": {seconds}  # container of the application'
    if better.cores != deployment.cores:
        yield f'"cpu": {better.cores * _ECS_CPU_UNITS:.0f}  # container of the sidecar'
    if better.sidecar_memory_bytes != deployment.sidecar_memory_bytes:
        assert better.sidecar_memory_bytes is not None
        yield f'"memory": {better.sidecar_memory_bytes // MIB}  # container of the sidecar'
    if deployment.outage_seconds is not None:  # its destination may be away as long
        needed = max(SIDECAR_BUFFER_BYTES, calculation.sidecar_buffer_bytes)
        if deployment.sidecar == "fluentd":
            yield f"LOGSHIP_BUFFER_SIZE={needed // MIB}m  # container of the sidecar"
        yield f"# volume of the sidecar: {size(needed + _VOLUME_RESERVE_BYTES)}"


def _pasted(count: int) -> str:
    """Return bytes as a setting takes them."""
    return str(count) if count % MIB else f"{count // MIB}MiB"
