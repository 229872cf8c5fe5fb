"""Fluentd's configuration in YAML means what its form with sections means."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from logship._deployment.linting.report import judge
from tests.support.commands import ran

pytest.importorskip("yaml")

RIGHT = """\
system:
  workers: 1
config:
  - source:
      $type: forward
      port: !fluent/s "#{ENV['LOGSHIP_PORT'] || '24224'}"
  - filter:
      $tag: '**'
      $type: stdout
  - label:
      $name: '@AUDIT'
      config:
        - match:
            $tag: '**'
            $type: 'null'
  - match:
      $tag: [web, 'web.**']
      $type: forward
      require_ack_response: true
      server:
        - host: 127.0.0.1
      buffer:
        $arg: [tag]
        $type: file
        path: buffer
        overflow_action: block
        retry_forever: true
  - match:
      $tag: '**'
      $type: copy
      store:
        - $type: stdout
        - $type: file
          path: out/${tag}
          buffer:
            $arg: [tag, time]
            timekey: 60
            retry_forever: true
"""


def findings(text: str, name: str = "fluentd.yaml") -> list[tuple[str, int | None, str]]:
    return [(each.rule, each.line, each.change) for each in judge(name, text).findings]


def test_a_right_one_is_judged_and_clean() -> None:
    report = judge("fluentd.yaml", RIGHT)
    assert (report.findings, report.why_not_judged) == ((), None)


@pytest.mark.skipif(shutil.which("fluentd") is None, reason="Fluentd is not on PATH")
def test_fluentd_takes_it(tmp_path: Path) -> None:
    (tmp_path / "fluentd.yaml").write_text(RIGHT)
    done = ran("fluentd", "--dry-run", "-c", tmp_path / "fluentd.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "rule", "place"),
    [
        ("action: block", "action: drop_oldest_chunk", "buffer-overflow", "drop_oldest"),
        ("_response: true", "_response: false", "forward-ack", "_response: false"),
        ("$type: file\n        path: buffer", "$type: memory", "memory-buffer", "$tag: [web"),
        ("        retry_forever: true\n  -", "        retry_timeout: 1h\n  -", "retry-limit", "1h"),
        ("port: !fluent", "chunk_size_limit: 1m\n      port: !fluent", "chunk-limit", "limit: 1m"),
        ("$tag: [web, 'web.**']", "$tag: '**'", "match-nothing", "$tag: '**'\n      $type: copy"),
    ],
)
def test_a_mistake_is_found_in_its_line(old: str, new: str, rule: str, place: str) -> None:
    assert RIGHT.count(old) == 1
    text = RIGHT.replace(old, new)
    line = text[: text.index(place)].count("\n") + 1
    assert [each[:2] for each in findings(text)] == [(rule, line)]


def test_advice_has_its_syntax() -> None:
    text = RIGHT.replace("overflow_action: block", "overflow_action: drop_oldest_chunk")
    assert [each[2] for each in findings(text)] == ["overflow_action: block"]


def test_one_in_a_configmap_routes_the_tags_of_its_pod() -> None:
    """The routes are compared only if nothing is included."""
    text = "config:\n- source: {$type: forward}\n- match: {$tag: 'web.**', $type: stdout}\n"
    sidecar = {
        "name": "fluentd",
        "image": "fluent/fluentd",
        "restartPolicy": "Always",
        "volumeMounts": [
            {"name": "conf", "mountPath": "/fluentd/etc"},
            {"name": "buffer", "mountPath": "/fluentd/buffer"},
        ],
    }
    env = [{"name": "LOGSHIP_TAG", "value": "shop"}]
    volumes = [{"name": "conf", "configMap": {"name": "conf"}}, {"name": "buffer", "emptyDir": {}}]
    spec = {
        "terminationGracePeriodSeconds": 60,
        "initContainers": [sidecar],
        "containers": [{"name": "app", "image": "app", "env": env}],
        "volumes": volumes,
    }

    def rules(configuration: str) -> list[str]:
        data = {"fluentd.yaml": configuration}
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
        items = [{**config_map, "data": data}, pod]
        document = {"apiVersion": "v1", "kind": "List", "items": items}
        return [rule for rule, _, _ in findings(json.dumps(document), "a.json")]

    assert rules(text) == ["tag-route"]
    assert rules(text.replace("web.**", "shop")) == []
    assert rules(f"{text}- !include more.yaml\n") == []


def test_one_that_only_includes_others_is_not_judged() -> None:
    report = judge("fluentd.yaml", "config:\n  - !include conf.d/*.yaml\n")
    assert report.why_not_judged is not None


def test_a_list_that_is_not_fluentds_is_refused() -> None:
    """Other programs have a list `config` too."""
    with pytest.raises(Exception, match="it is not an ECS task definition"):
        judge("a.yaml", "config:\n  - source: {}\n  - colour: red\n")
