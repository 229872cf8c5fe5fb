"""OpenTelemetry: records inside a span carry its `trace_id` and `span_id`: `python tracing.py`."""

import logging

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import logship

logship.install()  # no setting is needed: logship uses opentelemetry.trace if it is imported

log = logging.getLogger("orders")
trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("orders")

with tracer.start_as_current_span("order"):
    log.info("order placed", extra={"order": 4711})
    with tracer.start_as_current_span("payment"):
        log.info("order paid", extra={"order": 4711})
log.info("no span here")
