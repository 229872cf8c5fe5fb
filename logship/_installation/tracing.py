"""The span that a record was logged in, where the program uses OpenTelemetry.

OpenTelemetry is asked only once the application itself has imported it. The names, and the
hexadecimal text of the ids, are those that its specification gives for logs outside OTLP.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from logship._hooks.interruptions import is_interruption

SPANS_MODULE = "opentelemetry.trace"

LOOK_INTERVAL_NS = 100_000_000
"""So often `CurrentSpan` looks whether the application has imported OpenTelemetry by now."""

_NEVER_NS = 1 << 200


class CurrentSpan:
    """Adds the ids of the current span to records.

    Attributes:
        due_ns: At a record of this time or later, nanoseconds since 1970, `look` must be called.
        trace: OpenTelemetry's module, once the application has imported it.
    """

    def __init__(self) -> None:
        self.due_ns = 0
        self.trace: Any = None

    def look(self) -> None:
        """Look whether the application has imported OpenTelemetry by now."""
        self.trace = sys.modules.get(SPANS_MODULE)
        self.due_ns = time.time_ns() + LOOK_INTERVAL_NS if self.trace is None else _NEVER_NS

    def add_to(self, fields: dict[str, Any]) -> None:
        """Add `trace_id` and `span_id` of the current span, unless the application gave them.

        Args:
            fields: A record's; 32 and 16 lower-case hexadecimal digits are added, or nothing where
                there is no span.
        """
        try:
            context = self.trace.get_current_span().get_span_context()
            if context.is_valid:
                fields.setdefault("trace_id", f"{context.trace_id:032x}")
                fields.setdefault("span_id", f"{context.span_id:016x}")
        except Exception as error:
            if is_interruption(error):
                raise
