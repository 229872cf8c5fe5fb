"""`logship lint`: read deployment files and find mistakes that would lose logs."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from logship._cli.common import ending_with, read_by, show, show_text
from logship._deployment.linting.documents import is_script
from logship._deployment.linting.formats import as_github, as_json, as_sarif, as_text, explained
from logship._deployment.linting.marks import LintError
from logship._deployment.linting.report import FileReport, Ignored, judge, read_ignored
from logship._deployment.linting.rules import RULES
from logship._quoting import visible

FILE_BYTES_MAX = 8 * 1024 * 1024
"""A Terraform plan of a large estate has a few megabytes. YAML has a smaller limit."""


def _explain(context: click.Context, parameter: click.Parameter, name: str | None) -> None:
    if name is not None:
        show(explained(RULES[name]))
        context.exit()


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    default="text",
    help="How to print the findings.",
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option(
    "--ignore",
    "ignoring",
    multiple=True,
    callback=read_by(lambda texts: tuple(map(read_ignored, texts))),
    metavar="RULE[:CONTAINER]",
    help="Leave out a rule's findings, or those of one container. May be repeated.",
)
@click.option("--spot", is_flag=True, help="The ECS tasks run on Fargate Spot.")
@click.option(
    "--explain",
    type=click.Choice([*RULES]),
    metavar="RULE",
    is_eager=True,
    expose_value=False,
    callback=_explain,
    help="Say what a rule finds and why, and exit.",
)
@click.pass_context
def command(
    context: click.Context,
    files: tuple[str, ...],
    form: str,
    ignoring: tuple[Ignored, ...],
    spot: bool,
) -> None:
    """Find mistakes in deployment files that would lose logs. It works offline.

    FILE is an ECS task definition (JSON, as registered or described), a Terraform plan (`terraform
    show -json PLAN`), a CloudFormation template, a Kubernetes manifest, a compose file, a
    Dockerfile, or a configuration of Fluentd or Fluent Bit; `-` is standard input. A script that a
    container starts with is read, if it is beside FILE or is another FILE, and so is the Dockerfile
    that a compose service is built from. YAML needs `pip install PyYAML`.

    A comment `# logship-lint: ignore RULE reason` in a file ignores a rule for that file.

    \b
    Exit codes:
      0  no findings; a line names each file in which nothing was judged
      1  findings; each says what would happen, and which line to change
      2  wrong usage, or a file cannot be read; findings in other files are printed
    """
    texts: dict[str, str] = {}
    errors: list[str] = []
    for name in dict.fromkeys(files):  # standard input can be read once
        try:
            texts[name] = _content(name)
        except LintError as error:
            errors.append(str(error))
    scripts = _scripts(texts)
    reports = []
    for name, text in texts.items():
        named = functools.partial(_named, scripts, Path(name).parent)
        try:
            reports.append(judge(name, text, ignoring, named, is_spot=spot))
        except LintError as error:
            errors.append(str(error))
    found = any(each.findings for each in reports)
    if found or not errors or form == "sarif":  # else not all files are known to be clean
        _show(form, reports, errors)
    with ending_with(sys.stderr):
        for each in errors:
            click.echo(f"Error: {visible(each)}", err=True)
    context.exit(2 if errors else int(found))


def _show(form: str, reports: list[FileReport], errors: list[str]) -> None:
    if form in ("text", "github"):
        show(as_text(reports) if form == "text" else as_github(reports))
    else:
        told = as_json(reports) if form == "json" else as_sarif(reports, errors)
        show_text(json.dumps(told, indent=2))


def _scripts(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the scripts among these files by base name; none that two different ones have."""
    found: dict[str, set[str]] = {}
    for name, text in texts.items():
        if is_script(name, text):
            found.setdefault(Path(name).name, set()).add(text)
    return {name: each.pop() for name, each in found.items() if len(each) == 1}


def _named(scripts: Mapping[str, str], directory: Path, path: str) -> str | None:
    """Return the text of a file that FILE names: in FILE's directory, or a script that is given."""
    try:
        place = (directory / path).resolve()
        return _content(str(place)) if place.is_file() else scripts.get(path)
    except (LintError, OSError, RuntimeError, ValueError):  # it cannot be read, or be a path
        return None


def _content(name: str) -> str:
    try:
        with click.open_file(name, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except IsADirectoryError:
        raise LintError(f"{name}: it is a directory; name the files in it") from None
    except OSError as error:
        raise LintError(f"{name}: {error.strerror or error}") from None
    except RuntimeError:  # click's, of a closed standard input
        raise LintError(f"{name}: standard input is closed") from None
    if len(data) > FILE_BYTES_MAX:
        raise LintError(f"{name}: it is larger than {FILE_BYTES_MAX // 1024 // 1024} MiB")
    try:
        return bytes(data).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise LintError(f"{name}: it is not UTF-8 text") from None
