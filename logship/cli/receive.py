"""`logship receive`: the embedded sidecar as a program."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import click

from logship.errors import SettingsError
from logship.receiver.binds import Bind, Listener, ListenError, parse_bind
from logship.receiver.server import Receiver
from logship.receiver.sinks import LineSink, OutputError, OutputGone


class CannotStart(click.ClickException):
    """The receiver cannot begin: what it was given cannot be used."""

    exit_code = 2


def _read_bind(ctx: click.Context, param: click.Parameter, value: str) -> Bind:
    try:
        return parse_bind(value)
    except SettingsError as error:
        raise click.BadParameter(str(error), ctx, param) from error


@click.command()
@click.option(
    "--bind",
    callback=_read_bind,
    default="127.0.0.1:24224",
    show_default=True,
    help="HOST:PORT (port 0: any free one) or unix:///PATH.",
)
@click.option(
    "--out",
    default="-",
    metavar="FILE",
    help="Append the lines to this file; - is standard output, and the default.",
)
def command(bind: Bind, out: str) -> None:
    """Receive records from any forward client and write one JSON line for each.

    {"tag": TAG, "time_ns": NANOSECONDS, "record": {…}}

    A client's chunk is acknowledged when all its lines are in the output, never before. SIGTERM
    and SIGINT stop it: what was received is written and acknowledged first.
    """
    try:
        sink = LineSink.stdout() if out == "-" else LineSink.open(Path(out))
        listener = Listener(bind)
    except (OutputError, ListenError) as error:
        raise CannotStart(str(error)) from error
    try:
        asyncio.run(_receive(sink, listener))
    except OutputGone as error:
        raise click.ClickException(str(error)) from error
    finally:
        listener.close()


async def _receive(sink: LineSink, listener: Listener) -> None:
    receiver = Receiver(sink, _say)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, receiver.stop)
    _say(f"listening on {listener.bind}")
    await receiver.serve(listener)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # records matter more than a reader of stderr that left
        click.echo(f"logship receive: {line}", err=True)
