"""The span that a record was logged in, where the program uses OpenTelemetry.

OpenTelemetry is asked only once the application itself has imported it. The names, and the
hexadecimal text of the ids, are those that its specification gives for logs outside OTLP.
"""

from __future__ import annotations

import sys
from typing import Any

from logship._hooks.interruptions import is_interruption

SPANS_MODULE = "opentelemetry.trace"


def add_span(fields: dict[str, Any]) -> None:
    """Add `trace_id` and `span_id` of the current span, unless the application gave them.

    Args:
        fields: A record's; 32 and 16 lower-case hexadecimal digits are added, or nothing where
            there is no span.
    """
    try:
        context = sys.modules[SPANS_MODULE].get_current_span().get_span_context()
        if context.is_valid:
            fields.setdefault("trace_id", f"{context.trace_id:032x}")
            fields.setdefault("span_id", f"{context.span_id:016x}")
    except Exception as error:
        if is_interruption(error):
            raise
