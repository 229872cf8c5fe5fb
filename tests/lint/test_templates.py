"""Each template of `sidecar/` without a finding, and with one for each rule that reads its kind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from logship._deployment.linting.model import Platform
from logship._deployment.linting.report import judge
from logship._deployment.linting.rules import RULES
from logship._deployment.linting.rules.sidecars import NEEDED, OUTPUTS, VARIABLES
from tests.lint.deployments import ROOT, base, rules_of, template_text
from tests.lint.mistakes import MISTAKES
from tests.lint.tables import Edit, edits

EDITS = list(edits())
CONFIGURATIONS = [each for each in EDITS if not each.path.endswith("Dockerfile")]
TEMPLATES = sorted(
    str(each.relative_to(ROOT))
    for pattern in (
        *("docker-compose.yml", "benchmarks/compose/Dockerfile", "sidecar/*/Dockerfile"),
        *("sidecar/ecs/*.json", "sidecar/ecs/*.yaml", "sidecar/kubernetes/base/[bw]*.yaml"),
        *("sidecar/fluentd/fluent.conf", "sidecar/fluentd/outputs/*.conf"),
        "sidecar/fluent-bit/conf/**/*.yaml",
    )
    for each in ROOT.glob(pattern)
)
NOT_JUDGED = {"sidecar/fluentd/outputs/http.conf", "sidecar/fluentd/outputs/inject.conf"}
"""It says how a record is written, and nothing that a rule is about."""


@pytest.mark.parametrize("path", TEMPLATES)
def test_a_template_is_judged_and_has_no_finding(path: str) -> None:
    report = judge(path, template_text(path))
    assert not report.findings
    assert not report.ignored
    assert (report.why_not_judged is not None) == (path in NOT_JUDGED)


def edited(edit: Edit) -> str:
    text = template_text(edit.path)
    assert edit.old in text, "the template has changed: change this list too"
    return text.replace(edit.old, edit.new, 1)


def line_of(edit: Edit) -> int:
    return edited(edit).count("\n", 0, template_text(edit.path).index(edit.old)) + 1


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_a_mistake_in_a_template_is_found_near_its_line(edit: Edit) -> None:
    found = judge(edit.path, edited(edit)).findings
    assert {each.rule for each in found} == {edit.rule}
    assert all(each.line is not None and each.line <= line_of(edit) + 4 for each in found)


@pytest.mark.parametrize("edit", CONFIGURATIONS, ids=lambda edit: edit.name)
def test_a_mistake_is_found_in_a_configmap_and_in_a_config_of_compose(edit: Edit) -> None:
    name, text = edit.path.rpartition("/")[2], edited(edit)
    data = {"apiVersion": "v1", "kind": "ConfigMap", "data": {name: text}}
    found = judge("map.json", json.dumps(data)).findings
    assert {each.rule for each in found} == {edit.rule}
    deployment = base("compose")
    deployment.document["configs"] = {name: {"content": text}}
    assert rules_of(deployment) == {edit.rule}


APPLICATION = """\
# syntax=docker/dockerfile:1
ARG PYTHON=3.13
FROM python:${PYTHON} AS base
STOPSIGNAL SIGUSR1
ENV LOGSHIP_TAG=web PATH="/app/bin:$PATH"
ENTRYPOINT sleep 1; python
FROM base AS other
CMD npm start
FROM base
STOPSIGNAL SIGTERM
COPY app /app
RUN <<END
STOPSIGNAL SIGKILL
END
ENTRYPOINT ["python", \\
  # the program
  "-m", "app"]
CMD ["--port", "80"]
"""

BELOW = {
    "stop-signal": "STOPSIGNAL SIGUSR2",
    "shell-entrypoint": "ENTRYPOINT migrate && python app.py",
    "npm-entrypoint": 'ENTRYPOINT ["npm", "run", "start"]',
    "script-entrypoint": 'ENTRYPOINT ["./start.sh"]',
    "other-package": "RUN pip install logship",
    "last-resort-none": "ENV LOGSHIP_LAST_RESORT=none",
    "unknown-setting": "ENV LOGSHIP_TAGG web",
    "disabled": "ENV\tLOGSHIP_DISABLED\t1",
    "plain-secret": "ENV A=b API_TOKEN='hidden words'",
}


def test_only_the_last_stage_counts_with_what_it_inherits() -> None:
    assert not judge("Dockerfile", APPLICATION).findings
    middle = APPLICATION.partition("FROM base AS other")[0]
    assert [each.rule for each in judge("Dockerfile", middle).findings] == [
        "stop-signal",
        "shell-entrypoint",
    ]
    inherited = middle + "FROM base\n"
    assert [each.line for each in judge("Dockerfile", inherited).findings] == [4, 6]


@pytest.mark.parametrize("rule", BELOW)
def test_a_mistake_in_a_dockerfile_is_found_in_its_line(rule: str) -> None:
    text = APPLICATION + BELOW[rule] + "\n"
    (found,) = judge("a/web.Dockerfile", text).findings
    assert (found.rule, found.line) == (rule, text.count("\n"))
    assert "hidden" not in found.effect + found.change


@pytest.mark.parametrize(
    ("stop_signal", "listed", "count"),
    [
        ("SIGQUIT", "", 0),
        ("28", "", 1),
        ("SIGWINCH", "TERM,WINCH", 0),
        ("SIGTERM", "QUIT", 1),
        ("$UNKNOWN", "", 0),
        ("${SIGNAL:-SIGUSR1}", "", 1),
        ("RTMIN+3", "", 1),
    ],
)
def test_a_stop_signal_is_compared_with_the_setting(
    stop_signal: str, listed: str, count: int
) -> None:
    text = f"FROM python\nENV LOGSHIP_STOP_SIGNALS={listed}\nSTOPSIGNAL {stop_signal}\n"
    found = judge("Containerfile", text).findings
    assert [each.rule for each in found] == ["stop-signal"] * count


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ('FROM a\nSHELL ["/bin/bash", "-c"]\nCMD a; b', {"shell-entrypoint"}),
        ("FROM a\nCMD exec a", set()),
        ("FROM a\nCMD a; \\\n  exec b", set()),
        ("# escape=`\nFROM a\nCMD a; `\n exec b", set()),
        ('FROM a\nCMD a; b\nENTRYPOINT ["tini", "-g", "--"]', set()),
        ('FROM a AS b\nCMD a; c\nFROM b\nENTRYPOINT ["tini", "--"]', set()),
        ('FROM a\nCMD a; c\nENTRYPOINT ["tini", "--"]', {"shell-entrypoint"}),
        ("FROM a AS b\nCMD a; c\nFROM B", {"shell-entrypoint"}),
        ('FROM a\nENTRYPOINT ["a"]\nCMD b; c', set()),
        ('FROM a\nCMD ["a"', {"shell-entrypoint"}),
        ("FROM a\nONBUILD CMD a; b", set()),
        ('FROM a\nCMD ["sh", "-c", "if b; then exec c; else exec d; fi"]', set()),
    ],
)
def test_what_a_dockerfile_starts(text: str, rules: set[str]) -> None:
    assert {each.rule for each in judge("Dockerfile", text).findings} == rules


@pytest.mark.parametrize(
    ("command", "count"),
    [
        ("pip install --no-cache-dir 'logship==1.0' flask", 1),
        ("apt-get update && /venv/bin/python -m pip install Logship[x]", 1),
        ("uv pip install \\\n  logship", 1),
        ("pip install logship-forward", 0),
        ("pip install ./logship /tmp/logship_forward-0.1.0-py3-none-any.whl", 0),
        ("pip install git+https://example.com/logship", 0),
        ("cd logship && pip install .", 0),
        ("logship lint", 0),
    ],
)
def test_the_package_of_another_project_is_found_in_each_stage(command: str, count: int) -> None:
    text = f"FROM a AS b\nRUN {command}\nFROM a\nCOPY --from=b /venv /venv\n"
    found = judge("Dockerfile", text).findings
    assert [(each.rule, each.line) for each in found] == [("other-package", 2)] * count


@pytest.mark.parametrize(
    "name", ["Dockerfile", "web.Dockerfile", "Dockerfile.web", "Containerfile"]
)
@pytest.mark.parametrize("prefix", ["", "a/b/"])
def test_a_dockerfile_is_known_by_its_name_or_its_content(name: str, prefix: str) -> None:
    for known in (f"{prefix}{name}", f"{prefix}image"):
        (found,) = judge(known, "# a comment\nARG A=1\nFROM a:${A}\nCMD a; b\n").findings
        assert found.rule == "shell-entrypoint"


@pytest.mark.parametrize(
    "value", ["true", "no", "0", "${KEY}", "/run/key", "arn:aws:x", "vault:a#b", "op://a/b", "''"]
)
def test_what_is_no_secret_or_stands_elsewhere(value: str) -> None:
    text = f"FROM a\nENV ALLOW_EMPTY_PASSWORD={value}\n"
    assert not judge("Dockerfile", text).findings


def test_every_rule_has_a_mistake_in_a_test_for_each_kind_of_file() -> None:
    seeded = {(each.rules[0], each.platform) for each in MISTAKES}
    seeded |= {
        (each.rule, platform)
        for each in CONFIGURATIONS
        for platform in ("kubernetes", "compose", Platform.CONFIGURATION)
    }
    dockerfiles = [each for each in EDITS if each not in CONFIGURATIONS]
    seeded |= {(each.rule, Platform.DOCKERFILE) for each in dockerfiles}
    seeded |= {(rule, Platform.DOCKERFILE) for rule in BELOW}
    wanted = {(rule.name, platform) for rule in RULES.values() for platform in rule.platforms}
    assert wanted <= seeded


def test_the_sidecars_variables_and_outputs_are_those_of_their_files() -> None:
    read = set()
    for path in [*ROOT.glob("sidecar/fluentd/**/*"), *ROOT.glob("sidecar/fluent-bit/**/*")]:
        if path.is_file():
            lines = [each for each in path.read_text().splitlines() if each.strip()[:1] != "#"]
            read |= set(re.findall(r"LOGSHIP_[A-Z0-9_]+", "\n".join(lines)))
    assert read == VARIABLES
    files = {each.stem for each in ROOT.glob("sidecar/*/**/outputs/*") if each.is_file()}
    assert files - {"buffer", "http", "inject"} == set(OUTPUTS)


def test_what_an_output_needs_is_what_has_no_default_in_its_files() -> None:
    """Of both sidecars, where both have it: the name of an image does not always tell which."""
    dockerfile = (ROOT / "sidecar/fluent-bit/Dockerfile").read_text()
    given = {"HOSTNAME", *re.findall(r"^ +(LOGSHIP_[A-Z0-9_]+)=", dockerfile, re.MULTILINE)}
    needed: dict[str, set[str]] = {}
    for path in ROOT.glob("sidecar/*/**/outputs/*"):
        if path.stem == "http":
            continue
        lines = path.read_text().splitlines()
        if "fluent-bit" in path.parts:
            found = {
                name
                for line in lines
                if "#" not in line
                for name in re.findall(r"\$\{(\w+)\}", line)
            } - given
        else:
            fetched = re.compile(r"\"#\{ENV\.fetch\('(\w+)'\)\}")
            if "  @include http.conf" in lines:
                lines += (path.parent / "http.conf").read_text().splitlines()
            found = {name for line in lines for name in fetched.findall(line)}
        name = path.stem
        needed[name] = found if name not in needed else _joined(path, needed[name], found)
    assert {name: tuple(sorted(found)) for name, found in needed.items() if found} == NEEDED


def _joined(path: Path, one: set[str], other: set[str]) -> set[str]:
    """Return what two files of one name need: those of one sidecar are read together."""
    return one | other if path.stem == "aggregators" else one & other
