"""Loki, Splunk's HEC, Datadog and OpenSearch, each by its published schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.sidecar.standins.server import Answer, RefusedError, Request, StandIn, in_json, must

API_KEY = "0123456789abcdef0123456789abcdef"
HEC_TOKEN = "b2f1c1a0-7d4e-4a59-9f43-0d6c7f9a1e55"


def json_of(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RefusedError(f"no JSON: {error}") from error


class Loki(StandIn):
    """`POST /loki/api/v1/push`: drops what it has, by labels, time and line, as Loki does."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._known: set[tuple[str, str, str]] = set()

    def take(self, request: Request) -> Answer:
        """Take streams of entries; its file has what `logcli --output=raw` prints."""
        must(request.path == "/loki/api/v1/push", "path")
        must(request.headers["content-type"] == "application/json", "content type")
        for stream in json_of(request.body)["streams"]:
            self._take_stream(stream)
        return Answer(204)

    def _take_stream(self, stream: dict[str, Any]) -> None:
        labels = stream["stream"]
        must(labels and all(isinstance(each, str) for each in labels.values()), "labels")
        must(labels.get("service_name") == "web", "the service's label")
        must(max(map(len, labels.values())) <= 2048, "a label's value is too long")
        for entry in stream["values"]:
            must(len(entry) == 2 and all(isinstance(each, str) for each in entry), "an entry")
            must(entry[0].isdigit() and len(entry[0]) == 19, "a time in nanoseconds")
            key = (json.dumps(labels, sort_keys=True), entry[0], entry[1])
            if key not in self._known:
                self._known.add(key)
                self.store([entry[1]])


class Splunk(StandIn):
    """`POST /services/collector/event`: events one behind another, without commas."""

    throttled = in_json(503, {"text": "Server is busy", "code": 9})

    def take(self, request: Request) -> Answer:
        """Take events; its file has the field `_raw` of each."""
        must(request.path in ("/services/collector", "/services/collector/event"), "path")
        if request.headers.get("authorization") != f"Splunk {HEC_TOKEN}":
            return in_json(403, {"text": "Invalid token", "code": 4})
        events = list(self._events(request.body.decode()))
        must(events, "no data")
        self.store(event["event"] for event in events)
        return in_json(200, {"text": "Success", "code": 0})

    @staticmethod
    def _events(text: str) -> Iterator[dict[str, Any]]:
        decoder, at, end = json.JSONDecoder(), 0, len(text.rstrip())
        while at < end:
            event, at = decoder.raw_decode(text, at)
            at += text.startswith("\n", at)
            must(isinstance(event.get("event"), dict), "the field event")
            must(event.get("source") == "web" and event.get("sourcetype") == "_json", "metadata")
            must(isinstance(event.get("time"), int | float), "time in seconds")
            yield event


class Datadog(StandIn):
    """`POST /api/v2/logs`: an array of logs, at most 5 MB.

    The published bound of 1,000 logs a request is not enforced: Fluent Bit does not keep it.
    """

    def take(self, request: Request) -> Answer:
        """Take logs; its file has each as it came."""
        must(request.path.partition("?")[0] in ("/api/v2/logs", "/v1/input"), request.path)
        if request.headers.get("dd-api-key") != API_KEY:
            return in_json(403, {"errors": [{"title": "Forbidden"}]})
        if len(request.body) > 5_000_000:
            return in_json(413, {"errors": [{"title": "too large"}]})
        logs = json_of(request.body)
        must(isinstance(logs, list) and logs, "an array")
        for log in logs:
            given = (log.get("service"), log.get("ddsource"))
            must(given in [("web", "logship"), ("own", "own")], "attributes")
        self.store(logs)
        return in_json(202, {})


class OpenSearch(StandIn):
    """`POST /_bulk`: actions and documents in turn; an `_id` is stored once."""

    throttled_requests = 1

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._known: set[tuple[str, str]] = set()

    def take(self, request: Request) -> Answer:
        """Take documents; its file has the field `_source` of each."""
        must(request.path.partition("?")[0] == "/_bulk", request.path)
        must(request.headers["content-type"] == "application/x-ndjson", "content type")
        lines = request.body.decode().splitlines()
        must(request.body.endswith(b"\n") and len(lines) % 2 == 0, "lines in pairs")
        items = [
            self._item(json_of(action), json_of(document), request.is_partial and number % 3 == 0)
            for number, (action, document) in enumerate(zip(lines[::2], lines[1::2], strict=True))
        ]
        has_errors = any(item["create"]["status"] >= 400 for item in items)
        return in_json(200, {"took": 1, "errors": has_errors, "items": items})

    def _item(
        self, action: dict[str, Any], document: dict[str, Any], is_rejected: bool
    ) -> dict[str, dict[str, Any]]:
        must(list(action) == ["create"], "create is the action")
        meta = action["create"]
        must(meta.keys() == {"_index", "_id"} and meta["_id"] == document["logship_id"], "metadata")
        must("@timestamp" in document, "a document's time")
        key = (meta["_index"], meta["_id"])
        if is_rejected:
            error = {"type": "rejected_execution_exception", "reason": "the queue is full"}
            return {"create": {**meta, "status": 429, "error": error}}
        if key in self._known:
            error = {"type": "version_conflict_engine_exception", "reason": "it exists"}
            return {"create": {**meta, "status": 409, "error": error}}
        if not isinstance(document.get("amount", 0), int | float):
            error = {"type": "mapper_parsing_exception", "reason": "amount is no number"}
            return {"create": {**meta, "status": 400, "error": error}}
        self._known.add(key)
        self.store([document])
        return {"create": {**meta, "result": "created", "status": 201}}
