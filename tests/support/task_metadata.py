"""A stand-in for the ECS task metadata endpoint, version 4, with answers in the real shape."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from logship._settings import TASK_METADATA_VARIABLE

TASK_ID = "5f0c2d9be1a84c27a6e3b0d4917f8c52"
TASK_ARN = f"arn:aws:ecs:eu-central-1:123456789012:task/shop/{TASK_ID}"
_LAUNCHED = "2026-11-20T08:15:02.117301992Z"


def container(name: str, driver: str | None = "awslogs", **options: str) -> dict[str, Any]:
    """Return what the endpoint says of one container.

    Args:
        name: As in the task definition.
        driver: Its log driver; None where it has none.
        options: Of the log driver; `mode` says whether stderr is safe.
    """
    found: dict[str, Any] = {
        "DockerId": f"{TASK_ID}-{sum(name.encode()):010}",
        "Name": name,
        "DockerName": name,
        "Image": f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/{name}:7",
        "ImageID": "sha256:" + "0" * 64,
        "Labels": {
            "com.amazonaws.ecs.cluster": "shop",
            "com.amazonaws.ecs.container-name": name,
            "com.amazonaws.ecs.task-arn": TASK_ARN,
            "com.amazonaws.ecs.task-definition-family": "web",
            "com.amazonaws.ecs.task-definition-version": "7",
        },
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Limits": {"CPU": 256},
        "CreatedAt": _LAUNCHED,
        "StartedAt": _LAUNCHED,
        "Type": "NORMAL",
        "ContainerARN": TASK_ARN.replace(":task/", ":container/") + f"/{name}",
        "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.1.17"]}],
        "Snapshotter": "overlayfs",
    }
    if driver is not None:
        found |= {"LogDriver": driver, "LogOptions": options}
    return found


def task(*containers: dict[str, Any]) -> dict[str, Any]:
    return {
        "Cluster": "arn:aws:ecs:eu-central-1:123456789012:cluster/shop",
        "TaskARN": TASK_ARN,
        "Family": "web",
        "Revision": "7",
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Limits": {"CPU": 0.25, "Memory": 512},
        "PullStartedAt": _LAUNCHED,
        "PullStoppedAt": _LAUNCHED,
        "AvailabilityZone": "eu-central-1b",
        "LaunchType": "FARGATE",
        "Containers": list(containers),
        "ClockDrift": {"ClockErrorBound": 0.5, "ClockSynchronizationStatus": "SYNCHRONIZED"},
    }


class TaskMetadata:
    """The endpoint on loopback.

    Args:
        own: What it says of the container that asks.
        whole: What it says of the task; of one with this container alone where not given.

    Attributes:
        answers: By path: the bodies, or what they hold as JSON.
        port: Where it listens.
        status: Of every answer.
        is_silent: Whether it accepts and then says nothing until it is closed.
        is_trickling: Whether it says a header until then that has no end.
        may_answer: While it is not set, every answer waits for it.
        was_asked: Set after the first request.
    """

    def __init__(self, own: dict[str, Any], whole: dict[str, Any] | None = None) -> None:
        self.answers: dict[str, Any] = {}
        self.answer(own, task(own) if whole is None else whole)
        self.status = 200
        self.is_silent = False
        self.is_trickling = False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.was_asked = threading.Event()
        self._closed = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.was_asked.set()
                if endpoint.is_silent:
                    endpoint._closed.wait()
                    return
                if endpoint.is_trickling:
                    self._trickle()
                    return
                endpoint.may_answer.wait()
                with contextlib.suppress(OSError):  # the client has stopped waiting
                    self._answer()

            def _trickle(self) -> None:
                with contextlib.suppress(OSError):  # the client has stopped waiting
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                    while not endpoint._closed.wait(0.02):
                        self.wfile.write(b"x")

            def _answer(self) -> None:
                answer = endpoint.answers.get(self.path)
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(endpoint.status if self.path in endpoint.answers else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, own: object, whole: object) -> None:
        """Say from now on these things of container and task."""
        self.answers = {"/v4/id": own, "/v4/id/task": whole}

    @property
    def firelens_environ(self) -> dict[str, str]:
        """What ECS sets in a container with the log driver awsfirelens, but for the port."""
        return {**self.environ, "FLUENT_HOST": "127.0.0.1"}

    @property
    def environ(self) -> dict[str, str]:
        """What ECS sets in the container."""
        return {TASK_METADATA_VARIABLE: f"http://127.0.0.1:{self.port}/v4/id"}

    def __enter__(self) -> TaskMetadata:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
