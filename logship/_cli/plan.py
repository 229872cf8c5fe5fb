"""`logship plan`: sizes and costs of a deployment from its load."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, get_args

import click

from logship._cli.common import show, show_text
from logship._deployment.limits import size
from logship._deployment.planning.arithmetic import Calculation, Deployment
from logship._deployment.planning.figures import Destination, Price, load
from logship._deployment.planning.plan import fits, improved
from logship._deployment.planning.text import plan_as_json, plan_as_lines
from logship._settings import (
    MIB,
    RECORD_BYTES_MAX,
    TASK_METADATA_VARIABLE,
    Compress,
    Settings,
    stop_timeout_for,
)
from logship._settings.fields import Bytes, Converter, NotAllowed, Number, Seconds, converter_of

COLOURS = {"fits:": "green", "DOES NOT FIT:": "red", "  NOT ": "red", "  ok ": "green"}
FIGURES = load()
QUANTITY_MAX = 2**60
"""An exbibyte: the sum of many is still a number."""

_OF_SETTINGS = {each.name: converter_of(each) for each in dataclasses.fields(Settings)}


class Rate(Number):
    """Records in a second."""

    kind_name = "a number of records a second, or one with a time: 300/s, 18k/min, 1M/h"
    units: Mapping[str, float] = {"k": 1000, "m": 1_000_000}

    def parse(self, text: str) -> Any:
        """Return the records in a second."""
        number, slash, per = text.strip().partition("/")
        seconds = {"s": 1, "min": 60, "h": 3600}.get(per if slash else "s")
        if seconds is None:
            raise NotAllowed(self.kind_name)
        return super().parse(number) / seconds


def quantity(converter: Converter) -> Callable[[str], float]:
    """Return a type of options: a value with a unit, as a setting with this converter takes it."""

    def value_of(text: str) -> float:
        try:
            value: float = converter.check(converter.parse(text))
        except NotAllowed as error:
            raise click.BadParameter(f"{text!r:.60} is not allowed; give {error.allowed}") from None
        if value > QUANTITY_MAX:
            raise click.BadParameter(f"{text!r:.60} is not allowed; give a smaller one")
        return value

    return value_of


MEMORY = quantity(Bytes(4 * MIB))


@click.command()
@click.option(
    "--rate",
    "records_per_second",
    type=quantity(Rate(0.001, 1e9)),
    required=True,
    metavar="RATE",
    help="Records that a task logs, all of its processes together: 300, 300/s, 18k/min, 1M/h.",
)
@click.option(
    "--record-size",
    "text_bytes",
    type=quantity(Bytes(1, RECORD_BYTES_MAX)),
    default=str(FIGURES.text_bytes),
    metavar="SIZE",
    help="The text of a record, in bytes. Time, stamp and other fields are added.",
)
@click.option(
    "--tasks",
    type=click.IntRange(1, 1_000_000),
    default=1,
    metavar="N",
    help="How many such tasks there are; volumes and costs are those of all.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 10_000),
    default=1,
    metavar="N",
    help="How many processes of a task have a client, as with gunicorn -w N.",
)
@click.option(
    "--sidecar",
    type=click.Choice(sorted(FIGURES.sidecars)),
    default="fluent-bit",
    help="The sidecar of each task.",
)
@click.option(
    "--cpu",
    "cores",
    type=quantity(Number(0.01, 256.0)),
    default="0.25",
    metavar="VCPU",
    help="The share of a core that the sidecar may use.",
)
@click.option(
    "--sidecar-memory",
    "sidecar_memory_bytes",
    type=MEMORY,
    metavar="SIZE",
    help="The sidecar's memory limit.",
)
@click.option(
    "--memory",
    "memory_bytes",
    type=MEMORY,
    metavar="SIZE",
    help="The memory limit of the application's container, as 512MiB (default: none).",
)
@click.option(
    "--buffer-size",
    "buffer_bytes_max",
    type=quantity(_OF_SETTINGS["buffer_bytes_max"]),
    metavar="SIZE",
    help="LOGSHIP_BUFFER_BYTES_MAX (default: as the client's, from --memory).",
)
@click.option(
    "--spool-size",
    "spool_bytes_max",
    type=quantity(_OF_SETTINGS["spool_bytes_max"]),
    metavar="SIZE",
    help="LOGSHIP_SPOOL_BYTES_MAX (default: no spool).",
)
@click.option(
    "--stop-timeout",
    "stop_timeout_seconds",
    type=quantity(_OF_SETTINGS["stop_timeout_seconds"]),
    default=f"{stop_timeout_for({TASK_METADATA_VARIABLE: ''}):g}s",
    metavar="SECONDS",
    help="Time that the orchestrator gives from the stop signal to SIGKILL, as 30 or 2m.",
)
@click.option(
    "--outage",
    "outage_seconds",
    type=quantity(Seconds(0.0, 366 * 86_400.0)),
    metavar="SECONDS",
    help="An outage of the sidecar that must lose nothing, as 5m.",
)
@click.option(
    "--compress",
    type=click.Choice(get_args(Compress)),
    default="none",
    help="LOGSHIP_COMPRESS.",
)
@click.option(
    "--destination",
    type=click.Choice(list(FIGURES.destinations)),
    help="One value of LOGSHIP_OUTPUT (default: all that the sidecar has).",
)
@click.option(
    "--price-per-gb",
    type=quantity(Number(0.0, 1e6)),
    metavar="DOLLARS",
    help="Your own price for --destination, in place of the list price.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    context: click.Context,
    /,
    compress: Compress,
    destination: str | None,
    price_per_gb: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Calculate sizes and costs of a deployment from its load.

    The answers come first: which outage of the sidecar loses nothing, whether a full buffer drains
    within the stop timeout, and whether the sidecar has CPU and memory for the load. Numbers and
    costs follow. If something does not fit, settings that do are printed.

    The CPU of clients and sidecars was measured; the last lines say where and when. The command
    needs no network, and reads neither files nor the environment. Sizes and times may have units.

    \b
      logship plan --rate 300/s --memory 512MiB --outage 5m
      logship plan --rate 3000/s --workers 4 --spool-size 256MiB --destination cloudwatch

    \b
    Exit codes:
      0  the deployment fits
      1  something does not fit; its line begins with NOT
      2  wrong usage
    """
    calculation = Calculation(Deployment(**options), FIGURES)
    buffer = calculation.deployment.buffer_bytes
    if calculation.least_buffer_bytes > buffer:
        raise click.UsageError(
            f"--record-size: two records do not fit into the buffer of {size(buffer)}, and logship "
            "would cut them off; give a larger --buffer-size"
        )
    destinations = _destinations(calculation, destination, price_per_gb)
    better = improved(calculation)
    if as_json:
        told = plan_as_json(calculation, better, destinations)
        show_text(json.dumps({**told, "compress": compress}, indent=2))
    else:
        show(plan_as_lines(calculation, better, destinations, compress), COLOURS)
    context.exit(0 if fits(calculation) else 1)


def _destinations(
    calculation: Calculation, name: str | None, price_per_gb: float | None
) -> dict[str, Destination]:
    """Return the destinations to show, with the price that was given."""
    sidecar, known = calculation.deployment.sidecar, calculation.figures.destinations
    if name is None:
        if price_per_gb is not None:
            raise click.UsageError("--price-per-gb: give --destination, of which it is the price")
        return {key: each for key, each in known.items() if sidecar in each.sidecars}
    if sidecar not in known[name].sidecars:
        others = " or ".join(known[name].sidecars)
        raise click.UsageError(
            f"--destination: {sidecar} has no configuration for {name}; give --sidecar {others}"
        )
    if price_per_gb is None:
        return {name: known[name]}
    price = Price(price_per_gb, "your price", "--price-per-gb", "", "", "")
    return {name: known[name]._replace(price=price)}
