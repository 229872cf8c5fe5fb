"""`logship run`: start a program, ship its output, and end with its exit code."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from logship import _system
from logship._cli.common import (
    FiniteRange,
    NamedPath,
    ending_with,
    fields_option,
    metrics_port_option,
    only_given,
    read_by,
    redact_option,
    stop_timeout_option,
    wrong_settings_are_usage,
)
from logship._quoting import visible
from logship._run.signals import Signals, parse_mapping
from logship._run.statuses import NOT_EXECUTABLE, NOT_FOUND
from logship._settings import Settings, variable_name
from logship.errors import SettingsError

if TYPE_CHECKING:
    from logship._run.receipt import Receipt
    from logship._run.run import Supervisor


SETTINGS = ("tag", "stop_timeout_seconds", "block_seconds_max", "metrics_port", "fields", "redact")
"""Options that are settings of the client, by their names."""


def _pattern(text: str | None) -> str | None:
    try:
        if text is not None:
            re.compile(text.encode())
    except (re.error, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise SettingsError(f"{text!r} is not a regular expression: {error}") from None
    return text


def _receipt(path: Path | None) -> Receipt | None:
    """Check that a receipt can be written, and remove an old one that could mislead."""
    from logship._run.receipt import Receipt  # noqa: PLC0415 - asyncio and all

    if path is None:
        return None
    _system.open_standard_streams()  # else the receipt's directory could be standard input
    try:
        return Receipt(path)
    except OSError as error:
        text = f"no receipt can be written to {path}: {error.strerror}"
        raise SettingsError(text) from None


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("words", metavar="-- CMD [ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--tag",
    metavar="TAG",
    help="Tag of the records (default: LOGSHIP_TAG, else the tag that FireLens routes for this "
    "container, else CMD's name).",
)
@stop_timeout_option
@click.option(
    "--install",
    is_flag=True,
    help="Have Python programs in CMD call logship.install() when they log for the first time, if "
    "their Python is 3.11 or newer and has logship.",
)
@click.option("--tee", is_flag=True, help="Also pass CMD's output on, byte for byte.")
@click.option(
    "--receipt",
    type=NamedPath(path_type=Path, dir_okay=False),
    callback=read_by(_receipt),
    metavar="FILE",
    help="At the end write a JSON file that says what happened to every record.",
)
@click.option(
    "--loss-exit",
    type=click.IntRange(1, 255),
    metavar="N",
    help="Exit with N if a record was not acknowledged and CMD itself exited with 0.",
)
@click.option(
    "--signal-map",
    "mapping",
    multiple=True,
    callback=read_by(parse_mapping),
    metavar="TERM:QUIT",
    help="Send CMD the second signal when the first arrives: TERM:WINCH for Apache, TERM:QUIT "
    "for php-fpm and nginx. May be repeated.",
)
@click.option(
    "--signal-group",
    "whole_group",
    is_flag=True,
    help="Send signals to CMD's children too; for shell scripts, which do not pass them on.",
)
@click.option(
    "--multiline-start",
    callback=read_by(_pattern),
    metavar="REGEX",
    help=r"A line that matches begins a record, and other lines belong to the record before. So "
    r"'^\d{4}-' joins a stack trace to a line that begins with a year. A line that is a JSON "
    "object stands alone. Only the first 8 KiB of a line are searched. If that takes longer than "
    "1 s, no lines are joined for a minute.",
)
@click.option(
    "--push-back",
    "block_seconds_max",
    type=float,
    metavar="SECONDS",
    help="How long a full buffer may make CMD wait, once in each outage (default: "
    "LOGSHIP_BLOCK_SECONDS_MAX, else 60); then the overflow policy applies.",
)
@fields_option
@redact_option
@click.option(
    "--orphan-wait",
    "orphan_seconds",
    type=FiniteRange(min=0),
    default=5.0,
    metavar="SECONDS",
    help="How long to wait, after CMD's end, for processes that it left behind and that still "
    "hold its output.",
)
@metrics_port_option(
    help="Serve the numbers of all logship clients, in CMD too (default: LOGSHIP_METRICS_PORT, "
    "else none); 0 is any free port, printed on stderr."
)
@wrong_settings_are_usage()
def command(
    words: tuple[str, ...],
    install: bool,
    mapping: dict[int, int],
    **options: Any,
) -> None:
    """Run CMD, ship the lines that it prints, and exit with its exit code.

    For programs in any language, as the entrypoint of a container or of a cron job:

    \b
      logship run --tag web -- php /app/batch.php
      logship run --signal-map TERM:WINCH -- apache2-foreground

    Each line of CMD's stdout and stderr becomes a record. A JSON object becomes that record, any
    other line becomes {"message": LINE, "source": "stdout"}. The sidecar's address and all other
    settings come from the environment, for example LOGSHIP_ENDPOINTS=tcp://127.0.0.1:24224.

    The command passes signals on to CMD. The stop signals also start the stop clock. They are
    SIGTERM, SIGINT, SIGQUIT, and SIGHUP if CMD does not handle it (logship.install() does), or
    those that LOGSHIP_STOP_SIGNALS lists; and those that --signal-map names. The clock ends a tenth
    of the stop timeout early, at most 1 s. If CMD still runs when a quarter of the clock is left
    (at most 5 s, more if much is in the buffer), it is killed, so that its output can still be
    shipped.

    Orphans are reaped. At CMD's end the command waits for the processes that CMD left behind. As
    PID 1, or after a stop signal, it then kills them, because they are about to be killed in any
    case.

    Programs in CMD that use logship themselves need no setting for it. They get a spool and the
    true deadline from this command. If one of them is killed, its records are shipped. With
    --install they need no change of their code either.

    \b
    Exit codes:
      CMD's own, or 128 plus the signal's number if a signal killed CMD
      126, 127  CMD cannot be run, or does not exist
      2         wrong usage, or a wrong setting
    """
    if not any(words[:1]):
        raise click.UsageError(
            "there is no command; give it after --: logship run -- php batch.php"
        )
    _system.open_standard_streams()
    try:
        supervisor = _supervisor(words, install, mapping, options)
    except OSError as error:  # too few descriptors, perhaps even for an import
        _end_without(words, error)
    exit_code = supervisor.run()
    # All is done. A thread that wakes while the interpreter ends is ended by glibc, which opens
    # libgcc for that and aborts the process where there is none, as beside a program in C.
    os._exit(exit_code)


def _supervisor(
    words: tuple[str, ...], install: bool, mapping: dict[int, int], options: dict[str, Any]
) -> Supervisor:
    """Return what runs CMD; where logship is disabled, become CMD instead.

    Raises:
        OSError: This process lacks something that it needs, such as descriptors.
        SettingsError: A setting is wrong.
    """
    signals = Signals(mapping)
    signals.take()  # before the slow imports: without handlers, PID 1 ignores signals
    from logship._run.installing import environment_with_install  # noqa: PLC0415 - asyncio and all
    from logship._run.run import Options, Supervisor  # noqa: PLC0415 - as above
    from logship._run.shipping import PUSH_BACK_SECONDS  # noqa: PLC0415 - as above

    sys.argv[:] = words  # whose name is the default tag
    given = only_given({name: options.pop(name) for name in SETTINGS})
    if not os.environ.get(variable_name("block_seconds_max")):
        given.setdefault("block_seconds_max", PUSH_BACK_SECONDS)
    settings = Settings.from_env(os.environ, **given)
    if settings.disabled:
        signals.give_back()
        _become(words)
    environ: Mapping[str, str] = os.environ
    if install:
        chosen: dict[str, str] = {
            name: given[name] for name in ("fields", "redact") if name in given
        }
        environ = environment_with_install(environ, settings, chosen)
    return Supervisor(settings, Options(command=words, environ=environ, **options), signals)


def _become(words: tuple[str, ...]) -> NoReturn:
    """Become CMD: no records are shipped, so no supervisor is needed."""
    for signum in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_DFL)  # Python ignores them, and CMD would inherit that
    os.execvp(words[0], words)  # noqa: S606 - the user's own command


def _end_without(words: tuple[str, ...], error: OSError) -> NoReturn:
    """End with a line and an exit code of a shell, because CMD cannot be run."""
    with ending_with(sys.stderr):
        click.echo(
            f"logship run: cannot run {visible(words[0])}: {error.strerror or error}", err=True
        )
    sys.exit(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE)
