"""What is right although it looks like a mistake, and mistakes that look right.

Most of them are in `near_misses.txt`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from logship._deployment.linting.report import NO_LOGSHIP, judge
from tests.lint.deployments import HAS_YAML, Deployment, base, rules_of
from tests.lint.mistakes import name_a_service_logship
from tests.lint.tables import Case, cases_of

needs_yaml = pytest.mark.skipif(not HAS_YAML, reason="PyYAML is not installed")


@pytest.mark.parametrize("case", [*cases_of("near_misses.txt")], ids=lambda case: case.name)
def test_a_case_of_the_table(case: Case) -> None:
    for each in case.bases:
        assert rules_of(case.deployment(each)) == {*case.rules}


def test_the_networks_to_add_are_shown(compose: Deployment) -> None:
    for service, network in ((compose.app, "front"), (compose.sidecar, "back")):
        del service["network_mode"]
        service["networks"] = [network]
    compose.set_variable("LOGSHIP_ENDPOINTS", "tcp://sidecar:24224")
    (found,) = judge("a.json", compose.text).findings
    assert (found.rule, found.change) == ("endpoint-name", "networks: [back, front]")


_LOOPBACK = 'environment: { LOGSHIP_ENDPOINTS: "tcp://127.0.0.1:24225" }'


@pytest.mark.parametrize(
    ("of_app", "of_sidecar", "host", "change"),
    [
        (None, "host", "127.0.0.1", "network_mode: host"),
        ("none", None, "127.0.0.1", "network_mode: service:sidecar"),
        (None, "service:database", "127.0.0.1", "network_mode: service:database"),
        ("bridge", None, "sidecar", f"network_mode: service:sidecar; {_LOOPBACK}"),
        ("host", None, "sidecar", f"{_LOOPBACK}; in sidecar: network_mode: host"),
    ],
)
def test_the_namespace_to_share_is_shown(
    compose: Deployment, of_app: str | None, of_sidecar: str | None, host: str, change: str
) -> None:
    compose.app["network_mode"] = of_app
    compose.sidecar["network_mode"] = of_sidecar
    compose.set_variable("LOGSHIP_ENDPOINTS", f"tcp://{host}:24225")
    (found,) = judge("a.json", compose.text).findings
    assert found.change == change


@pytest.mark.parametrize("links", [True, False])
def test_variables_of_services_can_be_switched_off(*, links: bool) -> None:
    deployment = base("kubernetes", "web.yaml")
    name_a_service_logship(deployment)
    deployment.pod["enableServiceLinks"] = links
    assert rules_of(deployment) == ({"service-links"} if links else set())


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
            kubernetes.set_variable(f"LOGSHIP_{name}", value, "sidecar")
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


@needs_yaml
def test_a_user_and_group_are_no_minutes_and_seconds() -> None:
    """YAML 1.1, which PyYAML reads, takes 1001:0 for 60,060; compose does not."""
    service = "{{image: x, user: {}, volumes: ['s:/s'], command: {}, {}}}"
    environment = "environment: {LOGSHIP_SPOOL_DIR: /s}, depends_on: [b]"
    application = service.format("1001:0", "app", environment)
    recoverer = service.format("'1001:0'", "logship recover --spool /s", "restart: always")
    text = f"services:\n  a: {application}\n  b: {recoverer}\n"
    assert not judge("compose.yaml", text).findings


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


def test_a_wrong_value_is_one_whatever_comes_from_elsewhere(kubernetes: Deployment) -> None:
    kubernetes.set_variable("LOGSHIP_OVERFLOW", "drop")
    kubernetes.set_variable("LOGSHIP_TIME_KEY", "message")
    kubernetes.app["envFrom"] = [{"secretRef": {"name": "logship"}}]
    (found,) = judge("a.json", kubernetes.text).findings
    assert (found.rule, "LOGSHIP_OVERFLOW" in found.effect) == ("wrong-setting", True)


@pytest.mark.parametrize("name", ["catalog-router", "fluent-design"])
def test_a_name_that_only_resembles_a_sidecars_is_an_applications(name: str) -> None:
    deployment = base("compose")
    services = deployment.document["services"]
    services[name] = services.pop("application")
    assert not rules_of(deployment)


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
