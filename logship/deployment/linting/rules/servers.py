"""Whether the sidecar routes and keeps the records that it acknowledges.

Facts behind the rules: Fluent Bit before 5.1 also acknowledges records that it could not keep
(observed from 1.9 to 5.0). FireLens makes outputs only for tags `<container>-firelens*` of
containers with the `awsfirelens` driver, and a record that no output matches is acknowledged and
thrown away. A buffer in memory ends with the container.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from logship.deployment.linting.commands import option_of
from logship.deployment.linting.model import (
    Container,
    Finding,
    LintError,
    Role,
    ServerConfiguration,
    Unit,
)
from logship.deployment.linting.rules.snippets import variable
from logship.deployment.linting.yamltext import YamlMissing, parse_yaml

_VERSION = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})")
_CHECKED_SINCE = (5, 1)
_ROUTES_SHOWN_MAX = 5
_BUFFERED = re.compile(
    r"forward|s3|kafka\w*|elasticsearch\w*|opensearch\w*|cloudwatch_logs|kinesis\w*|http|loki|"
    r"splunk_hec|gelf|mongo|webhdfs|gcs|azurestorage\w*|rewrite_\w+_s3"
)
"""Fluentd outputs that buffer in memory by default."""


def tag_route(unit: Unit) -> Iterator[Finding]:
    """Yield applications under FireLens whose tag no output matches."""
    routers = [each for each in unit.containers if each.is_firelens]
    if not routers or any("config-file-value" in each.firelens_options for each in routers):
        return  # the routes of an own configuration are not visible here
    routed = [each.name for each in unit.containers if each.log_driver == "awsfirelens"]
    for container in unit.of_role(Role.APPLICATION):
        tag = _tag(container)
        if tag is None or any(tag.startswith(f"{name}-firelens") for name in routed):
            continue
        night = (
            f"FireLens routes only tags of containers with the awsfirelens driver "
            f"({_shown(routed)}): {tag!r} matches no output, is acknowledged and thrown away"
        )
        yield Finding("tag-route", container.name, night, _routed(unit, routed))


def _shown(routed: list[str]) -> str:
    shown = [f"{name}-firelens*" for name in routed[:_ROUTES_SHOWN_MAX]]
    more = ["…"] if len(routed) > len(shown) else []
    return ", ".join(shown + more) or "there are none"


def _tag(container: Container) -> str | None:
    if "LOGSHIP_TAG" in container.environment and option_of(container, "--tag") is None:
        return container.value("LOGSHIP_TAG")
    return option_of(container, "--tag") or _default_tag(container)


def _default_tag(container: Container) -> str:
    """Return the beginning of the default tag; ECS names it only with this driver."""
    is_told = container.log_driver == "awsfirelens"
    return f"{container.name}-firelens-" if is_told else "the program's name"


def _routed(unit: Unit, routed: list[str]) -> str:
    if routed:
        return variable(unit, "LOGSHIP_TAG", f"{routed[0]}-firelens-logship")
    return (
        '"firelensConfiguration": { "options": { "config-file-type": "file", '
        '"config-file-value": "/logship.conf" } }, with an output that matches the tag'
    )


def blind_ack(unit: Unit) -> Iterator[Finding]:
    """Yield sidecars whose acknowledgement proves nothing."""
    for container in unit.containers:
        what = why_blind(container.image)
        if what is None:
            continue
        night = (
            f"{what} may also acknowledge records that it throws away; logship counts these lost "
            "records as delivered"
        )
        word = '"image": ' if unit.platform == "ecs" else "image: "
        yield Finding("blind-ack", container.name, night, f'{word}"fluent/fluent-bit:5.1.1"')


def why_blind(image: str) -> str | None:
    """Name the server in an image that acknowledges blindly; None if none is known."""
    name, _, tag = image.rpartition("/")[2].partition("@")[0].partition(":")
    if name == "aws-for-fluent-bit":
        return f"{image}, as both AWS images of Fluent Bit (1.9.10, 5.0.9),"
    if name == "fluent-bit" and is_blind_version(tag):
        return f"Fluent Bit {tag}, as all before 5.1,"
    return None


def is_blind_version(version: str) -> bool:
    """Return whether a version of Fluent Bit acknowledges records that it could not keep."""
    found = _VERSION.match(version)
    return found is not None and (int(found[1]), int(found[2])) < _CHECKED_SINCE


def memory_buffer(unit: Unit) -> Iterator[Finding]:
    """Yield configurations of sidecars that keep what they acknowledged in memory."""
    for configuration in unit.configurations:
        text = "\n".join(_without_comment(line) for line in configuration.text.splitlines())
        if re.search(r"^[ \t]*<(match|source|label)\b", text, re.MULTILINE):
            yield from _fluentd(configuration.name, text)
        elif re.search(r"^[ \t]*\[(INPUT|OUTPUT|SERVICE)\]", text, re.MULTILINE | re.IGNORECASE):
            yield from _classic_fluent_bit(configuration.name, text)
        else:
            yield from _yaml_fluent_bit(configuration)
    del unit


def _without_comment(line: str) -> str:
    return "" if line.lstrip().startswith("#") else line


def _fluentd(name: str, text: str) -> Iterator[Finding]:
    for body in _sections(text, "match"):
        kind = re.search(r"^[ \t]*@type\s+(\S+)", body, re.MULTILINE)
        own = kind[1] if kind else ""
        buffer = next(_sections(body, "buffer"), None)
        if buffer is None:
            is_in_memory = _BUFFERED.fullmatch(own) is not None and "@include" not in body
        else:
            is_in_memory = not re.search(r"@type\s+file|@include", buffer)
        if is_in_memory:
            yield _in_memory(
                name, f"<match> of @type {own}", "<buffer> @type file / path … </buffer>"
            )


def _sections(text: str, name: str) -> Iterator[str]:
    """Yield what stands in the sections of a name, `<name …>` to `</name>`."""
    for each in re.split(rf"<{name}\b", text)[1:]:
        section, end, _ = each.partition(f"</{name}>")
        if end:
            yield section.partition(">")[2]


def _classic_fluent_bit(name: str, text: str) -> Iterator[Finding]:
    for head, body in re.findall(r"^[ \t]*\[(\w+)\]([^\[]*)", text, re.MULTILINE):
        is_forward = re.search(r"^[ \t]*name\s+forward\s*$", body, re.MULTILINE | re.IGNORECASE)
        on_disk = re.search(
            r"^[ \t]*storage\.type\s+filesystem", body, re.MULTILINE | re.IGNORECASE
        )
        if head.upper() == "INPUT" and is_forward and not on_disk:
            yield _in_memory(name, "the forward input", "storage.type filesystem")


def _yaml_fluent_bit(configuration: ServerConfiguration) -> Iterator[Finding]:
    for each in _yaml_inputs(configuration.text):
        if each.get("name") == "forward" and each.get("storage.type") != "filesystem":
            yield _in_memory(configuration.name, "the forward input", "storage.type: filesystem")


def _yaml_inputs(text: str) -> list[dict[str, object]]:
    try:
        documents = parse_yaml(text)
    except YamlMissing:
        return []  # YAML inside of JSON; with the extra for YAML files the parser is there
    except LintError:
        return []  # some other program's configuration
    pipelines = [each.get("pipeline") for each in documents if isinstance(each, dict)]
    inputs = [each.get("inputs") for each in pipelines if isinstance(each, dict)]
    lists = [each for each in inputs if isinstance(each, list)]
    return [each for items in lists for each in items if isinstance(each, dict)]


def _in_memory(name: str, where: str, change: str) -> Finding:
    night = (
        f"{where} keeps what was acknowledged in memory: when the sidecar is killed, records are "
        "lost that no client will send again"
    )
    return Finding("memory-buffer", name, night, change)
