"""What AWS' own models, cfn-lint and an HCL parser say of `sidecar/ecs`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.sidecar.test_ecs import ECS

VALUES = {
    "APP_IMAGE": "registry/app:1",
    "SIDECAR_IMAGE": "registry/sidecar:1",
    "CPU_ARCHITECTURE": "ARM64",
    "LOG_GROUP": "/ecs/logship",
    "LOG_BUCKET": "logs",
    "REGION": "eu-central-1",
    "EXECUTION_ROLE_ARN": "arn:aws:iam::111122223333:role/execution",
    "TASK_ROLE_ARN": "arn:aws:iam::111122223333:role/task",
}
OPERATIONS = {
    "web": "RegisterTaskDefinition",
    "batch": "RegisterTaskDefinition",
    "daemon": "RegisterDaemonTaskDefinition",
}


def filled_in(kind: str) -> dict[str, Any]:
    """Return a definition as `envsubst` fills it in."""
    text = (ECS / f"{kind}.json").read_text()
    definition: dict[str, Any] = json.loads(re.sub(r"\$\{(\w+)\}", lambda it: VALUES[it[1]], text))
    return definition


@pytest.mark.parametrize("kind", OPERATIONS)
def test_a_definition_fits_the_model_of_its_operation(kind: str) -> None:
    """Each name, type and required member; and the architecture is one that ECS knows."""
    session = pytest.importorskip("botocore.session", reason="botocore is not installed")
    validate = pytest.importorskip("botocore.validate")
    model = session.get_session().get_service_model("ecs")
    if OPERATIONS[kind] not in model.operation_names:
        pytest.skip(f"this botocore is older than {OPERATIONS[kind]}")
    shape = model.operation_model(OPERATIONS[kind]).input_shape
    problems = validate.ParamValidator().validate(filled_in(kind), shape)
    assert not problems.has_errors(), problems.generate_report()
    if kind != "daemon":
        platform = shape.members["runtimePlatform"].members
        assert {"ARM64", "X86_64"} <= set(platform["cpuArchitecture"].enum)


# --- CloudFormation ------------------------------------------------------------------------------

TEMPLATE = ECS / "cloudformation.yaml"
REFERENCES = {
    "AppImage": "APP_IMAGE",
    "SidecarImage": "SIDECAR_IMAGE",
    "CpuArchitecture": "CPU_ARCHITECTURE",
    "ContainersLogGroup": "LOG_GROUP",
    "LogBucket": "LOG_BUCKET",
    "AWS::Region": "REGION",
    "ExecutionRole.Arn": "EXECUTION_ROLE_ARN",
    "TaskRole.Arn": "TASK_ROLE_ARN",
}
"""What the template refers to, and the variable of `web.json` in its place."""


class TemplateLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads `!Ref` and `!GetAtt` as the variable that stands there in `web.json`."""


def _reference(loader: Any, suffix: str, node: Any) -> str:
    return f"${{{REFERENCES.get(node.value, node.value)}}}"


TemplateLoader.add_multi_constructor("!", _reference)


def as_api_has_it(value: Any) -> Any:
    """Return CloudFormation's properties under the names of ECS: their first letter is small."""
    if isinstance(value, list):
        return [as_api_has_it(each) for each in value]
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: as_api_has_it(each) for key, each in value.items()}
    return value


def test_the_template_has_the_task_definition_of_web_json() -> None:
    template = yaml.load(TEMPLATE.read_text(), TemplateLoader)
    properties = template["Resources"]["TaskDefinition"]["Properties"]
    assert as_api_has_it(properties) == json.loads((ECS / "web.json").read_text())


def test_the_template_is_clean_for_cfn_lint() -> None:
    api = pytest.importorskip("cfnlint.api", reason="cfn-lint is not installed")
    assert [str(each) for each in api.lint(TEMPLATE.read_text())] == []


def test_the_readme_gives_the_template_every_parameter_without_a_default() -> None:
    template = yaml.load(TEMPLATE.read_text(), TemplateLoader)
    wanted = {name for name, each in template["Parameters"].items() if "Default" not in each}
    deploy = (ECS / "README.md").read_text().partition("cloudformation deploy")[2].partition("```")
    assert wanted <= set(re.findall(r"(\w+)=", deploy[0])) <= template["Parameters"].keys()


# --- Terraform -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ECS / "terraform").glob("*.tf")), ids=lambda it: it.stem)
def test_terraforms_files_can_be_parsed(path: Path) -> None:
    hcl2 = pytest.importorskip("hcl2", reason="python-hcl2 is not installed")
    assert hcl2.loads(path.read_text())


def test_terraform_declares_the_variables_that_it_uses() -> None:
    text = "\n".join(each.read_text() for each in (ECS / "terraform").glob("*.tf"))
    declared = re.findall(r'^variable "(\w+)"', text, re.MULTILINE)
    assert set(declared) == set(re.findall(r"\bvar\.(\w+)", text))
