"""What is right although it looks like a mistake, and mistakes that look right."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from logship._deployment.linting.report import NO_LOGSHIP, judge
from tests.lint.deployments import HAS_YAML, Deployment, base, rules_of
from tests.lint.mistakes import Make, both, put, remove, variable
from tests.lint.sidecar_mistakes import name_a_service_logship

needs_yaml = pytest.mark.skipif(not HAS_YAML, reason="PyYAML is not installed")

RIGHT = {
    "a stop timeout of the program, not of logship": (
        "compose",
        put("app", command=["python", "app.py", "--stop-timeout", "300", "--spool", "/tmp/x"]),
    ),
    "a default that is left to the container's shell": (
        "compose",
        put("app", command="gunicorn --graceful-timeout $${SECONDS:-9} app:app"),
    ),
    "no limit of open files": ("compose", put("app", ulimits={"nofile": -1})),
    "the sidecar's port, for doctor": (
        "compose",
        variable("LOGSHIP_SIDECAR_METRICS_PORT", "2021"),
    ),
    "a host that no container is": (
        "kubernetes",
        variable("LOGSHIP_ENDPOINTS", "tcp://logs.example.com:24224"),
    ),
    "a user that only the image names": ("kubernetes", remove("recoverer", "securityContext")),
    "a text that says that a mount of ECS is not read-only": (
        "ecs",
        put("app.mountPoints.0", readOnly="false"),
    ),
    "a default that says that a mount of compose is not read-only": (
        "compose",
        put("app.volumes.0", read_only="${READ_ONLY:-false}"),
    ),
    "a spool whose path a variable has": (
        "kubernetes",
        put("recoverer", command=["logship", "recover", "--spool", "$(SPOOL)", "--watch"]),
    ),
    "a namespace that one variable names for all": (
        "compose",
        both(*(put(each, network_mode="${NETWORK}") for each in ("app", "recoverer", "sidecar"))),
    ),
    "a buffer's directory that a ConfigMap names": (
        "kubernetes",
        put(
            "sidecar",
            image="logship-sidecar",
            env=[{"name": "LOGSHIP_BUFFER_DIR", "valueFrom": {"configMapKeyRef": {"key": "dir"}}}],
            volumeMounts=[{"name": "buffer", "mountPath": "/data"}],
        ),
    ),
}
"""Single changes of a deployment, with the platform that they are for."""


@pytest.mark.parametrize(("platform", "make"), RIGHT.values(), ids=RIGHT)
def test_a_change_that_is_right(platform: str, make: Make) -> None:
    deployment = base(platform)
    make(deployment)
    assert not rules_of(deployment)


def test_a_sidecars_namespace_knows_the_sidecars_name(compose: Deployment) -> None:
    del compose.sidecar["network_mode"]
    compose.app["network_mode"] = "service:sidecar"
    compose.set_variable("LOGSHIP_ENDPOINTS", "tcp://sidecar:24224")
    assert not rules_of(compose)


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("sidecar", {"container_name": "logs"}),
        ("sidecar", {"hostname": "logs"}),
        ("sidecar", {"networks": {"back": None, "default": {"aliases": ["logs"]}}}),
        ("app", {"links": ["sidecar:logs"]}),
    ],
)
def test_a_service_may_have_other_names(
    compose: Deployment, part: str, names: dict[str, Any]
) -> None:
    for service in (compose.app, compose.sidecar):
        del service["network_mode"]
    compose.set_sidecar_variable("LOGSHIP_OUTPUT", "file")
    compose.set_variable("LOGSHIP_ENDPOINTS", "tcp://logs:24224")
    assert rules_of(compose) == set()
    getattr(compose, part).update(names)
    assert rules_of(compose) == {"sidecar-bind"}


@pytest.mark.parametrize(
    ("of_app", "of_sidecar", "rules"),
    [
        (["front"], ["back"], {"endpoint-name"}),
        (["front"], None, {"endpoint-name"}),
        ([], {"back": None}, {"endpoint-name"}),
        (["front", "back"], {"back": {}}, set()),
        (["default"], [], set()),
        (["back"], ["same"], set()),
        (["front"], ["unknown"], set()),
    ],
)
def test_a_name_resolves_in_the_networks_of_both_services(
    compose: Deployment, of_app: Any, of_sidecar: Any, rules: set[str]
) -> None:
    networks = {"same": {"name": "back"}, "unknown": {"name": "${NETWORK}"}}
    compose.document["networks"] = {"front": None, "back": None, **networks}
    for service, names in ((compose.app, of_app), (compose.sidecar, of_sidecar)):
        del service["network_mode"]
        service["networks"] = names
    compose.set_variable("LOGSHIP_ENDPOINTS", "tcp://sidecar:24224")
    assert rules_of(compose) == rules


def test_the_networks_to_add_are_shown(compose: Deployment) -> None:
    del compose.app["network_mode"]
    compose.app["networks"] = ["front"]
    compose.document["services"]["database"]["networks"] = ["back"]
    compose.set_variable("LOGSHIP_ENDPOINTS", "tcp://sidecar:24224")
    (found,) = judge("a.json", compose.text).findings
    assert (found.rule, found.change) == ("endpoint-name", "networks: [back, front]")


def test_a_name_that_two_services_have_may_be_that_of_either(compose: Deployment) -> None:
    services = compose.document["services"]
    services["database"]["networks"] = ["front"]
    services["other"] = {"image": "app", "hostname": "logs", "networks": ["back"]}
    del compose.app["network_mode"]
    compose.app["networks"] = ["front"]
    compose.set_variable("LOGSHIP_ENDPOINTS", "tcp://logs:24224")
    assert rules_of(compose) == {"endpoint-name"}
    services["database"]["hostname"] = "logs"
    assert not rules_of(compose)


@pytest.mark.parametrize(
    ("network", "rules"),
    [
        ("container:logs", set()),
        ("container:database", set()),
        ("${NETWORK}", set()),
        ("bridge", {"endpoint-default"}),
    ],
)
def test_the_network_of_a_container_may_have_a_sidecar(
    compose: Deployment, network: str, rules: set[str]
) -> None:
    """The container is a service of the file, or of another one."""
    del compose.sidecar["network_mode"]
    compose.sidecar |= {"image": "logship-sidecar", "container_name": "logs"}
    compose.app |= {"image": "app", "network_mode": network}
    assert rules_of(compose) == rules


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("network_mode", "service:sidecar"), ("pid", "service:sidecar")),
        *(("links", ["sidecar:log"]), ("volumes_from", ["sidecar:ro"]), ("ipc", "host")),
    ],
)
def test_compose_orders_services_that_share_something(key: str, value: Any) -> None:
    deployment = base("compose")
    deployment.recoverer |= {"depends_on": [], "network_mode": "host", key: value}
    assert rules_of(deployment) == {"depends-on" if value == "host" else "depends-on-started"}


@pytest.mark.parametrize(
    "shared", [{"links": ["sidecar:log"]}, {"volumesFrom": [{"sourceContainer": "sidecar"}]}]
)
def test_ecs_orders_containers_that_share_something(shared: dict[str, Any]) -> None:
    deployment = base("ecs")
    deployment.recoverer |= {"dependsOn": [], **shared}
    assert rules_of(deployment) == {"depends-on-started"}


@pytest.mark.parametrize(
    ("platform", "name", "key", "source"),
    [
        ("ecs", "web.json", "volumesFrom", {"sourceContainer": "recoverer"}),
        ("compose", "own", "volumes_from", "recoverer:rw"),
    ],
)
@pytest.mark.parametrize("part", ["app", "recoverer", "sidecar"])
def test_the_volumes_of_another_container_may_be_the_right_ones(
    platform: str, name: str, key: str, source: Any, part: str
) -> None:
    deployment = base(platform, name)
    container = getattr(deployment, part)
    container["mountPoints" if platform == "ecs" else "volumes"] = []
    assert rules_of(deployment) == {"sidecar-volume" if part == "sidecar" else "spool-volume"}
    container[key] = [source]
    assert rules_of(deployment).isdisjoint(("sidecar-volume", "spool-volume"))


def test_a_sidecar_in_the_applications_namespace_is_stopped_first(compose: Deployment) -> None:
    for each in (compose.app, compose.recoverer):
        each["depends_on"] = []
        each.pop("network_mode")
    compose.sidecar["network_mode"] = "service:application"
    assert "depends-on-reversed" in rules_of(compose)


@pytest.mark.parametrize(
    ("name", "is_restarted", "rules"),
    [
        ("web.json", True, {"sidecar-essential"}),
        ("web.json", False, {"sidecar-essential"}),
        ("batch.json", True, set()),
        ("batch.json", False, {"sidecar-essential"}),
    ],
)
def test_a_batch_may_go_on_while_its_sidecar_is_restarted(
    name: str, rules: set[str], *, is_restarted: bool
) -> None:
    deployment = base("ecs", name)
    deployment.sidecar["essential"] = False
    deployment.sidecar["restartPolicy"]["enabled"] = is_restarted
    assert rules_of(deployment) == rules


def test_ecs_orders_containers_with_its_driver_behind_the_router(ecs: Deployment) -> None:
    ecs.sidecar["firelensConfiguration"] = {"type": "fluentd"}
    ecs.app["logConfiguration"] = {"logDriver": "awsfirelens"}
    ecs.app["dependsOn"] = [{"containerName": "recoverer", "condition": "START"}]
    ecs.recoverer["dependsOn"] = []
    ecs.set_variable("LOGSHIP_TAG", "app-firelens-1")
    found = judge("a.json", ecs.text).findings
    assert {(each.rule, each.container) for each in found} == {
        ("depends-on", "recoverer"),
        ("stderr-driver", "app"),
    }


def test_a_configmap_is_no_volume_for_a_buffer(kubernetes: Deployment) -> None:
    kubernetes.pod["volumes"].append({"name": "conf", "configMap": {"name": "conf"}})
    kubernetes.sidecar["volumeMounts"] = [{"name": "conf", "mountPath": "/fluent-bit/etc"}]
    assert rules_of(kubernetes) == {"sidecar-volume"}


@pytest.mark.parametrize("links", [True, False])
def test_variables_of_services_can_be_switched_off(*, links: bool) -> None:
    deployment = base("kubernetes", "web.yaml")
    name_a_service_logship(deployment)
    deployment.pod["enableServiceLinks"] = links
    assert rules_of(deployment) == ({"service-links"} if links else set())


@pytest.mark.parametrize(
    ("memory", "rules"),
    [
        *(("512Mi", set()), ("5e8", set()), ("0.5E+9", set()), ("500000000000m", set())),
        *(("10M", {"memory-sum"}), ("1e7", {"memory-sum"}), ("10000000000m", {"memory-sum"})),
        ("1Ei", set()),
    ],
)
def test_a_quantity_of_kubernetes(kubernetes: Deployment, memory: str, rules: set[str]) -> None:
    kubernetes.app["resources"]["limits"]["memory"] = memory
    kubernetes.set_variable("LOGSHIP_BUFFER_BYTES_MAX", "16MiB")
    assert rules_of(kubernetes) == rules


@pytest.mark.parametrize(
    ("image", "grace", "rules"),
    [
        ("logship-fluent-bit:1", "1m", set()),
        ("logship-fluent-bit:1", "30s", {"sidecar-grace"}),
        ("logship-sidecar:1", "30s", set()),
        ("fluent/fluent-bit:5.1.1", "30s", set()),
    ],
)
def test_the_grace_period_of_logships_fluent_bit(image: str, grace: str, rules: set[str]) -> None:
    deployment = base("compose")
    deployment.sidecar |= {"image": image, "stop_grace_period": grace}
    deployment.sidecar["volumes"] = ["buffer:/fluentd/buffer", "buffer:/fluent-bit/buffer"]
    assert rules_of(deployment) == rules


@pytest.mark.parametrize(
    ("image", "command"),
    [
        ("logship-sidecar:1", '"logship-healthcheck"'),
        ("logship-fluent-bit:1", '"/bin/busybox", "sh", "/fluent-bit/bin/healthcheck"'),
        ("fluent/fluentd:v1.19-debian-1", '"…"'),
    ],
)
def test_a_health_check_is_a_command_that_the_image_has(image: str, command: str) -> None:
    deployment = base("ecs")
    deployment.sidecar["image"] = image
    del deployment.sidecar["healthCheck"]
    deployment.sidecar["environment"] = []
    changes = {each.change for each in judge("a.json", deployment.text).findings}
    assert f'in sidecar: "healthCheck": {{ "command": ["CMD", {command}] }}' in changes


@pytest.mark.parametrize(
    ("image", "has_check"), [("logship-sidecar:1", True), ("fluent/fluentd:v1.19-debian-1", False)]
)
def test_an_order_by_health_needs_a_health_check(image: str, *, has_check: bool) -> None:
    deployment = base("compose")
    deployment.sidecar["image"] = image
    deployment.recoverer["depends_on"] = ["sidecar"]
    (finding,) = judge("a.json", deployment.text).findings
    assert finding.rule == "depends-on-started"
    assert ("in sidecar: healthcheck:" not in finding.change) == has_check


@pytest.mark.parametrize(
    ("output", "limit", "right"),
    [
        ("s3", "no_limits", "retry_limit 1000000000"),
        ("s3", "3", "retry_limit 1000000000"),
        ("s3", "1000000000", None),
        ("http", "3", "retry_limit no_limits"),
        ("http", "no_limits", None),
    ],
)
def test_an_output_of_fluent_bit_that_never_gives_up(
    output: str, limit: str, right: str | None
) -> None:
    text = f"[INPUT]\nName forward\nstorage.type filesystem\n[OUTPUT]\nName {output}\nMatch *\n"
    found = judge("a.conf", f"{text}Retry_Limit {limit}\n").findings
    assert [each.change for each in found] == ([] if right is None else [right])


SERVICE = "[SERVICE]\nGrace 30\nstorage.path /buffer\n"
CLASSIC = "[INPUT]\nName forward\n[OUTPUT]\nName null\n[OUTPUT]\nName null\nMatch a\n"
IN_YAML = """\
pipeline:
  inputs: [{ name: forward }]
  outputs: [{ name: "null" }, { name: "null", match: a }]
"""


@pytest.mark.parametrize(
    ("name", "text", "match", "storage"),
    [
        ("a.conf", CLASSIC + SERVICE, "match *", "storage.type filesystem"),
        (
            "a.conf",
            CLASSIC,
            "match *",
            "storage.type filesystem, and in the service storage.path …",
        ),
        pytest.param(
            "a.yaml",
            IN_YAML,
            'match: "*"',
            "storage.type: filesystem, and in the service storage.path: …",
            marks=needs_yaml,
        ),
    ],
)
def test_advice_for_fluent_bit_has_its_syntax(
    name: str, text: str, match: str, storage: str
) -> None:
    found = {each.rule: each.change for each in judge(name, text).findings}
    assert found == {"match-nothing": match, "memory-buffer": storage}


@pytest.mark.parametrize(
    ("of_service", "of_input", "is_in_memory"),
    [
        ("storage.type filesystem", "", True),  # it holds if inputs inherit it
        ("storage.type filesystem\nstorage.inherit on", "", False),
        ("storage.type filesystem\nstorage.inherit on", "storage.type memory", True),
        ("storage.inherit on", "", True),
        ("", "storage.type ${STORAGE}", False),
    ],
)
def test_the_storage_of_an_input_of_fluent_bit(
    of_service: str, of_input: str, *, is_in_memory: bool
) -> None:
    text = f"[SERVICE]\ngrace 30\n{of_service}\n[INPUT]\nname forward\n{of_input}\n"
    found = judge("a.conf", text).findings
    assert [each.rule for each in found] == ["memory-buffer"] * is_in_memory


@needs_yaml
def test_a_service_without_inputs_and_outputs_is_not_judged() -> None:
    """It may be a chart's values."""
    report = judge("values.yaml", "service:\n  type: ClusterIP\n")
    assert report.why_not_judged is not None


@pytest.mark.parametrize("source", ["tail", "systemd", "dummy"])
def test_a_configuration_without_a_forward_input_is_not_judged(source: str) -> None:
    for text in (
        f"[INPUT]\n  Name {source}\n[OUTPUT]\n  Name s3\n  Match *\n",
        f"<source>\n@type {source}\n</source>\n<match **>\n@type s3\n</match>\n",
        "@include sources.conf\n<match **>\n@type s3\n</match>\n",
    ):
        report = judge("a.conf", text)
        assert not report.findings
        assert report.why_not_judged is not None


@pytest.mark.parametrize(("source", "rules"), [("tail", set()), ("forward", {"retry-limit"})])
def test_a_part_of_a_configuration_belongs_to_the_inputs_beside_it(
    source: str, rules: set[str]
) -> None:
    data = {
        "fluent-bit.conf": "[SERVICE]\n  Grace 30\n@INCLUDE input.conf\n@INCLUDE output.conf\n",
        "input.conf": f"[INPUT]\n  Name {source}\n  storage.type filesystem\n",
        "output.conf": "[OUTPUT]\n  Name es\n  Match *\n",
    }
    text = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "data": data})
    assert {each.rule for each in judge("map.json", text).findings} == rules


def test_a_configuration_beside_a_deployment_may_be_another_programs(compose: Deployment) -> None:
    """It forwards what it reads elsewhere: that is no record of logship."""
    text = (
        "[INPUT]\nName {}\nstorage.type filesystem\n"
        "[OUTPUT]\nName forward\nRetry_Limit false\nRequire_ack_response on\n"
    )
    compose.document["configs"] = {"other.conf": {"content": text.format("tail")}}
    assert not rules_of(compose)
    compose.document["configs"]["other.conf"]["content"] = text.format("forward")
    assert rules_of(compose) == {"forward-metadata"}


FORWARD = "<source>\n  @type forward\n</source>\n"
TRIES_3 = "<buffer>\nretry_max_times 3\n</buffer>\n"


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("<match **> # to S3\n@type s3\n</match> # end\n", {"memory-buffer"}),
        ("<match a>#b\n@type s3\n</match>\n<match b>\n@type null\n</match>", {"memory-buffer"}),
        ("<match **>\n@type rdkafka2\n</match>", {"memory-buffer"}),
        ("<match **>\n@type datadog\n</match>", {"memory-buffer"}),
        ("<match **>\n@type google_cloud\n</match>", {"memory-buffer"}),
        ("<match **>\n@type logship_firehose\n</match>", {"memory-buffer"}),
        ("<match **>\n@type logship_file\n<buffer time>\n</buffer>\n</match>", set()),
        ("<match **>\n@type file\n</match>", set()),
        (f"<match **>\n@type file\n{TRIES_3}</match>", {"retry-limit"}),
        (f"<match **>\n@type file\n{TRIES_3}<secondary>\n</secondary>\n</match>", set()),
    ],
)
def test_an_output_of_fluentd(text: str, rules: set[str]) -> None:
    assert {each.rule for each in judge("a.conf", FORWARD + text).findings} == rules


@pytest.mark.parametrize(
    ("output", "buffer", "rules"),
    [
        ("s3", "@type file\t# on a volume", set()),
        ("s3", "@type file\noverflow_action drop_oldest_chunk\t# x", {"buffer-overflow"}),
        ("s3", "@type memory\n@type file", set()),
        ("s3", "@type file\n@type memory", {"memory-buffer"}),
        ("s3", "@type file\nretry_forever no\nretry_max_times 3\nretry_forever true", set()),
        ("file", "", set()),
        ("file", "@type memory", {"memory-buffer"}),
        ("s3", "@type file\nchunk_limit_size 600m", set()),
        ("file", "chunk_limit_size 600m", set()),
        ("s3", "@type file\ntotal_limit_size 128m", {"chunk-limit"}),
        ("s3", "@type memory\nchunk_limit_size 600m", {"memory-buffer", "chunk-limit"}),
        ("s3", "@type file\nchunk_limit_size 64KB", {"chunk-limit"}),
        ("s3", "@type \"#{ENV['TYPE'] || 'file'}\"", set()),
        ("s3", "@type \"#{ENV['TYPE'] || 'memory'}\"", {"memory-buffer"}),
        ("s3", "@type \"#{ENV['TYPE']}\"", set()),
        ("s3", "@type file\nretry_max_times 3\nretry_forever \"#{ENV['A'] || 'true'}\"", set()),
    ],
)
def test_a_buffer_of_fluentd(output: str, buffer: str, rules: set[str]) -> None:
    inside = f"retry_forever true\n{buffer}"
    text = f"<match **>\n@type {output}\n<buffer>\n{inside}\n</buffer>\n</match>\n"
    assert {each.rule for each in judge("a.conf", FORWARD + text).findings} == rules


@pytest.mark.parametrize(
    ("output", "buffer", "rules"),
    [
        ("s3", "@type file", {"retry-limit"}),
        ("of_our_own", "@type file_single\nretry_forever false", {"retry-limit"}),
        ("s3", "@type file\nretry_forever", set()),
        ("s3", "@type file\nretry_forever \"#{ENV['A']}\"", set()),
        ("s3", "@type file\n@include limits.conf", set()),
        ("s3\n<secondary>\n@type file\n</secondary>", "@type file", set()),
        ("file", "@type file", set()),
        ("stdout", "@type file", set()),
    ],
)
def test_a_fluentd_gives_up_after_three_days(output: str, buffer: str, rules: set[str]) -> None:
    text = f"<match **>\n@type {output}\n<buffer>\n{buffer}\n</buffer>\n</match>\n"
    findings = judge("a.conf", FORWARD + text).findings
    assert {each.rule for each in findings} == rules
    assert all("72 hours" in each.effect for each in findings)


@pytest.mark.parametrize(
    ("script", "is_application"),
    [
        ("logship doctor --no-send; exec python app.py", True),
        ("logship doctor --no-send & exec python app.py", True),
        ("logship lint x || exec python app.py", True),
        ("logship audit /logs/*.log", False),
        ("logship doctor || true", False),
        ("logship audit /logs/*.log || exit 1", False),
        ("logship doctor; echo done; exit 0", False),
        ("migrate && logship audit /logs/*.log | tee report;", False),
        ("logship audit --json '/logs/a;b.log'", False),
        ("bash -c 'migrate && logship audit /logs/*.log'", False),
        ('exec bash -c "logship doctor && exec python app.py"', True),
        ("exec python app.py  # or: ; logship doctor", True),
    ],
)
def test_a_command_that_looks_at_logs_before_the_program(
    compose: Deployment, script: str, *, is_application: bool
) -> None:
    compose.app["command"] = ["sh", "-c", script]
    compose.set_variable("LOGSHIP_LAST_RESORT", "none")
    assert rules_of(compose) == ({"last-resort-none"} if is_application else set())


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        (["tini", "-s", "--", "sh", "-c", "a; b"], {"shell-entrypoint"}),
        (["tini", "-v", "-p", "SIGTERM", "sh", "-c", "a; b"], {"shell-entrypoint"}),
        (["tini", "-e", "143", "--", "sh", "-c", "a; b"], {"shell-entrypoint"}),
        (["tini", "-s", "-e", "143", "-g", "--", "sh", "-c", "a; b"], set()),
        (["env", "sh", "-c", "a; b"], {"shell-entrypoint"}),
        (["/usr/bin/env", "-u", "A", "B=c", "npm", "start"], {"npm-entrypoint"}),
        (["bash", "-o", "pipefail", "-c", "a; b"], {"shell-entrypoint"}),
        (["bash", "-euo", "pipefail", "/start.sh"], {"script-entrypoint"}),
        (["/bin/sh", "/start.sh", "gunicorn", "-c", "conf.py", "app"], {"script-entrypoint"}),
        (["sh", "-c", "migrate && exec python app.py"], set()),
        (["sh", "-ec", "exec python app.py;"], set()),
        (["bash", "-c", "trap 'kill $child' TERM; python app.py & child=$!; wait"], set()),
        (["sh", "-c", 'main() { migrate; exec "$@"; }; main python app.py'], set()),
        (["bash", "-c", "function main {\n exec python app.py\n}\nmain"], set()),
        (["sh", "-c", "ulimit -n 4096 && exec python app.py || exit 1"], set()),
        (["sh", "-c", " ; "], set()),
        (["dumb-init", "sh", "-c", "a; python app.py"], set()),
        (["logship", "run", "--signal-group", "--", "sh", "-c", "a; b"], set()),
        (["sh", "-c", "exec celery -A app worker -Q 'high|low;all'"], set()),
        (["sh", "-c", 'exec app "a\\"; b"'], set()),
        (["sh", "-c", "a # don't; b\nexec b # it's"], set()),
        (["sh", "-c", "echo 'exec b'; b"], {"shell-entrypoint"}),
        (["sh", "-c", "exec 'a' | b"], {"shell-entrypoint"}),
        (["logship", "run", "--", "sh", "-c", "a; b"], {"shell-entrypoint"}),
        (["logship", "run", "--tag", "a", "--", "npm", "start"], {"npm-entrypoint"}),
        (["tini", "--", "logship", "run", "--", "./start.sh"], {"script-entrypoint"}),
        (["logship", "run", "--signal-group", "--", "./start.sh"], set()),
    ],
)
def test_a_first_process(compose: Deployment, words: list[str], rules: set[str]) -> None:
    compose.app["command"] = words
    assert rules_of(compose) == rules


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        (["gunicorn", "app:app"], {"graceful-timeout"}),
        (["gunicorn", "-c", "conf.py", "app:app"], set()),
        (["gunicorn", "--config=conf.py", "app:app"], set()),
        (["gunicorn", "-c", "conf.py", "--graceful-timeout", "9", "a"], {"graceful-timeout"}),
        (["gunicorn", "--graceful-timeout", "$SECONDS", "app:app"], set()),
        (["sh", "-c", "exec gunicorn app:app"], {"graceful-timeout"}),
    ],
)
def test_a_file_of_gunicorn_may_have_its_timeout(words: list[str], rules: set[str]) -> None:
    deployment = base("compose")
    deployment.app |= {"command": words, "stop_grace_period": "1m"}
    deployment.set_variable("LOGSHIP_STOP_TIMEOUT_SECONDS", "60")
    assert rules_of(deployment) == rules


@pytest.mark.parametrize(("ports", "rules"), [((1,), set()), ((24224,), {"endpoint-port"})])
@pytest.mark.parametrize("has_another", [True, False])
def test_another_port_that_a_sidecar_declares(
    kubernetes: Deployment, ports: tuple[int, ...], rules: set[str], *, has_another: bool
) -> None:
    declared = (*ports, 24225) if has_another else ports
    kubernetes.sidecar["ports"] = [{"containerPort": each} for each in declared]
    kubernetes.set_variable("LOGSHIP_ENDPOINTS", "tcp://127.0.0.1:24225")
    assert rules_of(kubernetes) == (set() if has_another else rules)


@pytest.mark.parametrize("options", [{}, {"config-file-value": "/extra.conf"}])
def test_a_configuration_for_firelens_may_have_another_port(options: dict[str, str]) -> None:
    deployment = base("ecs")
    deployment.sidecar["firelensConfiguration"] = {"type": "fluentbit", "options": options}
    deployment.sidecar["environment"] = []
    deployment.set_variable("LOGSHIP_ENDPOINTS", "tcp://127.0.0.1:24225")
    assert ("endpoint-port" in rules_of(deployment)) == (not options)


@pytest.mark.parametrize(
    ("environment", "more", "rules"),
    [
        ({"LOGSHIP_ENDPOINTS": ""}, {}, {"endpoint-default"}),
        ({"LOGSHIP_ENDPOINTS": "tcp://sidecar:24224"}, {}, set()),
        ({"LOGSHIP_ENDPOINTS": None}, {}, set()),
        ({"FLUENT_HOST": "sidecar"}, {}, set()),
        ({}, {"env_file": ".env"}, set()),
        ({}, {"network_mode": "host"}, set()),
    ],
)
def test_an_endpoint_that_may_not_be_the_default(
    compose: Deployment, environment: dict[str, Any], more: dict[str, Any], rules: set[str]
) -> None:
    del compose.app["network_mode"]
    compose.app |= more
    compose.app["environment"] |= environment
    assert rules_of(compose) == rules


@pytest.mark.parametrize(
    ("service", "rules"),
    [
        ({"metadata": {"name": "logship-output"}}, set()),
        ({"metadata": {"name": "logship-metrics"}}, {"service-links"}),
        ({"metadata": {"name": "logship-tag"}}, set()),
        ({"metadata": {"name": "logship", "namespace": "other"}}, {"service-links"}),
        ({"spec": {"clusterIP": "None"}}, set()),
        ({"spec": {"type": "ExternalName"}}, set()),
    ],
)
def test_services_whose_variables_are_injected(service: dict[str, Any], rules: set[str]) -> None:
    deployment = base("kubernetes")
    name_a_service_logship(deployment)
    deployment.document["items"][1] |= service
    assert rules_of(deployment) == rules


@pytest.mark.parametrize(
    ("output", "image", "rules"),
    [
        ("aggregator", "logship-sidecar", {"service-links"}),
        ("aggregator", "logship-fluent-bit", set()),
        ("stdout", "logship-sidecar", set()),
    ],
)
def test_the_port_of_an_aggregator_that_is_a_service(
    kubernetes: Deployment, output: str, image: str, rules: set[str]
) -> None:
    name_a_service_logship(kubernetes)
    kubernetes.document["items"][1]["metadata"]["name"] = "logship-aggregator"
    kubernetes.sidecar["image"] = image
    kubernetes.sidecar["volumeMounts"][0]["mountPath"] = "/"
    for name, value in (("OUTPUT", output), ("AGGREGATOR_HOST", "a"), ("GRACE_SECONDS", "5")):
        if name != "GRACE_SECONDS" or image == "logship-fluent-bit":
            kubernetes.set_sidecar_variable(f"LOGSHIP_{name}", value)
    assert rules_of(kubernetes) == rules


@pytest.mark.parametrize(
    ("of_pod", "of_service", "rules"),
    [
        ("shop", "shop", {"service-links"}),
        ("shop", None, {"service-links"}),
        (None, "shop", {"service-links"}),
        ("shop", "other", set()),
    ],
)
def test_an_object_without_a_namespace_may_be_in_any(
    kubernetes: Deployment, of_pod: str | None, of_service: str | None, rules: set[str]
) -> None:
    name_a_service_logship(kubernetes)
    for each, namespace in zip(kubernetes.document["items"], (of_pod, of_service), strict=False):
        if namespace is not None:
            each.setdefault("metadata", {})["namespace"] = namespace
    assert rules_of(kubernetes) == rules


def test_a_services_name_resolves_although_its_variables_are_switched_off() -> None:
    deployment = base("kubernetes")
    name_a_service_logship(deployment)
    deployment.document["items"][1]["metadata"]["name"] = "sidecar"
    deployment.pod["enableServiceLinks"] = False
    deployment.set_variable("LOGSHIP_ENDPOINTS", "tcp://sidecar:24224")
    assert not rules_of(deployment)


@pytest.mark.parametrize("sleep", ["sleep {}", "sleep {}s", "sleep {}; a", "a; /bin/sleep {}&&b"])
@pytest.mark.parametrize(("seconds", "rules"), [("5", set()), ("6", {"stop-timeout-sum"})])
def test_a_hook_that_sleeps(sleep: str, seconds: str, rules: set[str]) -> None:
    """5 s of sleep, 30, 10, and 5 for the sidecar."""
    deployment = base("kubernetes")
    deployment.pod["terminationGracePeriodSeconds"] = 50
    command = ["sh", "-c", sleep.format(seconds)]
    deployment.app["lifecycle"] = {"preStop": {"exec": {"command": command}}}
    assert rules_of(deployment) == rules


def test_a_hook_that_sleeps_for_minutes(kubernetes: Deployment) -> None:
    kubernetes.app["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", "1m"]}}}
    assert rules_of(kubernetes) == {"stop-timeout-setting"}


@pytest.mark.parametrize(
    "service",
    [
        {"stop_grace_period": "${GRACE}"},
        {"stop_grace_period": "${GRACE:-30s}"},
        {"mem_limit": "${MEMORY}"},
        {"mem_limit": "512MiB"},
        {"deploy": {"resources": {"limits": {"memory": "${MEMORY:?}"}}}},
        {"ulimits": {"nofile": "${FILES}"}},
        {"ulimits": {"nofile": {"soft": "${FILES}", "hard": "${FILES}"}}},
        {"user": "${USER_ID}:0"},
        {"environment": {"LOGSHIP_STOP_TIMEOUT_SECONDS": "$SECONDS"}},
        {"environment": ["LOGSHIP_STOP_TIMEOUT_SECONDS=$SECONDS"]},
        {"environment": {"LOGSHIP_TAG": "$$web", "LOGSHIP_STOP_TIMEOUT_SECONDS": "30"}},
    ],
)
def test_a_variable_of_compose_may_have_any_value(service: dict[str, Any]) -> None:
    deployment = base("compose")
    deployment.app |= service
    assert not rules_of(deployment)


@needs_yaml
def test_a_user_and_group_are_no_minutes_and_seconds() -> None:
    """YAML 1.1, which PyYAML reads, takes 1001:0 for 60,060; compose does not."""
    service = "{{image: x, user: {}, volumes: ['s:/s'], command: {}, {}}}"
    environment = "environment: {LOGSHIP_SPOOL_DIR: /s}, depends_on: [b]"
    application = service.format("1001:0", "app", environment)
    recoverer = service.format("'1001:0'", "logship recover --spool /s", "restart: always")
    text = f"services:\n  a: {application}\n  b: {recoverer}\n"
    assert not judge("compose.yaml", text).findings


def test_an_escaped_sign_of_compose_is_no_variable(compose: Deployment) -> None:
    compose.set_variable("LOGSHIP_OVERFLOW", "$$block")
    assert rules_of(compose) == {"wrong-setting"}


@pytest.mark.parametrize("source", ["${SPOOL:?set it}", "${SPOOL:-spool}", "${SPOOL-./a}"])
def test_a_volume_of_compose_may_be_a_variable(compose: Deployment, source: str) -> None:
    for service in (compose.app, compose.recoverer):
        service |= {"volumes": [f"{source}:/spool:ro"], "user": "0"}
    assert rules_of(compose) == {"spool-volume"}
    for service in (compose.app, compose.recoverer):
        service["volumes"] = [f"{source}:/spool"]
    assert not rules_of(compose)


@pytest.mark.parametrize(
    "inside",
    [
        lambda template: {"kind": "Rollout", "spec": {"template": template}},
        lambda template: {"kind": "PodTemplate", "template": template},
        lambda template: {"kind": "Pod", **template},
        lambda template: {"kind": "ScaledJob", "spec": {"jobTargetRef": {"template": template}}},
        lambda template: {"kind": "RayCluster", "spec": {"groups": [{"template": template}]}},
    ],
)
def test_an_object_of_any_kind_may_make_pods(
    kubernetes: Deployment, inside: Callable[[object], dict[str, object]]
) -> None:
    """What others have under the same keys is theirs."""
    kubernetes.set_variable("LOGSHIP_TAGS", "web")
    others = [
        {"apiVersion": "example.com/v1", "kind": "Notice", "spec": spec}
        for spec in ("text", {"template": "text"}, {"template": {"spec": {"containers": "text"}}})
    ]
    made = {"apiVersion": "v1", **inside(kubernetes.document["spec"]["template"])}
    kubernetes.document = {"apiVersion": "v1", "kind": "List", "items": [*others, made]}
    assert rules_of(kubernetes) == {"unknown-setting"}


def test_a_patch_of_kustomize_is_not_judged(kubernetes: Deployment) -> None:
    """What it does not change is in another file."""
    kubernetes.set_variable("LOGSHIP_STOP_TIMEOUT_SECONDS", "300")
    assert rules_of(kubernetes) == {"stop-timeout-setting"}
    del kubernetes.app["image"]
    del kubernetes.pod["initContainers"]
    for name, text in (
        ("patch.json", kubernetes.text),
        ("k8s/kustomization.yaml", "resources: [web.yaml]\npatches: [{path: patch.json}]\n"),
    ):
        report = judge(name, text)
        assert (report.findings, report.why_not_judged) == ((), NO_LOGSHIP)


def test_a_service_without_an_image_is_left_to_its_other_files(compose: Deployment) -> None:
    """Such as one in `docker-compose.override.yml`."""
    compose.app["depends_on"] = []
    assert rules_of(compose) == {"depends-on"}
    del compose.app["image"]
    assert not rules_of(compose)


def test_a_mount_may_end_in_a_slash(kubernetes: Deployment) -> None:
    kubernetes.set_variable("LOGSHIP_SPOOL_DIR", "/spool")
    kubernetes.app["volumeMounts"][0]["mountPath"] = "/spool/"
    assert not rules_of(kubernetes)


@pytest.mark.parametrize(
    ("platform", "name", "change"),
    [
        ("compose", "own", "depends_on: { recoverer: { condition: service_started } }"),
        (
            "ecs",
            "web.json",
            '"dependsOn": [{ "containerName": "recoverer", "condition": "START" }]',
        ),
    ],
)
def test_a_recoverer_has_no_health_to_wait_for(platform: str, name: str, change: str) -> None:
    deployment = base(platform, name)
    key = "depends_on" if platform == "compose" else "dependsOn"
    deployment.app[key] = deployment.recoverer[key]
    (finding,) = judge("a.json", deployment.text).findings
    assert (finding.rule, finding.change) == ("depends-on", change)
    assert "spool" in finding.effect


@pytest.mark.parametrize(
    ("part", "key", "value", "rule"),
    [
        ("sidecar", "image", "fluent/fluent-bit:${TAG:-4.2}", "blind-ack"),
        ("app", "command", "gunicorn --graceful-timeout ${SECONDS:-9} app:app", "graceful-timeout"),
        ("app", "command", ["gunicorn", "--graceful-timeout=${SECONDS-9}"], "graceful-timeout"),
        ("app", "logging", {"driver": "${DRIVER:-fluentd}"}, "stderr-driver"),
        ("app", "ulimits", {"nofile": "${FILES:-1024}"}, "nofile"),
    ],
)
def test_a_default_of_compose_is_what_counts(part: str, key: str, value: Any, rule: str) -> None:
    deployment = base("compose")
    getattr(deployment, part)[key] = value
    assert rules_of(deployment) == {rule}


@pytest.mark.parametrize("is_hidden", [True, False])
def test_a_file_of_the_environment_may_have_the_tag(ecs: Deployment, *, is_hidden: bool) -> None:
    ecs.sidecar["firelensConfiguration"] = {"type": "fluentd"}
    ecs.recoverer["logConfiguration"] = {"logDriver": "awsfirelens"}
    variables = ecs.app["environment"]
    ecs.app["environment"] = [each for each in variables if each["name"] != "LOGSHIP_TAG"]
    ecs.app["environmentFiles"] = [{"type": "s3", "value": "arn:x"}] * is_hidden
    found = {each.rule for each in judge("a.json", ecs.text).findings}
    assert ("tag-route" in found) is not is_hidden


def test_a_variable_of_ecs_whose_value_is_null_is_empty(ecs: Deployment) -> None:
    ecs.set_sidecar_variable("LOGSHIP_S3_REGION", "eu-west-1")
    ecs.set_sidecar_variable("LOGSHIP_OUTPUT", "s3")
    ecs.sidecar["environment"].append({"name": "LOGSHIP_S3_BUCKET", "value": None})
    assert rules_of(ecs) == {"output-variable"}


@pytest.mark.parametrize(
    ("host", "port", "rules"),
    [
        ("127.0.0.1", "24224", {"own-aggregator"}),
        ("127.0.0.1", "24225", set()),
        ("aggregator-0.aggregator", "24224", set()),
    ],
)
def test_an_aggregator_beside_the_sidecar_has_another_port(
    ecs: Deployment, host: str, port: str, rules: set[str]
) -> None:
    ecs.set_sidecar_variable("LOGSHIP_OUTPUT", "aggregator")
    ecs.set_sidecar_variable("LOGSHIP_AGGREGATOR_HOST", host)
    ecs.set_sidecar_variable("LOGSHIP_AGGREGATOR_PORT", port)
    assert rules_of(ecs) == rules


@pytest.mark.parametrize(
    ("name", "value"), [("USERNAME", "web"), ("TLS_KEY", "/run/key.pem"), ("TLS_CA", "/etc/ca.pem")]
)
def test_variables_from_elsewhere_may_complete_those_of_the_file(name: str, value: str) -> None:
    """A password and a shared key, a certificate, an endpoint with TLS."""
    deployment = base("kubernetes")
    deployment.set_variable(f"LOGSHIP_{name}", value)
    assert rules_of(deployment) == {"wrong-setting"}
    deployment.app["envFrom"] = [{"secretRef": {"name": "logship"}}]
    assert not rules_of(deployment)


def test_a_wrong_value_is_one_whatever_comes_from_elsewhere(kubernetes: Deployment) -> None:
    kubernetes.set_variable("LOGSHIP_OVERFLOW", "drop")
    kubernetes.set_variable("LOGSHIP_TIME_KEY", "message")
    kubernetes.app["envFrom"] = [{"secretRef": {"name": "logship"}}]
    (found,) = judge("a.json", kubernetes.text).findings
    assert (found.rule, "LOGSHIP_OVERFLOW" in found.effect) == ("wrong-setting", True)


@pytest.mark.parametrize(
    ("mode", "is_fargate"),
    [("host", False), ("bridge", False), ("none", False), ("awsvpc", True), (None, False)],
)
def test_fargate_has_no_other_network_mode_than_awsvpc(
    mode: str | None, *, is_fargate: bool
) -> None:
    deployment = base("ecs")
    del deployment.document["requiresCompatibilities"]
    deployment.document["networkMode"] = mode
    deployment.sidecar["stopTimeout"] = 300
    del deployment.app["logConfiguration"]
    of_fargate = {"stop-timeout-limit", "stderr-driver"}
    assert rules_of(deployment) & of_fargate == (of_fargate if is_fargate else set())


def test_gunicorns_command_line_wins_over_its_variable(compose: Deployment) -> None:
    compose.app["command"] = ["gunicorn", "--graceful-timeout", "30", "-w", "2", "app:app"]
    compose.app["mem_limit"] = "512m"
    compose.set_variable("GUNICORN_CMD_ARGS", "--graceful-timeout 5 -w 500")
    assert not rules_of(compose)
    compose.app["command"] = ["gunicorn", "app:app"]
    assert rules_of(compose) == {"graceful-timeout", "memory-sum"}


@pytest.mark.parametrize(
    ("program", "rules"), [("uvicorn", {"memory-sum"}), ("celery", set()), ("hypercorn", set())]
)
def test_a_number_of_web_processes_is_none_of_celerys(program: str, rules: set[str]) -> None:
    """All services of a project may have one environment."""
    deployment = base("compose")
    deployment.app |= {"command": [program, "app"], "mem_limit": "512m"}
    deployment.set_variable("WEB_CONCURRENCY", "40")
    assert rules_of(deployment) == rules


@pytest.mark.parametrize("kind", ["s3", "file"])
def test_the_init_image_of_aws_may_add_routes(ecs: Deployment, kind: str) -> None:
    ecs.sidecar["firelensConfiguration"] = {"type": "fluentbit"}
    ecs.recoverer["logConfiguration"] = {"logDriver": "awsfirelens"}
    assert "tag-route" in rules_of(ecs)
    ecs.set_sidecar_variable(f"aws_fluent_bit_init_{kind}_1", "x")
    assert "tag-route" not in rules_of(ecs)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"log-driver-buffer-limit": "2097152"},
        {"Name": "http", "Retry_Limit": "${RETRIES}"},
        {"Name": "s3", "retry_limit": "1000000000"},
        {"@type": "forward", "require_ack_response": "true", "retry_forever": "true"},
    ],
)
def test_an_output_of_firelens_that_is_right_or_not_known(
    ecs: Deployment, options: dict[str, str]
) -> None:
    ecs.app["logConfiguration"] = {"logDriver": "awsfirelens", "options": options}
    assert rules_of(ecs) == {"stderr-driver"}


@pytest.mark.parametrize(("driver", "is_found"), [("awsfirelens", False), ("awslogs", True)])
def test_fluent_bit_expands_the_options_of_its_driver(
    ecs: Deployment, driver: str, *, is_found: bool
) -> None:
    options = {"log_group_name": "${ECS_CLUSTER}/app"}
    ecs.app["logConfiguration"] = {"logDriver": driver, "options": options}
    assert ("placeholder" in rules_of(ecs)) is is_found


@pytest.mark.parametrize("name", ["catalog-router", "fluent-design"])
def test_a_name_that_only_resembles_a_sidecars_is_an_applications(name: str) -> None:
    deployment = base("compose")
    services = deployment.document["services"]
    services[name] = services.pop("application")
    assert not rules_of(deployment)


def test_a_spool_that_is_named_to_run_is_on_a_volume_too(compose: Deployment) -> None:
    """`run` recovers the spool of its own that it makes where none is named."""
    compose.app |= {"command": ["logship", "run", "--", "app"], "volumes": []}
    assert rules_of(compose) == {"spool-volume"}
    del compose.app["environment"]["LOGSHIP_SPOOL_DIR"]
    assert not rules_of(compose)


@pytest.mark.parametrize(
    ("volume", "command", "more", "rules"),
    [
        ("spool:/data", "--spool /data", {}, set()),
        ("spool:/data/", "--spool=/data/", {}, set()),
        ("spool:/data", "--spool /data/spool", {}, {"spool-volume"}),
        ("spool:/spool", "--watch", {}, set()),
        ("spool:/spool", "--watch", {"env_file": ".env"}, set()),
        ("other:/spool", "--watch", {"env_file": ".env"}, {"spool-volume"}),
    ],
)
def test_a_recoverer_looks_at_the_same_place_of_the_volume(
    volume: str, command: str, more: dict[str, Any], rules: set[str]
) -> None:
    deployment = base("compose")
    deployment.recoverer |= {"command": f"logship recover {command}", "volumes": [volume], **more}
    assert rules_of(deployment) == rules


@pytest.mark.parametrize(("key", "place"), [("subPath", "a"), ("subPathExpr", "$(A)")])
def test_a_mount_may_have_a_part_of_a_volume(kubernetes: Deployment, key: str, place: str) -> None:
    kubernetes.app["volumeMounts"][0][key] = place
    assert rules_of(kubernetes) == {"spool-volume"}
    kubernetes.recoverer["volumeMounts"][0][key] = place
    assert not rules_of(kubernetes)


def test_an_empty_user_of_compose_is_that_of_the_image(compose: Deployment) -> None:
    for service in (compose.app, compose.recoverer):
        service |= {"volumes": ["./spool:/spool"], "user": "${USER_ID:-}"}
    assert not rules_of(compose)


@pytest.mark.parametrize("rule", ["memory-sum", "spool-volume"])
def test_a_size_that_may_come_from_elsewhere_is_no_finding(rule: str) -> None:
    deployment = base("kubernetes")
    if rule == "memory-sum":
        deployment.app["command"] = ["uvicorn", "app:app", "--workers", "40"]
    else:
        deployment.pod["volumes"][0]["emptyDir"] = {"sizeLimit": "64Mi"}
    assert rules_of(deployment) == {rule}
    deployment.app["envFrom"] = [{"configMapRef": {"name": "logship"}}]
    assert not rules_of(deployment)


def test_a_recoverer_fills_no_spool(kubernetes: Deployment) -> None:
    kubernetes.pod["volumes"][0]["emptyDir"] = {"sizeLimit": "64Mi"}
    kubernetes.set_variable("LOGSHIP_SPOOL_BYTES_MAX", "32MiB")
    assert not rules_of(kubernetes)


@pytest.mark.parametrize("command", ["chown -R 10001 /spool", "ls -l /spool"])
def test_a_container_that_runs_first_may_give_the_spool_to_the_user(command: str) -> None:
    deployment = base("kubernetes")
    claim = {"name": "spool", "persistentVolumeClaim": {"claimName": "spool"}}
    deployment.pod["volumes"][0] = claim
    mounts = [{"name": "spool", "mountPath": "/spool"}]
    prepare = {"name": "prepare", "image": "busybox", "command": ["sh", "-c", command]}
    deployment.pod["initContainers"].insert(0, {**prepare, "volumeMounts": mounts})
    assert rules_of(deployment) == (set() if "chown" in command else {"spool-owner"})


@pytest.mark.parametrize(("seconds", "rules"), [(35, set()), (34, {"depends-on"})])
def test_a_plain_sidecar_may_sleep_until_the_application_has_stopped(
    kubernetes: Deployment, seconds: int, rules: set[str]
) -> None:
    """The application has 5 s of sleep in its hook, and 30 for logship."""
    kubernetes.sidecar["lifecycle"] = {"preStop": {"sleep": {"seconds": seconds}}}
    del kubernetes.sidecar["restartPolicy"]
    kubernetes.pod["containers"].append(kubernetes.sidecar)
    kubernetes.pod["initContainers"] = []
    assert rules_of(kubernetes) == rules


@pytest.mark.parametrize(
    ("option", "rules"),
    [
        *(("", {"forward-ack"}), ("require_ack_response false", {"forward-ack"})),
        *(("require_ack_response", set()), ("require_ack_response yes", set())),
        *(("@include server.conf", set()), ("require_ack_response \"#{ENV['A']}\"", set())),
        ("require_ack_response \"#{ENV['A'] || 'false'}\"", {"forward-ack"}),
    ],
)
def test_a_fluentd_that_forwards_waits_for_acks(option: str, rules: set[str]) -> None:
    buffer = "<buffer>\n@type file\nretry_forever true\n</buffer>"
    text = f"{FORWARD}<match **>\n@type forward\n{option}\n{buffer}\n</match>\n"
    assert {each.rule for each in judge("a.conf", text).findings} == rules


@pytest.mark.parametrize("option", ["Upstream nodes.conf", "Require_ack_response ${ACKS}"])
def test_the_acks_of_a_fluent_bit_may_be_set_elsewhere(option: str) -> None:
    text = (
        "[INPUT]\nName forward\nstorage.type filesystem\n[OUTPUT]\nName forward\n"
        "Retry_Limit false\nretain_metadata_in_forward_mode false\n"
    )
    (found,) = judge("a.conf", text).findings
    assert (found.rule, found.change) == ("forward-ack", "require_ack_response true")
    assert not judge("a.conf", f"{text}{option}\n").findings
