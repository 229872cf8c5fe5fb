"""Which clients may send to the receiver: the shared key, the users and the certificates.

All of them are read at the start, and again by `read`, so that they can be replaced while the
receiver runs. A connection goes on with those that it was opened with.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from logship._protocol.handshake import ServerHandshake
from logship._settings import Endpoint
from logship._settings.addresses import is_loopback
from logship._settings.secrecy import is_secret, read_secret, refuse_key_log
from logship.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessOptions:
    """Where the operator keeps what `Access` reads.

    Attributes:
        shared_key: The key itself; None where it is in a file, or where there is none.
        shared_key_file: The file that holds the key.
        users: `NAME:PASSWORD` of each user.
        users_file: A file with more of them, one a line.
        tls_cert: The file of the receiver's certificate.
        tls_key: The file of its key, where that is not in `tls_cert`.
        tls_client_ca: The file of the authorities that sign clients' certificates.
    """

    shared_key: str | None = field(default=None, repr=False)
    shared_key_file: str | None = None
    users: tuple[str, ...] = field(default=(), repr=False)
    users_file: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None


class Access:
    """Decides which clients may send.

    Args:
        options: Where key, users and certificates are.

    Raises:
        SettingsError: The options do not go together, or a file cannot be used.
    """

    def __init__(self, options: AccessOptions) -> None:
        _check(options)
        self._options = options
        self._key: str | None = None
        self._users: dict[str, str] = {}
        self._tls = None if options.tls_cert is None else _NewestContext(ssl.PROTOCOL_TLS_SERVER)
        self.read()

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What connections are encrypted with, or None; `read` renews it in place."""
        return self._tls

    @property
    def files(self) -> list[str]:
        """What `read` reads from files, in words."""
        options = self._options
        given = {
            "the key": options.shared_key_file,
            "the users": options.users_file,
            "the certificates": options.tls_cert,
        }
        return [name for name, path in given.items() if path is not None]

    def read(self) -> None:
        """Read everything again.

        Raises:
            SettingsError: A file cannot be used. Then all stays as it was.
        """
        options = self._options
        key = options.shared_key
        if options.shared_key_file is not None:
            key = _read("--shared-key-file", options.shared_key_file)
        users = _users(options)
        if self._tls is not None:
            self._tls.newest = _tls_context(options)
        self._key, self._users = key, users

    def handshake(self) -> ServerHandshake | None:
        """Return the handshake of a new connection, or None where there is no key."""
        if self._key is None:
            return None
        return ServerHandshake(
            hostname=socket.gethostname(),
            shared_key=self._key,
            nonce=os.urandom(16),
            auth=os.urandom(16),
            users=self._users,
        )

    def warnings(self, bind: Endpoint) -> Iterator[str]:
        """Yield a warning for each protection that a receiver at this address lacks."""
        if bind.scheme == "unix" or is_loopback(bind.host):
            return
        if self._key is None and self._options.tls_client_ca is None:
            yield f"any program that reaches {bind} can write records; give --shared-key-file"
        if self._tls is None:
            yield f"records to {bind} are not encrypted; give --tls-cert"


class _NewestContext(ssl.SSLContext):
    """Hands each connection to the newest context: asyncio keeps the one that it was given."""

    newest: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        return self.newest.wrap_bio(*arguments, **options)


def _check(options: AccessOptions) -> None:
    """Refuse options of which a part is missing, so that the rest would not protect."""
    key, key_file = options.shared_key, options.shared_key_file
    if key is not None and key_file is not None:
        raise SettingsError("--shared-key and --shared-key-file: give only one")
    if key is not None and not is_secret(key):
        raise SettingsError(
            "--shared-key (LOGSHIP_SHARED_KEY): it is empty or not UTF-8; give a key, or leave the "
            "option out and unset the variable"
        )
    if key is None and key_file is None and (options.users or options.users_file is not None):
        raise SettingsError(
            "--user and --users-file need --shared-key-file or --shared-key: the protocol knows no "
            "user without a key"
        )
    if (options.tls_key or options.tls_client_ca) and not options.tls_cert:
        raise SettingsError("--tls-key and --tls-client-ca need --tls-cert")


def _read(option: str, path: str) -> str:
    try:
        return read_secret(path)
    except SettingsError as error:
        raise SettingsError(f"{option}: {error}") from None


def _users(options: AccessOptions) -> dict[str, str]:
    """Return the passwords by user."""
    users = dict(_user("--user", each) for each in options.users)
    if options.users_file is None:
        return users
    lines = _read("--users-file", options.users_file).splitlines()
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    named = dict(_user(f"--users-file: line {number}", line) for number, line in numbered)
    if not named:
        raise SettingsError("--users-file: it names no user")
    return users | named


def _user(where: str, text: str) -> tuple[str, str]:
    """Return name and password; the error shows neither, because they may stand elsewhere."""
    name, _, password = text.partition(":")
    if not is_secret(name) or not is_secret(password):
        raise SettingsError(f"{where}: give NAME:PASSWORD")
    return name, password


def _tls_context(options: AccessOptions) -> ssl.SSLContext:
    assert options.tls_cert is not None
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Without a password, OpenSSL would ask a terminal for that of an encrypted key.
        context.load_cert_chain(options.tls_cert, options.tls_key, password="")
        if options.tls_client_ca is not None:
            context.load_verify_locations(options.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        refuse_key_log(error)
        files = filter(None, (options.tls_cert, options.tls_key, options.tls_client_ca))
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"cannot use {', '.join(files)} for TLS: {reason}") from None
    return context
