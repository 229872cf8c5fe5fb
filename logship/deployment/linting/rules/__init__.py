"""Every rule, by name: each is a small pure function that yields the mistakes of a unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from logship.deployment.linting.model import COMPOSE, CONFIGURATION, ECS, KUBERNETES, Finding, Unit
from logship.deployment.linting.rules import (
    ordering,
    resources,
    servers,
    stderr,
    stopping,
    variables,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        name: The name in findings, `--ignore` and comments.
        about: What it finds, in one line; docs/lint.md has the same line.
        check: Yields the findings.
        platforms: The platforms that it checks.
    """

    name: str
    about: str
    check: Callable[[Unit], Iterator[Finding]]
    platforms: tuple[str, ...] = (ECS, KUBERNETES, COMPOSE)


RULES: tuple[Rule, ...] = (
    Rule(
        "depends-on",
        "an application or recoverer that is not ordered behind its sidecar (or its recoverer)",
        ordering.missing,
    ),
    Rule(
        "depends-on-reversed",
        "a sidecar or recoverer that is ordered behind an application, and so stopped first",
        ordering.reversed_order,
        (ECS, COMPOSE),
    ),
    Rule(
        "stop-timeout-limit",
        "a `stopTimeout` above Fargate's 120 s",
        stopping.limit,
        (ECS,),
    ),
    Rule(
        "stop-timeout-setting",
        "a stop timeout that is not what logship believes it to be",
        stopping.setting,
    ),
    Rule(
        "stop-timeout-sum",
        "stop timeouts that together exceed Spot's two minutes or the pod's grace period",
        stopping.total,
        (ECS, KUBERNETES),
    ),
    Rule(
        "graceful-timeout",
        "a gunicorn that kills its workers before logship is done, or is killed before that",
        stopping.graceful,
    ),
    Rule(
        "stop-signal",
        "a stop signal that is not among `stop_signals`",
        stopping.signals,
        (KUBERNETES, COMPOSE),
    ),
    Rule("shell-entrypoint", "a shell as first process that keeps SIGTERM", stopping.shell),
    Rule(
        "stderr-driver",
        "stderr, the last resort, leads back to the sidecar or nowhere",
        stderr.driver,
        (ECS, COMPOSE),
    ),
    Rule(
        "stderr-non-blocking",
        "stderr, the last resort, is dropped when the log driver's buffer is full",
        stderr.non_blocking,
        (ECS, COMPOSE),
    ),
    Rule(
        "tag-route",
        "a tag that no output of FireLens matches",
        servers.tag_route,
        (ECS,),
    ),
    Rule("blind-ack", "a sidecar that acknowledges what it throws away", servers.blind_ack),
    Rule(
        "forward-metadata",
        "a Fluent Bit that forwards metadata, perhaps to a Fluentd, which throws the record away",
        servers.forward_metadata,
        (ECS, KUBERNETES, COMPOSE, CONFIGURATION),
    ),
    Rule(
        "memory-buffer",
        "a sidecar that keeps what it acknowledged in memory",
        servers.memory_buffer,
        (KUBERNETES, COMPOSE, CONFIGURATION),
    ),
    Rule(
        "spool-volume",
        "a spool that is on no volume, a read-only, network or too small one, or one that the "
        "recoverer does not mount",
        resources.spool_volume,
    ),
    Rule(
        "spool-owner",
        "a spool that the container's user cannot write, or its recoverer's user cannot open",
        resources.spool_owner,
    ),
    Rule(
        "memory-sum",
        "buffers of all workers, and a spool in memory, above half of the memory limit",
        resources.memory_sum,
    ),
    Rule(
        "nofile",
        "a limit of fewer than 4,096 open files",
        resources.nofile,
        (ECS, COMPOSE),
    ),
    Rule("unknown-setting", "a `LOGSHIP_*` variable that logship does not read", variables.unknown),
    Rule("wrong-setting", "a `LOGSHIP_*` value that logship refuses", variables.wrong),
)

NAMES = tuple(rule.name for rule in RULES)


def findings_of(unit: Unit) -> Iterator[Finding]:
    """Yield all findings of a unit, in the order of the rules; some may be there twice."""
    return (finding for rule in RULES for finding in rule.check(unit))
