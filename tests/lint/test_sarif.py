"""SARIF: what the schema of version 2.1.0 requires, and what readers of it rely on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from logship._cli.lint import command
from logship._deployment.linting.rules import RULES
from tests.lint.deployments import base

LEVELS = {"none", "note", "warning", "error"}


def run_of(*arguments: str | Path) -> tuple[dict[str, Any], int]:
    result = CliRunner().invoke(command, ["--format", "sarif", *map(str, arguments)])
    log = json.loads(result.stdout)
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    return run, result.exit_code


def broken(directory: Path) -> Path:
    deployment = base("compose")
    deployment.app["depends_on"] = {}
    deployment.set_variable("LOGSHIP_TAGG", "web")
    path = directory / "a compose#1.json"
    path.write_text(json.dumps(deployment.document, indent=1))
    return path


def test_a_run_has_its_tool_and_all_rules(tmp_path: Path) -> None:
    run, exit_code = run_of(broken(tmp_path))
    assert exit_code == 1
    driver = run["tool"]["driver"]
    assert driver["name"] == "logship lint"
    assert [each["id"] for each in driver["rules"]] == list(RULES)
    for each in driver["rules"]:
        for key in ("shortDescription", "fullDescription", "help"):
            assert each[key]["text"]
        assert each["defaultConfiguration"]["level"] in LEVELS


def test_a_result_names_its_rule_its_message_and_its_line(tmp_path: Path) -> None:
    path = broken(tmp_path)
    run, _ = run_of(path)
    rules = run["tool"]["driver"]["rules"]
    assert len(run["results"]) >= 2
    for each in run["results"]:
        assert each["message"]["text"]
        assert each["level"] in LEVELS
        assert rules[each["ruleIndex"]]["id"] == each["ruleId"]
        (location,) = each["locations"]
        physical = location["physicalLocation"]
        assert physical["artifactLocation"]["uri"].endswith("/a%20compose%231.json")
        line = physical["region"]["startLine"]
        assert isinstance(line, int)
        assert line >= 1
    unknown = next(each for each in run["results"] if each["ruleId"] == "unknown-setting")
    line = unknown["locations"][0]["physicalLocation"]["region"]["startLine"]
    assert "LOGSHIP_TAGG" in path.read_text().splitlines()[line - 1]


def test_a_name_that_is_no_utf_8_has_its_bytes_in_the_uri(tmp_path: Path) -> None:
    path = broken(tmp_path).rename(tmp_path / "compose\udcff.json")
    location = run_of(path)[0]["results"][0]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"].endswith("/compose%FF.json")


def test_a_file_that_cannot_be_read_is_in_the_invocation(tmp_path: Path) -> None:
    run, exit_code = run_of(broken(tmp_path), tmp_path / "none.json")
    assert exit_code == 2
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    (said,) = invocation["toolExecutionNotifications"]
    assert said["level"] == "error"
    assert "none.json" in said["message"]["text"]
    assert run["results"]


def test_without_findings_there_is_a_run_without_results(tmp_path: Path) -> None:
    path = tmp_path / "compose.json"
    path.write_text(base("compose").text)
    run, exit_code = run_of(path)
    assert (run["results"], exit_code) == ([], 0)
    assert run["invocations"] == [{"executionSuccessful": True}]
