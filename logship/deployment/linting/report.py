"""The findings, as text for a person and as JSON for a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from logship.deployment.linting.documents import Ignored, ignored_in, read_units
from logship.deployment.linting.model import Finding, LintError, Unit
from logship.deployment.linting.rules import NAMES, findings_of

FINDINGS_MAX: Final = 5_000
"""In one file, those that are ignored too."""


@dataclass(frozen=True, slots=True)
class Ignoring:
    """An ignored rule, for all containers or for one.

    Attributes:
        rule: Its name.
        container: The container; None for all.
    """

    rule: str
    container: str | None = None

    @classmethod
    def parse(cls, text: str) -> Ignoring:
        """Return what `RULE` or `RULE:CONTAINER` means.

        Raises:
            LintError: There is no such rule.
        """
        rule, _, container = text.partition(":")
        _check_rule(rule)
        return cls(rule, container or None)

    def covers(self, finding: Finding) -> bool:
        """Return whether a finding is ignored."""
        return finding.rule == self.rule and self.container in (None, finding.container)


@dataclass(frozen=True, slots=True)
class FileReport:
    """The findings in one file.

    Attributes:
        name: The file's.
        findings: The findings that are not ignored.
        ignored: How many findings were ignored.
    """

    name: str
    findings: tuple[Finding, ...]
    ignored: int


def judge(
    name: str, text: str, ignoring: tuple[Ignoring, ...] = (), *, is_spot: bool = False
) -> FileReport:
    """Return the findings in a file.

    Raises:
        LintError: The file cannot be checked; the text names it.
    """
    try:
        comments = ignored_in(text)
        unwanted = {*ignoring, *map(_of_comment, comments)}
        found = _findings(read_units(name, text, is_spot=is_spot))
    except LintError as error:
        raise LintError(f"{name}: {error}") from None
    except RecursionError:
        raise LintError(f"{name}: it is nested too deep") from None
    kept = [each for each in found if not any(each_of.covers(each) for each_of in unwanted)]
    return FileReport(name, tuple(kept), len(found) - len(kept))


def _findings(units: Iterable[Unit]) -> list[Finding]:
    """Return all findings, without duplicates in a unit."""
    found: list[Finding] = []
    left = FINDINGS_MAX
    for unit in units:
        own = list(islice(findings_of(unit), left + 1))
        left -= len(own)
        if left < 0:
            raise LintError(f"it has more than {FINDINGS_MAX:,} findings")
        found += dict.fromkeys(own)
    return found


def _of_comment(comment: Ignored) -> Ignoring:
    return Ignoring.parse(comment.rule)


def _check_rule(rule: str) -> None:
    if rule not in NAMES:
        raise LintError(f"{rule!r} is no rule; there are {', '.join(NAMES)}")


def as_text(reports: list[FileReport]) -> Iterator[str]:
    """Yield the lines for a person: the verdict first."""
    count = sum(len(each.findings) for each in reports)
    ignored = sum(each.ignored for each in reports)
    files = "1 file" if len(reports) == 1 else f"{len(reports)} files"
    verdict = f"{count} finding{'s' * (count != 1)} in {files}" if count else f"clean: {files}"
    yield verdict + (f", {ignored} ignored" if ignored else "")
    for report in reports:
        for finding in report.findings:
            yield ""
            yield f"{report.name}: {finding.container}: {finding.rule}"
            yield f"  at night:  {finding.night}"
            yield f"  change to: {finding.change}"


def as_json(reports: list[FileReport]) -> dict[str, Any]:
    """Return the same for a program."""
    return {
        "clean": not any(each.findings for each in reports),
        "files": [each.name for each in reports],
        "ignored": sum(each.ignored for each in reports),
        "findings": [
            {"file": report.name, **asdict(finding)}
            for report in reports
            for finding in report.findings
        ],
    }
