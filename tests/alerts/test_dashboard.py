"""The dashboard asks for what is exported, and is laid out so that it can be read at a glance."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.expressions import (
    ALERTING,
    RECORDING,
    REPOSITORY,
    known_names,
    names_in,
    rules_of,
    unknown_values_in,
    yaml_of,
)
from tests.sidecar.deployed import run, why_no_compose
from tests.support.prometheus import why_no_promtool

GRAFANA = REPOSITORY / "sidecar" / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "logship.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
COMPOSE = yaml_of(REPOSITORY / "docker-compose.yml")

COLUMNS = 24
KINDS = {"stat", "timeseries", "table", "row"}
FIRST = ("anything lost", "Keeping up", "full in")
"""What the first three panels answer; design and runbook name them."""


def expressions() -> Iterator[Any]:
    """Yield every query of the dashboard, with the title of its panel as its id."""
    for panel in PANELS:
        for target in panel.get("targets", []):
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for annotation in DASHBOARD["annotations"]["list"]:
        if "expr" in annotation:
            yield pytest.param(annotation["expr"], id=annotation["name"])


EXPRESSIONS = list(expressions())


def filled_in(expression: str) -> str:
    """Return a query with values for Grafana's variables."""
    return (
        expression.replace("$__rate_interval", "1m")
        .replace("$job", "application")
        .replace("$instance", ".*")
    )


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_query_asks_for_what_is_exported_of_the_chosen_targets(expression: str) -> None:
    assert names_in(filled_in(expression))
    assert names_in(filled_in(expression)) - known_names() == set()
    assert list(unknown_values_in(filled_in(expression))) == []
    assert "$" not in filled_in(expression), "a variable that Grafana does not have"
    for name, matchers in re.findall(r"(logship[\w:]+)(\{[^}]*\})?", expression):
        assert 'job=~"$job"' in matchers, name
        assert 'instance=~"$instance"' in matchers, name


def test_promtool_can_read_every_query(tmp_path: Path) -> None:
    if why := why_no_promtool():
        pytest.skip(why)
    rules = [
        {"record": f"query:{number}", "expr": filled_in(each.values[0])}
        for number, each in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    status, said = run("promtool", "check", "rules", file)
    assert status == 0, said
    assert f"{len(EXPRESSIONS)} rules found" in said


def test_variables_are_filled_from_what_is_exported() -> None:
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "job", "instance"]
    for variable in DASHBOARD["templating"]["list"][1:]:
        assert names_in(variable["query"]["query"].replace(", job", "")) <= (
            known_names() | {"instance"}
        )


def test_panels_are_whole_and_nothing_lies_upon_another() -> None:
    assert {panel["type"] for panel in PANELS} == KINDS
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= COLUMNS
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["description"].endswith(".")
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all(each["datasource"]["uid"] == "${datasource}" for each in panel["targets"])
    for one, other in combinations([panel["gridPos"] for panel in PANELS], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


def test_three_answers_come_first_and_no_data_is_not_good_news() -> None:
    for panel, question in zip(PANELS, FIRST, strict=False):
        assert question in panel["title"]
        assert panel["type"] == "stat"
        assert panel["gridPos"]["y"] == 0
        assert panel["fieldConfig"]["defaults"]["noValue"] == "no data"
        (target,) = panel["targets"]
        assert "vector(" not in target["expr"]
        assert "absent" not in target["expr"]


def test_what_the_runbook_sends_a_person_to_is_there() -> None:
    runbook = " ".join((REPOSITORY / "docs" / "runbook.md").read_text().split())
    named = re.findall(r'((?:"[^"]+" and )?"[^"]+") on the dashboard', runbook)
    titles = [title for each in named for title in re.findall(r'"([^"]+)"', each)]
    assert len(titles) >= 6
    assert set(titles) - {panel["title"] for panel in PANELS} == set()


def test_what_is_recorded_is_asked_for() -> None:
    rules = [*rules_of(RECORDING), *rules_of(ALERTING)]
    asked = [each["expr"] for each in rules] + [each.values[0] for each in EXPRESSIONS]
    names = set().union(*(names_in(filled_in(each)) for each in asked))
    assert {rule["record"] for rule in rules_of(RECORDING)} - names == set()


# -- how it is provisioned -------------------------------------------------------------------------


def test_grafana_is_given_the_dashboard_and_the_datasource_that_it_asks() -> None:
    provisioning = GRAFANA / "provisioning"
    (datasource,) = yaml_of(provisioning / "datasources" / "prometheus.yml")["datasources"]
    (provider,) = yaml_of(provisioning / "dashboards" / "logship.yml")["providers"]
    service = COMPOSE["services"]["grafana"]
    mounted = dict(reversed(each.removesuffix(":ro").split(":")) for each in service["volumes"])
    assert mounted["/etc/grafana/provisioning"] == "./sidecar/grafana/provisioning"
    assert mounted[provider["options"]["path"]] == "./sidecar/grafana/dashboards"
    assert datasource["type"] == "prometheus"
    (current,) = [
        variable["current"]["value"]
        for variable in DASHBOARD["templating"]["list"]
        if variable["type"] == "datasource"
    ]
    assert datasource["uid"] == current


def test_prometheus_is_given_the_rules_that_its_configuration_names() -> None:
    configuration = yaml_of(REPOSITORY / "sidecar" / "prometheus" / "prometheus.yml")
    mounted = COMPOSE["services"]["prometheus"]["volumes"]
    assert "./sidecar/prometheus:/etc/prometheus:ro" in mounted
    for name in configuration["rule_files"]:
        assert (REPOSITORY / "sidecar" / "prometheus" / name).exists()


def test_compose_reads_the_profile() -> None:
    if why := why_no_compose():
        pytest.skip(why)
    file = REPOSITORY / "docker-compose.yml"
    status, said = run(
        "docker", "compose", "-f", file, "--profile", "dashboard", "config", "--services"
    )
    assert status == 0, said
    assert {"prometheus", "grafana"} <= set(said.split())
