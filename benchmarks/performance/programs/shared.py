"""What the measured programs share. logship is imported only by those that measure it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logship import BackgroundClient

WARM_UP_RECORDS = 2_000
BLOCK_RECORDS = 200
"""Between two looks at the clock."""
FLUSH_SECONDS_MAX = 120.0


def answer(document: object) -> None:
    """Print what the program has found, as one line of JSON."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def background_client(host: str, port: object, **variables: str) -> BackgroundClient:
    """Return a client that ships to a server, with a buffer of 64 MiB and these settings."""
    import logship  # noqa: PLC0415 - the peers' processes must not pay for it

    environ = {
        "LOGSHIP_ENDPOINTS": f"tcp://{host}:{port}",
        "LOGSHIP_TAG": "benchmark",
        "LOGSHIP_BUFFER_BYTES_MAX": str(64 << 20),
    }
    return logship.BackgroundClient(logship.Settings.from_env(environ | variables))


def wait_until_acked(client: BackgroundClient) -> None:
    """Wait until the server has acknowledged everything."""
    if not client.flush(FLUSH_SECONDS_MAX).all_acked:
        raise SystemExit("the server did not take everything")
