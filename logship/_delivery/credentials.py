"""What a client proves to a sidecar and asks of it: certificates, the shared key, the user.

Files are read again for each connection, so that keys and certificates can be replaced while the
program runs. A file that cannot be used then leaves the last good one in force: the sidecar says
whether that is still the right one.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from logship._settings import Settings, full_name
from logship._settings.secrecy import refuse_key_log
from logship.errors import SettingsError

if TYPE_CHECKING:
    from logship._protocol.handshake import ClientHandshake

TlsSource = Callable[[], ssl.SSLContext]
"""Gives the TLS context of the next connection."""


def tls_source(settings: Settings) -> TlsSource | None:
    """Return what gives the context of each connection, or None where no endpoint is `tls://`.

    Raises:
        SettingsError: A file cannot be read or used; the error names the setting and the file.
    """
    first = tls_context(settings)
    if first is None:
        return None
    if settings.tls_ca is None and settings.tls_cert is None:
        return lambda: first  # the system's own authorities are read once: it takes 25 ms
    context = first

    def read_again() -> ssl.SSLContext:
        nonlocal context
        files = filter(None, (settings.tls_ca, settings.tls_cert, settings.tls_key))
        if all(map(os.path.isfile, files)):  # a pipe can be read only once
            with contextlib.suppress(SettingsError):
                context = tls_context(settings) or context
        return context

    return read_again


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the context that the settings describe, or None where no endpoint is `tls://`.

    Raises:
        SettingsError: A file cannot be read or used; the error names the setting and the file.
    """
    if all(endpoint.scheme != "tls" for endpoint in settings.endpoints):
        return None
    # Otherwise `ssl` would import it in the shipper's thread, where a fork may interrupt that.
    codecs.lookup("idna")
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ValueError) as error:
        refuse_key_log(error)
        raise _cannot_use({"tls_ca": settings.tls_ca}, error) from None
    # Some systems' OpenSSL would still speak 1.0; Python leaves that to their configuration.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_cert is not None:
        try:
            # Without a password, OpenSSL would ask a terminal for that of an encrypted key.
            context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
        except (OSError, ValueError) as error:
            files = {"tls_cert": settings.tls_cert, "tls_key": settings.tls_key}
            raise _cannot_use(files, error) from None
    return context


def _cannot_use(files: dict[str, str | None], error: Exception) -> SettingsError:
    given = {full_name(name): path for name, path in files.items() if path is not None}
    paths = " and ".join(given.values())
    reason = getattr(error, "strerror", None) or error
    return SettingsError(f"{', '.join(given)}: cannot use {paths}: {reason}")


def handshake_maker(settings: Settings) -> Callable[[], ClientHandshake] | None:
    """Return what makes a connection's handshake, or None where there is no shared key."""
    if settings.shared_key is None:
        return None
    from logship._protocol.handshake import ClientHandshake  # noqa: PLC0415 - few have a key

    key, password = settings.shared_key, settings.password
    return lambda: ClientHandshake(
        # Never the sidecar's own name, though all containers of a task share one: a PONG with the
        # client's name is refused, since it could be the client's own PING, reflected.
        hostname=f"{socket.gethostname()}-logship-{os.urandom(4).hex()}",
        shared_key=key.reveal(),
        salt=os.urandom(16).hex(),
        username=settings.username or "",
        password=password.reveal() if password is not None else "",
    )
