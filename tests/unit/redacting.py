"""What the tests of redaction share: a secret, and the default rules for it."""

from __future__ import annotations

from typing import Any

from logship._protocol.readable import plain_value
from logship._redaction import redactor

SECRET = "hunter2"


def default(record: Any) -> Any:
    """Return a record as the default rules leave it."""
    return redactor("default", plain_value)(record)
