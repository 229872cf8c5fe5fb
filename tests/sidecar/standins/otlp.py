"""An OpenTelemetry collector: OTLP logs over HTTP, in protobuf or JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from tests.sidecar.standins.server import Answer, RefusedError, Request, StandIn, in_json, must

PROTOBUF = "application/x-protobuf"
JSON = "application/json"


class Otlp(StandIn):
    """`POST /v1/logs`."""

    def take(self, request: Request) -> Answer:
        """Take log records; its file has their attributes and the message."""
        must(request.path == "/v1/logs", request.path)
        kind = request.headers["content-type"]
        must(kind in (PROTOBUF, JSON), "content type")
        sent = from_protobuf(request.body) if kind == PROTOBUF else from_json(request.body)
        must(sent.resource_logs, "resources")
        for resource_logs in sent.resource_logs:
            service = fields_of(resource_logs.resource.attributes).get("service.name")
            must(service == "web", f"the resource's service.name is {service}")
            for scope_logs in resource_logs.scope_logs:
                self.store(record_of(each) for each in scope_logs.log_records)
        if kind == JSON:
            return in_json(200, {"partialSuccess": {}})
        return Answer(200, ExportLogsServiceResponse().SerializeToString(), _TYPE)


_TYPE = [("Content-Type", PROTOBUF)]


def from_protobuf(body: bytes) -> ExportLogsServiceRequest:
    """Return the request that a body is."""
    sent = ExportLogsServiceRequest()
    try:
        sent.ParseFromString(body)
    except DecodeError as error:
        raise RefusedError("no protobuf of OTLP") from error
    return sent


def from_json(body: bytes) -> ExportLogsServiceRequest:
    """Return the request that a body is. OTLP writes ids in hex, unlike other JSON of protobuf."""
    sent = ExportLogsServiceRequest()
    try:
        Parse(json.dumps(json.loads(body, object_hook=_with_ids_in_base64)), sent)
    except (ValueError, ParseError) as error:
        raise RefusedError(f"no JSON of OTLP: {error}") from error
    return sent


def _with_ids_in_base64(found: dict[str, Any]) -> dict[str, Any]:
    ids = found.keys() & {"traceId", "spanId"}
    return found | {name: base64.b64encode(bytes.fromhex(found[name])).decode() for name in ids}


def record_of(record: LogRecord) -> dict[str, Any]:
    """Return a record's fields; level, trace and span must also be where OTLP has them."""
    must(record.time_unix_nano, "a record's time")
    must(len(record.trace_id) in (0, 16) and len(record.span_id) in (0, 8), "ids")
    body = value_of(record.body)
    fields = body if isinstance(body, dict) else {"message": body}
    fields |= fields_of(record.attributes)
    must(record.severity_text == fields.get("level", ""), "severity")
    must(record.severity_number == fields.get("severity_number", 0), "severity's number")
    must(record.trace_id.hex() == fields.get("trace_id", ""), "trace")
    must(record.span_id.hex() == fields.get("span_id", ""), "span")
    return fields


def fields_of(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {each.key: value_of(each.value) for each in attributes}


def value_of(value: AnyValue) -> Any:
    """Return the value of one of OTLP's seven kinds."""
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return fields_of(value.kvlist_value.values)
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
