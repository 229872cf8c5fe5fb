"""`logship audit`: reads files, shows the verdict, and exits with it.

What is proved is `logship.audit`'s business. Here are the files, which killed servers leave torn
and half-compressed, and the words: the first line of the output is the verdict, so that a tired
person can stop reading there.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

import click

from logship.audit import (
    STAMP_KEY,
    Audit,
    Declared,
    Outcome,
    Ranges,
    Report,
    StreamVerdict,
    Unreadable,
    Verdict,
    read_line,
)

BLOCK_BYTES: Final = 64 * 1024
"""Read at a time; a block of gzip grows to 64 MiB at the very most."""
LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest record logship sends is 5 MB, and escaping makes six bytes of one at the worst."""
GZIP_MAGIC: Final = b"\x1f\x8b"
GZIP_PADDING: Final = b"\0"
"""May stand between members: tapes and block devices leave it."""
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
SEEMS_A_REPORT: Final = re.compile(rb'logship\\*":\s?\\*"(?:drain report|spill begins)')
"""Also inside a string, where quotes are escaped; such a line must be readable, or nothing is."""
RANGES_SHOWN_MAX: Final = 10
STREAMS_SHOWN_MAX: Final = 20


# --- reading --------------------------------------------------------------------------------------


class _Source:
    """One input: its lines in batches, unpacked if they are gzip.

    Attributes:
        note: after reading, what is odd about the file though it could be read; None if nothing.
    """

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == "-" else name
        self.note: str | None = None
        self._path = None if name == "-" else Path(name)

    def batches(self) -> Iterator[list[bytes]]:
        """Return the lines without their ends; exit with 2 where the input cannot be read."""
        try:
            with self._opened() as file:
                yield from self._split(self._unpacked(file))
        except OSError as error:
            _fail(f"cannot read {self.name}: {error.strerror or error}")

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        if self._path is None:
            yield sys.stdin.buffer
            return
        with self._path.open("rb") as file:
            yield file

    def _unpacked(self, file: BinaryIO) -> Iterator[bytes]:
        blocks = iter(lambda: file.read(BLOCK_BYTES), b"")
        first = next(blocks, b"")
        if first.startswith(ZSTD_MAGIC):
            _fail(f"cannot read {self.name}: it is zstd; pipe it: zstdcat ... | logship audit -")
        if first.startswith(GZIP_MAGIC):
            return self._gunzipped(chain([first], blocks))
        return chain([first], blocks)

    def _gunzipped(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Unpack member after member, and keep what a cut-off last member still holds.

        The gzip module gives up what it has unpacked of a block when it meets the end too early.
        """
        member, began = zlib.decompressobj(wbits=31), False
        try:
            for block in blocks:
                rest = block
                while rest:
                    began = True
                    yield member.decompress(rest)
                    rest = member.unused_data.lstrip(GZIP_PADDING)
                    if member.eof:
                        member, began = zlib.decompressobj(wbits=31), False
        except zlib.error as error:
            _fail(f"cannot read {self.name}: its gzip data is damaged ({error})")
        if began:
            self.note = (
                f"{self.name}: the gzip data is cut off (its writer was killed, or is still "
                "writing); what it lacks counts as missing"
            )

    def _split(self, blocks: Iterable[bytes]) -> Iterator[list[bytes]]:
        parts: list[bytes] = []
        for block in blocks:
            parts.append(block)
            if b"\n" in block:
                *lines, rest = b"".join(parts).split(b"\n")
                parts = [rest]
                yield lines
            elif sum(map(len, parts)) > LINE_BYTES_MAX:
                _fail(f"cannot read {self.name}: no end of line in 64 MiB; is it a text file?")
        if any(parts):
            yield [b"".join(parts)]


class _CannotRead(click.ClickException):
    """An input cannot be read, so that nothing can be said of what is missing."""

    exit_code = int(Outcome.NO_STAMPS)


def _fail(message: str) -> NoReturn:
    raise _CannotRead(message)


def _reports_in(source: _Source, stamp_key: str) -> Iterator[Report]:
    """Find the drain reports among whatever else the application wrote to stderr."""
    for number, line in enumerate(chain.from_iterable(source.batches()), start=1):
        if not SEEMS_A_REPORT.search(line):
            continue
        for found in read_line(line.decode("utf-8", "replace"), stamp_key):
            if isinstance(found, Unreadable):
                _fail(f"{source.name}, line {number}: {found.why}")
            if isinstance(found, Report):
                yield found


# --- arguments ------------------------------------------------------------------------------------


def _check_inputs(names: Iterable[str], option: str) -> None:
    """Refuse what cannot be meant: a directory, or one input twice, which would double all."""
    seen: dict[object, str] = {}
    for name in names:
        identity = _identity(name)
        if identity in seen:
            raise click.UsageError(f"{option}: {name} is the same input as {seen[identity]}")
        seen[identity] = name


def _identity(name: str) -> object:
    if name == "-":
        return name
    path = Path(name)
    if path.is_dir():
        raise click.UsageError(f"{name} is a directory; name the files in it, as {name}/*.log")
    try:
        status = path.stat()
    except OSError as error:
        _fail(f"cannot read {name}: {error.strerror}")
    return (status.st_dev, status.st_ino)


@click.command(short_help="Prove from the sidecar's output files that no record is missing.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--expect",
    "expected",
    metavar="REPORT",
    multiple=True,
    help="A file with drain reports, such as an application's captured stderr: each stream that "
    "they name must be accounted for, up to its last number. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything, as one JSON object.")
@click.option(
    "--stamp-key", default=STAMP_KEY, show_default=True, help="The field that carries the stamp."
)
@click.pass_context
def command(
    context: click.Context,
    files: tuple[str, ...],
    expected: tuple[str, ...],
    as_json: bool,
    stamp_key: str,
) -> None:
    """Prove from the sidecar's output that no record is missing, or name those that are.

    FILE is the output of `logship receive`, of Fluentd's or Fluent Bit's file output, or an
    application's captured stderr; plain or gzip; `-` is standard input. Name all files that a
    stream's records may be in.

    Exit codes: 0 complete; 1 lost; 2 unreadable, wrong usage, or no stamps found; 3 nothing lost in
    silence, but declared gaps or unproven ends.
    """
    _check_inputs(files, "FILE")
    _check_inputs(expected, "--expect")
    if "-" in files and "-" in expected:
        raise click.UsageError("standard input cannot be FILE and --expect at once")
    if not stamp_key:
        raise click.UsageError("--stamp-key is empty")
    audit = Audit(stamp_key)
    notes = _feed_files(audit, files)
    notes += _feed_reports(audit, expected)
    verdict = audit.verdict()
    _show(_as_json(verdict, notes) if as_json else "\n".join(_as_text(verdict, notes, stamp_key)))
    context.exit(int(verdict.outcome))


def _feed_files(audit: Audit, names: Iterable[str]) -> list[str]:
    sources = [_Source(name) for name in names]
    for source in sources:
        audit.begin(source.name)
        for lines in source.batches():
            audit.feed(lines)
    return [source.note for source in sources if source.note]


def _feed_reports(audit: Audit, names: Iterable[str]) -> list[str]:
    sources = [_Source(name) for name in names]
    for source in sources:
        reports = list(_reports_in(source, audit.stamp_key))
        if not reports:
            raise click.UsageError(
                f"--expect {source.name}: no drain report in it. A report is one line of JSON on "
                "the application's stderr; LOGSHIP_REPORT=1 prints it at every end"
            )
        for report in reports:
            audit.expect(report)
    return [source.note for source in sources if source.note]


def _show(text: str) -> None:
    """Print `text` whatever the terminal's encoding: an error here would look like a verdict."""
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding))


# --- words ----------------------------------------------------------------------------------------


def _as_text(verdict: Verdict, notes: Iterable[str], stamp_key: str) -> Iterator[str]:
    yield from _headline(verdict, stamp_key)
    worst_first = sorted(verdict.streams, key=_badness)
    if worst_first:
        yield ""
        yield from _table(worst_first[:STREAMS_SHOWN_MAX])
    for stream in worst_first[:STREAMS_SHOWN_MAX]:
        yield from _details(stream)
    if len(worst_first) > STREAMS_SHOWN_MAX:
        yield f"... and {_streams(len(worst_first) - STREAMS_SHOWN_MAX)} more; --json has all"
    yield ""
    yield from _how_it_was_read(verdict, notes)


def _headline(verdict: Verdict, stamp_key: str) -> Iterator[str]:
    match verdict.outcome:
        case Outcome.COMPLETE:
            yield _complete(verdict)
        case Outcome.LOST:
            yield from _lost(verdict)
        case Outcome.DECLARED:
            yield _declared(verdict)
        case Outcome.NO_STAMPS:
            yield (
                f'NO STAMPS: no line of {verdict.lines:,} has a stamp under "{stamp_key}", so '
                "nothing can be proved. Is the setting `stamp` on, and is this its `stamp_key`?"
            )


def _complete(verdict: Verdict) -> str:
    records = sum(stream.records for stream in verdict.streams)
    duplicates = sum(stream.duplicates for stream in verdict.streams)
    text = f"complete: {_records(records)} of {_streams(len(verdict.streams))}, all delivered"
    return f"{text}, {_many(duplicates, 'duplicate')}"


def _lost(verdict: Verdict) -> Iterator[str]:
    """Say what is lost, and apart from it what contradicts itself: either alone is exit code 1."""
    losers = sorted((stream for stream in verdict.streams if stream.lost), key=_badness)
    if len(losers) == 1:
        ranges = _ranges(losers[0].lost)
        yield f"LOST: {_records(losers[0].lost.count)} of {_name(losers[0])}: {ranges}"
    elif losers:
        lost = sum(stream.lost.count for stream in losers)
        yield (
            f"LOST: {_records(lost)} of {_streams(len(losers))}; most of them, "
            f"{losers[0].lost.count:,}, of {_name(losers[0])}"
        )
    yield from (f"INCONSISTENT: {problem}" for problem in verdict.problems)
    muddled = [stream for stream in verdict.streams if stream.problems]
    for stream in muddled[:STREAMS_SHOWN_MAX]:
        yield from (f"INCONSISTENT: {_name(stream)} {problem}" for problem in stream.problems)
    if len(muddled) > STREAMS_SHOWN_MAX:
        yield f"INCONSISTENT: and {_streams(len(muddled) - STREAMS_SHOWN_MAX)} more"


def _declared(verdict: Verdict) -> str:
    delivered = sum(stream.records for stream in verdict.streams)
    copies = sum(stream.spilled.count for stream in verdict.streams)
    declared = sum(stream.declared_count for stream in verdict.streams)
    unproven = sum(stream.proof is None for stream in verdict.streams)
    parts = [
        f"{copies:,} only as spilled copies" if copies else "",
        f"{declared:,} declared missing" if declared else "",
        f"the end of {_streams(unproven)} unproven" if unproven else "",
        f"at least {verdict.unnamed:,} accepted in streams that no report names"
        if verdict.unnamed
        else "",
    ]
    what = ", ".join(filter(None, parts))
    return f"NOT COMPLETE, but nothing lost in silence: {_records(delivered)} delivered; {what}"


def _badness(stream: StreamVerdict) -> tuple[object, ...]:
    missing = stream.spilled.count + stream.declared_count
    return (-stream.lost.count, not stream.problems, -missing, stream.proof is not None)


def _table(streams: Iterable[StreamVerdict]) -> Iterator[str]:
    head = ["stream", "tag", "records", "duplicates", "spilled", "declared", "LOST", "end"]
    rows = [head, *(_row(stream) for stream in streams)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = (
            cell.rjust(width) if 2 <= column <= 6 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _row(stream: StreamVerdict) -> list[str]:
    counts = (
        stream.records,
        stream.duplicates,
        stream.spilled.count,
        stream.declared_count,
        stream.lost.count,
    )
    end = f"{stream.proof}: {stream.last:,}" if stream.proof else f"UNPROVEN after {stream.last:,}"
    tag = _printable(stream.tag or "?")
    return [_printable(stream.stream), tag, *(f"{count:,}" for count in counts), end]


def _details(stream: StreamVerdict) -> Iterator[str]:
    name = _printable(stream.stream)
    if stream.lost:
        yield f"{name} LOST: {_ranges(stream.lost)}{_who_lost(stream)}"
    if stream.spilled:
        yield f"{name} spilled, the copies are here: {_ranges(stream.spilled)}"
    for (reason, by), ranges in _by_reason(stream.declared).items():
        yield f"{name} declared by {by}, {_printable(reason) or 'no reason'}: {_ranges(ranges)}"
    if stream.beyond:
        yield f"{name} numbers after the end: {_ranges(stream.beyond)}"
    if stream.spilled_too:
        yield f"{name} spilled and delivered as well: {stream.spilled_too:,}"
    if stream.refused:
        yield f"{name} refused by the client, which told the application: {stream.refused:,}"


def _who_lost(stream: StreamVerdict) -> str:
    if stream.lost.highest > stream.reported:
        return ""
    return " (acked, says its report: look at what the sidecar did after its ack)"


def _by_reason(declared: Iterable[Declared]) -> dict[tuple[str, str], Ranges]:
    groups: dict[tuple[str, str], Ranges] = {}
    for item in declared:
        ranges = groups.setdefault((item.reason, item.by), Ranges())
        ranges.add_range(item.first, item.last)
    return groups


def _how_it_was_read(verdict: Verdict, notes: Iterable[str]) -> Iterator[str]:
    read = f"read: {_many(verdict.lines, 'line')}, {verdict.unstamped:,} of them without a stamp"
    yield f"{read}; {_many(verdict.reports, 'report')}"
    if verdict.unreadable:
        yield f"unreadable: {_many(verdict.unreadable, 'line')}; what they held counts as missing"
        for place in verdict.unreadable_places:
            yield f"  {_printable(place.source)}, line {place.line:,}: {_printable(place.why)}"
    if verdict.streams and not any(stream.delivered for stream in verdict.streams):
        yield "note: nothing stamped was delivered at all; are these the right files and stamp key?"
    yield from (f"note: {_printable(note)}" for note in notes)


def _ranges(ranges: Ranges) -> str:
    shown = [_range(*pair) for pair, _ in zip(ranges, range(RANGES_SHOWN_MAX), strict=False)]
    more = len(ranges) - len(shown)
    return ", ".join(shown) + (f", ... and {_many(more, 'more range')}" if more else "")


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _name(stream: StreamVerdict) -> str:
    return f"stream {_printable(stream.stream)} (tag {_printable(stream.tag or '?')})"


def _records(count: int) -> str:
    return _many(count, "record")


def _streams(count: int) -> str:
    return _many(count, "stream")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _printable(text: str) -> str:
    """Escape what a terminal would obey: names and reasons come from files that others wrote."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# --- JSON -----------------------------------------------------------------------------------------


def _as_json(verdict: Verdict, notes: list[str]) -> str:
    document = {
        "outcome": verdict.outcome.name.lower(),
        "exit_code": int(verdict.outcome),
        "lines": verdict.lines,
        "unstamped": verdict.unstamped,
        "unreadable": verdict.unreadable,
        "unreadable_places": [
            {"source": place.source, "line": place.line, "why": place.why}
            for place in verdict.unreadable_places
        ],
        "reports": verdict.reports,
        "unnamed": verdict.unnamed,
        "notes": notes,
        "problems": list(verdict.problems),
        "streams": [_stream_as_json(stream) for stream in verdict.streams],
    }
    return json.dumps(document, indent=2)


def _stream_as_json(stream: StreamVerdict) -> dict[str, object]:
    return {
        "stream": stream.stream,
        "tag": stream.tag,
        "outcome": stream.outcome.name.lower(),
        "last": stream.last,
        "proof": stream.proof,
        "delivered": stream.delivered.count,
        "records": stream.records,
        "duplicates": stream.duplicates,
        "spilled": list(stream.spilled),
        "spilled_and_delivered": stream.spilled_too,
        "declared": [[item.first, item.last, item.reason, item.by] for item in stream.declared],
        "lost": list(stream.lost),
        "beyond": list(stream.beyond),
        "refused": stream.refused,
        "problems": list(stream.problems),
    }
