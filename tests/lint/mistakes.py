"""Mistakes to seed into a clean deployment, most of them about the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.lint.deployments import Deployment


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
    make: Callable[[Deployment], None]
    also: tuple[str, ...] = ()
    is_spot: bool = False

    @property
    def name(self) -> str:
        """What pytest calls it."""
        return f"{self.platform}-{self.rule}-{self.make.__name__}"


def _forget_order(deployment: Deployment) -> None:
    deployment.app["dependsOn"] = []


def _forget_recoverer(deployment: Deployment) -> None:
    deployment.app["dependsOn"] = [{"containerName": "sidecar", "condition": "HEALTHY"}]


def _reverse_order(deployment: Deployment) -> None:
    deployment.sidecar["dependsOn"] = [{"containerName": "app", "condition": "START"}]
    deployment.app["dependsOn"] = []


def _ask_too_much(deployment: Deployment) -> None:
    deployment.sidecar["stopTimeout"] = 121


def _stop_sooner(deployment: Deployment) -> None:
    deployment.app["stopTimeout"] = 30


def _stop_by_default(deployment: Deployment) -> None:
    del deployment.app["stopTimeout"]


def _believe_less(deployment: Deployment) -> None:
    deployment.set_variable("LOGSHIP_STOP_TIMEOUT_SECONDS", "9")


def _stop_long_on_spot(deployment: Deployment) -> None:
    deployment.sidecar["stopTimeout"] = 120


def _kill_workers(deployment: Deployment) -> None:
    deployment.app["command"] = ["gunicorn", "app:app", "--graceful-timeout=8"]


def _wait_for_workers(deployment: Deployment) -> None:
    deployment.app["command"] = ["/bin/gunicorn", "--graceful-timeout", "300", "app:app"]


def _wrap_entry_point(deployment: Deployment) -> None:
    deployment.app["entryPoint"] = ["/bin/sh", "-c"]
    deployment.app["command"] = ["migrate && python app.py"]


def _send_stderr_back(deployment: Deployment) -> None:
    deployment.app["logConfiguration"] = {"logDriver": "awsfirelens"}


def _no_log_driver(deployment: Deployment) -> None:
    deployment.app.pop("logConfiguration")


def _default_mode(deployment: Deployment) -> None:
    del deployment.app["logConfiguration"]["options"]["mode"]


def _non_blocking(deployment: Deployment) -> None:
    deployment.recoverer["logConfiguration"]["options"]["mode"] = "non-blocking"


def _use_firelens(deployment: Deployment) -> None:
    deployment.sidecar["firelensConfiguration"] = {"type": "fluentd"}


def _tag_of_another(deployment: Deployment) -> None:
    deployment.sidecar["firelensConfiguration"] = {"type": "fluentd"}
    deployment.app["logConfiguration"] = {"logDriver": "awsfirelens"}
    deployment.set_variable("LOGSHIP_TAG", "web-firelens-1")


def _aws_image(deployment: Deployment) -> None:
    image = "public.ecr.aws/aws-observability/aws-for-fluent-bit:stable"
    deployment.sidecar["image"] = image


def _old_fluent_bit(deployment: Deployment) -> None:
    deployment.sidecar["image"] = "fluent/fluent-bit:4.2.3"


def _no_mount(deployment: Deployment) -> None:
    deployment.app["mountPoints"] = []


def _read_only(deployment: Deployment) -> None:
    deployment.app["mountPoints"][0]["readOnly"] = True


def _network_volume(deployment: Deployment) -> None:
    for volume in deployment.document["volumes"]:
        volume["efsVolumeConfiguration"] = {"fileSystemId": "fs-1"}


def _recoverer_elsewhere(deployment: Deployment) -> None:
    deployment.recoverer["mountPoints"][0]["sourceVolume"] = "sidecar-buffer"


def _host_directory(deployment: Deployment) -> None:
    for volume in deployment.document["volumes"]:
        volume["host"] = {"sourcePath": "/var/spool"}


def _other_user(deployment: Deployment) -> None:
    deployment.recoverer["user"] = "10002"


def _many_workers(deployment: Deployment) -> None:
    seconds = deployment.stop_seconds
    words = ["gunicorn", "-w", "40", "--graceful-timeout", seconds, "app:app"]
    deployment.app["command"] = words


def _few_files(deployment: Deployment) -> None:
    deployment.app["ulimits"] = [{"name": "nofile", "softLimit": 1024, "hardLimit": 4096}]


def _misspell(deployment: Deployment) -> None:
    deployment.set_variable("LOGSHIP_ENDPOINT", "tcp://127.0.0.1:24224")


def _wrong_value(deployment: Deployment) -> None:
    deployment.set_variable("LOGSHIP_OVERFLOW", "drop")


def _wrong_endpoint(deployment: Deployment) -> None:
    deployment.set_variable("LOGSHIP_ENDPOINTS", "127.0.0.1:24224")


# -- Kubernetes ------------------------------------------------------------------------------------


def _plain_sidecar(deployment: Deployment) -> None:
    pod = deployment.pod
    pod["initContainers"].remove(deployment.sidecar)
    pod["containers"].append(deployment.sidecar)
    deployment.sidecar.pop("restartPolicy")


def _recoverer_first(deployment: Deployment) -> None:
    deployment.pod["initContainers"].reverse()


def _default_grace(deployment: Deployment) -> None:
    deployment.pod.pop("terminationGracePeriodSeconds")
    deployment.set_variable("LOGSHIP_STOP_TIMEOUT_SECONDS", "45")


def _nothing_for_sidecar(deployment: Deployment) -> None:
    seconds = int(deployment.stop_seconds) + 8
    deployment.pod["terminationGracePeriodSeconds"] = seconds


def _wrap_command(deployment: Deployment) -> None:
    deployment.app["command"] = ["bash", "-ec", "cd /app; python app.py"]


def _no_volume_mount(deployment: Deployment) -> None:
    deployment.app["volumeMounts"] = []


def _stop_by_another_signal(deployment: Deployment) -> None:
    deployment.app.setdefault("lifecycle", {})["stopSignal"] = "SIGUSR1"


def _small_volume(deployment: Deployment) -> None:
    deployment.pod["volumes"][0]["emptyDir"] = {"sizeLimit": "64Mi"}


def _host_path(deployment: Deployment) -> None:
    deployment.pod["volumes"][0] = {"name": "spool", "hostPath": {"path": "/var/spool"}}


def _claim_without_group(deployment: Deployment) -> None:
    claim = {"claimName": "spool"}
    deployment.pod["volumes"][0] = {"name": "spool", "persistentVolumeClaim": claim}
    deployment.pod["securityContext"] = {"runAsNonRoot": True}


def _spool_in_memory(deployment: Deployment) -> None:
    deployment.pod["volumes"][0] = {"name": "spool", "emptyDir": {"medium": "Memory"}}


def _kubernetes_memory_buffer(deployment: Deployment) -> None:
    text = "[INPUT]\n    Name forward\n    # storage.type filesystem\n"
    add_configuration(deployment, "fluent-bit.conf", text)


def _kubernetes_fluentd_buffer(deployment: Deployment) -> None:
    text = "<match **>\n  @type s3\n  <buffer>\n    @type memory\n  </buffer>\n</match>\n"
    add_configuration(deployment, "fluent.conf", text)


def add_configuration(deployment: Deployment, name: str, text: str) -> None:
    """Put a sidecar's configuration into a ConfigMap of the same file."""
    workload = dict(deployment.document)
    configuration = {"apiVersion": "v1", "kind": "ConfigMap", "data": {name: text}}
    deployment.document.clear()
    deployment.document |= {"apiVersion": "v1", "kind": "List", "items": [workload, configuration]}


# -- compose ---------------------------------------------------------------------------------------


def _no_depends_on(deployment: Deployment) -> None:
    deployment.app["depends_on"] = []


def _reverse_depends_on(deployment: Deployment) -> None:
    deployment.app["depends_on"] = {}
    deployment.sidecar["depends_on"] = ["application"]


def _ten_seconds(deployment: Deployment) -> None:
    deployment.app.pop("stop_grace_period")


def _wrap_entrypoint(deployment: Deployment) -> None:
    deployment.app["entrypoint"] = "sh -c"
    deployment.app["command"] = ["python app.py | tee /tmp/log; cleanup"]


def _stop_by_winch(deployment: Deployment) -> None:
    deployment.app["stop_signal"] = "SIGWINCH"


def _stop_by_kill(deployment: Deployment) -> None:
    deployment.app["stop_signal"] = 9


def _stop_by_a_real_time_signal(deployment: Deployment) -> None:
    deployment.app["stop_signal"] = "${STOP:-SIGRTMIN+3}"


def _expect_another_signal(deployment: Deployment) -> None:
    deployment.app["stop_signal"] = "SIGTERM"
    deployment.set_variable("LOGSHIP_STOP_SIGNALS", "QUIT")


def _fluentd_driver(deployment: Deployment) -> None:
    deployment.app["logging"] = {"driver": "fluentd"}


def _mode_non_blocking(deployment: Deployment) -> None:
    deployment.app["logging"] = {"driver": "json-file", "options": {"mode": "non-blocking"}}


def _compose_memory_buffer(deployment: Deployment) -> None:
    text = "<label @OUTPUT>\n<match **>\n  @type forward\n</match>\n</label>\n"
    deployment.document["configs"] = {"fluent.conf": {"content": text}}


FORWARD_OUTPUT = """\
[OUTPUT]
    Name         forward
    Match        *
    Host         ${AGGREGATOR}
    Retry_Limit  no_limits
"""


def _firelens_forwards(deployment: Deployment) -> None:
    options = {"Name": "forward", "Host": "aggregator"}
    deployment.app["logConfiguration"] = {"logDriver": "awsfirelens", "options": options}


def _kubernetes_forwards(deployment: Deployment) -> None:
    add_configuration(deployment, "fluent-bit.conf", FORWARD_OUTPUT)


def _compose_forwards(deployment: Deployment) -> None:
    deployment.document["configs"] = {"fluent-bit.conf": {"content": FORWARD_OUTPUT}}


def _no_volumes(deployment: Deployment) -> None:
    deployment.app["volumes"] = []


def _anonymous_recoverer(deployment: Deployment) -> None:
    deployment.recoverer["volumes"] = ["/var/spool/logship", "/spool"]


def _bind_mount(deployment: Deployment) -> None:
    path = deployment.variable("LOGSHIP_SPOOL_DIR")
    for service in (deployment.app, deployment.recoverer):
        service["volumes"] = [f"./spool:{path}"]
        service["user"] = "10001"


def _little_memory(deployment: Deployment) -> None:
    deployment.app["command"] = ["uvicorn", "app:app", "--workers", "64"]
    deployment.app["mem_limit"] = "256m"


def _ulimit(deployment: Deployment) -> None:
    deployment.app["ulimits"] = {"nofile": {"soft": 1024, "hard": 2048}}


APPLICATION_MISTAKES = (
    Mistake("depends-on", "ecs", _forget_order),
    Mistake("depends-on", "ecs", _forget_recoverer),
    Mistake("depends-on-reversed", "ecs", _reverse_order, ("depends-on",)),
    Mistake("stop-timeout-limit", "ecs", _ask_too_much),
    Mistake("stop-timeout-setting", "ecs", _stop_sooner),
    Mistake("stop-timeout-setting", "ecs", _stop_by_default),
    Mistake("stop-timeout-setting", "ecs", _believe_less),
    Mistake("stop-timeout-sum", "ecs", _stop_long_on_spot, is_spot=True),
    Mistake("graceful-timeout", "ecs", _kill_workers),
    Mistake("graceful-timeout", "ecs", _wait_for_workers),
    Mistake("shell-entrypoint", "ecs", _wrap_entry_point),
    Mistake("stderr-driver", "ecs", _send_stderr_back),
    Mistake("stderr-driver", "ecs", _no_log_driver),
    Mistake("stderr-non-blocking", "ecs", _default_mode),
    Mistake("stderr-non-blocking", "ecs", _non_blocking),
    Mistake("tag-route", "ecs", _use_firelens),
    Mistake("tag-route", "ecs", _tag_of_another, ("stderr-driver",)),
    Mistake("blind-ack", "ecs", _aws_image),
    Mistake("blind-ack", "ecs", _old_fluent_bit),
    Mistake("forward-metadata", "ecs", _firelens_forwards, ("stderr-driver",)),
    Mistake("spool-volume", "ecs", _no_mount),
    Mistake("spool-volume", "ecs", _read_only),
    Mistake("spool-volume", "ecs", _network_volume),
    Mistake("spool-volume", "ecs", _recoverer_elsewhere),
    Mistake("spool-owner", "ecs", _host_directory),
    Mistake("spool-owner", "ecs", _other_user),
    Mistake("memory-sum", "ecs", _many_workers),
    Mistake("nofile", "ecs", _few_files),
    Mistake("unknown-setting", "ecs", _misspell),
    Mistake("wrong-setting", "ecs", _wrong_value),
    Mistake("wrong-setting", "ecs", _wrong_endpoint),
    Mistake("depends-on", "kubernetes", _plain_sidecar),
    Mistake("depends-on", "kubernetes", _recoverer_first),
    Mistake("stop-timeout-setting", "kubernetes", _default_grace),
    Mistake("stop-timeout-sum", "kubernetes", _nothing_for_sidecar),
    Mistake("graceful-timeout", "kubernetes", _kill_workers),
    Mistake("stop-signal", "kubernetes", _stop_by_another_signal),
    Mistake("shell-entrypoint", "kubernetes", _wrap_command),
    Mistake("blind-ack", "kubernetes", _old_fluent_bit),
    Mistake("memory-buffer", "kubernetes", _kubernetes_memory_buffer),
    Mistake("memory-buffer", "kubernetes", _kubernetes_fluentd_buffer),
    Mistake("forward-metadata", "kubernetes", _kubernetes_forwards),
    Mistake("spool-volume", "kubernetes", _no_volume_mount),
    Mistake("spool-volume", "kubernetes", _small_volume),
    Mistake("spool-owner", "kubernetes", _host_path),
    Mistake("spool-owner", "kubernetes", _claim_without_group),
    Mistake("memory-sum", "kubernetes", _spool_in_memory),
    Mistake("unknown-setting", "kubernetes", _misspell),
    Mistake("wrong-setting", "kubernetes", _wrong_value),
    Mistake("depends-on", "compose", _no_depends_on),
    Mistake("depends-on-reversed", "compose", _reverse_depends_on, ("depends-on",)),
    Mistake("stop-timeout-setting", "compose", _ten_seconds, ("graceful-timeout",)),
    Mistake("graceful-timeout", "compose", _kill_workers),
    Mistake("stop-signal", "compose", _stop_by_winch),
    Mistake("stop-signal", "compose", _stop_by_kill),
    Mistake("stop-signal", "compose", _stop_by_a_real_time_signal),
    Mistake("stop-signal", "compose", _expect_another_signal),
    Mistake("shell-entrypoint", "compose", _wrap_entrypoint),
    Mistake("stderr-driver", "compose", _fluentd_driver),
    Mistake("stderr-non-blocking", "compose", _mode_non_blocking),
    Mistake("blind-ack", "compose", _aws_image),
    Mistake("memory-buffer", "compose", _compose_memory_buffer),
    Mistake("forward-metadata", "compose", _compose_forwards),
    Mistake("spool-volume", "compose", _no_volumes),
    Mistake("spool-volume", "compose", _anonymous_recoverer),
    Mistake("spool-owner", "compose", _bind_mount),
    Mistake("memory-sum", "compose", _little_memory),
    Mistake("nofile", "compose", _ulimit),
    Mistake("unknown-setting", "compose", _misspell),
    Mistake("wrong-setting", "compose", _wrong_value),
)
