"""The Kubernetes manifests: native sidecars, a grace period that adds up, overlays that fit."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from logship._deployment.linting.report import judge
from tests.sidecar.deployed import FLUENTD, SIDECAR, image_environ, run
from tests.sidecar.test_fluentd import NEEDED

KUBERNETES = SIDECAR / "kubernetes"
TEMPLATES = {name: KUBERNETES / "base" / f"{name}.yaml" for name in ("web", "batch")}
OVERLAYS = ("stdout", "file", "aggregator", "cloudwatch")
VERSIONS = ("1.30", "1.33", "1.37")
"""Of Kubernetes: the oldest that the manifests are for, and newer ones."""

HEALTH_CHECKS = {
    "logship-healthcheck": FLUENTD / "Dockerfile",
    "/fluent-bit/bin/healthcheck": SIDECAR / "fluent-bit" / "Dockerfile",
}
"""The last word of a probe's command, and the file that puts it into the image."""

Object = dict[str, Any]


def objects_of(text: str) -> list[Object]:
    return list(yaml.safe_load_all(text))


def pods_of(objects: list[Object]) -> list[Object]:
    return [each["spec"]["template"]["spec"] for each in objects if "template" in each["spec"]]


def containers_of(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def environ(container: Object) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def rendered(overlay: str) -> str:
    """Return an overlay as kustomize writes it, or skip the test that wants it."""
    directory = KUBERNETES / "overlays" / overlay
    if shutil.which("kustomize"):
        code, said = run("kustomize", "build", directory)
    elif shutil.which("kubectl"):
        code, said = run("kubectl", "kustomize", directory)
    else:
        pytest.skip("there is neither kustomize nor kubectl on PATH")
    assert code == 0, said
    return said


def not_restricted(pod: Object) -> list[str]:
    """Return what the Pod Security Standard `restricted` does not allow in a pod."""
    security, allowed = pod["securityContext"], {"emptyDir", "persistentVolumeClaim"}
    found = [] if security.get("runAsNonRoot") else ["runAsNonRoot"]
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        found.append("seccompProfile")
    found += [key for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    found += [each["name"] for each in pod["volumes"] if not allowed & each.keys()]
    for container in containers_of(pod):
        own = container["securityContext"]
        if own.get("capabilities") != {"drop": ["ALL"]}:
            found.append(f"{container['name']}: capabilities")
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            found.append(f"{container['name']}: privileges")
        if not own.get("runAsUser"):
            found.append(f"{container['name']}: runAsUser")
    return found


@pytest.fixture(params=sorted(TEMPLATES))
def path(request: pytest.FixtureRequest) -> Path:
    return TEMPLATES[request.param]


@pytest.fixture
def pod(path: Path) -> Object:
    (spec,) = pods_of(objects_of(path.read_text()))
    return spec


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def objects(overlay: str) -> list[Object]:
    return objects_of(rendered(overlay))


def test_sidecars_are_native_and_in_order(pod: Object) -> None:
    """They stop in the reverse order: the recoverer still has its sidecar."""
    names = [each["name"] for each in pod["initContainers"]]
    assert names == ["sidecar", "recoverer"]
    assert {each["restartPolicy"] for each in pod["initContainers"]} == {"Always"}
    assert [each["name"] for each in pod["containers"]] == ["app"]


def test_the_grace_period_is_the_sum_of_its_formula(path: Path, pod: Object) -> None:
    comment = " ".join(re.findall(r"^#(.*)$", path.read_text(), re.MULTILINE))
    found = re.search(r"(\d+(?:\s\+\s+\d+)+)\s= (\d+)", comment)
    assert found, comment
    parts = [int(part) for part in found[1].split("+")]
    assert sum(parts) == int(found[2]) == pod["terminationGracePeriodSeconds"]
    (app,), recoverer = pod["containers"], pod["initContainers"][1]
    stop = app.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    told = [int(environ(each)["LOGSHIP_STOP_TIMEOUT_SECONDS"]) for each in (app, recoverer)]
    assert parts[:-2] == [*([stop] if stop else []), *told]


def test_fluent_bit_uses_the_time_that_its_pod_gives_it() -> None:
    """Fluentd needs no variable: it ends when it has sent its buffer once."""
    for each in objects_of(rendered("cloudwatch")):
        if each["kind"] in {"Deployment", "Job"}:
            (spec,) = pods_of([each])
            app, recoverer = spec["containers"][0], spec["initContainers"][1]
            told = [int(environ(one)["LOGSHIP_STOP_TIMEOUT_SECONDS"]) for one in (app, recoverer)]
            left = spec["terminationGracePeriodSeconds"] - sum(told)
            given = image_environ() | environ(spec["initContainers"][0])
            assert left - 20 <= int(given["LOGSHIP_GRACE_SECONDS"]) < left


def test_application_and_recoverer_share_spool_and_user(pod: Object) -> None:
    (app,), recoverer = pod["containers"], pod["initContainers"][1]
    assert app["securityContext"] == recoverer["securityContext"]
    (spool,) = recoverer["volumeMounts"]
    assert spool in app["volumeMounts"]
    assert environ(app)["LOGSHIP_SPOOL_DIR"] == spool["mountPath"]
    assert environ(app)["LOGSHIP_SPOOL_DIR"] in recoverer["command"]


def test_volumes_have_no_limit_to_be_evicted_for(pod: Object) -> None:
    assert {json.dumps(each["emptyDir"]) for each in pod["volumes"]} == {"{}"}


@pytest.mark.parametrize("file", sorted(KUBERNETES.rglob("*.yaml")), ids=lambda file: file.stem)
def test_each_file_fits_the_schemas_and_its_pods_are_restricted(file: Path) -> None:
    objects = objects_of(file.read_text())
    for each in pods_of([each for each in objects if "spec" in each]):
        check_pod(each)
    if file.name != "kustomization.yaml":
        check_schemas(objects)


def test_an_overlay_fits_the_schemas_and_its_pods_are_restricted(objects: list[Object]) -> None:
    for each in pods_of([each for each in objects if "spec" in each]):
        check_pod(each)
    check_schemas(objects)


def check_pod(pod: Object) -> None:
    assert not_restricted(pod) == []
    assert pod["enableServiceLinks"] is False
    named = {each["name"] for each in pod["volumes"]}
    for container in containers_of(pod):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        claimed = {"buffer", "logs"} if container["name"] == "aggregator" else set()
        assert {each["name"] for each in container["volumeMounts"]} <= named | claimed


def check_schemas(objects: list[Object]) -> None:
    validator = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate, which has the schemas, is not installed"
    )
    for version in VERSIONS:
        for each in objects:
            validator.validate(each, version, strict=True)


@pytest.mark.parametrize("change", ["root", "capabilities", "escalation", "host path"])
def test_a_pod_that_is_not_restricted_is_found(pod: Object, change: str) -> None:
    (app,) = pod["containers"]
    if change == "root":
        pod["securityContext"]["runAsNonRoot"] = False
    elif change == "capabilities":
        app["securityContext"].pop("capabilities")
    elif change == "escalation":
        app["securityContext"].pop("allowPrivilegeEscalation")
    else:
        pod["volumes"][0] = {"name": "spool", "hostPath": {"path": "/var"}}
    assert not_restricted(pod)


def test_an_overlay_is_clean_for_the_linter(overlay: str) -> None:
    report = judge(f"{overlay}.yaml", rendered(overlay))
    assert not report.findings
    assert report.why_not_judged is None


def test_the_output_of_an_overlay_has_what_it_needs(overlay: str, objects: list[Object]) -> None:
    needed = {**NEEDED, "cloudwatch": {"LOGSHIP_CLOUDWATCH_GROUP", "LOGSHIP_CLOUDWATCH_REGION"}}
    workloads = [each for each in objects if each["kind"] in {"Deployment", "Job"}]
    assert len(workloads) == 2
    for pod in pods_of(workloads):
        given = environ(pod["initContainers"][0])
        assert given["LOGSHIP_OUTPUT"] == overlay
        assert set(needed.get(overlay, ())) <= given.keys()


def test_a_probe_runs_what_the_image_has(overlay: str, objects: list[Object]) -> None:
    """A command: the port of a sidecar is on loopback, where the kubelet cannot reach it."""
    bit = overlay == "cloudwatch"
    for pod in pods_of([each for each in objects if "spec" in each]):
        sidecar = containers_of(pod)[0]
        probes = [sidecar[key]["exec"]["command"] for key in sidecar if key.endswith("Probe")]
        assert sidecar["startupProbe"]["exec"]["command"] in probes
        for *_, last in probes:
            assert last.startswith("/fluent-bit") == bit
            assert last in HEALTH_CHECKS[last].read_text()
        mounted = {each["mountPath"] for each in sidecar["volumeMounts"]}
        assert ("/fluent-bit/buffer" if bit else "/fluentd/buffer") in mounted


def test_a_path_may_use_only_variables_that_stand_before_it() -> None:
    for pod in pods_of(
        [each for each in objects_of(rendered("file")) if "template" in each["spec"]]
    ):
        names = [each["name"] for each in pod["initContainers"][0]["env"]]
        assert names.index("POD_NAME") < names.index("LOGSHIP_LOG_DIR")


def test_the_aggregators_have_the_names_that_the_sidecars_use() -> None:
    objects = {each["kind"]: each for each in objects_of(rendered("aggregator"))}
    servers, service = objects["StatefulSet"], objects["Service"]
    assert servers["spec"]["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == servers["spec"]["template"]["metadata"]["labels"]
    given = environ(objects["Deployment"]["spec"]["template"]["spec"]["initContainers"][0])
    name, headless = servers["metadata"]["name"], service["metadata"]["name"]
    assert [f"{name}-{number}.{headless}" for number in range(servers["spec"]["replicas"])] == [
        given["LOGSHIP_AGGREGATOR_HOST"],
        given["LOGSHIP_AGGREGATOR_STANDBY_HOST"],
    ]
    (container,) = servers["spec"]["template"]["spec"]["containers"]
    assert environ(container)["LOGSHIP_BIND"] == "0.0.0.0"


def test_every_value_to_edit_is_in_the_overlays_one_file(overlay: str) -> None:
    """Each image gets its name there, and no other file names a registry or an account."""
    directory = KUBERNETES / "overlays" / overlay
    text = (directory / "kustomization.yaml").read_text()
    values = text.partition("# --- all values to edit")[2]
    named = {each["name"] for each in yaml.safe_load(text)["images"]}
    images = {
        each["image"]
        for file in TEMPLATES.values()
        for each in containers_of(pods_of(objects_of(file.read_text()))[0])
    }
    assert named == images
    assert "namespace:" in values
    others = {*KUBERNETES.rglob("*.yaml")} - {*KUBERNETES.rglob("kustomization.yaml")}
    assert not [
        each for each in others if re.search(r"example\.com|arn:|storage: ", each.read_text())
    ]


def test_the_readme_explains_each_overlay_and_checks_them() -> None:
    readme = (KUBERNETES / "README.md").read_text()
    there = sorted(each.name for each in (KUBERNETES / "overlays").iterdir())
    assert there == sorted(OVERLAYS)
    assert all(f"| `{name}` |" in readme for name in OVERLAYS)
