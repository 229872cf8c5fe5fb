"""What may be asked of a Prometheus that scrapes logship, and what an expression asks for.

The names come from the text that the collectors export, and from the recording rules; nothing is
listed by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from logship._audit.watch import Figures
from logship._metrics.measures import AUDIT_MEASURES
from logship._metrics.process import Process
from logship._metrics.prometheus import CountsCollector
from logship._receiver.server import Counts
from logship.metrics import LogshipCollector
from tests.metrics.reading import samples_of

REPOSITORY = Path(__file__).parents[2]
RULES = REPOSITORY / "sidecar" / "prometheus"
RECORDING, ALERTING = RULES / "recording_rules.yml", RULES / "alerting_rules.yml"

PROMETHEUS_OWN = {"up", "ALERTS"}
FLUENT_BIT = {"fluentbit_output_dropped_records_total"}
"""What is asked of Fluent Bit; tests/sidecar asks a real one for it."""

TARGET_LABELS = {"job", "instance"}

_STRING = re.compile(r'"[^"]*"' + r"|'[^']*'")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(\{[^{}]*\})?")
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)")
_DURATION = re.compile(r"\[[^\]]*\]|\b\d+(ms|[smhdwy])\b")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_WORDS = {"and", "or", "unless", "offset", "bool", "by", "without", "on", "ignoring", "e", "Inf"}


def yaml_of(path: Path) -> Any:
    """Return what is in a YAML file."""
    return yaml.safe_load(path.read_text())


def rules_of(path: Path) -> list[dict[str, Any]]:
    """Return the rules of a file."""
    groups = yaml_of(path)["groups"]
    return [rule for group in groups for rule in group["rules"]]


@cache
def exported() -> frozenset[str]:
    """Return every sample, with its labels, that a client, a receiver or an audit exports."""
    audit = CountsCollector(Figures(), AUDIT_MEASURES)
    collectors = (LogshipCollector(process=Process()), CountsCollector(Counts()), audit)
    return frozenset(chain.from_iterable(map(samples_of, collectors)))


@cache
def known_names() -> frozenset[str]:
    """Return the names that an expression may ask for."""
    recorded = {rule["record"] for rule in rules_of(RECORDING)}
    return frozenset(
        {name.partition("{")[0] for name in exported()} | recorded | PROMETHEUS_OWN | FLUENT_BIT
    )


def names_in(expression: str) -> set[str]:
    """Return the names of the metrics that an expression asks for."""
    text = _GROUPING.sub(" ", _STRING.sub('""', expression))
    text = re.sub(r"\{[^{}]*\}", "", _DURATION.sub("", text))
    found = set()
    for match in re.finditer(r"(?<![\w.])[a-zA-Z_:][\w:]*", text):
        is_function = text[match.end() :].lstrip().startswith("(")
        if not is_function and match[0] not in _WORDS:
            found.add(match[0])
    return found


def unknown_values_in(expression: str) -> Iterator[str]:
    """Yield each matcher for a label's value that logship never exports."""
    for name, matchers in _SELECTOR.findall(expression):
        labelled = [each for each in exported() if each.partition("{")[0] == name]
        for label, _, value in _MATCHER.findall(matchers):
            if label in TARGET_LABELS or not labelled:
                continue
            if not any(f'{label}="{value}"' in each for each in labelled):
                yield f'{name}{{{label}="{value}"}}'
