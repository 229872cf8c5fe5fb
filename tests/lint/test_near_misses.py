"""What is right although it looks like a mistake, and mistakes that look right."""

from __future__ import annotations

import pytest

from logship._deployment.linting.report import judge
from tests.lint.deployments import BASES, Deployment, template_text
from tests.lint.sidecar_mistakes import (
    ROUTED,
    name_a_service_logship,
    route_another_tag,
    route_nowhere,
)


def base(platform: str, name: str = "own") -> Deployment:
    return next(each for each in BASES if (each.platform, each.name) == (platform, name)).make()


def rules_of(deployment: Deployment) -> set[str]:
    return {each.rule for each in judge("a.json", deployment.text).findings}


def test_a_sidecars_namespace_knows_the_sidecars_name() -> None:
    deployment = base("compose")
    deployment.app["network_mode"] = "service:sidecar"
    deployment.set_variable("LOGSHIP_ENDPOINTS", "tcp://sidecar:24224")
    assert not rules_of(deployment)


def test_a_host_alias_of_another_name_is_left_alone() -> None:
    deployment = base("kubernetes")
    deployment.set_variable("LOGSHIP_ENDPOINTS", "tcp://logs.example.com:24224")
    assert not rules_of(deployment)


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


def test_ecs_orders_containers_with_its_driver_behind_the_router() -> None:
    deployment = base("ecs", "web.json")
    deployment.sidecar["firelensConfiguration"] = {"type": "fluentd"}
    deployment.app["logConfiguration"] = {"logDriver": "awsfirelens"}
    deployment.app["dependsOn"] = [{"containerName": "recoverer", "condition": "START"}]
    deployment.recoverer["dependsOn"] = []
    deployment.set_variable("LOGSHIP_TAG", "app-firelens-1")
    found = judge("a.json", deployment.text).findings
    assert {(each.rule, each.container) for each in found} == {
        ("depends-on", "recoverer"),
        ("stderr-driver", "app"),
    }


def test_a_configmap_is_no_volume_for_a_buffer() -> None:
    deployment = base("kubernetes")
    deployment.pod["volumes"].append({"name": "conf", "configMap": {"name": "conf"}})
    deployment.sidecar["volumeMounts"] = [{"name": "conf", "mountPath": "/fluent-bit/etc"}]
    assert rules_of(deployment) == {"sidecar-volume"}


@pytest.mark.parametrize("links", [True, False])
def test_variables_of_services_can_be_switched_off(*, links: bool) -> None:
    deployment = base("kubernetes", "web.yaml")
    name_a_service_logship(deployment)
    deployment.pod["enableServiceLinks"] = links
    assert rules_of(deployment) == ({"service-links"} if links else set())


def test_routes_are_compared_only_if_all_of_them_are_in_sight() -> None:
    deployment = base("compose")
    route_nowhere(deployment)
    assert rules_of(deployment) == {"tag-route"}
    deployment.sidecar["build"] = "."
    assert not rules_of(deployment)
    deployment.sidecar.pop("build")
    deployment.sidecar["volumes"].append("./conf:/fluentd/etc")
    assert not rules_of(deployment)


@pytest.mark.parametrize(
    ("pattern", "is_routed"),
    [("web", True), ("w*", True), ("*", True), ("*b", True), ("w*x", False), ("WEB", False)],
)
def test_a_route_of_fluent_bit(pattern: str, *, is_routed: bool) -> None:
    deployment = base("kubernetes")
    route_another_tag(deployment)
    data = deployment.document["items"][1]["data"]
    data["fluent-bit.conf"] = ROUTED.format(pattern)
    assert rules_of(deployment) == (set() if is_routed else {"tag-route"})


@pytest.mark.parametrize(
    ("pattern", "is_routed"),
    [
        *(("web", True), ("**", True), ("*", True), ("web.**", True), ("{api,web}", True)),
        *(("{api,app}.*", False), ("api web", True), ("web.*", False), ("**.web", True)),
        *(("/w.b/", True), ("#{ENV['A']}", True), ("we", False)),
    ],
)
def test_a_route_of_fluentd(pattern: str, *, is_routed: bool) -> None:
    deployment = base("compose")
    route_nowhere(deployment)
    config = deployment.document["configs"]["fluent.conf"]
    config["content"] = config["content"].replace("api.**", pattern)
    assert rules_of(deployment) == (set() if is_routed else {"tag-route"})


@pytest.mark.parametrize("place", ["secondary", "forever"])
def test_a_limit_of_retries_with_a_second_place_is_right(place: str) -> None:
    path = "sidecar/fluentd/outputs/stdout.conf"
    text = template_text(path).replace("  <buffer>", "  <buffer>\n    retry_max_times 3", 1)
    assert [each.rule for each in judge(path, text).findings] == ["retry-limit"]
    if place == "secondary":
        text = text.replace("</match>", "<secondary>\n@type secondary_file\n</secondary>\n</match>")
    else:
        text = text.replace("retry_max_times 3", "retry_max_times 3\n    retry_forever true")
    assert not judge(path, text).findings


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
