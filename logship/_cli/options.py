"""What several subcommands share: options, wrong settings, and metrics of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import click

from logship._cli.output import say
from logship.errors import SettingsError

stop_timeout_option = click.option(
    "--stop-timeout",
    "stop_timeout_seconds",
    type=float,
    metavar="SECONDS",
    help="Seconds that the orchestrator gives from the stop signal to SIGKILL (default: "
    "LOGSHIP_STOP_TIMEOUT_SECONDS, else 30 under ECS and Kubernetes, 9 elsewhere).",
)
fields_option = click.option(
    "--fields",
    metavar="NAME=VALUE[,...]",
    help="Fields of every record (default: LOGSHIP_FIELDS, else none).",
)
redact_option = click.option(
    "--redact",
    metavar="RULES",
    help="Take secrets out of records: 'default', or names of rules with commas between (default: "
    "LOGSHIP_REDACT, else none).",
)


def only_given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given: the environment decides about the others."""
    return {name: value for name, value in options.items() if value is not None}


@contextlib.contextmanager
def wrong_settings_are_usage() -> Iterator[None]:
    """Show a wrong setting as any other wrong usage, wherever it is noticed, and with its code.

    Raises:
        click.UsageError: In place of a `SettingsError`.
    """
    try:
        yield
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def serve_metrics(command: str, host: str, port: int, counts: object, *table: Any) -> None:
    """Serve numbers of a subcommand, as `CountsCollector` takes them, and say where.

    Raises:
        click.UsageError: They cannot be served there.
    """
    from logship._metrics.prometheus import CountsCollector, serve  # noqa: PLC0415 - only where it is wanted

    try:
        endpoint = serve(host, port, [CountsCollector(counts, *table)])
    except OSError as error:
        reason = error.strerror or str(error)
        raise click.UsageError(f"metrics cannot be served on {host}:{port}: {reason}") from None
    say(command, f"metrics are served on {endpoint.url}")
