"""`logship receive`: the embedded sidecar as a program."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click
from click.core import ParameterSource

from logship._cli.common import (
    FiniteRange,
    NotUsable,
    metrics_port_option,
    read_by,
    say,
    serve_metrics,
    takes_colours,
)
from logship._cli.pretty import pretty_lines
from logship._protocol.messages import MESSAGE_BYTES_MAX, Form
from logship._protocol.payloads import payload_lines
from logship._receiver.access import Access, AccessOptions
from logship._receiver.binds import Listener, ListenError, parse_bind
from logship._receiver.server import Counts, Limits, Receiver
from logship._receiver.session import Session, counted
from logship._receiver.sinks import LineSink, OutputError, OutputGone
from logship._settings import Endpoint
from logship._signal_names import signals_named
from logship._spelling import many
from logship.errors import SettingsError

KEPT_BYTES = 8 * 1024 * 1024
"""Several times the memory that one chunk of logship needs in the receiver."""

STOP_SIGNALS = signals_named("SIGTERM", "SIGINT", "SIGBREAK")
RELOAD_SIGNALS = signals_named("SIGHUP")
REOPEN_SIGNALS = RELOAD_SIGNALS | signals_named("SIGUSR1")

SECONDS = FiniteRange(0.0, min_open=True)
FILE = click.Path(exists=True, dir_okay=False)

_say = functools.partial(say, "receive")


@click.command()
@click.option(
    "--bind",
    callback=read_by(parse_bind),
    default="127.0.0.1:24224",
    metavar="ADDRESS",
    help="Listen on HOST:PORT (port 0 is any free one) or unix:///PATH.",
)
@click.option(
    "--out",
    type=click.Path(allow_dash=True, writable=False, readable=False),
    metavar="FILE",
    help="Append the lines to this file; - is standard output, and the default.",
)
@click.option(
    "--count",
    is_flag=True,
    help="For load tests: check, count and acknowledge records, but write and keep none.",
)
@click.option(
    "--pretty",
    is_flag=True,
    help="Write lines for a person in place of JSON: time, tag, level, message, other fields.",
)
@click.option(
    "--shared-key-file",
    metavar="FILE",
    help="Take records only from clients that know the key in this file "
    "(also LOGSHIP_SHARED_KEY_FILE).",
)
@click.option(
    "--shared-key",
    metavar="KEY",
    help="The key itself. ps shows it to all users of this machine; the variable "
    "LOGSHIP_SHARED_KEY is visible to fewer.",
)
@click.option(
    "--users-file",
    metavar="FILE",
    help="Take records only from the users in this file, one line NAME:PASSWORD for each. Needs "
    "a key as well.",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME:PASSWORD",
    help="A user and a password. ps shows them to all users of this machine. May be repeated.",
)
@click.option("--tls-cert", type=FILE, help="Speak TLS with this certificate (PEM).")
@click.option(
    "--tls-key", type=FILE, help="The certificate's key, if it is not in the certificate's file."
)
@click.option(
    "--tls-client-ca",
    type=FILE,
    help="Take records only from clients with a certificate of this authority (PEM).",
)
@click.option(
    "--connections-max",
    type=click.IntRange(1),
    metavar="N",
    default=Limits().connections_max,
    help="Connections that may be open at a time; the next one waits until one of them ends.",
)
@click.option(
    "--idle-timeout",
    "idle_timeout_seconds",
    type=SECONDS,
    metavar="SECONDS",
    default=Limits().idle_timeout_seconds,
    help="Close a connection that sends nothing for this time.",
)
@click.option(
    "--handshake-timeout",
    "handshake_timeout_seconds",
    type=SECONDS,
    metavar="SECONDS",
    default=Limits().handshake_timeout_seconds,
    help="Close a connection whose TLS handshake, or whose proof of the key, takes longer.",
)
@click.option(
    "--pending-bytes-max",
    type=click.IntRange(MESSAGE_BYTES_MAX),
    metavar="N",
    default=Limits().pending_bytes_max,
    help="Bytes of incomplete messages that all connections together may hold.",
)
@metrics_port_option(envvar="LOGSHIP_METRICS_PORT")
@click.option(
    "--metrics-host",
    envvar="LOGSHIP_METRICS_HOST",
    default="127.0.0.1",
    metavar="HOST",
    help="Serve metrics on this address (also LOGSHIP_METRICS_HOST).",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    bind: Endpoint,
    out: str | None,
    count: bool,
    pretty: bool,
    metrics_port: int | None,
    metrics_host: str,
    **options: Any,
) -> None:
    """Receive records from any forward client and write one JSON line for each.

    {"tag": TAG, "time_ns": NANOSECONDS, "record": {…}}

    If an entry has metadata, the line has the member "metadata" before "record".

    A chunk is acknowledged when all its lines are in the output, never before. At SIGTERM or SIGINT
    the command completes the message that it is writing, and ends. At SIGHUP or SIGUSR1 it opens
    FILE again, for log rotation. At SIGHUP it also reads the key, the users and the certificates
    again, for new connections.

    \b
    Exit codes:
      0  a stop signal ended it
      1  the reader of its output has gone
      2  wrong usage, or it cannot start: the address, a file or a key cannot be used
    """
    if count and (pretty or out is not None):
        raise click.UsageError("--count writes nothing: give no --out and no --pretty with it")
    is_stdout = out in (None, "-", "/dev/stdout")
    try:
        access = _access(context, options)
        sink = LineSink.stdout() if is_stdout else LineSink.open(Path(str(out)))
        listener = Listener(bind)
    except (OutputError, ListenError, SettingsError) as error:
        raise NotUsable(str(error)) from error
    try:
        form = counted if count else _pretty_form(is_stdout) if pretty else payload_lines
        started_seconds = time.monotonic()
        receiver = Receiver(
            sink,
            _say,
            new_session=lambda: Session(access.handshake(), form),
            tls=access.tls,
            limits=Limits(**{name: options[name] for name in Limits.__slots__}),
        )
        for warning in access.warnings(listener.bind):
            _say(warning)
        if metrics_port is not None:
            try:
                serve_metrics("receive", metrics_host, metrics_port, receiver.counts)
            except click.UsageError as error:  # a receiver without metrics is better than none
                _say(f"{error.message}; it continues without them")
        _keep_freed_memory()
        if count:
            _say("records are counted and acknowledged, none is kept")
        asyncio.run(_receive(receiver, listener, functools.partial(_reload, access)))
        if count:
            _say(f"counted {many(receiver.counts.records, 'record')}")
        if pretty:
            _say(_summary(receiver.counts, time.monotonic() - started_seconds))
    except OutputGone as error:
        raise click.ClickException(str(error)) from error
    finally:
        listener.close()


def _pretty_form(is_stdout: bool) -> Form:
    """Return the function that turns a message into lines for a person."""
    coloured = is_stdout and takes_colours(sys.stdout)

    def form(tag: str, entries: bytes) -> tuple[bytes, int]:
        lines, count = payload_lines(tag, entries)
        return pretty_lines(lines, coloured=coloured), count

    return form


def _summary(counts: Counts, seconds: float) -> str:
    records, connections = many(counts.records, "record"), many(counts.connections, "connection")
    return f"{records} on {connections} in {seconds:.1f} s"


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory: up to twice this block (mallopt(3), M_MMAP_THRESHOLD).

    Otherwise every message would fault its pages in again, which took a third of all CPU time. The
    block itself is never touched. With another malloc this has no effect.
    """
    bytes(KEPT_BYTES)


def _access(context: click.Context, options: dict[str, Any]) -> Access:
    """Return which clients may send, and warn of each secret that `ps` shows.

    Raises:
        SettingsError: The options do not go together, or a file cannot be used.
    """
    if options["shared_key"] is None and options["shared_key_file"] is None:
        # Not click's `envvar`, which takes an empty variable for none: it would open the door.
        options["shared_key"] = os.environ.get("LOGSHIP_SHARED_KEY")
        options["shared_key_file"] = os.environ.get("LOGSHIP_SHARED_KEY_FILE")
    names = [each.name for each in dataclasses.fields(AccessOptions)]
    access = Access(AccessOptions(**{name: options[name] for name in names}))
    for name, shown, file_option in (
        ("shared_key", "the key", "--shared-key-file"),
        ("users", "passwords", "--users-file"),
    ):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            _say(f"ps shows {shown} to all users of this machine; give {file_option}")
    return access


def _reload(access: Access) -> None:
    """Read key, users and certificates again, if they are in files."""
    if not access.files:
        return
    try:
        access.read()
    except SettingsError as error:
        _say(f"{error}; key, users and certificates stay as they were")
    else:
        _say(f"read again, for new connections: {', '.join(access.files)}")


async def _receive(receiver: Receiver, listener: Listener, reload: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def stop(number: int, frame: FrameType | None) -> None:
        receiver.is_stopping = True  # at once, in the middle of thousands of messages too
        loop.call_soon_threadsafe(receiver.stop)

    def reopen(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(receiver.reopen)
        if number in RELOAD_SIGNALS:
            loop.call_soon_threadsafe(reload)

    handlers = {**dict.fromkeys(STOP_SIGNALS, stop), **dict.fromkeys(REOPEN_SIGNALS, reopen)}
    for number, handler in handlers.items():
        signal.signal(number, handler)
    scheme = "tls" if receiver.tls and listener.bind.scheme == "tcp" else listener.bind.scheme
    _say(f"listening on {listener.bind._replace(scheme=scheme)}")
    try:
        await receiver.serve(listener)
    finally:
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)  # another one must not spoil the exit code
