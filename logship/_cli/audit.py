"""`logship audit`: reads files, shows the verdict, and exits with its code."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from logship._audit.audit import Audit
from logship._audit.destinations import is_address, output_of
from logship._audit.lines import STAMP_KEY
from logship._audit.sources import ASK_AGAIN, CannotRead, Source, expected_in
from logship._audit.text import verdict_as_json, verdict_as_text
from logship._cli.common import (
    FiniteRange,
    NamedPath,
    NotUsable,
    ending_with,
    metrics_port_option,
    only_given,
    show,
    show_text,
)
from logship._cli.watching import INTERVAL_SECONDS, BadState, follow

INPUT = NamedPath(readable=False, allow_dash=True)
"""Any name: the audit itself says what is wrong with it. Shells complete file names."""

SECONDS = FiniteRange(0.0, min_open=True)

COLOURS = {
    "complete:": "green",
    "LOST:": "red",
    "INCONSISTENT:": "red",
    "NO STAMPS:": "red",
    "NO RECORDS:": "red",
    "UNPROVEN:": "yellow",
    "NOT COMPLETE, but nothing lost in silence:": "yellow",
}


@contextlib.contextmanager
def _errors_are_no_verdict() -> Iterator[None]:
    """Give all errors a code that is no verdict: Python's own is 1, which means a loss."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit):
        raise
    except (BadState, CannotRead) as error:
        raise NotUsable(str(error)) from None
    except Exception:  # noqa: BLE001 - no memory, or a bug
        with ending_with(sys.stderr):
            traceback.print_exc()
        raise click.exceptions.Exit(NotUsable.exit_code) from None


def _check_inputs(names: Iterable[str], option: str, if_missing: str) -> dict[object, str]:
    """Return the names of the inputs by what they are.

    Raises:
        click.UsageError: One is a directory, or is named twice, which would double its records.
    """
    seen: dict[object, str] = {}
    for name in names:
        identity = _identity(name, if_missing)
        if identity in seen:
            raise click.UsageError(f"{option}: {name} is the same input as {seen[identity]}")
        seen[identity] = name
    return seen


def _identity(name: str, if_missing: str) -> object:
    if name == "-" or is_address(name):
        return name
    status = _status(name, if_missing)
    if stat.S_ISDIR(status.st_mode):
        raise click.UsageError(
            f"{name} is a directory; name the files in it, as {Path(name)}/*.log"
        )
    return (status.st_dev, status.st_ino)


def _status(name: str, if_missing: str) -> os.stat_result:
    try:
        return Path(name).stat()
    except OSError as error:
        hint = f"; {if_missing}" if isinstance(error, FileNotFoundError) else ""
        raise CannotRead(f"cannot read {name}: {error.strerror}{hint}") from None


def _source(name: str) -> Source:
    return Source(name, size=0 if name == "-" else _status(name, ASK_AGAIN).st_size)


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=INPUT)
@click.option(
    "--expect",
    "expected",
    type=INPUT,
    metavar="REPORT",
    multiple=True,
    help="A file with drain reports, such as an application's captured stderr: each stream that "
    "they name must be accounted for, up to its last number. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything, as one JSON object.")
@click.option("--stamp-key", default=STAMP_KEY, help="The field that carries the stamp.")
@click.option(
    "--watch",
    "is_watching",
    is_flag=True,
    help="Follow the outputs until a stop signal. FILE may be a directory or a pattern such as "
    "'out/*.log*', and it must also match rotated files.",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --watch: keep the state in this file, and continue from it after a restart.",
)
@click.option(
    "--interval",
    "interval_seconds",
    type=SECONDS,
    metavar="SECONDS",
    help=f"With --watch: how often to look (default: {INTERVAL_SECONDS:.0f}).",
)
@click.option(
    "--overdue",
    "overdue_seconds",
    type=SECONDS,
    metavar="SECONDS",
    help="With --watch: a record that is missing for longer is overdue (default: 60).",
)
@click.option(
    "--retention",
    "retention_seconds",
    type=SECONDS,
    metavar="SECONDS",
    help="With --watch: a file that has not changed for this time may be removed without a "
    "loss (default: no file may).",
)
@metrics_port_option(
    help="With --watch: serve metrics on this port; 0 is any free port, printed on stderr."
)
@click.option(
    "--metrics-host",
    metavar="HOST",
    help="With --watch: serve metrics on this address (default: 127.0.0.1).",
)
@click.pass_context
@_errors_are_no_verdict()
def command(
    context: click.Context,
    /,
    files: tuple[str, ...],
    expected: tuple[str, ...],
    as_json: bool,
    stamp_key: str,
    is_watching: bool,
    **options: Any,
) -> None:
    """Prove from the sidecar's output that no record is missing, or name those that are.

    FILE is the output of `logship receive`, of Fluentd's or Fluent Bit's file output, or an
    application's captured stderr, plain or gzip; `-` is standard input. It may also be an address:
    s3://BUCKET/PREFIX, cloudwatch://GROUP, kafka://BROKERS/TOPIC, opensearch+https://HOST/INDEX or
    loki+https://HOST?query=QUERY. Name all inputs that may have records of a stream.

    \b
    Exit codes, and how the first line begins:
      0  complete
      1  LOST, or INCONSISTENT: a stream contradicts itself
      2  NO STAMPS, NO RECORDS, wrong usage, or an error: a file cannot be read
      3  UNPROVEN: later records may be missing; or NOT COMPLETE, but nothing
         lost in silence: all missing records are declared, or on stderr
    """
    if not stamp_key:
        raise click.UsageError("--stamp-key is empty")
    if is_watching:
        if expected or as_json or "-" in files:
            raise click.UsageError("--watch takes no --expect, no --json and no standard input")
        follow(files, stamp_key, **options)
    for name in only_given(options):
        option = name.removesuffix("_seconds").replace("_", "-")
        raise click.UsageError(f"--{option} is only for --watch")
    named = _check_inputs(files, "FILE", "a sidecar makes its file when it writes the first record")
    _check_inputs(expected, "--expect", "reports are on the application's stderr")
    if "-" in files and "-" in expected:
        raise click.UsageError("standard input cannot be both FILE and --expect")
    audit = Audit(stamp_key)
    notes = _feed_files(audit, named) + _feed_reports(audit, expected)
    verdict = audit.verdict()
    if as_json:
        show_text(verdict_as_json(verdict, notes))
    else:
        show(verdict_as_text(verdict, notes, stamp_key), COLOURS)
    context.exit(verdict.outcome.exit_code)


def _feed_files(audit: Audit, named: Mapping[object, str]) -> list[str]:
    sources = {name: _source(name) for name in named.values() if not is_address(name)}
    for identity, name in named.items():
        if _identity(name, ASK_AGAIN) != identity:
            raise CannotRead(f"cannot read {name}: it is another file by now; {ASK_AGAIN}")
        if name in sources:
            _feed(audit, sources[name].name, sources[name].batches())
    for output in map(output_of, filter(is_address, named.values())):
        part = None
        for part in output.parts():
            if reading := part.read(None):
                _feed(audit, part.name, reading.batches)
        if part is None:
            raise CannotRead(f"cannot read {output.name}: nothing is there")
    return [source.note for source in sources.values() if source.note]


def _feed(audit: Audit, name: str, batches: Iterable[list[bytes]]) -> None:
    audit.begin(name)
    for lines in batches:
        audit.feed(lines)


def _feed_reports(audit: Audit, names: Iterable[str]) -> list[str]:
    sources = [_source(name) for name in names]
    for source in sources:
        found = None
        for found in expected_in(source, audit.stamp_key):
            audit.expect(found)
        if found is None:
            raise click.UsageError(
                f"--expect {source.name}: no drain report in it. A report is one line of JSON on "
                "the application's stderr; LOGSHIP_REPORT=1 prints it at every end"
            )
    return [source.note for source in sources if source.note]
