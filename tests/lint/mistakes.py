"""Mistakes that the table `mistakes.txt` cannot make: they move containers, or add whole texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.lint.deployments import Deployment, Document, change
from tests.lint.tables import Case, cases_of


def plain_sidecar(deployment: Deployment) -> None:
    """Make the native sidecar a main container."""
    pod = deployment.pod
    pod["initContainers"].remove(deployment.sidecar)
    pod["containers"].append(deployment.sidecar)
    deployment.sidecar.pop("restartPolicy")


def recoverer_first(deployment: Deployment) -> None:
    """Start the recoverer before the sidecar."""
    deployment.pod["initContainers"].reverse()


def nothing_for_sidecar(deployment: Deployment) -> None:
    """Leave the sidecar no time at the end."""
    seconds = int(deployment.stop_seconds) + 8
    deployment.pod["terminationGracePeriodSeconds"] = seconds


def add_object(deployment: Deployment, document: Document) -> None:
    """Put another object into the file of a workload."""
    items = [dict(deployment.document), {"apiVersion": "v1", **document}]
    deployment.document.clear()
    deployment.document |= {"apiVersion": "v1", "kind": "List", "items": items}


def config_map(name: str, text: str) -> Callable[[Deployment], None]:
    """Return a function that puts a sidecar's configuration into a ConfigMap of the same file."""
    return lambda deployment: add_object(deployment, {"kind": "ConfigMap", "data": {name: text}})


def name_a_service_logship(deployment: Deployment) -> None:
    """Add a Service whose variables have names of the sidecar, to a pod that gets them."""
    deployment.pod.pop("enableServiceLinks", None)
    deployment.set_variable("LOGSHIP_OUTPUT", "file", "sidecar")
    add_object(deployment, {"kind": "Service", "metadata": {"name": "logship"}})


ROUTED = "[INPUT]\n  Name forward\n  storage.type filesystem\n"
ROUTED += "[OUTPUT]\n  Name http\n  Match {}\n  Retry_Limit no_limits\n"


def route_another_tag(deployment: Deployment) -> None:
    """Give the sidecar of a pod a configuration in sight that routes another tag."""
    deployment.set_variable("LOGSHIP_TAG", "web")
    deployment.sidecar["volumeMounts"].append({"name": "conf", "mountPath": "/fluent-bit/etc"})
    deployment.pod["volumes"].append({"name": "conf", "configMap": {"name": "conf"}})
    data = {"fluent-bit.conf": ROUTED.format("api.*")}
    add_object(deployment, {"kind": "ConfigMap", "metadata": {"name": "conf"}, "data": data})


def route_nowhere(deployment: Deployment) -> None:
    """Give the sidecar of a project a configuration in sight that routes another tag."""
    deployment.set_variable("LOGSHIP_TAG", "web")
    deployment.sidecar.pop("build", None)
    deployment.sidecar["configs"] = [
        {"source": "fluent.conf", "target": "/fluentd/etc/fluent.conf"}
    ]
    text = "<source>\n  @type forward\n</source>\n<match api.**>\n  @type stdout\n</match>\n"
    deployment.document["configs"] = {"fluent.conf": {"content": text}}


def config(name: str, text: str) -> Callable[[Deployment], None]:
    """Return a function that gives a project a configuration."""
    return lambda deployment: deployment.document.update(configs={name: {"content": text}})


def long_stop(deployment: Deployment) -> None:
    """Give the sidecar of a task that is said to run on Spot more time than is left for it."""
    deployment.sidecar["stopTimeout"] = 120


MEMORY_INPUT = "[INPUT]\n    Name forward\n    # storage.type filesystem\n"
MEMORY_BUFFER = "<match **>\n  @type s3\n  <buffer>\n    @type memory\n  </buffer>\n</match>\n"
MEMORY_BY_DEFAULT = "<label @OUTPUT>\n<match **>\n  @type s3\n</match>\n</label>\n"
FORWARD_OUTPUT = """\
[OUTPUT]
    Name         forward
    Match        *
    Host         ${AGGREGATOR}
    Retry_Limit  no_limits
    Require_Ack_Response  on
"""


@dataclass(frozen=True)
class Mistake:
    """A mistake, and the first of its rules must find it; the others may speak up as well."""

    name: str
    platform: str
    rules: tuple[str, ...]
    make: Callable[[Deployment], object]


def _of_table(case: Case) -> list[Mistake]:
    platforms = dict.fromkeys(each.platform for each in case.bases)
    return [
        Mistake(case.name, each, case.rules, lambda deployment: change(deployment, case.changes))
        for each in platforms
    ]


MISTAKES = (
    *(each for case in cases_of("mistakes.txt") for each in _of_table(case)),
    *(
        Mistake(f"{rule}-{number}", platform, (rule,), make)
        for number, (platform, rule, make) in enumerate(
            (
                ("ecs", "stop-timeout-sum", long_stop),
                ("kubernetes", "depends-on", plain_sidecar),
                ("kubernetes", "depends-on", recoverer_first),
                ("kubernetes", "stop-timeout-sum", nothing_for_sidecar),
                ("kubernetes", "memory-buffer", config_map("fluent-bit.conf", MEMORY_INPUT)),
                ("kubernetes", "memory-buffer", config_map("fluent.conf", MEMORY_BUFFER)),
                ("kubernetes", "forward-metadata", config_map("fluent-bit.conf", FORWARD_OUTPUT)),
                ("kubernetes", "service-links", name_a_service_logship),
                ("kubernetes", "tag-route", route_another_tag),
                ("compose", "memory-buffer", config("fluent.conf", MEMORY_BY_DEFAULT)),
                ("compose", "forward-metadata", config("fluent-bit.conf", FORWARD_OUTPUT)),
                ("compose", "tag-route", route_nowhere),
            )
        )
    ),
)
"""All of them: those of `mistakes.txt` are for each deployment of their platform."""
