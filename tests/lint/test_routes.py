"""Which tags a sidecar's configuration routes, and what makes that impossible to tell."""

from __future__ import annotations

import pytest

from logship._deployment.linting.report import judge
from tests.lint.deployments import HAS_YAML, Deployment, base, rules_of
from tests.lint.sidecar_mistakes import ROUTED, route_another_tag, route_nowhere


def test_routes_are_compared_only_if_all_of_them_are_in_sight(compose: Deployment) -> None:
    route_nowhere(compose)
    assert rules_of(compose) == {"tag-route"}
    compose.sidecar["build"] = "."
    assert not rules_of(compose)
    compose.sidecar.pop("build")
    compose.sidecar["volumes"].append("./conf:/fluentd/etc")
    assert not rules_of(compose)


@pytest.mark.parametrize(
    ("pattern", "is_routed"),
    [
        *(("web", True), ("w*", True), ("*", True), ("*b", True), ("w*x", False), ("WEB", False)),
        ('"*"', False),  # the quotes are a part of the pattern
    ],
)
def test_a_route_of_fluent_bit(kubernetes: Deployment, pattern: str, *, is_routed: bool) -> None:
    route_another_tag(kubernetes)
    data = kubernetes.document["items"][1]["data"]
    data["fluent-bit.conf"] = ROUTED.format(pattern)
    assert rules_of(kubernetes) == (set() if is_routed else {"tag-route"})


@pytest.mark.parametrize(
    ("pattern", "is_routed"),
    [
        *(("web", True), ("**", True), ("*", True), ("web.**", True), ("{api,web}", True)),
        *(("{api,app}.*", False), ("api web", True), ("web.*", False), ("**.web", True)),
        *(("/w.b/", True), ("#{ENV['A']}", True), ("we", False), ("", True)),
    ],
)
def test_a_route_of_fluentd(compose: Deployment, pattern: str, *, is_routed: bool) -> None:
    route_nowhere(compose)
    config = compose.document["configs"]["fluent.conf"]
    config["content"] = config["content"].replace("api.**", pattern)
    assert rules_of(compose) == (set() if is_routed else {"tag-route"})


@pytest.mark.parametrize(
    ("option", "rules"),
    [
        *(("", {"endpoint-port"}), ("port 24226", {"endpoint-port"}), ("port 24225", set())),
        *(("port \"#{ENV['PORT']}\"", set()), ("@include port.conf", set())),
    ],
)
def test_the_port_of_fluentd_is_read_from_its_configuration(option: str, rules: set[str]) -> None:
    deployment = base("compose")
    route_nowhere(deployment)
    config = deployment.document["configs"]["fluent.conf"]
    config["content"] = config["content"].replace("forward", f"forward\n  {option}")
    config["content"] = config["content"].replace("api.**", "**")
    deployment.set_variable("LOGSHIP_ENDPOINTS", "tcp://127.0.0.1:24225")
    assert rules_of(deployment) == rules


@pytest.mark.parametrize(
    ("option", "rules"),
    [
        *(("Port 24224", {"endpoint-port"}), ("Port 24225", set()), ("Port ${PORT}", set())),
        *(("Unix_Path /run/a", set()), ("[INPUT]\n  Name forward", set())),
    ],
)
def test_the_port_of_fluent_bit_is_read_from_its_configuration(
    kubernetes: Deployment, option: str, rules: set[str]
) -> None:
    route_another_tag(kubernetes)
    text = ROUTED.format("*").replace("filesystem", f"filesystem\n  {option}")
    text = text.replace("Name forward\n[OUT", "Name forward\n  storage.type filesystem\n[OUT")
    kubernetes.document["items"][1]["data"]["fluent-bit.conf"] = text
    kubernetes.set_variable("LOGSHIP_ENDPOINTS", "tcp://127.0.0.1:24225")
    assert rules_of(kubernetes) == rules


@pytest.mark.parametrize(("label", "rules"), [("@ERROR", {"tag-route"}), ("@OTHER", set())])
def test_a_route_for_errors_of_fluentd_is_none_for_records(label: str, rules: set[str]) -> None:
    deployment = base("compose")
    route_nowhere(deployment)
    match = "<match **>\n@type stdout\n</match>"
    deployment.document["configs"]["fluent.conf"]["content"] += (
        f"<label {label}>\n{match}\n</label>\n"
    )
    assert rules_of(deployment) == rules


@pytest.mark.parametrize("option", ["tag api", "add_tag_prefix api"])
def test_an_input_of_fluentd_may_give_another_tag(compose: Deployment, option: str) -> None:
    route_nowhere(compose)
    config = compose.document["configs"]["fluent.conf"]
    config["content"] = config["content"].replace("@type forward", f"@type forward\n  {option}")
    assert not rules_of(compose)


@pytest.mark.parametrize("option", ["Tag api.x", "Tag_Prefix api."])
def test_an_input_of_fluent_bit_may_give_another_tag(kubernetes: Deployment, option: str) -> None:
    route_another_tag(kubernetes)
    text = ROUTED.format("api.*").replace("Name forward", f"Name forward\n  {option}")
    kubernetes.document["items"][1]["data"]["fluent-bit.conf"] = text
    assert not rules_of(kubernetes)


def test_the_only_output_of_fluent_bit_needs_no_match(kubernetes: Deployment) -> None:
    route_another_tag(kubernetes)
    text = ROUTED.replace("  Match {}\n", "")
    kubernetes.document["items"][1]["data"]["fluent-bit.conf"] = text
    assert not rules_of(kubernetes)


def test_a_match_of_fluentd_without_a_pattern_takes_all() -> None:
    text = "<match>\n@type null\n</match>\n<match a>\n@type null\n</match>\n"
    assert {each.rule for each in judge("a.conf", text).findings} == {"match-nothing"}


@pytest.mark.parametrize(
    ("words", "rules"),
    [
        (["python", "app.py", "--tag", "api.v1"], {"tag-route"}),
        (["logship", "run", "--", "python", "app.py", "--tag", "api.v1"], {"tag-route"}),
        (["logship", "run", "--tag", "api.v1", "--", "python", "app.py"], set()),
        (["sh", "-c", "exec logship run --tag=api.v1 -- python app.py"], set()),
    ],
)
def test_an_option_of_the_program_is_none_of_logships(words: list[str], rules: set[str]) -> None:
    deployment = base("compose")
    route_nowhere(deployment)
    deployment.app["command"] = words
    assert rules_of(deployment) == rules


ROUTED_DIRECTLY = """\
pipeline:
  inputs:
    - name: forward
      storage.type: filesystem
      {}
  outputs:
    - name: http
      alias: s3
      retry_limit: no_limits
    - name: "null"
      match: api
"""
ROUTES = "routes: { logs: [{ name: all, condition: { default: true }, to: { outputs: [s3] } }] }"


@pytest.mark.skipif(not HAS_YAML, reason="PyYAML is not installed")
@pytest.mark.parametrize(("routes", "is_routed"), [(ROUTES, True), ("", False)])
def test_an_output_that_an_input_names_needs_no_match(routes: str, *, is_routed: bool) -> None:
    text = ROUTED_DIRECTLY.format(routes)
    found = {each.rule for each in judge("fluent-bit.yaml", text).findings}
    assert found == (set() if is_routed else {"match-nothing"})
    deployment = base("kubernetes")
    route_another_tag(deployment)
    deployment.document["items"][1]["data"] = {"fluent-bit.yaml": text}
    assert rules_of(deployment) == (set() if is_routed else {"match-nothing", "tag-route"})
