"""The command `logship lint`: its exit codes, its words, and files that it cannot judge."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from logship._cli.lint import command
from tests.lint.deployments import HAS_YAML, base
from tests.support.commands import ran, ran_python

needs_yaml = pytest.mark.skipif(not HAS_YAML, reason="PyYAML is not installed")


def lint(*arguments: str | Path, given: str | None = None, code: int | None = None) -> Result:
    result = CliRunner().invoke(command, [str(each) for each in arguments], input=given)
    assert code is None or result.exit_code == code, result.output
    return result


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A compose file with two mistakes."""
    deployment = base("compose")
    deployment.app["depends_on"] = ["recoverer"]
    deployment.recoverer["depends_on"] = []
    deployment.app["environment"]["LOGSHIP_TAGG"] = "web"
    path = tmp_path / "compose.json"
    path.write_text(deployment.text)
    return path


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    path = tmp_path / "clean.json"
    path.write_text(base("compose").text)
    return path


def test_clean_is_0(clean: Path) -> None:
    result = lint(clean)
    assert (result.exit_code, result.output) == (0, "clean: 1 file\n")


def test_findings_are_1_and_say_what_happens_and_what_to_write(broken: Path, clean: Path) -> None:
    result = lint(clean, broken, code=1)
    lines = result.output.splitlines()
    assert lines[0] == "3 findings in 2 files"
    assert any(
        re.fullmatch(rf"{broken}:[0-9]+: warning: application: unknown-setting", line)
        for line in lines
    )
    assert "  change to: rename LOGSHIP_TAGG to LOGSHIP_TAG" in lines
    assert any("the last records meet a closed port" in line for line in lines)


def test_json_holds_everything(broken: Path) -> None:
    result = lint(broken, "--json", "--ignore", "unknown-setting")
    told = json.loads(result.output)
    assert (told["clean"], told["ignored"], result.exit_code) == (False, 1, 1)
    assert {each["container"] for each in told["findings"]} == {"application", "recoverer"}
    keys = {"file", "line", "rule", "severity", "container", "effect", "change"}
    assert set(told["findings"][0]) == keys
    assert lint(broken, "--format", "json", "--ignore", "unknown-setting").output == result.output


def test_what_is_ignored_is_no_finding_and_is_counted(broken: Path) -> None:
    result = lint(
        broken,
        *("--ignore", "unknown-setting", "--ignore", "depends-on:application"),
        *("--ignore", "depends-on:recoverer"),
    )
    assert (result.exit_code, result.output) == (0, "clean: 1 file, 3 ignored\n")


def test_ignoring_one_container_leaves_the_others(broken: Path) -> None:
    result = lint(broken, "--json", "--ignore", "depends-on:recoverer")
    found = [(each["rule"], each["container"]) for each in json.loads(result.output)["findings"]]
    assert ("depends-on", "application") in found
    assert ("depends-on", "recoverer") not in found


@pytest.mark.parametrize(
    ("comment", "exit_code", "said"),
    [
        ("# logship-lint: ignore memory-buffer a test, not needed", 0, "1 ignored"),
        ("# logship-lint: ignore memory-buffer", 2, "lacks a rule or a reason"),
        ("# logship-lint: ignore", 2, "lacks a rule or a reason"),
        ("# logship-lint: ignore memory because", 2, "'memory' is not a rule; the rules are "),
    ],
)
def test_a_comment_ignores_with_a_reason(
    tmp_path: Path, comment: str, exit_code: int, said: str
) -> None:
    path = tmp_path / "fluent.conf"
    path.write_text(f"{comment}\n<match **>\n  @type s3\n</match>\n")
    result = lint(path, code=exit_code)
    assert said in result.output


def test_nothing_judged_is_said_and_is_0(tmp_path: Path, clean: Path, broken: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"services": {"web": {"image": "nginx"}}}))
    result = lint(path, code=0)
    assert result.output.splitlines()[0] == "nothing judged: 1 file"
    assert (
        f"not judged: {path}: no container with an image shows that it uses logship"
        in result.output
    )
    assert lint(path, clean).output.splitlines()[0] == "clean: 1 file, 1 file not judged"
    told = json.loads(lint(path, broken, "--json").output)
    assert list(told["not_judged"]) == [str(path)]


@pytest.mark.parametrize(
    ("script", "severity"),
    [
        (None, "note"),
        ("#!/bin/sh\nset -e\nexec python app.py\n", None),
        ("#!/bin/sh\nmigrate\npython app.py\n", "note"),
    ],
)
@pytest.mark.parametrize("is_given", [True, False])
def test_a_script_is_read_where_a_container_starts_with_it(
    tmp_path: Path, script: str | None, severity: str | None, *, is_given: bool
) -> None:
    """From another FILE, or from beside the file."""
    path = tmp_path / "Dockerfile"
    path.write_text('FROM python\nCOPY start.sh /app/\nENTRYPOINT ["/app/start.sh"]\n')
    beside = (tmp_path / "elsewhere" if is_given else tmp_path) / "start.sh"
    beside.parent.mkdir(exist_ok=True)
    if script is not None:
        beside.write_text(script)
    result = lint(
        path, *([beside] if is_given and script is not None else []), code=(1 if severity else 0)
    )
    assert (f"{path}:3: {severity}: Dockerfile: script-entrypoint" in result.output) == (
        severity is not None
    )


@pytest.mark.parametrize("is_beside", [True, False])
def test_of_two_scripts_with_one_name_the_one_beside_the_file_is_read(
    tmp_path: Path, *, is_beside: bool
) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for place, script in ((right, "exec python app.py\n"), (wrong, "python app.py\n")):
        place.mkdir()
        (place / "start.sh").write_text(script)
    file = (right if is_beside else tmp_path) / "Dockerfile"
    file.write_text('FROM python\nENTRYPOINT ["/app/start.sh"]\n')
    for scripts in (("right", "wrong"), ("wrong", "right")):
        result = lint(
            file, *(tmp_path / each / "start.sh" for each in scripts), code=(0 if is_beside else 1)
        )
        assert ("this file does not show it" in result.output) is not is_beside


@pytest.mark.parametrize("path", ["/", "..", "\0.sh", "a" * 5_000 + ".sh", "a b.sh", "pipefail"])
def test_a_word_that_is_no_path_is_no_script(tmp_path: Path, path: str) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(f"FROM python\nCMD {json.dumps(['bash', path])}\n")
    assert lint(file).exit_code == 0


def test_a_script_that_cannot_be_read_is_not_in_sight(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text('FROM python\nCMD ["./start.sh"]\n')
    (tmp_path / "start.sh").mkdir()
    assert "this file does not show it" in lint(file).output
    (tmp_path / "start.sh").rmdir()
    (tmp_path / "start.sh").write_bytes(b"#!/bin/sh\n\xff")
    assert "this file does not show it" in lint(file).output


BUILT: dict[str, Any] = {"build": ".", "environment": {"LOGSHIP_STOP_SIGNALS": "TERM,QUIT"}}
STOPPED_BY_USR1 = "FROM python AS base\nSTOPSIGNAL SIGTERM\nFROM base\nSTOPSIGNAL SIGUSR1\n"


def lint_built(directory: Path, dockerfile: str, name: str, **service: Any) -> list[Any]:
    """Return the findings in a compose file whose service may be built of a Dockerfile.

    The Dockerfile is `name`, with the setting that is right for it alone.
    """
    compose, path = directory / "compose.json", directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    compose.write_text(json.dumps({"services": {"app": BUILT | service}}))
    path.write_text(
        dockerfile.replace("STOPSIGNAL", "ENV LOGSHIP_STOP_SIGNALS=TERM,USR1\nSTOPSIGNAL")
    )
    found: list[Any] = json.loads(lint(compose, path, "--json").output)["findings"]
    assert {each["file"] for each in found} <= {str(compose)}
    return found


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (".", "Dockerfile"),
        ("app", "app/Dockerfile"),
        ("./app/../other", "other/Dockerfile"),
        ("${PLACE:-app}", "app/Dockerfile"),
        ({"context": "app"}, "app/Dockerfile"),
        ({"context": "app", "dockerfile": "web.Dockerfile"}, "app/web.Dockerfile"),
        ({"context": "app", "dockerfile": "../web"}, "web"),
        ({"context": ".", "args": {}, "target": None}, "Dockerfile"),
    ],
)
def test_a_services_setting_is_compared_with_the_image_that_it_builds(
    tmp_path: Path, build: object, name: str
) -> None:
    (found,) = lint_built(tmp_path, STOPPED_BY_USR1, name, build=build)
    assert (found["rule"], found["container"]) == ("stop-signal", "app")
    assert "SIGUSR1" in found["effect"]
    assert found["change"] == 'environment: { LOGSHIP_STOP_SIGNALS: "QUIT,USR1,TERM" }'


@pytest.mark.parametrize(
    "service",
    [
        pytest.param({"environment": {"LOGSHIP_STOP_SIGNALS": "USR1"}}, id="it is heeded"),
        pytest.param({"environment": {"LOGSHIP_STOP_SIGNALS": "${STOPS}"}}, id="unknown setting"),
        pytest.param({"environment": {"LOGSHIP_TAG": "web"}}, id="the image's own setting"),
        pytest.param({"stop_signal": "SIGQUIT"}, id="the service's own signal"),
        pytest.param({"build": None, "image": "app"}, id="no build"),
        pytest.param({"build": "other"}, id="another directory"),
        pytest.param({"build": {"dockerfile": "Dockerfile"}}, id="no context"),
        pytest.param({"build": {"context": ".", "dockerfile": "b"}}, id="another file"),
        pytest.param({"build": {"context": ".", "target": "base"}}, id="another stage"),
        pytest.param({"build": {"context": ".", "args": ["A=1"]}}, id="with arguments"),
        pytest.param({"build": {"context": ".", "dockerfile_inline": "FROM a"}}, id="inline"),
        pytest.param({"build": "https://example.com/app.git"}, id="elsewhere"),
        pytest.param({"build": "${PLACE}"}, id="unknown directory"),
        pytest.param({"build": "\0"}, id="no path"),
        pytest.param({"build": ["."]}, id="no build at all"),
        pytest.param({"build": {"context": 5}}, id="no context at all"),
    ],
)
def test_an_image_whose_stop_signal_is_right_or_uncertain_is_no_finding(
    tmp_path: Path, service: dict[str, Any]
) -> None:
    assert not lint_built(tmp_path, STOPPED_BY_USR1, "Dockerfile", **service)


def test_a_dockerfile_need_not_be_given_and_may_be_gone_or_name_no_signal(tmp_path: Path) -> None:
    assert not lint_built(tmp_path, "FROM python\n", "Dockerfile")
    (tmp_path / "Dockerfile").write_text(STOPPED_BY_USR1)
    assert "SIGUSR1" in lint(tmp_path / "compose.json", code=1).output
    (tmp_path / "Dockerfile").unlink()
    assert lint(tmp_path / "compose.json").exit_code == 0


def test_a_rule_is_explained() -> None:
    result = lint("--explain", "blind-ack", code=0)
    assert result.output.startswith("blind-ack (error; ecs, kubernetes, compose, dockerfile)\n")
    assert "because:" in result.output
    assert lint("--explain", "everything").exit_code == 2


def test_github_shows_each_finding_beside_its_line(broken: Path) -> None:
    result = lint(broken, "--format", "github", code=1)
    lines = result.output.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert re.match(r"::(error|warning|notice) file=[^,:]+,line=[0-9]+,title=[a-z-]+::", line)
        assert "%0Achange to: " in line


def test_githubs_commands_cannot_be_forged_by_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a,title=b%:c.json"
    name = "app\n::error::forged"
    environment = {"LOGSHIP_TAGG": "a"}
    path.write_text(json.dumps({"services": {name: {"build": ".", "environment": environment}}}))
    (line,) = lint(path, "--format", "github").output.splitlines()
    assert "a%2Ctitle=b%25%3Ac.json,line=" in line


def test_standard_input_is_read(broken: Path) -> None:
    result = lint("-", "-", given=broken.read_text(), code=1)
    assert "-:1: warning: application: unknown-setting" in result.output


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b"{", "it is not JSON"),
        ("a.json", b"[1, 2", "it is not JSON"),
        ("a.json", b"{}", "it is not an ECS task definition"),
        ("a.json", b"[]", "it is not an ECS task definition"),
        ("a.json", b'{"containerDefinitions": []}', "no containerDefinitions"),
        ("a.json", b'{"containerDefinitions": 5}', "not a list"),
        ("a.json", b"\xff\xfe\x00", "not UTF-8"),
        ("a.json", b"[" * 200_000, "it is not JSON"),
        ("a.tf", b'resource "aws_ecs_task_definition" "a" {}', "terraform show -json"),
        ("terraform.tfstate", b'{"version": 4}', "terraform show -json"),
        ("a.json", b'{"services": {"a": {"extends": "b"}}}', "`docker compose config`"),
        ("a.json", b'{"services": {}, "include": ["b"]}', "`docker compose config`"),
        ("a.conf", b"", "it is empty"),
        ("a.conf", b"# <source>\n\n", "it is empty"),
        ("a.conf", b"<match **>\n<buffer>\n@type fi", "<buffer> in line 2 has no end"),
    ],
)
def test_what_cannot_be_judged_is_2_and_named(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    result = lint(path, code=2)
    assert said in result.output
    assert str(path) in result.output


def test_files_that_are_not_there_are_2(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.json", "No such"), (tmp_path, "name the files in it")):
        result = lint(path, code=2)
        assert f"{path}: " in result.output
        assert said in result.output


def test_a_file_that_cannot_be_judged_hides_nothing_of_the_others(
    tmp_path: Path, broken: Path, clean: Path
) -> None:
    """And of no file it is said that it is clean, while another could be anything."""
    none, empty = tmp_path / "none.json", tmp_path / "empty.conf"
    empty.touch()
    result = lint(none, broken, empty, code=2)
    assert "warning: application: unknown-setting" in result.stdout
    assert str(none) in result.stderr
    assert str(empty) in result.stderr
    result = lint(clean, none, code=2)
    assert result.stdout == ""


def test_usage_is_2(clean: Path) -> None:
    assert lint().exit_code == 2
    result = lint(clean, "--ignore", "everything", code=2)
    assert "is not a rule" in result.output


def test_without_pyyaml_it_says_what_to_install(
    tmp_path: Path, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And JSON is read all the same."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "compose.yml"
    path.write_text("services: {app: {image: app}}\n")
    assert "YAML needs PyYAML: pip install PyYAML" in lint(path, code=2).output
    assert lint(clean).exit_code == 0


@needs_yaml
def test_yaml_with_tags_anchors_and_several_documents(tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text(
        "x-env: &env\n  LOGSHIP_TAG: ${TAG:-web}\n  LOGSHIP_REPORT: true\n"
        "  LOGSHIP_ENDPOINTS: tcp://fluentd:24224\n"
        "services:\n  fluentd: {image: 'fluentd:v1.19', ports: !reset [], tmpfs: /buffer}\n"
        "  app:\n    image: app\n    environment: *env\n"
    )
    result = lint(path)
    assert "compose.yml:7: error: app: depends-on\n" in result.output
    assert result.output.startswith("1 finding in 1 file")
    order = "    depends_on: !override {fluentd: {condition: service_healthy}}\n"
    path.write_text(path.read_text() + order)
    assert lint(path).output == "clean: 1 file\n"


@needs_yaml
@pytest.mark.parametrize("text", ["", "a: [", "a: !!python/object:os.system x", "\t- a", "a\n"])
def test_yaml_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    result = lint(path, code=2)
    assert str(path) in result.output


@needs_yaml
def test_yaml_that_is_none_is_shown_where(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("services:\n  app: [1\n  b: {\n")
    assert "a.yaml: it is not YAML: line 3, column 4: expected ',' or ']'" in lint(path).output


def test_it_is_a_command_of_logship_and_needs_no_network(clean: Path) -> None:
    """Nothing of the client is loaded."""
    program = (
        "import sys; from logship._cli import main\n"
        "try: main(['lint', sys.argv[1]])\n"
        "except SystemExit as end: code = end.code\n"
        "assert not {'asyncio', 'socket', 'logship._client.client'} & set(sys.modules)\n"
        "sys.exit(code)"
    )
    ended = ran_python(program, clean)
    assert (ended.stdout, ended.stderr) == ("clean: 1 file\n", "")


def test_an_error_on_a_full_disk_is_no_finding() -> None:
    words = [sys.executable, "-m", "logship", "lint", "missing.yaml"]
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(words, stderr=full, check=False, timeout=60)
    assert ended.returncode == 2


@needs_yaml
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "metadata: {name: {{ .Release.Name }}}", "lint the output of `helm template`"),
        ("a.py", "def a():\n    b: c: d", "a.py: it is not an ECS task definition, Terraform plan"),
    ],
)
def test_a_template_or_a_program_is_told_for_what_it_is(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert said in lint(path, code=2).output


def test_a_closed_standard_input_is_an_error() -> None:
    words = ("sh", sys.executable, "-m", "logship", "lint", "-")
    ended = ran("sh", "-c", 'exec "$@" <&-', *words, code=2)
    assert ended.stderr == "Error: -: standard input is closed\n"
