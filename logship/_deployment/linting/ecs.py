"""ECS task definitions: as registered, as `describe-task-definition` shows them, in a plan.

A container's `stopTimeout` is 30 s by default. Terraform writes container definitions as JSON
inside JSON. A plan does not have values that are known only after apply.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from logship._deployment.linting.marks import LintError, lines_of
from logship._deployment.linting.model import Condition, Container, Mount, Platform, Unit, Volume
from logship._deployment.linting.sections import output_of_options
from logship._deployment.linting.shapes import (
    UNKNOWN,
    compose_bytes,
    declared_ports,
    is_on,
    links,
    listing,
    mapping,
    mappings,
    text_of,
    texts,
    under,
    variable_lines,
    variables,
    whole,
    words,
)

_STOP_SECONDS = 30.0
_MIB = 1024 * 1024
_SHARED = ("awsvpc", "host")
_INIT_PREFIX = "aws_fluent_bit_init_"
"""Variables with it name configurations that the init image of AWS adds to that of FireLens."""
_REMOTE = (
    *("efsVolumeConfiguration", "fsxWindowsFileServerVolumeConfiguration"),
    *("eFSVolumeConfiguration", "fSxWindowsFileServerVolumeConfiguration"),  # of CloudFormation
)
_CONDITIONS = {
    "HEALTHY": Condition.HEALTHY,
    "COMPLETE": Condition.COMPLETED,
    "SUCCESS": Condition.COMPLETED,
}


def read_task_definition(document: dict[str, Any], *, is_spot: bool = False) -> Unit:
    """Return the task of a definition.

    Raises:
        LintError: It does not have the shape of an ECS task definition.
    """
    if "taskDefinition" in document:
        document = document["taskDefinition"]
    listed = mappings(document.get("volumes"), "volumes")
    volumes = {str(each.get("name")): _kind(each) for each in listed}
    task_bytes = _mebibytes(document.get("memory"))
    launch = listing(document.get("requiresCompatibilities"), "requiresCompatibilities")
    launch = launch or listing(document.get("compatibilities"), "compatibilities")
    containers = mappings(document.get("containerDefinitions"), "containerDefinitions")
    if not containers:
        raise LintError("it has no containerDefinitions")
    network = document.get("networkMode") or ("awsvpc" if "FARGATE" in launch else "bridge")
    network = None if network == UNKNOWN else network
    routers = [str(each.get("name")) for each in containers if each.get("firelensConfiguration")]
    return Unit(
        platform=Platform.ECS,
        name=str(document.get("family", "task")),
        containers=tuple(
            _container(each, volumes, task_bytes, network, routers) for each in containers
        ),
        lines=lines_of(document),
        is_spot=is_spot,
        may_be_fargate="FARGATE" in launch if launch else network in (None, "awsvpc"),
    )


def read_plan(document: dict[str, Any]) -> Iterator[Unit]:
    """Yield the tasks of a Terraform plan, or of a state.

    Raises:
        LintError: One is known only after the plan was applied.
    """
    values = "planned_values" if "planned_values" in document else "values"
    resources = list(_resources(under(document, values, "root_module")))
    spot = any(uses_spot(under(each, "values")) for each in resources)
    for each in resources:
        if each.get("type") == "aws_ecs_task_definition" and each.get("mode") != "data":
            yield read_task_definition(_as_registered(each), is_spot=spot)


def _resources(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from mappings(module.get("resources"), "resources")
    for child in mappings(module.get("child_modules"), "child_modules"):
        yield from _resources(child)


def uses_spot(resource: dict[str, Any]) -> bool:
    """Tell whether a service or cluster runs tasks on Spot, by Terraform's or the API's names."""
    strategies = (
        value
        for key, value in resource.items()
        if key.replace("_", "").lower().endswith("capacityproviderstrategy")
    )
    return any(
        isinstance(each, dict) and "FARGATE_SPOT" in each.values()
        for strategy in strategies
        for each in (strategy if isinstance(strategy, list) else ())
    )


def _as_registered(resource: dict[str, Any]) -> dict[str, Any]:
    """Return a planned resource in the shape of the ECS API."""
    values = under(resource, "values")
    address = resource.get("address", "aws_ecs_task_definition")
    text = values.get("container_definitions")
    if not isinstance(text, str):
        raise LintError(
            f"{address}: container_definitions is known only after apply; then lint the state, "
            "`terraform show -json`, or else render it with fixed values"
        )
    try:
        containers = json.loads(text)
    except ValueError as error:
        raise LintError(f"{address}: container_definitions is not JSON: {error}") from None
    return {
        **_in_camel_case(values),
        "family": values.get("family") or address,
        "containerDefinitions": containers,
        "volumes": [_in_camel_case(each) for each in mappings(values.get("volume"), "volume")],
    }


def _in_camel_case(values: dict[str, Any]) -> dict[str, Any]:
    return {
        re.sub("_(.)", lambda found: found[1].upper(), str(key)): each
        for key, each in values.items()
    }


def _kind(volume: dict[str, Any]) -> Volume:
    if volume.get("hostPath") or under(volume, "host").get("sourcePath"):
        return Volume.BIND
    return Volume.NETWORK if any(map(volume.get, _REMOTE)) else Volume.MANAGED


def _container(
    definition: dict[str, Any],
    volumes: dict[str, Volume],
    task_bytes: int | None,
    network: str | None,
    routers: list[str],
) -> Container:
    name = str(definition.get("name", "container"))
    logging = under(definition, "logConfiguration")
    driver, options = logging.get("logDriver"), mapping(logging.get("options"), f"{name}: options")
    firelens = under(definition, "firelensConfiguration")
    environment = variables(definition.get("environment"), "environment")
    environment = {key: None if each == UNKNOWN else each for key, each in environment.items()}
    environment |= dict.fromkeys(variables(definition.get("secrets"), "secrets"))
    return Container(
        name=name,
        image=str(definition.get("image") or ""),
        image_is_empty="image" in definition and not definition["image"],
        words=words(definition.get("entryPoint"), f"{name}: entryPoint")
        + words(definition.get("command"), f"{name}: command"),
        environment=environment,
        has_more_variables=bool(definition.get("environmentFiles")),
        depends_on=_depends_on(definition, routers if driver == "awsfirelens" else []),
        stop_seconds=_stop_seconds(definition.get("stopTimeout"), name),
        memory_bytes=_mebibytes(definition["memory"]) if definition.get("memory") else task_bytes,
        log_driver=None if driver is None else str(driver),
        log_options=texts(options, f"{name}: options"),
        output=output_of_options(name, options) if driver == "awsfirelens" else None,
        user=None if definition.get("user") in (None, "", UNKNOWN) else str(definition["user"]),
        mounts=tuple(_mounts(definition, volumes)),
        has_more_mounts=bool(definition.get("volumesFrom")),
        nofile_soft=_nofile(definition),
        is_firelens=bool(firelens),
        has_own_configuration="config-file-value" in under(firelens, "options")
        or any(name.startswith(_INIT_PREFIX) for name in environment),
        has_health_check=bool(definition.get("healthCheck")),
        is_essential=text_of(definition.get("essential")) != "false",
        is_restarted=is_on(under(definition, "restartPolicy").get("enabled")),
        network=network if network in _SHARED else network and f"{network} {name}",
        aliases=links(definition.get("links")),
        ports=declared_ports(definition.get("portMappings")),
        lines=lines_of(definition) | variable_lines(definition.get("environment")),
    )


def _stop_seconds(given: Any, name: str) -> float:
    if given == UNKNOWN:
        return math.nan
    return _STOP_SECONDS if given is None else float(whole(given, f"{name}: stopTimeout"))


def _depends_on(definition: dict[str, Any], routers: list[str]) -> dict[str, Condition]:
    """Return its conditions; ECS orders it behind others without `dependsOn` too."""
    shared = mappings(definition.get("volumesFrom"), "volumesFrom")
    implied = [*links(definition.get("links")).values()]
    implied += (str(each.get("sourceContainer")) for each in shared)
    found = dict.fromkeys([*implied, *routers], Condition.STARTED)
    for each in mappings(definition.get("dependsOn"), "dependsOn"):
        condition = _CONDITIONS.get(str(each.get("condition")), Condition.STARTED)
        found[str(each.get("containerName"))] = condition
    return found


def _mounts(definition: dict[str, Any], volumes: dict[str, Volume]) -> Iterator[Mount]:
    for each in mappings(definition.get("mountPoints"), "mountPoints"):
        name = str(each.get("sourceVolume"))
        yield Mount(
            name=name,
            path=str(each.get("containerPath")),
            kind=volumes.get(name, Volume.MANAGED),
            read_only=is_on(each.get("readOnly")),
        )
    for each in mappings(under(definition, "linuxParameters").get("tmpfs"), "tmpfs"):
        path = str(each.get("containerPath"))
        name = f"{path} of {definition.get('name')}"
        yield Mount(name=name, path=path, kind=Volume.MEMORY)


def _nofile(definition: dict[str, Any]) -> int | None:
    for each in mappings(definition.get("ulimits"), "ulimits"):
        if each.get("name") == "nofile" and each.get("softLimit") != UNKNOWN:
            return whole(each.get("softLimit"), "softLimit")
    return None


def _mebibytes(value: Any) -> int | None:
    """Return the bytes of a task's memory: MiB, or with a unit as in `1 GB`; None if unknown."""
    if value in (None, "", UNKNOWN):
        return None
    text = str(value).strip()
    return compose_bytes(text) if text.lower().endswith("b") else whole(text, "memory") * _MIB
