"""Mistakes to seed into a clean deployment, most of them about the application."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.lint.deployments import Deployment

Make = Callable[[Deployment], None]


def _at(deployment: Deployment, path: str) -> Any:
    """Return a part of the deployment, such as `app` or `app.mountPoints.0`."""
    part, *keys = path.split(".")
    found = getattr(deployment, part)
    for key in keys:
        found = found[int(key) if key.isdigit() else key]
    return found


def put(part: str, **values: Any) -> Make:
    """Make a mistake: give keys of a part of the deployment these values."""

    def make(deployment: Deployment) -> None:
        _at(deployment, part).update(deepcopy(values))

    make.__name__ = f"{part}-{'-'.join(values)}"
    return make


def remove(part: str, key: str) -> Make:
    """Make a mistake: remove a key of a part of the deployment."""

    def make(deployment: Deployment) -> None:
        del _at(deployment, part)[key]

    make.__name__ = f"{part}-without-{key}"
    return make


def variable(name: str, value: str) -> Make:
    """Make a mistake in an environment variable of the application."""

    def make(deployment: Deployment) -> None:
        deployment.set_variable(name, value)

    make.__name__ = f"{name}={value}"
    return make


def sidecar_variable(name: str, value: str) -> Make:
    """Make a mistake in an environment variable of the sidecar."""

    def make(deployment: Deployment) -> None:
        deployment.set_sidecar_variable(name, value)

    make.__name__ = f"{name}={value}"
    return make


def both(*makes: Make) -> Make:
    """Make a mistake that consists of several changes."""

    def make(deployment: Deployment) -> None:
        for each in makes:
            each(deployment)

    make.__name__ = "-".join(each.__name__ for each in makes)
    return make


def _own_volumes(**values: Any) -> Make:
    """Make a mistake: give application and recoverer each a volume of its own for the spool."""
    return both(put("app", **values), put("recoverer", **values))


@dataclass(frozen=True)
class Mistake:
    """A mistake.

    Attributes:
        rule: The rule that must find it.
        platform: Where it is made.
        make: Makes it.
        also: Rules that may speak up as well, for the same reason.
        is_spot: Whether the tasks are said to run on Spot.
    """

    rule: str
    platform: str
    make: Make
    also: tuple[str, ...] = ()
    is_spot: bool = False

    @property
    def name(self) -> str:
        """What pytest calls it."""
        return f"{self.platform}-{self.rule}-{self.make.__name__}"


_forget_recoverer = put("app", dependsOn=[{"containerName": "sidecar", "condition": "HEALTHY"}])


_reverse_order = both(
    put("sidecar", dependsOn=[{"containerName": "app", "condition": "START"}]),
    put("app", dependsOn=[]),
)
_kill_workers = put("app", command=["gunicorn", "app:app", "--graceful-timeout=8"])
_wait_for_workers = put("app", command=["/bin/gunicorn", "--graceful-timeout", "300", "app:app"])
_wrap_entry_point = put("app", entryPoint=["/bin/sh", "-c"], command=["migrate && python app.py"])
_default_mode = remove("app.logConfiguration.options", "mode")
_non_blocking = put("recoverer.logConfiguration.options", mode="non-blocking")
_tag_of_another = both(
    put("sidecar", firelensConfiguration={"type": "fluentd"}),
    put("app", logConfiguration={"logDriver": "awsfirelens"}),
    variable("LOGSHIP_TAG", "web-firelens-1"),
)
_aws_image = put("sidecar", image="public.ecr.aws/aws-observability/aws-for-fluent-bit:stable")
_old_fluent_bit = put("sidecar", image="fluent/fluent-bit:4.2.3")
_read_only = put("app.mountPoints.0", readOnly=True)
_recoverer_elsewhere = put("recoverer.mountPoints.0", sourceVolume="sidecar-buffer")


def _network_volume(deployment: Deployment) -> None:
    for volume in deployment.document["volumes"]:
        volume["efsVolumeConfiguration"] = {"fileSystemId": "fs-1"}


def _host_directory(deployment: Deployment) -> None:
    for volume in deployment.document["volumes"]:
        volume["host"] = {"sourcePath": "/var/spool"}


def _many_workers(deployment: Deployment) -> None:
    seconds = deployment.stop_seconds
    words = ["gunicorn", "-w", "40", "--graceful-timeout", seconds, "app:app"]
    deployment.app["command"] = words


_own_memory = _own_volumes(
    mountPoints=[], linuxParameters={"tmpfs": [{"containerPath": "/", "size": 4096}]}
)
_few_files = put("app", ulimits=[{"name": "nofile", "softLimit": 1024, "hardLimit": 4096}])
_misspell = variable("LOGSHIP_ENDPOINT", "tcp://127.0.0.1:24224")
_wrong_value = variable("LOGSHIP_OVERFLOW", "drop")


# -- Kubernetes ------------------------------------------------------------------------------------


def _plain_sidecar(deployment: Deployment) -> None:
    pod = deployment.pod
    pod["initContainers"].remove(deployment.sidecar)
    pod["containers"].append(deployment.sidecar)
    deployment.sidecar.pop("restartPolicy")


def _recoverer_first(deployment: Deployment) -> None:
    deployment.pod["initContainers"].reverse()


_default_grace = both(
    remove("pod", "terminationGracePeriodSeconds"), variable("LOGSHIP_STOP_TIMEOUT_SECONDS", "45")
)


def _nothing_for_sidecar(deployment: Deployment) -> None:
    seconds = int(deployment.stop_seconds) + 8
    deployment.pod["terminationGracePeriodSeconds"] = seconds


_wrap_command = put("app", command=["bash", "-ec", "cd /app; python app.py"])


def _stop_by_another_signal(deployment: Deployment) -> None:
    deployment.app.setdefault("lifecycle", {})["stopSignal"] = "SIGUSR1"


def _spool_on(**kind: Any) -> Make:
    def make(deployment: Deployment) -> None:
        deployment.pod["volumes"][0] = {"name": "spool", **kind}

    make.__name__ = "-".join(kind)
    return make


_claim_without_group = both(
    _spool_on(persistentVolumeClaim={"claimName": "spool"}),
    put("pod", securityContext={"runAsNonRoot": True}),
)


def _config_map(name: str, text: str) -> Make:
    def make(deployment: Deployment) -> None:
        add_configuration(deployment, name, text)

    make.__name__ = name
    return make


def add_configuration(deployment: Deployment, name: str, text: str) -> None:
    """Put a sidecar's configuration into a ConfigMap of the same file."""
    workload = dict(deployment.document)
    configuration = {"apiVersion": "v1", "kind": "ConfigMap", "data": {name: text}}
    deployment.document.clear()
    deployment.document |= {"apiVersion": "v1", "kind": "List", "items": [workload, configuration]}


# -- compose ---------------------------------------------------------------------------------------


_reverse_depends_on = both(put("app", depends_on={}), put("sidecar", depends_on=["application"]))
_ten_seconds = remove("app", "stop_grace_period")


_wrap_entrypoint = put("app", entrypoint="sh -c", command=["python app.py | tee /tmp/log; cleanup"])


_expect_another_signal = both(
    put("app", stop_signal="SIGTERM"), variable("LOGSHIP_STOP_SIGNALS", "QUIT")
)
_mode_non_blocking = put(
    "app", logging={"driver": "json-file", "options": {"mode": "non-blocking"}}
)
_default_driver_non_blocking = put("app", logging={"options": {"mode": "non-blocking"}})


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


_compose_memory_buffer = put("document", configs={"fluent.conf": {"content": MEMORY_BY_DEFAULT}})
_compose_forwards = put("document", configs={"fluent-bit.conf": {"content": FORWARD_OUTPUT}})


def _firelens_output(**options: str) -> Make:
    """Make a mistake: let FireLens make an output that is right but for these options."""
    right = {"Host": "aggregator", "Retry_Limit": "no_limits", "Require_ack_response": "On"}
    right["Retain_metadata_in_forward_mode"] = "Off"
    kind = {} if "@type" in options else {"Name": "forward"}
    options = {name: text for name, text in {**right, **kind, **options}.items() if text}
    return put("app", logConfiguration={"logDriver": "awsfirelens", "options": options})


def _bind_mount(deployment: Deployment) -> None:
    path = deployment.variable("LOGSHIP_SPOOL_DIR")
    for service in (deployment.app, deployment.recoverer):
        service["volumes"] = [f"./spool:{path}"]
        service["user"] = "10001"


_little_memory = put("app", command=["uvicorn", "app:app", "--workers", "64"], mem_limit="256m")


APPLICATION_MISTAKES = (
    Mistake("depends-on", "ecs", put("app", dependsOn=[])),
    Mistake("depends-on", "ecs", _forget_recoverer),
    Mistake("depends-on-reversed", "ecs", _reverse_order, ("depends-on",)),
    Mistake("stop-timeout-limit", "ecs", put("sidecar", stopTimeout=121)),
    Mistake("stop-timeout-setting", "ecs", put("app", stopTimeout=30)),
    Mistake("stop-timeout-setting", "ecs", remove("app", "stopTimeout")),
    Mistake("stop-timeout-setting", "ecs", variable("LOGSHIP_STOP_TIMEOUT_SECONDS", "9")),
    Mistake("stop-timeout-sum", "ecs", put("sidecar", stopTimeout=120), is_spot=True),
    Mistake("graceful-timeout", "ecs", _kill_workers),
    Mistake("graceful-timeout", "ecs", _wait_for_workers),
    Mistake("shell-entrypoint", "ecs", _wrap_entry_point),
    Mistake("stderr-driver", "ecs", put("app", logConfiguration={"logDriver": "awsfirelens"})),
    Mistake("stderr-driver", "ecs", remove("app", "logConfiguration")),
    Mistake("stderr-non-blocking", "ecs", _default_mode),
    Mistake("stderr-non-blocking", "ecs", _non_blocking),
    Mistake("tag-route", "ecs", put("sidecar", firelensConfiguration={"type": "fluentd"})),
    Mistake("tag-route", "ecs", _tag_of_another, ("stderr-driver",)),
    Mistake("blind-ack", "ecs", _aws_image),
    Mistake("blind-ack", "ecs", _old_fluent_bit),
    *(
        Mistake(rule, "ecs", _firelens_output(**options), ("stderr-driver",))
        for rule, options in (
            ("forward-metadata", {"Retain_metadata_in_forward_mode": ""}),
            ("forward-ack", {"Require_ack_response": ""}),
            ("retry-limit", {"Retry_Limit": ""}),
            ("retry-limit", {"Retry_Limit": "5"}),
            ("retry-limit", {"Retry_Limit": "", "retry_limit": "5"}),
            ("retry-limit", {"@type": "s3", "retry_max_times": "5"}),
            ("buffer-limit", {"storage.total_limit_size": "100M"}),
            (
                "buffer-overflow",
                {
                    "@type": "s3",
                    "Retry_Limit": "",
                    "buffer_queue_full_action": "drop_oldest_chunk",
                },
            ),
        )
    ),
    Mistake("spool-volume", "ecs", put("app", mountPoints=[])),
    Mistake("spool-volume", "ecs", _read_only),
    Mistake("spool-volume", "ecs", _network_volume),
    Mistake("spool-volume", "ecs", _recoverer_elsewhere),
    Mistake("spool-volume", "ecs", _own_memory, ("memory-sum",)),
    Mistake("spool-owner", "ecs", _host_directory),
    Mistake("spool-owner", "ecs", put("recoverer", user="10002")),
    Mistake("memory-sum", "ecs", _many_workers),
    Mistake("nofile", "ecs", _few_files),
    Mistake("unknown-setting", "ecs", _misspell),
    Mistake("wrong-setting", "ecs", _wrong_value),
    Mistake("wrong-setting", "ecs", variable("LOGSHIP_ENDPOINTS", "127.0.0.1:24224")),
    Mistake("depends-on", "kubernetes", _plain_sidecar),
    Mistake("depends-on", "kubernetes", _recoverer_first),
    Mistake("stop-timeout-setting", "kubernetes", _default_grace),
    Mistake("stop-timeout-sum", "kubernetes", _nothing_for_sidecar),
    Mistake("graceful-timeout", "kubernetes", _kill_workers),
    Mistake("stop-signal", "kubernetes", _stop_by_another_signal),
    Mistake("shell-entrypoint", "kubernetes", _wrap_command),
    Mistake("blind-ack", "kubernetes", _old_fluent_bit),
    Mistake("memory-buffer", "kubernetes", _config_map("fluent-bit.conf", MEMORY_INPUT)),
    Mistake("memory-buffer", "kubernetes", _config_map("fluent.conf", MEMORY_BUFFER)),
    Mistake("forward-metadata", "kubernetes", _config_map("fluent-bit.conf", FORWARD_OUTPUT)),
    Mistake("spool-volume", "kubernetes", put("app", volumeMounts=[])),
    Mistake("spool-volume", "kubernetes", _spool_on(emptyDir={"sizeLimit": "64Mi"})),
    Mistake("spool-owner", "kubernetes", _spool_on(hostPath={"path": "/var/spool"})),
    Mistake("spool-owner", "kubernetes", _claim_without_group),
    Mistake("memory-sum", "kubernetes", _spool_on(emptyDir={"medium": "Memory"})),
    Mistake("unknown-setting", "kubernetes", _misspell),
    Mistake("wrong-setting", "kubernetes", _wrong_value),
    Mistake("depends-on", "compose", put("app", depends_on=[])),
    Mistake("depends-on-reversed", "compose", _reverse_depends_on, ("depends-on",)),
    Mistake("stop-timeout-setting", "compose", _ten_seconds, ("graceful-timeout",)),
    Mistake("graceful-timeout", "compose", _kill_workers),
    Mistake("stop-signal", "compose", put("app", stop_signal="SIGWINCH")),
    Mistake("stop-signal", "compose", put("app", stop_signal=9)),
    Mistake("stop-signal", "compose", put("app", stop_signal="${STOP:-SIGRTMIN+3}")),
    Mistake("stop-signal", "compose", _expect_another_signal),
    Mistake("shell-entrypoint", "compose", _wrap_entrypoint),
    Mistake("stderr-driver", "compose", put("app", logging={"driver": "fluentd"})),
    Mistake("stderr-non-blocking", "compose", _mode_non_blocking),
    Mistake("stderr-non-blocking", "compose", _default_driver_non_blocking),
    Mistake("blind-ack", "compose", _aws_image),
    Mistake("memory-buffer", "compose", _compose_memory_buffer),
    Mistake("forward-metadata", "compose", _compose_forwards),
    Mistake("spool-volume", "compose", put("app", volumes=[])),
    Mistake("spool-volume", "compose", put("recoverer", volumes=["/var/spool/logship", "/spool"])),
    Mistake("spool-volume", "compose", _own_volumes(volumes=["/spool", "/var/spool/logship"])),
    Mistake("spool-volume", "compose", _own_volumes(volumes=[{"type": "tmpfs", "target": "/"}])),
    Mistake("spool-volume", "compose", _own_volumes(volumes=[], tmpfs="/")),
    Mistake("spool-owner", "compose", _bind_mount),
    Mistake("memory-sum", "compose", _little_memory),
    Mistake("nofile", "compose", put("app", ulimits={"nofile": {"soft": 1024, "hard": 2048}})),
    Mistake("unknown-setting", "compose", _misspell),
    Mistake("wrong-setting", "compose", _wrong_value),
)
