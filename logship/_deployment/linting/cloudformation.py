"""CloudFormation templates, also those that CDK, SAM and Copilot make: their ECS tasks.

A template has the names of the ECS API with a capital letter. What CloudFormation fills in is
unknown: of `Fn::If` the first choice counts, and `AWS::NoValue` is nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from logship._deployment.linting.ecs import read_task_definition, uses_spot
from logship._deployment.linting.marks import Marked
from logship._deployment.linting.model import Unit
from logship._deployment.linting.shapes import UNKNOWN, mapping, under

_NAMES = ("name", "containerName", "sourceContainer", "sourceVolume")
"""Keys of names by which containers and volumes are found."""


def read_template(document: dict[str, Any]) -> Iterator[Unit]:
    """Yield the tasks of a template; a stack of an application may have none.

    Raises:
        LintError: One does not have the shape of a task definition.
    """
    of_ecs = [
        (each["Type"], mapping(_as_registered(each.get("Properties")), "Properties"))
        for each in under(document, "Resources").values()
        if isinstance(each, dict) and str(each.get("Type")).startswith("AWS::ECS::")
    ]
    is_spot = any(uses_spot(properties) for _, properties in of_ecs)
    for kind, properties in of_ecs:
        if kind == "AWS::ECS::TaskDefinition":
            yield read_task_definition(properties, is_spot=is_spot)


def _as_registered(value: Any) -> Any:
    """Return a part of a template as the ECS API has it; None for nothing."""
    if isinstance(value, list):
        parts = map(_as_registered, value)
        return [each for each in parts if each is not None]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, given),) = value.items()
        if name == "Fn::If" and isinstance(given, list) and len(given) == 3:
            return _as_registered(given[1])
        if str(name).startswith(("Ref", "Fn::")):
            return None if given == "AWS::NoValue" else UNKNOWN
    found = Marked({_small(name): _under(name, each) for name, each in value.items()})
    if isinstance(value, Marked):
        found.line = value.line
        found.lines = {_small(name): line for name, line in value.lines.items()}
    return found


def _under(key: object, value: Any) -> Any:
    """Return what is under a key; an unknown name as it is written, since each is another one."""
    found = _as_registered(value)
    if found != UNKNOWN or _small(key) not in _NAMES or not isinstance(value, dict):
        return found
    ((_, given),) = value.items()
    return f"${{{given!s:.100}}}"


def _small(name: object) -> str:
    return str(name)[:1].lower() + str(name)[1:]
