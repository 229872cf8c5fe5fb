"""Asks an HTTP server for JSON."""

from __future__ import annotations

import base64
import contextlib
import json
import netrc
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from logship._audit.sources import CannotRead

TIMEOUT_SECONDS: Final = 30.0
REASON_BYTES_MAX: Final = 300


class Server:
    """A server, and what it is asked with.

    Args:
        address: `http://` or `https://`. A user and a password may stand before the host, where
            `ps` shows them; without, they are looked up in `~/.netrc`.

    Attributes:
        address: Without user and password.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        self.address = f"{parts.scheme}://{host}"
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        known = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        if known or (known := _from_netrc(parts.hostname or "")):
            secret = base64.b64encode(":".join(known).encode()).decode()
            self._headers["Authorization"] = f"Basic {secret}"

    def ask(
        self, path: str, body: Any = None, method: str | None = None, if_missing: Any = None
    ) -> Any:
        """Return the answer.

        Args:
            path: Path and query.
            body: What to send, if anything.
            method: By default GET, and POST with a body.
            if_missing: The answer to take where the server says that there is no such thing.

        Raises:
            CannotRead: There is no answer, or it is an error.
        """
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.address}{path}"
        request = urllib.request.Request(url, data, self._headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return json.load(answer)
        except HTTPError as error:
            reason = _reason(error)
            if error.code == HTTPStatus.NOT_FOUND and if_missing is not None:
                return if_missing
            text = f"cannot read {self.address}: {error.code} {error.reason}: {reason}"
            raise CannotRead(text) from error
        except (OSError, HTTPException, ValueError) as error:
            raise CannotRead(f"cannot read {self.address}: {error}") from error


def _reason(error: HTTPError) -> str:
    with error, contextlib.suppress(OSError, HTTPException):
        return error.read(REASON_BYTES_MAX).decode("utf-8", "replace")
    return "no reason"


@contextlib.contextmanager
def understanding(name: str) -> Iterator[None]:
    """Turn what comes of an answer without its fields into an error that names the source."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CannotRead(f"cannot read {name}: an answer of another form ({error!r})") from error


def _from_netrc(host: str) -> tuple[str, str] | None:
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        if found := netrc.netrc().authenticators(host):
            return found[0], found[2] or ""
    return None
