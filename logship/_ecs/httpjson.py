"""Small JSON documents from plain HTTP servers nearby: task metadata, a sidecar's monitor.

The callers do not depend on the answer, so any failure gives None.
"""

from __future__ import annotations

import codecs
import http.client
import json
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
        timeout_seconds: For each step, and for the whole of the body.
    """
    until = time.monotonic() + timeout_seconds
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            return None
        connection = http.client.HTTPConnection(
            parts.hostname, parts.port or 80, timeout=timeout_seconds
        )
        try:
            connection.request("GET", parts.path or "/")
            return _body(connection.getresponse(), until)
        finally:
            connection.close()
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return None


def _body(response: http.client.HTTPResponse, until_seconds: float) -> Any:
    """Return the JSON of a good answer, or None if it is too long or too slow."""
    if response.status != http.client.OK:
        return None
    body = b""
    while read := response.read1(_READ_BYTES):
        body += read
        if len(body) > _BYTES_MAX or time.monotonic() > until_seconds:
            return None
    return json.loads(body)
