"""`logship lint`: read deployment files and find mistakes that would lose logs."""

from __future__ import annotations

import json

import click

from logship.cli.output import show
from logship.deployment.linting.model import LintError
from logship.deployment.linting.report import Ignoring, as_json, as_text, judge
from logship.quoting import visible

FILE_BYTES_MAX = 8 * 1024 * 1024
"""A Terraform plan of a large estate has a few megabytes. YAML has a smaller limit."""


def _read_ignoring(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[Ignoring, ...]:
    del context, parameter
    try:
        return tuple(Ignoring.parse(value) for value in values)
    except LintError as error:
        raise click.BadParameter(str(error)) from None


@click.command(short_help="Find mistakes in deployment files that would lose logs.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--json", "as_object", is_flag=True, help="Print everything as one JSON object.")
@click.option(
    "--ignore",
    "ignoring",
    multiple=True,
    metavar="RULE[:CONTAINER]",
    callback=_read_ignoring,
    help="Leave out a rule's findings, or those of one container. May be repeated.",
)
@click.option("--spot", is_flag=True, help="The ECS tasks run on Fargate Spot.")
@click.pass_context
def command(
    context: click.Context,
    files: tuple[str, ...],
    as_object: bool,
    ignoring: tuple[Ignoring, ...],
    spot: bool,
) -> None:
    """Find mistakes in deployment files that would lose logs. It works offline.

    FILE is an ECS task definition (JSON, as registered or described), a Terraform plan (`terraform
    show -json PLAN`), a Kubernetes manifest, a compose file, or a configuration of Fluentd or
    Fluent Bit; `-` is standard input. YAML needs `pip install 'logship-forward[lint]'`.

    A comment `# logship-lint: ignore RULE reason` in a file ignores a rule for that file.

    \b
    Exit codes:
      0  no findings
      1  findings; each says what would happen at night, and which line to change
      2  a file cannot be read, or usage; findings in other files are printed
    """
    reports, errors = [], []
    for name in files:
        try:
            reports.append(judge(name, _content(name), ignoring, is_spot=spot))
        except LintError as error:
            errors.append(str(error))
    found = any(each.findings for each in reports)
    if found or not errors:  # else not all files are known to be clean
        if as_object:
            click.echo(json.dumps(as_json(reports), indent=2))
        else:
            show(as_text(reports))
    for text in errors:
        click.echo(f"Error: {visible(text)}", err=True)
    context.exit(2 if errors else int(found))


def _content(name: str) -> str:
    try:
        with click.open_file(name, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise LintError(f"{name}: {error.strerror or error}") from None
    if len(data) > FILE_BYTES_MAX:
        raise LintError(f"{name}: it is larger than {FILE_BYTES_MAX // 1024 // 1024} MiB")
    try:
        return bytes(data).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise LintError(f"{name}: it is no UTF-8 text") from None
