"""The span that a record was logged in, where the program uses OpenTelemetry.

OpenTelemetry is asked only once the application itself has imported it. The names, and the
hexadecimal text of the ids, are those that its specification gives for logs outside OTLP.
"""

from __future__ import annotations

import sys
from typing import Any

from logship._hooks.interruptions import is_interruption

SPANS_MODULE = "opentelemetry.trace"

_LOOK_INTERVAL_NS = 100_000_000
"""So often `CurrentSpan` looks whether the application has imported OpenTelemetry by now. A look-up
in `sys.modules` for each record would be one more object that all threads share."""

_NEVER_NS = 1 << 200


class CurrentSpan:
    """Adds the ids of the current span to records.

    Attributes:
        looked_ns, due_ns: Times in nanoseconds since 1970. A record that is not between them needs
            a `look`; one is earlier after the clock was set back.
        trace: OpenTelemetry's module, once the application has imported it.
    """

    def __init__(self) -> None:
        self.looked_ns = self.due_ns = 0
        self.trace: Any = None

    def look(self, time_ns: int) -> None:
        """Look at the time of a record whether the application has imported OpenTelemetry."""
        self.trace = sys.modules.get(SPANS_MODULE)
        if self.trace is None:
            self.looked_ns, self.due_ns = time_ns, time_ns + _LOOK_INTERVAL_NS
        else:
            self.looked_ns, self.due_ns = -_NEVER_NS, _NEVER_NS

    def add_to(self, fields: dict[str, Any]) -> None:
        """Add `trace_id` and `span_id` of the current span, unless the application gave them.

        They have 32 and 16 lower-case hexadecimal digits.
        """
        try:
            context = self.trace.get_current_span().get_span_context()
            if context.is_valid:
                fields.setdefault("trace_id", f"{context.trace_id:032x}")
                fields.setdefault("span_id", f"{context.span_id:016x}")
        except Exception as error:
            if is_interruption(error):
                raise
