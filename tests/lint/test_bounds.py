"""What a hostile file may cost `logship lint`, and that each is answered by one clear error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from logship._deployment.linting import report as linting_report
from logship._deployment.linting.marks import YAML_CHARACTERS_MAX, LintError
from logship._deployment.linting.report import FINDINGS_MAX, FileReport, judge
from logship._deployment.linting.shapes import COMMAND_CHARACTERS_MAX
from tests.lint.deployments import HAS_YAML
from tests.support.memory import traced_memory
from tests.support.pace import costs_less

needs_yaml = pytest.mark.skipif(not HAS_YAML, reason="PyYAML is not installed")


def judged(text: str, name: str = "a.yaml") -> FileReport | LintError:
    try:
        return judge(name, text, is_spot=True)
    except LintError as error:
        return error


def compose(**service: Any) -> str:
    return json.dumps({"services": {"app": {"image": "app", **service}}})


def laughs(layer: str, count: int = 9) -> str:
    """Layers of YAML that each stand for ten of the one before."""
    layers = "".join(layer.format(each, ",".join([f"*a{each - 1}"] * 10)) for each in range(1, 9))
    return f"a0: &a0 {{x: lol}}\n{layers}services: *a8\n"


@needs_yaml
@pytest.mark.parametrize(
    "text",
    [
        laughs("a{0}: &a{0} [{1}]\n"),
        laughs("a{0}: &a{0} {{y: [{1}]}}\n"),
        laughs("a{0}: &a{0} {{<<: [{1}]}}\n"),
        f"a: &a {'x' * 100_000}\nservices: [{','.join(['*a'] * 1_000)}]\n",
        "services: &a [*a]\n",
        "apiVersion: v1\nkind: List\nitems: &a [{apiVersion: v1, kind: List, items: *a}]\n",
    ],
    ids=["lists", "mappings", "merges", "a long text", "itself", "a list of itself"],
)
def test_aliases_that_stand_for_too_much_are_refused(text: str) -> None:
    with traced_memory() as memory:
        error = judged(text)
    assert isinstance(error, LintError)
    assert "alias" in str(error)
    assert memory.peak_bytes < 8_000_000


@needs_yaml
@pytest.mark.parametrize("value", ["!!timestamp x", "!!bool x", "!!int ''", "!!float x"])
def test_a_value_of_another_type_than_its_tag_is_no_yaml(value: str) -> None:
    assert "it is not YAML" in str(judged(f"services: {{app: {{image: {value}}}}}"))


@needs_yaml
def test_a_key_that_is_no_text_is_read_as_one() -> None:
    text = "services: {app: {image: app, environment: {~: x, 1: y, true: z, LOGSHIP_TAGG: t}}}"
    report = judged(text)
    assert isinstance(report, FileReport)
    assert [each.rule for each in report.findings] == ["unknown-setting"]


SECONDS_A_CHARACTER_MAX = 2e-6
"""Some times what JSON costs, and a part of what these files cost where it was squared."""
HUGE = "9" * 5_000


@pytest.mark.parametrize(
    "text",
    [
        compose(mem_limit=HUGE),
        compose(stop_grace_period=HUGE),
        compose(ulimits={"nofile": "1" + "0" * 400}),
        compose(command="gunicorn -w ² --graceful-timeout ²"),
        compose(command=f"gunicorn -w {HUGE} --graceful-timeout {HUGE}", mem_limit="64m"),
        compose(command=f"app --stop-timeout {HUGE}", environment={"LOGSHIP_TAG": "web"}),
        compose(image=f"fluent-bit:{HUGE}.{HUGE}"),
        compose(environment={"LOGSHIP_BUFFER_BYTES_MAX": "²"}, mem_limit="64m"),
        compose(networks=[{"front": 1}, ["front"], None]),
        compose(depends_on=[{"fluentd": {"condition": "service_healthy"}}, ["fluentd"]]),
        '{"apiVersion":"v1","kind":"List","items":[' * 400 + "]}" * 400,
        pytest.param("services: {app: {mem_limit: 0x" + "f" * 9_000 + "}}", marks=needs_yaml),
        pytest.param("services: {app: {mem_limit: " + "1:" * 90_000 + "1}}", marks=needs_yaml),
    ],
)
def test_absurd_values_are_refused_or_passed_over(text: str) -> None:
    assert isinstance(judged(text), FileReport | LintError)
    assert costs_less(2.0, lambda: judged(text))


def diamonds(count: int) -> str:
    """Containers of which each two depend on the next two: 2 ** count ways through them."""
    containers = [
        {
            "name": f"{side}{row}",
            "image": "app",
            "dependsOn": [{"containerName": f"{each}{row + 1}"} for each in "ab"],
        }
        for row in range(count)
        for side in "ab"
    ]
    return json.dumps({"containerDefinitions": containers})


def all_on_all(count: int) -> str:
    """Services of which each depends on all of them."""
    names = [f"{each}" for each in range(count)]
    service = {"image": "app", "environment": {"LOGSHIP_TAG": "a"}, "depends_on": names}
    return json.dumps({"services": dict.fromkeys(names, service)})


def variables(count: int) -> str:
    return compose(environment={f"LOGSHIP_STOP_TIMEOUT_S{each}": "1" for each in range(count)})


def spools(count: int) -> str:
    """Applications on one spool, and one recoverer."""
    app = {"environment": {"LOGSHIP_SPOOL_DIR": "/spool"}, "volumes": ["spool:/spool"]}
    recoverer = {**app, "command": "logship recover --spool /spool"}
    return json.dumps({"services": {f"a{each}": app for each in range(count)} | {"r": recoverer}})


def namespaces(count: int) -> str:
    """Services, and pods that each have a namespace of their own."""
    services = [{"kind": "Service", "metadata": {"name": f"a{each}"}} for each in range(count)]
    spec = {"containers": [{"name": "app", "image": "app"}]}
    pods = [{"metadata": {"namespace": f"{each}"}, "spec": spec} for each in range(count)]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [*services, *pods]})


def routers(count: int) -> str:
    """Applications whose tag no output of FireLens matches, each with a long name."""
    driver = {"logConfiguration": {"logDriver": "awsfirelens"}}
    tag = {"environment": [{"name": "LOGSHIP_TAG", "value": "web"}]}
    apps = [{"name": f"{each}" * 500, "image": "app", **driver, **tag} for each in range(count)]
    router = {"name": "router", "image": "x", "firelensConfiguration": {"type": "fluentbit"}}
    return json.dumps({"containerDefinitions": [*apps, router]})


def pods(containers: int, keys: int) -> str:
    """A pod with many containers and many keys."""
    definitions = [{"name": f"a{each}", "image": "app"} for each in range(containers)]
    spec = {"containers": definitions, **{f"key{each}": 1 for each in range(keys)}}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "spec": spec})


def variables_of_stages(count: int) -> str:
    """Stages that each inherit many variables."""
    pairs = " ".join(f"A{each}=1" for each in range(count))
    return f"FROM a AS b\nENV {pairs}\n" + "FROM b AS b\n" * count


def ignored(count: int) -> str:
    """Findings, and many more comments that ignore a rule."""
    sections = "".join(f"<match a>\n@type kafka{each}\n</match>\n" for each in range(count))
    return "# logship-lint: ignore nofile a test\n" * (10 * count) + sections


@pytest.mark.parametrize(
    ("file", "name", "text"),
    [
        ("a.json", "dependencies", all_on_all(200)),
        ("a.json", "spools", spools(990)),
        ("a.json", "names", routers(200)),
        ("a.json", "namespaces", namespaces(1_500)),
        ("a", "ignored rules", ignored(2_000)),
        ("a.json", "a long word", compose(command="a" * 500_000)),
        ("a", "blank lines", "\n" * 50_000),
        ("a", "blank lines of a configuration", "<source>" + "\n" * 50_000),
        ("a", "blank lines of another", "[SERVICE]" + "\n" * 50_000),
        ("a", "sections without an end", "<match>\n" * 20_000),
        ("a", "heads without an end", "<match " * 20_000),
        ("a", "blanks in a head", f"<source>\n<match{' ' * 50_000}a"),
        ("a", "buffers without an end", f"<match>{'<buffer>' * 20_000}</match>"),
        ("a.json", "defaults without an end", compose(user="${A-" * 20_000)),
        ("a.json", "ways", diamonds(40)),
        (
            "a.json",
            "containers",
            json.dumps({"services": {f"app{each}": {} for each in range(8_000)}}),
        ),
        ("a", "comments", "# logship-lint:" + " " * 50_000 + "#" * 50_000),
        ("a.json", "objects", '{"services":{"a":[' + '{"b":1},' * 20_000 + "{}]}}"),
        ("a.json", "strings", '{"services":{"a":[' + '"b",' * 50_000 + '"c"]}}'),
        ("a.json", "an endless string", '{"services":"' + "\\\\" * 50_000),
        ("a.json", "keys of a pod", pods(300, 5_000)),
        ("a", "inputs", "[INPUT]\nName forward\n" * 4_900),
        ("a", "plugins", "[OUTPUT]\nName s3\n" * 1_600),
        ("a", "matches", "<match **>\n</match>\n" * 4_900),
        ("a", "sections in each other", "<match a>\n" * 20_000),
        ("Dockerfile", "stages", "FROM a\n" * 900 + "CMD a; b\n"),
        ("Dockerfile", "inherited variables", variables_of_stages(900)),
        ("Dockerfile", "continued lines", "FROM a\nRUN a \\\n" + "b \\\n" * 100_000),
        ("Dockerfile", "comments between them", "FROM a\nRUN a \\\n" + "# b\n" * 100_000),
        ("Dockerfile", "here-documents", "FROM a\n" + "RUN <<A\nA\n" * 25_000),
        ("Dockerfile", "here-documents without an end", "FROM a\n" + "RUN <<A\n" * 40_000),
        ("Dockerfile", "many in one line", "FROM a\nRUN " + "<<A " * 100_000),
        ("Dockerfile", "uses of variables", "FROM a\nENV A=1\n" + "STOPSIGNAL $A$A$A$A\n" * 20_000),
        ("Dockerfile", "quotes without an end", "FROM a\n" + ("ENV " + 'a="' * 3_000 + "\n") * 20),
        ("Dockerfile", "escapes", "FROM a\nENV A=" + "\\a" * 8_000),
        ("Dockerfile", "blank lines", "\n" * 80_000 + "FROM a"),
        ("Dockerfile", "a shell's assignments", "FROM a\nCMD " + "a=a " * 4_000 + "; b"),
        ("Dockerfile", "ends of commands", "FROM a\nCMD " + "; fi" * 4_000),
    ],
)
def test_hostile_files_cost_cpu_in_proportion_to_their_size(
    file: str, name: str, text: str
) -> None:
    seconds_max = 0.5 + SECONDS_A_CHARACTER_MAX * len(text)
    assert costs_less(seconds_max, lambda: judged(text, file))


def test_no_more_is_found_than_may_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each unknown variable, the one that was meant is looked for among all others."""
    monkeypatch.setattr(linting_report, "FINDINGS_MAX", 100)
    text = variables(5_000)
    assert "more than 100 findings" in str(judged(text, "a.json"))
    assert costs_less(0.5, lambda: judged(text, "a.json"))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("Dockerfile", "FROM a\n" * 1_001, "1,000 stages"),
        (
            "Dockerfile",
            "FROM a\n" + "".join(f"ENV A{each}=1\n" for each in range(1_001)),
            "1,000 variables",
        ),
        ("Dockerfile", "FROM a\nCMD " + "a" * 17_000, "line 2 is longer than 16 KiB"),
        ("Dockerfile", "FROM a\nENV A=aaaaaaaa\n" + "ENV A=$A$A$A$A$A$A$A$A\n" * 20, "16 KiB"),
        ("Dockerfile", "ARG A=1\n", "no FROM"),
        ("a.json", compose(command="a" * (COMMAND_CHARACTERS_MAX + 1)), "app: command"),
        ("a", "[INPUT]\nName forward\n" * (FINDINGS_MAX + 1), "findings"),
    ],
)
def test_a_file_above_a_limit_is_refused_and_named(file: str, text: str, said: str) -> None:
    error = judged(text, file)
    assert isinstance(error, LintError)
    assert said in str(error)


@needs_yaml
def test_keys_of_yaml_with_one_hash_cost_cpu_in_proportion_to_their_size() -> None:
    """Every multiple of 2**61 - 1 has the hash 0."""
    keys = "".join(f"  {each * ((1 << 61) - 1)}: 1\n" for each in range(10_000))
    seconds_max = 4e-6 * len(keys)  # PyYAML's own pace is 1.4 µs
    assert costs_less(seconds_max, lambda: judged(f"services:\n{keys}"))


@needs_yaml
def test_yaml_above_its_limit_is_refused_before_it_is_read() -> None:
    """PyYAML takes 20 s and 300 MiB for a MiB of short items."""
    text = "services:\n" + "#\n" * (YAML_CHARACTERS_MAX // 2)
    assert "longer than 1 MiB" in str(judged(text))
    assert costs_less(1.0, lambda: judged(text))


@needs_yaml
def test_configurations_in_yaml_have_that_limit_together() -> None:
    inner = "pipeline: {}\n#" + "x" * (YAML_CHARACTERS_MAX // 3)
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "data": {"a.yaml": inner}}] * 4
    error = judged(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}), "a.json")
    assert "configurations" in str(error)


@needs_yaml
def test_each_of_many_configurations_is_parsed_once() -> None:
    inner = "pipeline: {inputs: [{name: forward}]}\nx: [" + "a," * 1_000 + "]"
    maps = [{"kind": "ConfigMap", "data": {f"{each}.yaml": inner}} for each in range(8)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": maps})
    report = judged(text, "a.json")
    assert isinstance(report, FileReport)
    seconds_max = 60e-6 * len(text)  # PyYAML's own pace is 20 µs
    assert costs_less(seconds_max, lambda: judged(text, "a.json"))
    assert {each.rule for each in report.findings} == {"memory-buffer"}


def test_a_finding_about_routes_does_not_repeat_all_of_them() -> None:
    report = judged(routers(100), "a.json")
    assert isinstance(report, FileReport)
    assert max(len(each.effect) for each in report.findings) < 10_000


def test_thousand_containers_beside_each_other_are_judged() -> None:
    service = {"image": "app", "network_mode": "service:fluentd"}
    services = {f"app{each}": service for each in range(999)}
    text = json.dumps({"services": {**services, "fluentd": {"image": "logship-sidecar"}}})
    report = judged(text, "a.json")
    assert isinstance(report, FileReport)
    assert len(report.findings) >= 999


def test_a_pod_of_too_many_native_sidecars_is_refused_and_costs_little_memory() -> None:
    """Each starts after all that are before it."""
    sidecars = [{"restartPolicy": "Always"}] * 5_000
    spec = {"initContainers": sidecars, "containers": []}
    text = json.dumps({"apiVersion": "v1", "kind": "Pod", "spec": spec})
    with traced_memory() as memory:
        error = judged(text, "a.json")
    assert "more than 1,000 containers" in str(error)
    assert memory.peak_bytes < 80_000_000
