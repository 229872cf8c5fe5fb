"""The Kubernetes manifests hold together: native sidecars, and a grace period that adds up."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.sidecar.deployed import FLUENTD, SIDECAR, run, why_no
from tests.sidecar.test_fluentd import NEEDED

pytestmark = pytest.mark.skipif(bool(why_no("ruby")), reason=f"{why_no('ruby')}, to read YAML")

MANIFESTS = {each.stem: each for each in (SIDECAR / "kubernetes").glob("*.yaml")}
AS_JSON = "require 'yaml'; require 'json'; puts YAML.load_file(ARGV[0]).to_json"


@pytest.fixture(params=sorted(MANIFESTS))
def path(request: pytest.FixtureRequest) -> Path:
    return MANIFESTS[request.param]


@pytest.fixture
def pod(path: Path) -> dict[str, Any]:
    code, said = run("ruby", "-e", AS_JSON, path)
    assert code == 0, said
    spec: dict[str, Any] = json.loads(said)["spec"]["template"]["spec"]
    return spec


def environ(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"]}


def test_sidecars_are_native_and_in_order(pod: dict[str, Any]) -> None:
    """They stop in the reverse order: the recoverer still has its sidecar."""
    names = [each["name"] for each in pod["initContainers"]]
    assert names == ["sidecar", "recoverer"]
    assert {each["restartPolicy"] for each in pod["initContainers"]} == {"Always"}
    assert [each["name"] for each in pod["containers"]] == ["app"]


def test_the_application_waits_until_the_sidecar_listens(pod: dict[str, Any]) -> None:
    """By a command: the port is on loopback only."""
    sidecar = pod["initContainers"][0]
    assert sidecar["startupProbe"]["exec"]["command"] == ["logship-healthcheck"]
    assert "logship-healthcheck" in (FLUENTD / "Dockerfile").read_text()
    assert NEEDED[environ(sidecar)["LOGSHIP_OUTPUT"]].keys() <= environ(sidecar).keys()


def test_the_grace_period_is_the_sum_of_its_formula(path: Path, pod: dict[str, Any]) -> None:
    comment = " ".join(re.findall(r"^#(.*)$", path.read_text(), re.MULTILINE))
    found = re.search(r"(\d+(?:\s\+\s+\d+)+)\s= (\d+)", comment)
    assert found, comment
    parts = [int(part) for part in found[1].split("+")]
    assert sum(parts) == int(found[2]) == pod["terminationGracePeriodSeconds"]
    (app,), recoverer = pod["containers"], pod["initContainers"][1]
    stop = app.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    told = [int(environ(each)["LOGSHIP_STOP_TIMEOUT_SECONDS"]) for each in (app, recoverer)]
    assert parts[:-2] == [*([stop] if stop else []), *told]


def test_nobody_is_root_and_volumes_have_no_limit_to_be_evicted_for(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in [*pod["initContainers"], *pod["containers"]]:
        assert container["securityContext"]["runAsUser"] > 0
    assert {json.dumps(each["emptyDir"]) for each in pod["volumes"]} == {"{}"}


def test_application_and_recoverer_share_spool_and_user(pod: dict[str, Any]) -> None:
    (app,), recoverer = pod["containers"], pod["initContainers"][1]
    assert app["securityContext"] == recoverer["securityContext"]
    assert app["volumeMounts"] == recoverer["volumeMounts"]
    assert environ(app)["LOGSHIP_SPOOL_DIR"] == app["volumeMounts"][0]["mountPath"]
    assert environ(app)["LOGSHIP_SPOOL_DIR"] in recoverer["command"]
