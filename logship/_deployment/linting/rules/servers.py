"""Whether the sidecar routes what it acknowledges, and what an ack of its version is worth."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from logship._deployment.linting.commands import option_of
from logship._deployment.linting.model import Container, Mistake, Platform, Unit
from logship._deployment.linting.rules.rule import (
    DEPLOYMENTS,
    WITH_IMAGES,
    configurations,
    containers,
    units,
)
from logship._deployment.linting.rules.snippets import form, variable
from logship._deployment.linting.sections import Configuration, matches, takes

_VERSION = re.compile(r"v?([0-9]{1,9}(?:\.[0-9]{1,9}){1,2})")
_CHECKED_SINCE = (5, 1)
METADATA_SINCE = (5, 0, 5)
"""The version from which Fluent Bit's forward output sends metadata by default."""

_NEW_TAGS = {"tag", "tag_prefix", "add_tag_prefix"}
"""Options by which an input gives records another tag."""

_RETAIN = "retain_metadata_in_forward_mode"
_FALSE = ("false", "off", "no")
_ROUTES_SHOWN_MAX = 5


@units.error(
    finds="a tag that no output of FireLens, or of the sidecar's configuration, matches",
    effect="all records are acknowledged and thrown away, and nothing reports an error",
    keys=("$LOGSHIP_TAG", "command", "args", "environment", "env"),
)
def _tag_route(unit: Unit) -> Iterator[Mistake]:
    """FireLens makes outputs only for tags `<container>-firelens*` of containers with the
    awsfirelens driver, and without such a container ECS refuses `firelensConfiguration`. Fluentd
    and Fluent Bit acknowledge a record that no output matches, and throw it away. Outside ECS the
    rule compares `LOGSHIP_TAG` with the sidecar's configuration, if all of it is in the same file.
    """
    yield from _by_firelens(unit)
    for container in unit.applications:
        tag = option_of(container, "--tag") or container.value("LOGSHIP_TAG")
        if tag is None or "$" in tag:
            continue
        if not _may_be_routed(unit.routes, tag):
            effect = (
                f"no output in the sidecar's configuration matches {tag!r:.100}: its records are "
                "acknowledged and thrown away"
            )
            yield Mistake(variable(unit, "LOGSHIP_TAG", "…"), effect, of=container.name)


def _may_be_routed(found: tuple[Configuration, ...], tag: str) -> bool:
    """Return whether an output takes a tag, or that cannot be told."""
    sources = [each for one in found for each in one.inputs if each.type == "forward"]
    if not sources or any(each.options.keys() & _NEW_TAGS for each in sources):
        return True
    if any(not each.is_whole or each.has_direct_routes for each in found):
        return True
    answers = []
    for each in found:
        sections = [one for one in each.sections if one.argument != "@ERROR"]
        outputs = dataclasses.replace(each, sections=sections).all("match")
        answers += [matches(one.argument, tag) for one in outputs]
        rewriting = [one for one in each.all("filters") if one.type == "rewrite_tag"]
        answers += [takes(one, tag) for one in (*each.outputs, *rewriting)]
    return any(answers) or not answers


def _by_firelens(unit: Unit) -> Iterator[Mistake]:
    routers = [each for each in unit.containers if each.is_firelens]
    routed = [each.name for each in unit.containers if each.log_driver == "awsfirelens"]
    if not routed:
        effect = "no container has the awsfirelens driver: ECS refuses this task definition"
        for each in routers:
            change = (
                f"remove firelensConfiguration from {each.name}, and give it a configuration of "
                "its own, with an output that matches the tag"
            )
            yield Mistake(change, effect, of=each.name)
        return
    if not routers or any(each.has_own_configuration for each in routers):
        return  # the routes of an own configuration are not visible here
    shown = [f"{name}-firelens*" for name in routed[:_ROUTES_SHOWN_MAX]]
    shown += ["…"] * (len(routed) > len(shown))
    for container in unit.applications:
        tag = _tag(container)
        if tag is None or "$" in tag or any(tag.startswith(f"{name}-firelens") for name in routed):
            continue
        effect = (
            "FireLens routes only tags of containers with the awsfirelens driver "
            f"({', '.join(shown)}): {tag!r} matches no output, is acknowledged and thrown away"
        )
        change = variable(unit, "LOGSHIP_TAG", f"{routed[0]}-firelens-logship")
        yield Mistake(change, effect, of=container.name)


def _tag(container: Container) -> str | None:
    """Return a tag, or how the default one begins; ECS names it only with this driver."""
    given = option_of(container, "--tag")
    if given is not None or not container.is_unset("LOGSHIP_TAG"):
        return given or container.value("LOGSHIP_TAG")
    is_told = container.log_driver == "awsfirelens"
    return f"{container.name}-firelens-" if is_told else "the program's name"


@containers.error(
    finds="a sidecar that acknowledges what it throws away",
    effect="records are lost that logship counts as delivered",
    platforms=WITH_IMAGES,
    keys=("image",),
)
def _blind_ack(unit: Unit, container: Container) -> Iterator[Mistake]:
    """Fluent Bit before 5.1 also acknowledges records that it could not keep (observed from 1.9 to
    5.0). Both AWS images of Fluent Bit are older (1.9.10 and 5.0.9).
    """
    what = why_blind(container.image)
    if what is None:
        return
    effect = (
        f"{what} may also acknowledge records that it throws away; logship counts these lost "
        "records as delivered"
    )
    word = form(unit, "image: ", ecs='"image": ', dockerfile="FROM ")
    yield Mistake(f'{word}"fluent/fluent-bit:5.1.1"', effect)


def why_blind(image: str) -> str | None:
    """Name the server in an image that acknowledges blindly; None if none is known."""
    name, tag = _name_and_tag(image)
    if name == "aws-for-fluent-bit":
        return f"{image}, as both AWS images of Fluent Bit (1.9.10, 5.0.9),"
    numbers = _numbers(tag)
    if name == "fluent-bit" and numbers is not None and numbers < _CHECKED_SINCE:
        return f"Fluent Bit {tag}, as all before 5.1,"
    return None


def _name_and_tag(image: str) -> tuple[str, str]:
    name, _, tag = image.rpartition("/")[2].partition("@")[0].partition(":")
    return name, tag


def sends_metadata(version: str) -> bool:
    """Return whether a version of Fluent Bit forwards metadata unless it is told otherwise."""
    numbers = _numbers(version)
    return numbers is not None and numbers >= METADATA_SINCE[: len(numbers)]


def _numbers(version: str) -> tuple[int, ...] | None:
    """Return the numbers of a version; None if it has none."""
    found = _VERSION.match(version)
    return None if found is None else tuple(map(int, found[1].split(".")))


@configurations.warning(
    finds=(
        "a Fluent Bit that forwards metadata, perhaps to a Fluentd, which throws the record away"
    ),
    effect="a Fluentd up to 1.19.3 acknowledges such records and throws them away",
    platforms=(*DEPLOYMENTS, Platform.CONFIGURATION),
    keys=("logConfiguration",),
)
def _forward_metadata(unit: Unit, found: Configuration) -> Iterator[Mistake]:
    """From 5.0.5 on, Fluent Bit forwards metadata beside each time, and Fluentd up to 1.19.3
    acknowledges these records and skips them. The rule cannot know what listens at the other end:
    newer versions of Fluentd, Fluent Bit and `logship receive` take metadata. There is no finding
    if the file shows images of Fluent Bit before 5.0.5 only, which do not have the option.
    """
    for output in found.outputs:
        forwards = output.type == "forward" and output.options.get(_RETAIN) not in _FALSE
        if forwards and not _is_before_metadata(unit):
            yield Mistake(found.setting(_RETAIN, "false"), line=output.line_of(_RETAIN))


def _is_before_metadata(unit: Unit) -> bool:
    """Return whether each Fluent Bit in sight is too old; it would refuse the option."""
    names = [_name_and_tag(each.image) for each in unit.containers]
    versions = [tag for name, tag in names if name == "fluent-bit"]
    return bool(versions) and all(
        _numbers(each) is not None and not sends_metadata(each) for each in versions
    )
