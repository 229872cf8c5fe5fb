"""The templates of `sidecar/` and small deployments of our own, as documents that tests break."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from logship._deployment.linting.marks import parse_yaml
from logship._deployment.linting.report import judge

ROOT = Path(__file__).parents[2]
HAS_YAML = importlib.util.find_spec("yaml") is not None

CONFIGURATIONS = ("sidecar/fluentd/fluent.conf",)

Document = dict[str, Any]


@dataclass
class Deployment:
    """A deployment that a test may break.

    Attributes:
        platform: `ecs`, `kubernetes` or `compose`.
        document: All of it.
        app: The application's definition, a part of `document`, as the next two are.
        recoverer: The recoverer's.
        sidecar: The sidecar's.
    """

    platform: str
    document: Document
    app: Document
    recoverer: Document
    sidecar: Document

    @property
    def text(self) -> str:
        """The deployment as JSON, which every platform takes."""
        return json.dumps(self.document)

    @property
    def pod(self) -> Document:
        """The pod of a Kubernetes deployment."""
        return pod_of(self.document)

    def variable(self, name: str) -> str:
        """Return an environment variable of the application."""
        if self.platform == "compose":
            return str(self.app["environment"][name])
        (value,) = [each["value"] for each in self.app[self._key] if each["name"] == name]
        return str(value)

    def set_variable(self, name: str, value: Any, part: str = "app") -> None:
        """Set an environment variable of a part, or remove it."""
        container = getattr(self, part)
        if self.platform == "compose":
            _put(container, ["environment", name], value)
            return
        others = [each for each in container.get(self._key, ()) if each["name"] != name]
        added = [] if value is GONE else [{"name": name, "value": value}]
        container[self._key] = [*others, *added]

    @property
    def stop_seconds(self) -> str:
        """What the application's logship believes to have."""
        return self.variable("LOGSHIP_STOP_TIMEOUT_SECONDS")

    @property
    def _key(self) -> str:
        return "environment" if self.platform == "ecs" else "env"


GONE: Any = object()
"""A value that removes a key."""


def change(deployment: Deployment, changes: Mapping[str, Any]) -> Deployment:
    """Give places of a deployment other values.

    A place is a part, or several with commas, and keys behind it: `app.mountPoints.0.readOnly`. A
    key that is missing is made, `*` stands for each item of a list, `+` for a new one, and `$NAME`
    for an environment variable.
    """
    for place, value in changes.items():
        parts, *keys = place.split(".")
        for part in parts.split(","):
            if keys[0].startswith("$"):
                deployment.set_variable(keys[0][1:], value, part)
            else:
                _put(getattr(deployment, part), keys, value)
    return deployment


def _put(target: Any, keys: list[str], value: Any) -> None:
    key, *rest = keys
    if key == "*":
        for each in target:
            _put(each, rest, value)
    elif key == "+":
        target.append(deepcopy(value))
    elif isinstance(target, list):
        _put_at(target, int(key), rest, value)
    else:
        if rest and not isinstance(target.get(key), dict | list):
            target[key] = [] if rest == ["+"] else {}
        _put_at(target, key, rest, value)


def _put_at(target: Any, key: Any, rest: list[str], value: Any) -> None:
    if rest:
        _put(target[key], rest, value)
    elif value is not GONE:
        target[key] = deepcopy(value)
    elif key in target:
        del target[key]


def pod_of(document: Document) -> Document:
    """Return the pod spec of a workload, also in a list."""
    if document["kind"] == "List":
        document = next(each for each in document["items"] if "spec" in each)
    return document["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def ecs(document: Document) -> Deployment:
    """Return a task definition as a deployment."""
    containers = {each["name"]: each for each in document["containerDefinitions"]}
    names = ("app", "recoverer", "sidecar")
    return Deployment("ecs", document, *(containers[name] for name in names))


def kubernetes(document: Document) -> Deployment:
    """Return a workload as a deployment."""
    pod = pod_of(document)
    containers = {each["name"]: each for each in [*pod["initContainers"], *pod["containers"]]}
    names = ("app", "recoverer", "sidecar")
    return Deployment("kubernetes", document, *(containers[name] for name in names))


def compose(document: Document) -> Deployment:
    """Return a compose file as a deployment."""
    services = document["services"]
    names = ("application", "recoverer", "sidecar")
    return Deployment("compose", document, *(services[name] for name in names))


KUBERNETES: Document = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "own"},
    "spec": {
        "template": {
            "spec": {
                "terminationGracePeriodSeconds": 60,
                "securityContext": {"runAsNonRoot": True},
                "initContainers": [
                    {
                        "name": "sidecar",
                        "image": "fluent/fluent-bit:5.1.1",
                        "restartPolicy": "Always",
                        "volumeMounts": [{"name": "buffer", "mountPath": "/fluent-bit/buffer"}],
                    },
                    {
                        "name": "recoverer",
                        "image": "app",
                        "restartPolicy": "Always",
                        "command": ["logship", "recover", "--spool", "/spool", "--watch"],
                        "securityContext": {"runAsUser": 10001},
                        "env": [{"name": "LOGSHIP_STOP_TIMEOUT_SECONDS", "value": "10"}],
                        "volumeMounts": [{"name": "spool", "mountPath": "/spool"}],
                    },
                ],
                "containers": [
                    {
                        "name": "app",
                        "image": "app",
                        "securityContext": {"runAsUser": 10001},
                        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
                        "env": [
                            {"name": "LOGSHIP_SPOOL_DIR", "value": "/spool/"},
                            {"name": "LOGSHIP_STOP_TIMEOUT_SECONDS", "value": "30"},
                        ],
                        "resources": {"limits": {"memory": "512Mi"}},
                        "volumeMounts": [{"name": "spool", "mountPath": "/spool"}],
                    }
                ],
                "volumes": [{"name": "spool", "emptyDir": {}}, {"name": "buffer", "emptyDir": {}}],
            }
        }
    },
}

COMPOSE: Document = {
    "services": {
        "sidecar": {
            "image": "fluent/fluentd:v1.19-debian-1",
            "network_mode": "service:database",
            "stop_grace_period": "1m",
            "volumes": ["buffer:/fluentd/buffer"],
        },
        "recoverer": {
            "image": "app",
            "command": "logship recover --spool /spool --watch",
            "network_mode": "service:database",
            "environment": ["LOGSHIP_STOP_TIMEOUT_SECONDS=10"],
            "volumes": ["spool:/spool"],
            "depends_on": {"sidecar": {"condition": "service_healthy"}},
        },
        "application": {
            "image": "app",
            "command": ["gunicorn", "app:app"],
            "network_mode": "service:database",
            "stop_grace_period": "30s",
            "environment": {"LOGSHIP_STOP_TIMEOUT_SECONDS": 30, "LOGSHIP_SPOOL_DIR": "/spool"},
            "volumes": [{"type": "volume", "source": "spool", "target": "/spool"}],
            "depends_on": {
                "sidecar": {"condition": "service_healthy"},
                "recoverer": {"condition": "service_started"},
            },
        },
        "database": {"image": "postgres:17"},
    },
    "volumes": {"spool": None, "buffer": None},
}


@dataclass(frozen=True)
class Base:
    """Where a test's deployment comes from.

    Attributes:
        name: What pytest calls it.
        platform: Of the deployment.
        make: Returns a fresh one.
    """

    name: str
    platform: str
    make: Callable[[], Deployment]


def template_text(path: str) -> str:
    """Return a template of the repository, or skip the test that wants it."""
    file = ROOT / path
    if not file.exists():
        pytest.skip(f"there is no {path}")
    if file.suffix in (".yaml", ".yml") and not HAS_YAML:
        pytest.skip("PyYAML is not installed: pip install PyYAML")
    return filled(file.read_text())


def filled(text: str) -> str:
    """Return a template of `sidecar/ecs` as envsubst does, with each variable's name as its value.

    Configurations of Fluent Bit, and compose files, expand their variables by themselves.
    """
    is_task = '"containerDefinitions"' in text
    return re.sub(r"\$\{([A-Z_]+)\}", r"\1", text) if is_task else text


def _of_template(path: str, wrap: Callable[[Document], Deployment]) -> Callable[[], Deployment]:
    def make() -> Deployment:
        text = template_text(path)
        documents = [json.loads(text)] if path.endswith(".json") else parse_yaml(text)
        return wrap(documents[0])

    return make


BASES = (
    Base("web.json", "ecs", _of_template("sidecar/ecs/web.json", ecs)),
    Base("batch.json", "ecs", _of_template("sidecar/ecs/batch.json", ecs)),
    Base("own", "kubernetes", lambda: kubernetes(deepcopy(KUBERNETES))),
    Base("web.yaml", "kubernetes", _of_template("sidecar/kubernetes/base/web.yaml", kubernetes)),
    Base(
        "batch.yaml", "kubernetes", _of_template("sidecar/kubernetes/base/batch.yaml", kubernetes)
    ),
    Base("own", "compose", lambda: compose(deepcopy(COMPOSE))),
    Base("docker-compose.yml", "compose", _of_template("docker-compose.yml", compose)),
)


def base(platform: str, name: str | None = None) -> Deployment:
    """Return a fresh deployment that has no mistake: the platform's first, unless one is named."""
    made = (each for each in BASES if each.platform == platform and name in (None, each.name))
    return next(made).make()


def rules_of(deployment: Deployment) -> set[str]:
    """Return the rules that find something in a deployment."""
    return {each.rule for each in judge("a.json", deployment.text).findings}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a document."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, each in items:
        yield (*path, key)
        yield from places(each, (*path, key))
