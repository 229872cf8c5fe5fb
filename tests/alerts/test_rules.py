"""The rules: well-formed, about metrics that exist, each explained; and what promtool says."""

from __future__ import annotations

import re

import pytest

from tests.alerts.expressions import (
    ALERTING,
    RECORDING,
    REPOSITORY,
    RULES,
    known_names,
    names_in,
    rules_of,
    unknown_values_in,
    yaml_of,
)
from tests.support.commands import ran
from tests.support.prometheus import why_no_promtool

RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text()
ALERTS = {rule["alert"]: rule for rule in rules_of(ALERTING)}
ALL_RULES = [*rules_of(RECORDING), *rules_of(ALERTING)]
RULES_TESTS = ("rules_test.yml", "rules_test_seconds.yml")
PARTS = ("Means", "Effect", "Look at", "Run", "Repair")


def names_of_rules() -> list[str]:
    return [rule.get("alert") or rule["record"] for rule in ALL_RULES]


@pytest.fixture
def promtool() -> str:
    if why := why_no_promtool():
        pytest.skip(why)
    return "promtool"


@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", RECORDING.name, ALERTING.name),
        ("test", "rules", *RULES_TESTS),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_promtool_is_content(promtool: str, words: tuple[str, ...]) -> None:
    ran(promtool, *words, cwd=RULES, timeout=120)


def test_promtools_tests_evaluate_what_is_recorded_before_what_asks_for_it() -> None:
    """Else in an order of chance, and in one of ten runs an alert is of an evaluation ago."""
    groups = [group["name"] for each in (RECORDING, ALERTING) for group in yaml_of(each)["groups"]]
    for name in RULES_TESTS:
        assert yaml_of(RULES / name)["group_eval_order"] == groups


def test_promtools_tests_cover_every_alert() -> None:
    text = "".join((RULES / name).read_text() for name in RULES_TESTS)
    fired = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts", text))
    silent = set(re.findall(r"alertname: (\w+)\}", text))
    assert fired == ALERTS.keys()
    assert fired - silent == set(), "each is also seen not to fire"


@pytest.mark.parametrize("rule", ALL_RULES, ids=names_of_rules())
def test_a_rule_asks_for_what_is_exported(rule: dict[str, str]) -> None:
    assert names_in(rule["expr"])
    assert names_in(rule["expr"]) - known_names() == set()
    assert list(unknown_values_in(rule["expr"])) == []


def test_a_name_that_is_not_exported_is_found() -> None:
    expression = 'sum by (job) (rate(logship_lost_total[5m])) / 1e3 > bool up{job="x"} offset 5m'
    assert names_in(expression) == {"logship_lost_total", "up"}
    assert names_in(expression) - known_names() == {"logship_lost_total"}
    wrong = 'logship_records_dropped_total{reason="full"} > logship_records_acked_total'
    assert list(unknown_values_in(wrong)) == ['logship_records_dropped_total{reason="full"}']
    assert list(unknown_values_in(wrong.replace("full", "overflow"))) == []


def test_every_alert_has_its_paragraph_and_the_reverse() -> None:
    assert re.findall(r"^## (\S+)$", RUNBOOK, re.MULTILINE) == list(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_bad_it_is_and_where_it_is_explained(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{alert.lower()}"
    paragraph = RUNBOOK.partition(f"\n## {alert}\n")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^- \*\*([\w ]+):\*\*", paragraph, re.MULTILINE)) == PARTS
