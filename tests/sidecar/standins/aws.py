"""CloudWatch Logs, Firehose and S3: moto's server, with faults before it."""

from __future__ import annotations

import json
from pathlib import Path

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import Client

from tests.sidecar.standins.server import Answer, Request, StandIn, in_json

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your rate</Message></Error>"


class Aws(StandIn):
    """One of the three; the credentials that a request is signed for say which."""

    throttled_requests = 1

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._moto = Client(DomainDispatcherApplication(create_backend_app))

    def writes(self, request: Request) -> bool:
        """Tell whether the request brings records."""
        target = request.headers.get("x-amz-target", "")
        is_object = request.method == "PUT" and request.path.startswith("/web/logs/")
        return is_object or target.endswith(("PutLogEvents", "PutRecordBatch"))

    def take(self, request: Request) -> Answer:
        """Pass a request on to moto; of a partial batch only the first half."""
        if request.is_partial and "PutRecordBatch" in request.headers.get("x-amz-target", ""):
            return self._take_half(request)
        return self._pass_on(request, request.body)

    def _take_half(self, request: Request) -> Answer:
        batch = json.loads(request.body)
        taken = batch["Records"][: len(batch["Records"]) // 2]
        failed = len(batch["Records"]) - len(taken)
        if taken:
            self._pass_on(request, json.dumps({**batch, "Records": taken}).encode())
        error = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
        responses = [{"RecordId": "1"}] * len(taken) + [error] * failed
        return in_json(200, {"FailedPutCount": failed, "RequestResponses": responses})

    def _pass_on(self, request: Request, body: bytes) -> Answer:
        headers = {**request.headers, "content-length": str(len(body))}
        answer = self._moto.open(request.path, method=request.method, headers=headers, data=body)
        kept = [each for each in answer.headers.items() if each[0].lower() != "content-length"]
        return Answer(answer.status_code, answer.data, kept)


class CloudWatch(Aws):
    """CloudWatch Logs: 10,000 events a request."""

    throttled = in_json(400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
    fault_requests = 10


class Firehose(CloudWatch):
    """Firehose: 500 records a request."""

    fault_requests = 40


class S3(Aws):
    """S3."""

    throttled = Answer(503, SLOW_DOWN, [("Retry-After", "1")])
