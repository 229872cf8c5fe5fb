"""Python's own standard streams, which have buffers."""

from __future__ import annotations

import contextlib
import sys


def flush_standard_streams() -> None:
    """Flush Python's own buffers of stdout and stderr, as far as they can be flushed."""
    for stream in (sys.stdout, sys.stderr):
        # A stream may be None, closed or broken.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
