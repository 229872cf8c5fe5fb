"""Where a sidecar listens."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

from logship._quoting import QUOTED_CHARACTERS_MAX, visible
from logship._settings.fields import Converter, NotAllowed, can_be_host, variable_name
from logship.errors import SettingsError

_CREDENTIALS = re.compile(r"@|%(?![\w.-]+\]:)")
"""A `%` is allowed before the zone of an IPv6 address, as in `[fe80::1%eth0]:24224`."""


class Endpoint(NamedTuple):
    """Where a sidecar listens.

    Attributes:
        scheme: `tcp`, `tls` or `unix`.
        host: A name or address; empty for a unix socket.
        port: 1 to 65535; 0 for a unix socket.
        path: The unix socket's file; empty otherwise.
    """

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        """Return the endpoint as a user writes it, `tcp://host:port` or `unix:///path`."""
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the endpoint that `text` names.

        Raises:
            SettingsError: `text` is not an endpoint; the error shows the form of one.
        """
        _refuse_credentials([text])
        scheme, separator, rest = text.strip().partition("://")
        if separator and scheme == "unix" and rest.startswith("/") and rest.isprintable():
            return cls("unix", "", 0, rest)
        if separator and scheme in ("tcp", "tls"):
            host, port = _host_and_port(rest)
            if can_be_host(host) and port and host.isprintable() and not {" ", "/"} & {*host}:
                return cls(scheme, host, port, "")
        shown = visible(repr(text.strip()), QUOTED_CHARACTERS_MAX)
        missing = "" if separator or not all(_host_and_port(text)) else " without tcp:// before it"
        raise SettingsError(
            f"endpoints ({variable_name('endpoints')}): {shown} is not an endpoint{missing}; "
            "allowed: tcp://HOST:PORT, tls://HOST:PORT (port 1 to 65535) or unix:///PATH, "
            "separated by commas"
        )


def _refuse_credentials(parts: Iterable[str]) -> None:
    """Refuse `tcp://user:password@host`: neither this error nor a later one shows any of it.

    A password may be written with `%40` and the like, also in place of the `@`.

    Raises:
        SettingsError: One of the parts is such an endpoint.
    """
    if any(_CREDENTIALS.search(part) and not part.strip().startswith("unix://") for part in parts):
        raise SettingsError(
            f"endpoints ({variable_name('endpoints')}): it has an @ or a %, so it may have a "
            "password in it and is not shown; give tcp://HOST:PORT, and set username and password "
            "separately"
        )


def _host_and_port(text: str) -> tuple[str, int]:
    """Split `host:port` or `[v6 address]:port`; an empty host or port 0 where that fails."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return "", 0  # an IPv6 address without brackets: where would its port begin?
    is_short = len(port) <= len("65535")  # Python refuses to read a number of 5,000 digits
    number = int(port) if is_short and port.isascii() and port.isdigit() else 0
    return host, number if number <= 65535 else 0


class Endpoints(Converter):
    """Endpoints in order of preference: a text with commas, or a sequence."""

    def check(self, value: Any) -> tuple[Endpoint, ...]:
        """Return the endpoints.

        Raises:
            NotAllowed: There is none, or it is not a sequence.
            SettingsError: One of them is not an endpoint.
        """
        if isinstance(value, str):
            value = [part for part in value.split(",") if part.strip()]
            _refuse_credentials(value)  # all of them first: a password may have a comma in it
        try:
            endpoints = tuple(Endpoint.parse(str(each)) for each in value)
        except TypeError:
            raise NotAllowed("tcp://HOST:PORT or unix:///PATH") from None
        if not endpoints:
            raise NotAllowed("at least one endpoint, such as tcp://127.0.0.1:24224")
        return endpoints
