"""CloudFormation templates: what they fill in is unknown, and the rest is judged."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

import pytest

from logship._deployment.linting.report import judge
from tests.lint.deployments import Deployment, base, change, places


def rules(text: str) -> list[str]:
    return [each.rule for each in judge("template.json", text).findings]


def template(definition: Any, *others: Any) -> str:
    """Return a task definition of the API as a template in JSON, such as CDK makes."""
    resources = [{"Type": "AWS::ECS::TaskDefinition", "Properties": capital(definition)}, *others]
    return json.dumps({"Resources": dict(zip("ABC", resources, strict=False))})


def capital(value: Any) -> Any:
    """Return a value with the names of CloudFormation; its own functions stay as they are."""
    if isinstance(value, list):
        return [capital(each) for each in value]
    if isinstance(value, dict):
        return {f"{key[0].upper()}{key[1:]}": capital(each) for key, each in value.items()}
    return value


@pytest.mark.parametrize(
    ("part", "key"),
    [
        *(("app", key) for key in ("image", "stopTimeout", "memory", "user")),
        *(("sidecar", key) for key in ("image", "stopTimeout", "memory")),
        *(("document", key) for key in ("family", "networkMode", "memory")),
        ("app.mountPoints.0", "readOnly"),
    ],
)
def test_a_value_that_is_filled_in_is_no_finding(ecs: Deployment, part: str, key: str) -> None:
    change(ecs, {f"{part}.{key}": {"Fn::Join": ["", ["a", {"Ref": "P"}]]}})
    assert rules(template(ecs.document)) == []


def test_a_function_in_any_place_is_no_error(ecs: Deployment) -> None:
    for *path, last in places(ecs.document):
        definition: Any = deepcopy(ecs.document)
        target = definition
        for key in path:
            target = target[key]
        target[last] = {"Ref": "P"}
        if last != "containerDefinitions":
            judge("template.json", template(definition))


@pytest.mark.parametrize("function", ['{"Ref": "%s"}', '{"Fn::Sub": "${P}-%s"}'])
def test_each_name_that_is_filled_in_is_another_one(ecs: Deployment, function: str) -> None:
    document = ecs.document
    names = [each["name"] for each in document["containerDefinitions"] + document["volumes"]]
    name = re.compile(rf'("(?:Name|ContainerName|SourceVolume)": )"({"|".join(names)})"')

    def filled_in() -> str:
        return name.sub(lambda found: found[1] + function % found[2], template(document))

    assert rules(filled_in()) == []
    ecs.app["dependsOn"] = []
    assert {*rules(filled_in())} == {"depends-on"}


@pytest.mark.parametrize("name", ["LOGSHIP_TAG", "LOGSHIP_ENDPOINTS", "LOGSHIP_SPOOL_DIR"])
def test_a_variable_that_is_filled_in_is_unknown(ecs: Deployment, name: str) -> None:
    ecs.set_variable(name, "filled in")
    assert rules(template(ecs.document).replace('"filled in"', '{"Fn::GetAtt": ["A", "B"]}')) == []


def test_of_a_choice_the_first_counts_and_no_value_is_nothing(ecs: Deployment) -> None:
    ecs.app["stopTimeout"] = "choice"
    ecs.app["links"] = ["nothing"]
    text = template(ecs.document).replace('"nothing"', '{"Ref": "AWS::NoValue"}')
    assert rules(text.replace('"choice"', '{"Fn::If": ["C", 50, 180]}')) == []
    assert "stop-timeout-limit" in rules(text.replace('"choice"', '{"Fn::If": ["C", 180, 50]}'))


def test_a_service_on_spot_is_seen_behind_what_is_no_resource() -> None:
    ecs = base("ecs")
    ecs.sidecar["stopTimeout"] = 60
    strategy = [{"CapacityProvider": "FARGATE_SPOT", "Weight": 1}]
    service = {"Type": "AWS::ECS::Service", "Properties": {"CapacityProviderStrategy": strategy}}
    assert rules(template(ecs.document)) == []
    assert rules(template(ecs.document, ["a loop"], service)) == ["stop-timeout-sum"]


def test_a_network_filesystem_is_known_by_the_templates_name_for_it(ecs: Deployment) -> None:
    for volume in ecs.document["volumes"]:
        volume["EFSVolumeConfiguration"] = {"FilesystemId": {"Ref": "P"}}
    assert "spool-volume" in rules(template(ecs.document))


@pytest.mark.parametrize(("limit", "is_found"), [("5", True), ("no_limits", False)])
def test_the_options_of_a_log_driver_keep_their_names(
    ecs: Deployment, limit: str, *, is_found: bool
) -> None:
    options = {"Name": "http", "Retry_Limit": limit}
    ecs.app["logConfiguration"] = {"logDriver": "awsfirelens", "options": options}
    assert ("retry-limit" in rules(template(ecs.document))) is is_found
