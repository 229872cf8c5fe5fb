"""`logship doctor`: check from here that records would arrive."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator

import click

from logship._cli.common import FiniteRange, show, show_text
from logship._deployment.doctor.examination import examine
from logship._deployment.doctor.result import Result, as_json, as_lines, has_failed, verdict
from logship._deployment.doctor.sidecars import Sending

COLOURS = {"ok ": "green", "warn ": "yellow", "fail ": "red"}


@click.command()
@click.option("--json", "as_object", is_flag=True, help="Print everything as one JSON object.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="How many processes of this container have a client, as with gunicorn -w N.",
)
@click.option(
    "--tag",
    metavar="T",
    help="Tag of the test records (default: LOGSHIP_TAG, as the application's).",
)
@click.option("--no-send", is_flag=True, help="Send no test records; connect only.")
@click.option(
    "--burst",
    type=click.IntRange(min=0, max=1_000_000),
    default=100,
    metavar="N",
    help="Records to send, to measure how fast the sidecar acks; 0 sends none.",
)
@click.option(
    "--wait",
    "wait_seconds",
    type=FiniteRange(min=0.1, max=600),
    default=10.0,
    metavar="SECONDS",
    help="How long to wait for acks.",
)
@click.pass_context
def command(
    context: click.Context,
    as_object: bool,
    workers: int,
    tag: str | None,
    no_send: bool,
    burst: int,
    wait_seconds: float,
) -> None:
    """Check from here that records would arrive, and that a stop would lose none.

    Run it where the application runs, with its environment: in its container, before a rollout or
    when logs are missing. It checks the settings, connects to each endpoint as the application
    would, and sends two records and `--burst` more by the application's route, all with the field
    `logship_doctor`. Then it compares the measured rate with the container's limits.

    This is NOT a health check of the application's container: an application can wait for a
    sidecar that is down, and must not be killed for it.

    \b
    Exit codes:
      0  no check failed; read the warnings
      1  a check failed; its line says what was found, and what to do
      2  wrong usage
    """
    if tag is not None and not (tag and tag.isprintable()):
        raise click.UsageError("--tag: give a text of printable characters")
    sending = Sending(allowed=not no_send, burst=burst, wait_seconds=wait_seconds, tag=tag)
    results = asyncio.run(_shown(examine(os.environ, sending, workers), as_object=as_object))
    if as_object:
        show_text(json.dumps(as_json(results), indent=2))
    else:
        show([verdict(results)])
    context.exit(1 if has_failed(results) else 0)


async def _shown(results: AsyncIterator[Result], *, as_object: bool) -> list[Result]:
    """Collect the results, and show each as soon as it is known."""
    collected = []
    async for result in results:
        collected.append(result)
        if not as_object:
            show(as_lines(result), COLOURS)
    return collected
