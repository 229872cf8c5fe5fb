"""docker-compose.yml models a task: one namespace, in order; and nothing of it is left behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.sidecar.deployed import FLUENTD, REPOSITORY, run, why_no_compose

COMPOSE_FILE = REPOSITORY / "docker-compose.yml"
DOCKERFILES = {
    "logship-application": REPOSITORY / "benchmarks" / "compose" / "Dockerfile",
    "logship-sidecar": FLUENTD / "Dockerfile",
}
VOLUMES_OF_OTHERS = {"${PROMETHEUS:-prom/prometheus:v3.5.0}": {"/prometheus"}}
"""What images of others declare as VOLUME; Grafana's declares none."""

Service = dict[str, Any]


@pytest.fixture
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return found


@pytest.fixture
def services(document: dict[str, Any]) -> dict[str, Service]:
    found: dict[str, Service] = document["services"]
    return found


def conditions(service: Service) -> dict[str, str]:
    return {name: each["condition"] for name, each in service.get("depends_on", {}).items()}


def mounts(service: Service) -> dict[str, str]:
    """Return where a service's volumes are mounted, and from where."""
    found = [each.split(":") for each in service.get("volumes", [])]
    return {target: source for source, target, *_ in found}


def ports(service: Service) -> dict[str, int]:
    """Return the ports of this machine, by the variable that changes each, and their defaults."""
    found = [re.search(r"\$\{(\w+):-(\d+)\}:\d+$", each) for each in service.get("ports", [])]
    return {each[1]: int(each[2]) for each in found if each}


@pytest.mark.skipif(bool(why_no_compose()), reason=why_no_compose())
def test_compose_accepts_it() -> None:
    code, said = run("docker", "compose", "-f", COMPOSE_FILE, "--profile", "*", "config", "-q")
    assert code == 0, said


def test_all_containers_share_one_network_namespace(services: dict[str, Service]) -> None:
    alone = {name for name, each in services.items() if each.get("network_mode") != "service:task"}
    assert alone == {"task", "audit"}


def test_the_application_starts_when_the_sidecar_is_healthy(services: dict[str, Service]) -> None:
    for name in ("application", "recoverer", "firelens", "firelens-sleep"):
        assert conditions(services[name])["sidecar"] == "service_healthy"
    assert conditions(services["application"])["recoverer"] == "service_started"
    assert conditions(services["sidecar"]) == {"task": "service_started"}
    assert "HEALTHCHECK" in DOCKERFILES[services["sidecar"]["image"]].read_text()


def test_by_default_it_is_the_task_and_nothing_else(services: dict[str, Service]) -> None:
    default = {
        name for name, each in services.items() if not each.get("profiles") and each.get("scale", 1)
    }
    assert default == {"task", "sidecar", "recoverer", "application"}


def test_a_stop_without_profiles_stops_all_that_runs(services: dict[str, Service]) -> None:
    """Compose stops no service of a profile that is not given, and would leave it running.

    What logs is stopped in its order; what only looks ends with the process namespace of `task`;
    `audit` ends by itself.
    """
    with_profile = {name for name, each in services.items() if each.get("profiles")}
    ends_with_task = {name for name, each in services.items() if each.get("pid") == "service:task"}
    assert with_profile == ends_with_task | {"audit"}
    logs = {name for name, each in services.items() if "sidecar" in conditions(each)}
    assert not logs & with_profile


def test_no_container_gets_a_volume_without_a_name(
    document: dict[str, Any], services: dict[str, Service]
) -> None:
    """Docker makes one for each VOLUME of an image that the service does not mount."""
    named = set(document["volumes"])
    for service in services.values():
        image = service["image"]
        text = DOCKERFILES[image].read_text() if image in DOCKERFILES else ""
        declared = {
            each
            for line in re.findall(r"^VOLUME (.*)$", text, re.MULTILINE)
            for each in json.loads(line)
        }
        assert declared | VOLUMES_OF_OTHERS.get(image, set()) <= mounts(service).keys()
        sources = {each for each in mounts(service).values() if not each.startswith(".")}
        assert sources <= named


def test_services_do_not_share_a_port_or_a_ledger(services: dict[str, Service]) -> None:
    """All of them have one network namespace, and the applications one volume for ledgers."""
    published = ports(services["task"])
    assert len(set(published.values())) == len(services["task"]["ports"]) == 3
    assert not {24224, 9090, 3000} & set(published.values())  # of programs of this machine
    environs = [each.get("environment", {}) for each in services.values()]
    metrics = [each["LOGSHIP_METRICS_PORT"] for each in environs if "LOGSHIP_METRICS_PORT" in each]
    assert len(set(metrics)) == len(metrics) == 2
    commands = [each.get("command", []) for each in services.values() if "/ledger" in mounts(each)]
    ledgers = [each[each.index("--ledger") + 1] if "--ledger" in each else "" for each in commands]
    assert len(set(ledgers)) == len(ledgers) == 3


def test_its_head_adds_up_the_stops(services: dict[str, Service]) -> None:
    names = ("application", "recoverer", "sidecar")
    stops = [services[name]["stop_grace_period"].removesuffix("s") for name in names]
    assert f"{' + '.join(names)}: {' + '.join(stops)} seconds" in COMPOSE_FILE.read_text()


def test_the_log_driver_is_as_ecs_sets_it_for_firelens(services: dict[str, Service]) -> None:
    for name in ("firelens", "firelens-sleep"):
        options = services[name]["logging"]["options"]
        assert services[name]["logging"]["driver"] == "fluentd"
        assert options["fluentd-async"] == "true"
        assert options["fluentd-buffer-limit"] == "1048576"
        address = options["fluentd-address"].removeprefix("tcp://")
        assert f"{address}:24224" in services["task"]["ports"]


def test_files_that_are_mounted_are_there(services: dict[str, Service]) -> None:
    sources = [source for each in services.values() for source in mounts(each).values()]
    files = [each for each in sources if each.startswith(".")]
    assert files
    for each in files:
        assert Path(REPOSITORY, each).exists(), each


def test_every_profile_and_port_is_explained_in_its_head(services: dict[str, Service]) -> None:
    profiles = {name for each in services.values() for name in each.get("profiles", [])}
    head = COMPOSE_FILE.read_text().partition("\n\nname:")[0]
    told = re.findall(r"--profile (\w+)|run --rm (\w+)", head)
    assert profiles == {name for pair in told for name in pair if name}
    scaled = {name for name, each in services.items() if each.get("scale") == 0}
    assert set(re.findall(r"--scale (\w+)=1", head)) <= scaled
    published = ports(services["task"])
    assert set(re.findall(r"localhost:(\d+)", head)) == {
        str(published[name]) for name in ("LOGSHIP_PROMETHEUS_PORT", "LOGSHIP_GRAFANA_PORT")
    }


def test_prometheus_asks_where_metrics_are_served(services: dict[str, Service]) -> None:
    text = (REPOSITORY / "sidecar" / "prometheus" / "prometheus.yml").read_text()
    asked = re.findall(r"targets: \[127\.0\.0\.1:(\d+)\]", text)
    served = [services[name]["environment"] for name in ("application", "recoverer")]
    assert asked == [*(str(each["LOGSHIP_METRICS_PORT"]) for each in served), "2020"]
