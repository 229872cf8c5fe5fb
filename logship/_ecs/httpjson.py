"""Small JSON documents from plain HTTP servers nearby: task metadata, a sidecar's monitor.

The callers do not depend on the answer, so any failure gives None.
"""

from __future__ import annotations

import codecs
import http.client
import io
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

# Otherwise `socket` would import it in the reader's thread: see TaskReader.start.
codecs.lookup("idna")

_BYTES_MAX = 4 * 1024 * 1024
_READ_BYTES = 64 * 1024


def get_json(url: str, timeout_seconds: float) -> Any:
    """Return the JSON that an HTTP server answers, or None if anything fails.

    Args:
        url: `http://`; any other URL gets None.
        timeout_seconds: To connect, and for the whole of the answer.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            return None
        connection = http.client.HTTPConnection(
            parts.hostname, parts.port or 80, timeout=timeout_seconds
        )
        try:
            connection.request("GET", parts.path or "/")
            response = http.client.HTTPResponse(connection.sock)
            response.fp = io.BufferedReader(_Until(connection.sock, timeout_seconds))
            response.begin()
            return _body(response)
        finally:
            connection.close()
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return None


def _body(response: http.client.HTTPResponse) -> Any:
    """Return the JSON of a good answer, or None if it is too long."""
    if response.status != http.client.OK:
        return None
    body = b""
    while read := response.read1(_READ_BYTES):
        body += read
        if len(body) > _BYTES_MAX:
            return None
    return json.loads(body)


class _Until(io.RawIOBase):
    """What a socket brings before its time is over, however slowly each byte comes.

    Raises:
        TimeoutError: By the read that the time ends.
    """

    def __init__(self, source: socket.socket, timeout_seconds: float) -> None:
        super().__init__()
        self._source = source
        self._until_seconds = time.monotonic() + timeout_seconds

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Take what there is, as `io.RawIOBase` says."""
        left_seconds = self._until_seconds - time.monotonic()
        if left_seconds <= 0:
            raise TimeoutError
        self._source.settimeout(left_seconds)
        return self._source.recv_into(buffer)
