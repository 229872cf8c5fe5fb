"""Reports as text, as JSON, as annotations of GitHub, and in SARIF 2.1.0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import quote

from logship._deployment.linting.model import Finding, Severity
from logship._deployment.linting.report import FileReport
from logship._deployment.linting.rules import RULES
from logship._deployment.linting.rules.rule import Rule
from logship._spelling import many
from logship._version import __version__

SARIF_SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_INDEXES = {name: index for index, name in enumerate(RULES)}


def as_text(reports: list[FileReport]) -> Iterator[str]:
    """Yield the lines for a person: the verdict first."""
    yield _verdict(reports)
    for report in reports:
        for finding in report.findings:
            place = report.name if finding.line is None else f"{report.name}:{finding.line}"
            yield ""
            yield f"{place}: {finding.severity}: {finding.container}: {finding.rule}"
            yield f"  effect:    {finding.effect}"
            yield f"  change to: {finding.change}"
        if report.why_not_judged:
            yield f"not judged: {report.name}: {report.why_not_judged}"


def _verdict(reports: list[FileReport]) -> str:
    count = sum(len(each.findings) for each in reports)
    ignored = sum(each.ignored for each in reports)
    judged = sum(each.why_not_judged is None for each in reports)
    if not judged:
        return f"nothing judged: {many(len(reports), 'file')}"
    found = f"{count} finding{'s' * (count != 1)} in" if count else "clean:"
    rest = len(reports) - judged
    return (
        f"{found} {many(judged, 'file')}"
        + (f", {ignored} ignored" if ignored else "")
        + (f", {many(rest, 'file')} not judged" if rest else "")
    )


def as_json(reports: list[FileReport]) -> dict[str, Any]:
    """Return the same for a program."""
    return {
        "clean": not any(each.findings for each in reports),
        "files": [each.name for each in reports],
        "not_judged": {
            each.name: each.why_not_judged for each in reports if each.why_not_judged is not None
        },
        "ignored": sum(each.ignored for each in reports),
        "findings": [
            {"file": report.name, **asdict(finding)}
            for report in reports
            for finding in report.findings
        ],
    }


def as_github(reports: list[FileReport]) -> Iterator[str]:
    """Yield a workflow command for each finding: GitHub shows it beside the line."""
    for report in reports:
        for finding in report.findings:
            level = "notice" if finding.severity is Severity.NOTE else finding.severity
            places = {"file": report.name, "line": finding.line or 1, "title": finding.rule}
            properties = ",".join(f"{key}={_property(value)}" for key, value in places.items())
            message = f"{finding.container}: {finding.effect}\nchange to: {finding.change}"
            yield f"::{level} {properties}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: object) -> str:
    return _data(str(value)).replace(":", "%3A").replace(",", "%2C")


def as_sarif(reports: list[FileReport], errors: list[str]) -> dict[str, Any]:
    """Return one run for code scanning services, with errors about files that were not read."""
    invocation: dict[str, Any] = {"executionSuccessful": not errors}
    if notes := [*_sarif_notes(reports, errors)]:
        invocation["toolExecutionNotifications"] = notes
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "logship lint",
                        "semanticVersion": __version__,
                        "rules": list(map(_sarif_rule, RULES.values())),
                    }
                },
                "invocations": [invocation],
                "results": [
                    _sarif_result(report.name, finding)
                    for report in reports
                    for finding in report.findings
                ],
            }
        ],
    }


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.name,
        "shortDescription": {"text": rule.finds},
        "fullDescription": {"text": f"Effect: {rule.effect}."},
        "help": {"text": rule.why},
        "defaultConfiguration": {"level": rule.severity},
    }


def _sarif_result(name: str, finding: Finding) -> dict[str, Any]:
    text = f"{finding.container}: {finding.effect}. Change to: {finding.change}"
    location: dict[str, Any] = {"artifactLocation": {"uri": quote(name, errors="surrogateescape")}}
    if finding.line is not None:
        location["region"] = {"startLine": finding.line}
    return {
        "ruleId": finding.rule,
        "ruleIndex": _INDEXES[finding.rule],
        "level": finding.severity,
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
    }


def _sarif_notes(reports: list[FileReport], errors: list[str]) -> Iterator[dict[str, Any]]:
    for error in errors:
        yield {"level": "error", "message": {"text": error}}
    for each in reports:
        if each.why_not_judged is not None:
            text = f"{each.name}: not judged: {each.why_not_judged}"
            yield {"level": "note", "message": {"text": text}}


def explained(rule: Rule) -> Iterator[str]:
    """Yield what there is to know about a rule."""
    yield f"{rule.name} ({rule.severity}; {', '.join(rule.platforms)})"
    yield f"  finds:    {rule.finds}"
    yield f"  effect:   {rule.effect}"
    yield f"  because:  {rule.why}"
    yield f"  ignore:   --ignore {rule.name}[:CONTAINER]"
