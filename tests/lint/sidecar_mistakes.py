"""Mistakes about the sidecar and the way to it, and those that every platform can have."""

from __future__ import annotations

from tests.lint.deployments import Deployment
from tests.lint.mistakes import (
    APPLICATION_MISTAKES,
    Mistake,
    add_configuration,
    both,
    put,
    remove,
    sidecar_variable,
    variable,
)

# -- any platform ----------------------------------------------------------------------------------


def _another_port(deployment: Deployment) -> None:
    key = "portMappings" if deployment.platform == "ecs" else "ports"
    if deployment.platform != "compose":
        deployment.sidecar[key] = [{"containerPort": 24224}]
    else:
        deployment.set_sidecar_variable("LOGSHIP_OUTPUT", "file")
        deployment.sidecar["network_mode"] = deployment.app["network_mode"] = "service:database"
    deployment.set_variable("LOGSHIP_ENDPOINTS", "tcp://127.0.0.1:24225")


def _name_the_neighbour(deployment: Deployment) -> None:
    if deployment.platform == "compose":
        deployment.sidecar["network_mode"] = deployment.app["network_mode"] = "service:database"
    deployment.set_variable("LOGSHIP_ENDPOINTS", "tcp://sidecar:24224")


def _name_it_for_firelens(deployment: Deployment) -> None:
    if deployment.platform == "compose":
        deployment.sidecar["network_mode"] = deployment.app["network_mode"] = "service:database"
    deployment.set_variable("LOGSHIP_ENDPOINTS", "")
    deployment.set_variable("FLUENT_HOST", "sidecar")


_name_no_stream = both(
    sidecar_variable("LOGSHIP_OUTPUT", "firehose"),
    sidecar_variable("LOGSHIP_FIREHOSE_REGION", "eu-central-1"),
)
_name_an_empty_stream = both(_name_no_stream, sidecar_variable("LOGSHIP_FIREHOSE_STREAM", ""))
_ship_to_itself = both(
    sidecar_variable("LOGSHIP_OUTPUT", "aggregator"),
    sidecar_variable("LOGSHIP_AGGREGATOR_HOST", "localhost"),
    sidecar_variable("LOGSHIP_AGGREGATOR_PORT", "24224"),
    sidecar_variable("LOGSHIP_AGGREGATOR_SHARED_KEY", "$KEY"),
)


def _keep_no_buffer(deployment: Deployment) -> None:
    for key in ("mountPoints", "volumeMounts", "volumes"):
        deployment.sidecar.pop(key, None)


# -- ECS -------------------------------------------------------------------------------------------


def _wait_for_its_end(deployment: Deployment) -> None:
    for container in (deployment.app, deployment.recoverer):
        for each in container["dependsOn"]:
            if each["containerName"] == "sidecar":
                each["condition"] = "SUCCESS"


_do_not_wait = put("recoverer", dependsOn=[{"containerName": "sidecar", "condition": "START"}])


def _bridge_by_name(deployment: Deployment, name: str = "sidecar") -> None:
    deployment.document["networkMode"] = "bridge"
    for container in (deployment.app, deployment.recoverer):
        for each in container["environment"]:
            each["value"] = each["value"].replace("127.0.0.1", name)


def _bridge_by_link(deployment: Deployment) -> None:
    _bridge_by_name(deployment, "logs")
    for container in (deployment.app, deployment.recoverer):
        container["links"] = ["sidecar:logs"]


def _bridge_by_default(deployment: Deployment) -> None:
    deployment.document["networkMode"] = "bridge"
    for container in (deployment.app, deployment.recoverer):
        others = [each for each in container["environment"] if "ENDPOINTS" not in each["name"]]
        container["environment"] = others


def _small_memory_volume(deployment: Deployment) -> None:
    tmpfs = [{"containerPath": "/fluentd/buffer", "size": 2048}]
    deployment.sidecar["mountPoints"] = []
    deployment.sidecar["linuxParameters"] = {"tmpfs": tmpfs}
    deployment.set_sidecar_variable("LOGSHIP_BUFFER_SIZE", "2g")


_without_a_network_mode = both(
    remove("document", "networkMode"), put("document", requiresCompatibilities=["EC2"])
)
_go_on_without = both(put("sidecar", essential=False), remove("sidecar", "restartPolicy"))
_go_on_without_as_text = put("sidecar", essential="false", restartPolicy={"enabled": "false"})


# -- Kubernetes ------------------------------------------------------------------------------------


_copy_a_port = both(
    sidecar_variable("LOGSHIP_OUTPUT", "file"),
    sidecar_variable("LOGSHIP_PORT", "tcp://10.0.0.1:24224"),
)


def name_a_service_logship(deployment: Deployment) -> None:
    """Add a Service whose variables have names of the sidecar, to a pod that gets them."""
    deployment.pod.pop("enableServiceLinks", None)
    deployment.set_sidecar_variable("LOGSHIP_OUTPUT", "file")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "logship"}}
    workload = dict(deployment.document)
    deployment.document.clear()
    deployment.document |= {"apiVersion": "v1", "kind": "List", "items": [workload, service]}


def _small_buffer_volume(deployment: Deployment) -> None:
    deployment.sidecar["image"] = "logship-sidecar"
    deployment.sidecar["volumeMounts"] = [{"name": "few", "mountPath": "/fluentd/buffer"}]
    deployment.pod["volumes"].append({"name": "few", "emptyDir": {"sizeLimit": "512Mi"}})


ROUTED = "[INPUT]\n  Name forward\n  storage.type filesystem\n"
ROUTED += "[OUTPUT]\n  Name http\n  Match {}\n  Retry_Limit no_limits\n"


def route_another_tag(deployment: Deployment) -> None:
    """Give the sidecar a configuration in sight that routes another tag."""
    deployment.set_variable("LOGSHIP_TAG", "web")
    deployment.sidecar["volumeMounts"].append({"name": "conf", "mountPath": "/fluent-bit/etc"})
    deployment.pod["volumes"].append({"name": "conf", "configMap": {"name": "conf"}})
    add_configuration(deployment, "fluent-bit.conf", ROUTED.format("api.*"))
    deployment.document["items"][1]["metadata"] = {"name": "conf"}


# -- compose ---------------------------------------------------------------------------------------


def _wait_for_completion(deployment: Deployment) -> None:
    for service in (deployment.app, deployment.recoverer):
        service["depends_on"]["sidecar"] = {"condition": "service_completed_successfully"}


def _loopback_of_its_own(deployment: Deployment) -> None:
    deployment.app.pop("network_mode", None)
    deployment.set_variable("LOGSHIP_ENDPOINTS", "tcp://localhost:24224")


def _default_of_its_own(deployment: Deployment) -> None:
    deployment.app.pop("network_mode", None)
    deployment.app["environment"].pop("LOGSHIP_ENDPOINTS", None)


def _listen_on_loopback(deployment: Deployment) -> None:
    for service in (deployment.app, deployment.sidecar):
        service.pop("network_mode", None)
    deployment.sidecar["environment"] = {"LOGSHIP_OUTPUT": "file"}
    deployment.set_variable("LOGSHIP_ENDPOINTS", "tcp://sidecar:24224")


_buffer_in_memory = put(
    "sidecar", image="logship-sidecar", volumes=[], mem_limit="256m", tmpfs="/fluentd/buffer"
)


def route_nowhere(deployment: Deployment) -> None:
    """Give the sidecar a configuration in sight that routes another tag."""
    deployment.set_variable("LOGSHIP_TAG", "web")
    deployment.sidecar.pop("build", None)
    deployment.sidecar["configs"] = [
        {"source": "fluent.conf", "target": "/fluentd/etc/fluent.conf"}
    ]
    text = "<source>\n  @type forward\n</source>\n<match api.**>\n  @type stdout\n</match>\n"
    deployment.document["configs"] = {"fluent.conf": {"content": text}}


MISTAKES = (
    *APPLICATION_MISTAKES,
    *(
        Mistake(rule, platform, make)
        for platform in ("ecs", "kubernetes", "compose")
        for rule, make in (
            ("npm-entrypoint", put("app", command=["npm", "start"])),
            ("script-entrypoint", put("app", command=["/app/start.sh"])),
            ("last-resort-none", variable("LOGSHIP_LAST_RESORT", "none")),
            ("disabled", variable("LOGSHIP_DISABLED", "1")),
            ("plain-secret", variable("LOGSHIP_SHARED_KEY", "correct horse")),
            ("plain-secret", variable("DATABASE_PASSWORD", "correct horse")),
            ("endpoint-name", _name_the_neighbour),
            ("endpoint-name", _name_it_for_firelens),
            ("endpoint-port", _another_port),
            ("unknown-output", sidecar_variable("LOGSHIP_OUTPUT", "s4")),
            ("sidecar-variable", sidecar_variable("LOGSHIP_S3_BUCKT", "logs")),
            ("output-variable", _name_no_stream),
            ("output-variable", _name_an_empty_stream),
            ("own-aggregator", _ship_to_itself),
            ("sidecar-volume", _keep_no_buffer),
            ("sidecar-grace", sidecar_variable("LOGSHIP_GRACE_SECONDS", "600")),
        )
    ),
    *(
        Mistake(rule, platform, make)
        for platform in ("ecs", "kubernetes")
        for rule, make in (
            ("placeholder", put("app", image="${APP_IMAGE}")),
            (
                "placeholder",
                put("app", image="${AWS::AccountId}.dkr.ecr.eu-west-1.amazonaws.com/app"),
            ),
            ("placeholder", sidecar_variable("LOGSHIP_S3_BUCKET", "logs-${STAGE}")),
            ("empty-image", put("app", image="")),
            ("empty-image", put("app", image=None)),
        )
    ),
    Mistake("depends-on-unchecked", "ecs", remove("sidecar", "healthCheck")),
    Mistake("depends-on-completed", "ecs", _wait_for_its_end),
    Mistake("depends-on-started", "ecs", _do_not_wait),
    Mistake("endpoint-loopback", "ecs", put("document", networkMode="bridge")),
    Mistake("endpoint-loopback", "ecs", _without_a_network_mode),
    Mistake("endpoint-default", "ecs", _bridge_by_default),
    Mistake("sidecar-bind", "ecs", _bridge_by_name),
    Mistake("sidecar-bind", "ecs", _bridge_by_link),
    Mistake("sidecar-buffer-size", "ecs", _small_memory_volume),
    Mistake("sidecar-essential", "ecs", _go_on_without),
    Mistake("sidecar-essential", "ecs", _go_on_without_as_text),
    Mistake("init-sidecar", "kubernetes", remove("sidecar", "restartPolicy")),
    Mistake("init-sidecar", "kubernetes", remove("recoverer", "restartPolicy")),
    Mistake("service-links", "kubernetes", _copy_a_port),
    Mistake("service-links", "kubernetes", name_a_service_logship),
    Mistake("sidecar-buffer-size", "kubernetes", _small_buffer_volume),
    Mistake("tag-route", "kubernetes", route_another_tag),
    Mistake("depends-on-unchecked", "compose", put("sidecar", healthcheck={"disable": True})),
    Mistake("depends-on-completed", "compose", _wait_for_completion),
    Mistake("depends-on-started", "compose", put("recoverer", depends_on=["sidecar"])),
    Mistake("endpoint-loopback", "compose", _loopback_of_its_own),
    Mistake("endpoint-default", "compose", _default_of_its_own),
    Mistake("sidecar-bind", "compose", _listen_on_loopback),
    Mistake("sidecar-buffer-size", "compose", _buffer_in_memory),
    Mistake("tag-route", "compose", route_nowhere),
)
