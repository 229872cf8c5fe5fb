"""Which tags a sidecar's configuration routes, and what makes that impossible to tell."""

from __future__ import annotations

import pytest

from logship._deployment.linting.report import judge
from tests.lint.deployments import HAS_YAML, Deployment, base, rules_of
from tests.lint.mistakes import ROUTED, route_another_tag, route_nowhere


def test_routes_are_compared_only_if_all_of_them_are_in_sight(compose: Deployment) -> None:
    route_nowhere(compose)
    assert rules_of(compose) == {"tag-route"}
    compose.sidecar["build"] = "."
    assert not rules_of(compose)
    compose.sidecar.pop("build")
    compose.sidecar["volumes"].append("./conf:/fluentd/etc")
    assert not rules_of(compose)


BIT = ROUTED.format("api.*")
INPUT = "Name forward\n  storage.type filesystem"
AT_25 = "tcp://127.0.0.1:24225"


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        *((ROUTED.format(pattern), "") for pattern in ("web", "w*", "*", "*b")),
        *((ROUTED.format(pattern), "tag-route") for pattern in ("w*x", "WEB")),
        (ROUTED.format('"*"'), "tag-route"),  # the quotes are a part of the pattern
        (ROUTED.replace("  Match {}\n", ""), ""),  # it is the only output
        (BIT.replace("Name forward", "Name forward\n  Tag api.x"), ""),
        (BIT.replace("Name forward", "Name forward\n  Tag_Prefix api."), ""),
    ],
)
def test_a_route_of_fluent_bit(kubernetes: Deployment, text: str, rules: str) -> None:
    route_another_tag(kubernetes)
    kubernetes.document["items"][1]["data"]["fluent-bit.conf"] = text
    assert rules_of(kubernetes) == {*rules.split()}


FORWARD = "<source>\n  @type forward\n</source>\n"
ALL = "<match **>\n@type stdout\n</match>\n"


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        *(
            (FORWARD + ALL.replace("**", pattern), "")
            for pattern in (
                *("web", "**", "*", "web.**", "{api,web}", "api web", "**.web", "/w.b/", ""),
                "#{ENV['A']}",
            )
        ),
        *(
            (FORWARD + ALL.replace("**", pattern), "tag-route")
            for pattern in ("{api,app}.*", "web.*", "we")
        ),
        *(
            (FORWARD.replace("forward", f"forward\n{option}") + ALL.replace("**", "api.**"), "")
            for option in ("tag api", "add_tag_prefix api")
        ),
        (f"{FORWARD}<label @OTHER>\n{ALL}</label>\n", ""),
        # A route for errors is none for records.
        (f"{FORWARD}<label @ERROR>\n{ALL}</label>\n" + ALL.replace("**", "api"), "tag-route"),
    ],
)
def test_a_route_of_fluentd(compose: Deployment, text: str, rules: str) -> None:
    route_nowhere(compose)
    compose.document["configs"]["fluent.conf"]["content"] = text
    assert rules_of(compose) == {*rules.split()}


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
    text = FORWARD.replace("forward", f"forward\n  {option}") + ALL
    deployment.document["configs"]["fluent.conf"]["content"] = text
    deployment.set_variable("LOGSHIP_ENDPOINTS", AT_25)
    assert rules_of(deployment) == rules


@pytest.mark.parametrize(
    ("option", "rules"),
    [
        *(("Port 24224", {"endpoint-port"}), ("Port 24225", set()), ("Port ${PORT}", set())),
        *(
            ("Unix_Path /run/a", set()),
            ("[INPUT]\n  Name forward\n  storage.type filesystem", set()),
        ),
    ],
)
def test_the_port_of_fluent_bit_is_read_from_its_configuration(
    kubernetes: Deployment, option: str, rules: set[str]
) -> None:
    route_another_tag(kubernetes)
    text = ROUTED.format("*").replace("filesystem", f"filesystem\n  {option}")
    kubernetes.document["items"][1]["data"]["fluent-bit.conf"] = text
    kubernetes.set_variable("LOGSHIP_ENDPOINTS", AT_25)
    assert rules_of(kubernetes) == rules


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
