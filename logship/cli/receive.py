"""`logship receive`: the embedded sidecar as a program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import click

from logship.errors import SettingsError
from logship.protocol.handshake import ServerHandshake
from logship.protocol.messages import Form
from logship.receiver.binds import Bind, Listener, ListenError, parse_bind
from logship.receiver.lines import COUNTED, WRITTEN, Lines
from logship.receiver.server import Receiver
from logship.receiver.session import Session
from logship.receiver.sinks import LineSink, OutputError, OutputGone


class CannotStart(click.ClickException):
    """The receiver cannot begin: what it was given cannot be used."""

    exit_code = 2


def _read_bind(ctx: click.Context, param: click.Parameter, value: str) -> Bind:
    try:
        return parse_bind(value)
    except SettingsError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def _read_users(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    users = {}
    for value in values:
        name, separator, password = value.partition(":")
        if not (name and separator and password):
            raise click.BadParameter("give NAME:PASSWORD", ctx, param)
        users[name] = password
    return users


KEPT_BYTES = 8 * 1024 * 1024
"""Several times what a chunk of logship's needs on its way through."""

FILE = click.Path(exists=True, dir_okay=False)


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
    metavar="FILE",
    help="Append the lines to this file; - is standard output, and the default.",
)
@click.option(
    "--count",
    is_flag=True,
    help="For load tests: write nothing, only check, count and acknowledge. Keeps no record.",
)
@click.option(
    "--shared-key",
    envvar="LOGSHIP_SHARED_KEY",
    help="Take records only from clients that know this key (also LOGSHIP_SHARED_KEY).",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    callback=_read_users,
    metavar="NAME:PASSWORD",
    help="And only from this user; may be repeated. Needs --shared-key.",
)
@click.option("--tls-cert", type=FILE, help="Speak TLS with this certificate (PEM).")
@click.option("--tls-key", type=FILE, help="The certificate's key, where it is not in its file.")
@click.option("--tls-client-ca", type=FILE, help="Take only clients with a certificate of this CA.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    envvar="LOGSHIP_METRICS_PORT",
    metavar="N",
    help="Serve metrics on this port; 0: any free one, which is said on stderr.",
)
@click.option(
    "--metrics-host",
    envvar="LOGSHIP_METRICS_HOST",
    default="127.0.0.1",
    show_default=True,
    help="The address that metrics are served on.",
)
def command(
    bind: Bind,
    out: str | None,
    count: bool,
    shared_key: str | None,
    users: dict[str, str],
    tls_cert: str | None,
    tls_key: str | None,
    tls_client_ca: str | None,
    metrics_port: int | None,
    metrics_host: str,
) -> None:
    """Receive records from any forward client and write one JSON line for each.

    {"tag": TAG, "time_ns": NANOSECONDS, "record": {…}}

    A client's chunk is acknowledged when all its lines are in the output, never before. SIGTERM
    and SIGINT stop it: what was received is written and acknowledged first.
    """
    if count and out is not None:
        raise click.UsageError("--count writes nothing: give no --out with it")
    if users and not shared_key:
        raise click.UsageError("--user needs --shared-key: no key, no user, says the protocol")
    if (tls_key or tls_client_ca) and not tls_cert:
        raise click.UsageError("--tls-key and --tls-client-ca need --tls-cert")
    tls = _tls_context(tls_cert, tls_key, tls_client_ca)
    try:
        sink = LineSink.open(Path(out)) if out not in (None, "-") else LineSink.stdout()
        listener = Listener(bind)
    except (OutputError, ListenError) as error:
        raise CannotStart(str(error)) from error
    try:
        new_session = _session_maker(shared_key, users, COUNTED if count else WRITTEN)
        receiver = Receiver(sink, _say, new_session=new_session, tls=tls)
        if metrics_port is not None:
            _serve_metrics(receiver, metrics_host, metrics_port)
        _keep_freed_memory()
        if count:
            _say("records are counted and acknowledged, none is kept")
        asyncio.run(_receive(receiver, listener))
        if count:
            _say(f"counted {receiver.counts.records} records")
    except OutputGone as error:
        raise click.ClickException(str(error)) from error
    finally:
        listener.close()


def _serve_metrics(receiver: Receiver, host: str, port: int) -> None:
    from logship.metrics import CountsCollector, serve  # noqa: PLC0415 - only where it is wanted

    try:
        endpoint = serve(host, port, [CountsCollector(receiver.counts)])
    except OSError as error:  # records matter more than what is said about them
        reason = error.strerror or str(error)
        _say(f"metrics cannot be served on {host}:{port}: {reason}; it goes on without")
    else:
        _say(f"metrics are served on {endpoint.url}")


def _keep_freed_memory() -> None:
    """Have the C library keep what is freed, up to twice a block of this size.

    glibc gives large blocks back to the kernel when they are freed, and every message would fault
    its pages in again: hundreds of faults a chunk, a third of all CPU time. A block that was
    mapped on its own and is freed raises both bounds (mallopt(3), M_MMAP_THRESHOLD); it is never
    touched. Where malloc is another one, nothing happens.
    """
    bytes(KEPT_BYTES)


async def _receive(receiver: Receiver, listener: Listener) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, receiver.stop)
    _say(f"listening on {listener.bind}")
    try:
        await receiver.serve(listener)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):  # a second one must not spoil the exit code
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


def _session_maker(
    shared_key: str | None, users: dict[str, str], form: Form[Lines]
) -> Callable[[], Session]:
    """Return what makes a connection's session, with its handshake where there is a key."""
    if not shared_key:
        return lambda: Session(form=form)
    return lambda: Session(
        ServerHandshake(
            hostname=socket.gethostname(),
            shared_key=shared_key,
            nonce=os.urandom(16),
            auth=os.urandom(16),
            users=users,
        ),
        form,
    )


def _tls_context(cert: str | None, key: str | None, client_ca: str | None) -> ssl.SSLContext | None:
    if cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        files = ", ".join(filter(None, (cert, key, client_ca)))
        raise CannotStart(f"cannot use {files} for TLS: {error}") from error
    return context


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # records matter more than a reader of stderr that left
        click.echo(f"logship receive: {line}", err=True)
