"""Each finding stands at the line that a person would change."""

from __future__ import annotations

import json

import pytest

from logship._deployment.linting.marks import Marked, parse_json, parse_yaml
from logship._deployment.linting.report import judge
from tests.lint.deployments import HAS_YAML, template_text

needs_yaml = pytest.mark.skipif(not HAS_YAML, reason="PyYAML is not installed")


def found_in(name: str, text: str) -> dict[str, str]:
    """Return the text of each finding's line, by rule."""
    lines = text.splitlines()
    findings = judge(name, text).findings
    return {each.rule: lines[each.line - 1].strip() for each in findings if each.line is not None}


TASK = "sidecar/ecs/web.json"
MANIFEST = "sidecar/kubernetes/base/web.yaml"
TEMPLATE = "sidecar/ecs/cloudformation.yaml"


@pytest.mark.parametrize(
    ("path", "old", "new", "rule", "line"),
    [
        (TASK, '"stopTimeout": 50', '"stopTimeout": 130', "stop-timeout-limit", '"stopTimeout": 1'),
        (TASK, "HEALTHY", "COMPLETE", "depends-on-completed", '"dependsOn": ['),
        (TASK, '"LOGSHIP_TAG"', '"LOGSHIP_TAGG"', "unknown-setting", '{ "name": "LOGSHIP_TAGG"'),
        (TASK, "127.0.0.1:2", "sidecar:2", "endpoint-name", '{ "name": "LOGSHIP_ENDPOINTS"'),
        (TASK, '"blocking"', '"non-blocking"', "stderr-non-blocking", '"logConfiguration"'),
        (TASK, '"value": "s3"', '"value": "s4"', "unknown-output", '{ "name": "LOGSHIP_OUTPUT"'),
        (MANIFEST, "Seconds: 120", "Seconds: 60", "stop-timeout-sum", "terminationGracePeriodS"),
        (MANIFEST, "LOGSHIP_TAG,", "LOGSHIP_TAGG,", "unknown-setting", "- { name: LOGSHIP_TAGG"),
        (MANIFEST, "          restartPolicy: Always\n", "", "init-sidecar", "- name: sidecar"),
        (MANIFEST, "value: stdout", "value: s4", "unknown-output", "- { name: LOGSHIP_OUTPUT"),
        (TEMPLATE, "SoftLimit: 65535", "SoftLimit: 1024", "nofile", "Ulimits:"),
        (TEMPLATE, "LOGSHIP_TAG,", "LOGSHIP_TAGS,", "unknown-setting", "- { Name: LOGSHIP_TAGS"),
        (TEMPLATE, "mode: block", "mode: non-block", "stderr-non-blocking", "LogConfiguration:"),
        (TEMPLATE, "Value: s3", "Value: s4", "unknown-output", "- { Name: LOGSHIP_OUTPUT"),
    ],
)
def test_in_a_deployment(path: str, old: str, new: str, rule: str, line: str) -> None:
    assert found_in(path, template_text(path).replace(old, new, 1))[rule].startswith(line)


@needs_yaml
@pytest.mark.parametrize("comment", ["", "# a comment\n---\n"])
def test_in_a_configuration_inside_of_a_manifest(comment: str) -> None:
    text = comment + (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  note: x\n"
        "  fluent-bit.conf: |\n    [INPUT]\n        Name forward\n        storage.type memory\n"
    )
    assert found_in("map.yaml", text) == {"memory-buffer": "storage.type memory"}


@needs_yaml
def test_in_a_configuration_that_an_alias_stands_for() -> None:
    text = (
        "x-conf: &conf |\n  [INPUT]\n    Name forward\n    storage.type memory\n"
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a.conf: *conf\n"
    )
    assert found_in("map.yaml", text) == {"memory-buffer": "storage.type memory"}


def test_of_a_configuration_that_is_one_line_of_json() -> None:
    data = {"a.conf": "[INPUT]\nName forward\n[OUTPUT]\nName s3\nMatch *\n"}
    text = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "data": data}, indent=1)
    assert all(line.startswith('"a.conf"') for line in found_in("map.json", text).values())


STRANGE = """\
{"a": {"b{\\"}": [1, {"c": "}"}, {}],

  "d":
    {"e": "x:\\\\", "f": {}}}}"""


def test_json_knows_the_lines_of_its_keys() -> None:
    whole = parse_json(STRANGE)
    assert whole == json.loads(STRANGE)
    inner = whole["a"]
    assert (inner.line, inner.lines) == (1, {'b{"}': 1, "d": 3})
    assert (inner["d"].line, inner["d"].lines) == (4, {"e": 4, "f": 4})


@needs_yaml
def test_yaml_knows_them_too_where_keys_are_merged() -> None:
    (whole,) = parse_yaml("a: &a\n  x: 1\nb:\n  <<: *a\n  y: |\n    z\n")
    assert isinstance(whole["b"], Marked)
    assert whole["b"].lines == {"x": 2, "y": 5}
    assert whole["b"].blocks == {"y": 6}


def test_findings_stand_in_the_order_of_their_lines() -> None:
    text = template_text("sidecar/ecs/web.json").replace("127.0.0.1:24224", "sidecar:24224", 1)
    text = text.replace('"stopTimeout": 50', '"stopTimeout": 130', 1)
    lines = [each.line or 0 for each in judge("web.json", text).findings]
    assert len(set(lines)) > 1
    assert lines == sorted(lines)
