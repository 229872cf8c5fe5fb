"""`logship audit --watch`: looks at the outputs again and again until a stop signal."""

from __future__ import annotations

import functools
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import click

from logship._audit.destinations import output_of
from logship._audit.state_file import BadState, resume, save
from logship._audit.watch import Watch
from logship._cli.options import only_given, serve_metrics
from logship._cli.output import say
from logship._metrics.command_measures import AUDIT_MEASURES
from logship._signal_names import signals_named

INTERVAL_SECONDS = 10.0


def refuse_without_watch(options: dict[str, Any]) -> None:
    """Refuse options that mean nothing without --watch.

    Raises:
        click.UsageError: One was given.
    """
    for name in only_given(options):
        option = name.removesuffix("_seconds").replace("_", "-")
        raise click.UsageError(f"--{option} is only for --watch")


def follow(
    names: Iterable[str],
    stamp_key: str,
    *,
    state: Path | None,
    interval_seconds: float | None,
    metrics_port: int | None,
    metrics_host: str | None,
    **options: Any,
) -> NoReturn:
    """Follow outputs until SIGTERM or SIGINT.

    Raises:
        CannotRead: There is no such kind of output.
        BadState: The state cannot be read.
        click.UsageError: Metrics cannot be served.
    """
    outputs = [output_of(name) for name in dict.fromkeys(names)]
    watch = Watch(
        outputs, stamp_key=stamp_key, say=functools.partial(say, "audit"), **only_given(options)
    )
    if state is not None:
        resume(watch, state)
    if metrics_port is not None:
        host = metrics_host or "127.0.0.1"
        serve_metrics("audit", host, metrics_port, watch.figures, AUDIT_MEASURES, "audit_")
    is_over = False

    def end(*_: object) -> NoReturn:
        nonlocal is_over
        is_over = True  # because what is raised in the middle of a destructor is lost
        sys.exit()  # a look that is cut off is made again

    for number in signals_named("SIGTERM", "SIGINT", "SIGBREAK"):
        signal.signal(number, end)
    while True:
        _look(watch, state)
        if is_over:
            sys.exit()
        time.sleep(interval_seconds or INTERVAL_SECONDS)


def _look(watch: Watch, state: Path | None) -> None:
    watch.look(time.time())
    try:
        if state is not None:
            save(watch, state)
    except BadState as error:
        say("audit", str(error))
