"""Reports in SARIF 2.1.0, which code scanning services read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from logship._deployment.linting.model import Finding
from logship._deployment.linting.report import FileReport
from logship._deployment.linting.rules import RULES
from logship._deployment.linting.rules.rule import Rule
from logship._version import __version__

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_INDEXES = {name: index for index, name in enumerate(RULES)}


def as_sarif(reports: list[FileReport], errors: list[str]) -> dict[str, Any]:
    """Return one run with all findings.

    Args:
        reports: Of the files that could be read.
        errors: About those that could not.
    """
    invocation: dict[str, Any] = {"executionSuccessful": not errors}
    if notes := [*_notes(reports, errors)]:
        invocation["toolExecutionNotifications"] = notes
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "logship lint",
                        "semanticVersion": __version__,
                        "rules": list(map(_rule, RULES.values())),
                    }
                },
                "invocations": [invocation],
                "results": [
                    _result(report.name, finding)
                    for report in reports
                    for finding in report.findings
                ],
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.name,
        "shortDescription": {"text": rule.finds},
        "fullDescription": {"text": f"Effect: {rule.night}."},
        "help": {"text": rule.why},
        "defaultConfiguration": {"level": rule.severity},
    }


def _result(name: str, finding: Finding) -> dict[str, Any]:
    text = f"{finding.container}: {finding.night}. Change to: {finding.change}"
    location: dict[str, Any] = {"artifactLocation": {"uri": quote(name)}}
    if finding.line is not None:
        location["region"] = {"startLine": finding.line}
    return {
        "ruleId": finding.rule,
        "ruleIndex": _INDEXES[finding.rule],
        "level": finding.severity,
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
    }


def _notes(reports: list[FileReport], errors: list[str]) -> Iterator[dict[str, Any]]:
    for error in errors:
        yield {"level": "error", "message": {"text": error}}
    for each in reports:
        if each.why_not_judged is not None:
            text = f"{each.name}: not judged: {each.why_not_judged}"
            yield {"level": "note", "message": {"text": text}}
