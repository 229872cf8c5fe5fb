"""Turns the text of any deployment file into units.

The content shows the kind, not the name, except for a sidecar's own configuration, a Dockerfile and
a shell script. A comment `# logship-lint: ignore RULE reason` ignores a rule for its file. One
without a reason is refused, because later readers need it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from logship._deployment.linting import cloudformation, compose, ecs, kubernetes
from logship._deployment.linting.dockerfile import is_dockerfile, read_dockerfile
from logship._deployment.linting.marks import LintError, parse_json, parse_yaml
from logship._deployment.linting.model import CONTAINERS_MAX, Platform, Unit
from logship._deployment.linting.sections import is_fluentds, parse
from logship._deployment.linting.shapes import UNKNOWN

_IGNORE = re.compile(r"#\s*logship-lint:\s*ignore\b[ \t]*(\S*)[ \t]*(.*)")
_CLASSIC = re.compile(
    r"^[ \t]*(<(source|match|label|filter|system)\b|\[(INPUT|OUTPUT|SERVICE)\])", re.M
)

_NO_KNOWN_KIND = (
    "it is not an ECS task definition, Terraform plan (JSON), CloudFormation template, Kubernetes "
    "manifest, compose file, Dockerfile, or configuration of Fluentd or Fluent Bit"
)
_DOCUMENTS = (".yaml", ".yml", ".json")

_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""They may have no `kind`, stand beside manifests, and make nothing without them."""

_SCRIPT = re.compile(r"#!\s*\S*/(?:env\s+)?(?:ba|da|a|z)?sh\b")

_DOCUMENT = re.compile(r"^(\{|apiVersion:|services:)", re.MULTILINE)


def read_units(name: str, text: str) -> list[Unit]:
    """Return what a file deploys.

    Raises:
        LintError: It is none of the kinds that can be read, or not of that kind's shape.
    """
    if name.endswith((".tf", ".tfstate")):
        raise LintError("Terraform's own files are not read: `terraform show -json PLAN` is")
    if name.endswith(".conf") or _is_classic(name, text):
        lines = map(str.strip, text.splitlines())
        if all(not line or line.startswith("#") for line in lines):
            raise LintError("it is empty")
        unit = _configuration(name, text)
        if cut := unit.configurations[0].cut:
            raise LintError(f"<{cut.name:.60}> in line {cut.line} has no end")
        return [unit]
    if PurePath(name).name in _KUSTOMIZATIONS:
        return []
    if is_dockerfile(name, text):
        return [read_dockerfile(name, text)]
    units = list(_units(name, text, _parse_named(name, text)))
    for unit in units:
        if len(unit.containers) > CONTAINERS_MAX:
            raise LintError(f"{unit.name} has more than {CONTAINERS_MAX:,} containers")
    return units


def is_script(name: str, text: str) -> bool:
    """Return whether a file is a shell script, which a container of another file may start with."""
    return name.endswith((".sh", ".bash")) or _SCRIPT.match(text) is not None


def ignored_in(text: str) -> Iterator[str]:
    """Yield the rules that comments in a file ignore.

    Raises:
        LintError: A comment names no rule, or gives no reason.
    """
    for match in _IGNORE.finditer(text):
        if not match[1] or not match[2].strip():
            raise LintError(
                f"{match[0].strip()!r} lacks a rule or a reason: # … ignore RULE reason"
            )
        yield match[1]


def _is_classic(name: str, text: str) -> bool:
    """Return whether a text is a configuration with sections, and not a document that has one."""
    if name.endswith(_DOCUMENTS) or _DOCUMENT.search(text):
        return False
    return _CLASSIC.search(text) is not None


def _parse_named(name: str, text: str) -> list[Any]:
    try:
        return _parse(text)
    except LintError as error:
        if "{{" in text:
            raise LintError(f"{error}; a template? lint the output of `helm template`") from None
        if PurePath(name).suffix not in ("", *_DOCUMENTS):
            raise LintError(f"{_NO_KNOWN_KIND} ({error})") from None
        raise


def _parse(text: str) -> list[Any]:
    if text.lstrip().startswith(("{", "[")):
        try:
            return [parse_json(text)]
        except (ValueError, RecursionError) as error:
            try:
                return parse_yaml(text)  # YAML may begin with a bracket too
            except LintError:
                raise LintError(f"it is not JSON: {error}") from None
    return parse_yaml(text)


def _units(name: str, text: str, documents: list[Any]) -> Iterator[Unit]:
    manifests = [each for each in documents if {"apiVersion", "kind"} <= _keys(each)]
    if manifests:
        yield from kubernetes.read_manifests(manifests)
        return
    for document in documents:
        yield from _other_units(name, text, document)
    if not documents:
        raise LintError("it is empty")


def _other_units(name: str, text: str, document: Any) -> Iterator[Unit]:
    keys = _keys(document)
    if "planned_values" in keys or {"terraform_version", "values"} <= keys:
        yield from ecs.read_plan(document)
    elif "containerDefinitions" in keys or _has_mapping(document, "taskDefinition"):
        yield ecs.read_task_definition(document)
    elif isinstance(document, list) and document and all(map(_is_container, document)):
        yield ecs.read_task_definition({"containerDefinitions": document, "networkMode": UNKNOWN})
    elif _has_mapping(document, "services"):
        yield compose.read_compose(document)
    elif keys & {"pipeline", "service", "includes"} or is_fluentds(document):
        yield _configuration(name, text)
    elif "Resources" in keys:
        yield from cloudformation.read_template(document)
    else:
        raise LintError(_NO_KNOWN_KIND)


def _keys(document: Any) -> set[Any]:
    return {*document} if isinstance(document, dict) else set()


def _has_mapping(document: Any, key: str) -> bool:
    return isinstance(document, dict) and isinstance(document.get(key), dict)


def _is_container(item: Any) -> bool:
    return {"name", "image"} <= _keys(item)


def _configuration(name: str, text: str) -> Unit:
    own = name.rpartition("/")[2]
    return Unit(platform=Platform.CONFIGURATION, name=own, configurations=(parse(own, text),))
