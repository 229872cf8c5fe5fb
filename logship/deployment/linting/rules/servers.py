"""Whether the sidecar routes and keeps the records that it acknowledges.

Facts behind the rules: Fluent Bit before 5.1 also acknowledges records that it could not keep
(observed from 1.9 to 5.0). FireLens makes outputs only for tags `<container>-firelens*` of
containers with the `awsfirelens` driver, and a record that no output matches is acknowledged and
thrown away. A buffer in memory ends with the container. From 5.0.5 on, Fluent Bit forwards metadata
beside each time, and Fluentd up to 1.19.3 acknowledges these records and skips them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from logship.deployment.linting import fluentbit
from logship.deployment.linting.commands import option_of
from logship.deployment.linting.model import Container, Finding, Role, Unit
from logship.deployment.linting.rules.snippets import variable

_VERSION = re.compile(r"v?([0-9]{1,9}(?:\.[0-9]{1,9}){1,2})")
_CHECKED_SINCE = (5, 1)
METADATA_SINCE = (5, 0, 5)
"""The version from which Fluent Bit's forward output sends metadata by default."""

_RETAIN = "retain_metadata_in_forward_mode"
_FALSE = ("false", "off", "no")
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
    name, tag = _name_and_tag(image)
    if name == "aws-for-fluent-bit":
        return f"{image}, as both AWS images of Fluent Bit (1.9.10, 5.0.9),"
    if name == "fluent-bit" and is_blind_version(tag):
        return f"Fluent Bit {tag}, as all before 5.1,"
    return None


def _name_and_tag(image: str) -> tuple[str, str]:
    name, _, tag = image.rpartition("/")[2].partition("@")[0].partition(":")
    return name, tag


def is_blind_version(version: str) -> bool:
    """Return whether a version of Fluent Bit acknowledges records that it could not keep."""
    numbers = _numbers(version)
    return numbers is not None and numbers < _CHECKED_SINCE


def sends_metadata(version: str) -> bool:
    """Return whether a version of Fluent Bit forwards metadata unless it is told otherwise."""
    numbers = _numbers(version)
    return numbers is not None and numbers >= METADATA_SINCE[: len(numbers)]


def _numbers(version: str) -> tuple[int, ...] | None:
    """Return the numbers of a version; None if it has none."""
    found = _VERSION.match(version)
    return None if found is None else tuple(map(int, found[1].split(".")))


def forward_metadata(unit: Unit) -> Iterator[Finding]:
    """Yield outputs of Fluent Bit that forward metadata, perhaps to a Fluentd."""
    if _is_before_metadata(unit):
        return
    for configuration in unit.configurations:
        for output in fluentbit.outputs(configuration.text):
            if _retains(output):
                change = fluentbit.line(configuration.text, _RETAIN, "false")
                yield _metadata(configuration.name, change)
    for container in unit.containers:  # FireLens makes an output of these options
        options = {name.lower(): value.lower() for name, value in container.log_options.items()}
        if container.log_driver == "awsfirelens" and _retains(options):
            yield _metadata(container.name, f'"options": {{ "{_RETAIN}": "false" }}')


def _is_before_metadata(unit: Unit) -> bool:
    """Return whether each Fluent Bit in sight is too old; it would refuse the option."""
    names = [_name_and_tag(each.image) for each in unit.containers]
    versions = [tag for name, tag in names if name == "fluent-bit"]
    return bool(versions) and all(
        _numbers(each) is not None and not sends_metadata(each) for each in versions
    )


def _retains(output: Mapping[str, str]) -> bool:
    return output.get("name") == "forward" and output.get(_RETAIN) not in _FALSE


def _metadata(name: str, change: str) -> Finding:
    night = (
        "from 5.0.5 on, the forward output of Fluent Bit sends metadata beside the time; a Fluentd "
        "up to 1.19.3 acknowledges such records and throws them away"
    )
    return Finding("forward-metadata", name, night, change)


def memory_buffer(unit: Unit) -> Iterator[Finding]:
    """Yield configurations of sidecars that keep what they acknowledged in memory."""
    for configuration in unit.configurations:
        text = "\n".join(_without_comment(line) for line in configuration.text.splitlines())
        if re.search(r"^[ \t]*<(match|source|label)\b", text, re.MULTILINE):
            yield from _fluentd(configuration.name, text)
            continue
        for each in fluentbit.inputs(configuration.text):
            if each.get("name") == "forward" and each.get("storage.type") != "filesystem":
                change = fluentbit.line(configuration.text, "storage.type", "filesystem")
                yield _in_memory(configuration.name, "the forward input", change)


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


def _in_memory(name: str, where: str, change: str) -> Finding:
    night = (
        f"{where} keeps what was acknowledged in memory: when the sidecar is killed, records are "
        "lost that no client will send again"
    )
    return Finding("memory-buffer", name, night, change)
