"""docker-compose.yml is one that compose accepts, and models a task: one namespace, in order."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.sidecar.deployed import REPOSITORY, run, why_no_compose

COMPOSE_FILE = REPOSITORY / "docker-compose.yml"


pytestmark = pytest.mark.skipif(bool(why_no_compose()), reason=why_no_compose())


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """All services, also those of profiles, as compose understands them."""
    words = ("docker", "compose", "-f", COMPOSE_FILE, "--profile", "*")
    code, said = run(*words, "config", "--format", "json")
    assert code == 0, said
    found: dict[str, Any] = json.loads(said)["services"]
    return found


def conditions(service: dict[str, Any]) -> dict[str, str]:
    return {name: each["condition"] for name, each in service.get("depends_on", {}).items()}


def test_all_containers_share_one_network_namespace(services: dict[str, Any]) -> None:
    alone = {name for name, each in services.items() if each.get("network_mode") != "service:task"}
    assert alone == {"task", "audit"}


def test_the_application_starts_when_the_sidecar_is_healthy(services: dict[str, Any]) -> None:
    for name in ("application", "recoverer", "firelens", "firelens-sleep"):
        assert conditions(services[name])["sidecar"] == "service_healthy"
    assert conditions(services["application"])["recoverer"] == "service_started"
    assert conditions(services["sidecar"]) == {"task": "service_started"}


def test_by_default_it_is_the_task_and_nothing_else(services: dict[str, Any]) -> None:
    default = {name for name, each in services.items() if not each.get("profiles")}
    assert default == {"task", "sidecar", "recoverer", "application"}


def test_logship_knows_how_long_a_container_has(services: dict[str, Any]) -> None:
    for name in ("application", "recoverer"):
        told = services[name]["environment"]["LOGSHIP_STOP_TIMEOUT_SECONDS"]
        assert services[name]["stop_grace_period"] == f"{told}s"


def test_its_head_adds_up_the_stops(services: dict[str, Any]) -> None:
    names = ("application", "recoverer", "sidecar")
    stops = [services[name]["stop_grace_period"].removesuffix("s") for name in names]
    assert f"{' + '.join(names)}: {' + '.join(stops)} seconds" in COMPOSE_FILE.read_text()


def test_the_log_driver_is_as_ecs_sets_it_for_firelens(services: dict[str, Any]) -> None:
    options = services["firelens"]["logging"]["options"]
    assert services["firelens"]["logging"]["driver"] == "fluentd"
    assert options["fluentd-async"] == "true"
    assert options["fluentd-buffer-limit"] == "1048576"
    published = [each["published"] for each in services["task"]["ports"]]
    assert options["fluentd-address"] == f"tcp://127.0.0.1:{published[0]}"


def test_files_that_are_mounted_are_there(services: dict[str, Any]) -> None:
    mounts = [each for service in services.values() for each in service.get("volumes", [])]
    sources = [each["source"] for each in mounts if each["type"] == "bind"]
    assert sources
    for source in sources:
        assert (REPOSITORY / source).exists(), source


def test_every_profile_is_explained_in_its_head(services: dict[str, Any]) -> None:
    profiles = {name for each in services.values() for name in each.get("profiles", [])}
    head = COMPOSE_FILE.read_text().partition("\n\nname:")[0]
    assert set(re.findall(r"--profile (\w+)|run --rm (\w+)", head)) == {
        ("metrics", ""),
        ("dashboard", ""),
        ("firelens", ""),
        ("", "audit"),
    }
    assert profiles == {"metrics", "dashboard", "firelens", "audit"}


def test_prometheus_asks_where_metrics_are_served(services: dict[str, Any]) -> None:
    text = (REPOSITORY / "sidecar" / "prometheus" / "prometheus.yml").read_text()
    asked = re.findall(r"targets: \[127\.0\.0\.1:(\d+)\]", text)
    served = [services[name]["environment"] for name in ("application", "recoverer")]
    assert asked == [*(each["LOGSHIP_METRICS_PORT"] for each in served), "2020"]
