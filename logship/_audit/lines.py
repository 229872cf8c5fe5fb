"""Reads one line of a sidecar's output: a stamped record, a report, nothing, or unreadable."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final

from logship._audit.reports import KIND_KEY, REPORT_SOURCES, Report, UnreadableReport, read_report

STAMP_KEY: Final = "logship_id"
SPILLED_KIND: Final = "spilled"
REFUSED_KIND: Final = "refused"
REFUSED_KEY: Final = "logship_refused"
RENAMED_REFUSED_KEY: Final = "app_logship_refused"
"""Where `logship run` has it in the record of a line that a program inside wrote."""
TEXT_SOURCES: Final = ("stdin", "stdout", "stderr")
"""What `source` says in a record that `logship run` or `logship pipe` made of a line of text."""
TAG_KEYS: Final = ("fluentd_tag", "tag")
"""Where a JSON line has its tag: in that order, because an application may use `tag` itself."""

_TEXT_KEYS: Final = ("log", "message")
"""Where a log driver, or `logship run`, has a line."""

NESTED_STRINGS_MAX: Final = 3
"""Layers of JSON inside a string: one of a log driver, one of a collector, and one to spare."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A record with a stamp: delivered, or a copy that was spilled to stderr."""

    stream: str
    number: int
    tag: str | None
    record: Mapping[str, object]
    spilled: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that the client refused and wrote to stderr; its number is not one of a stream."""

    life: str
    number: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that may have held a record or a report but is torn, cut or overwritten.

    Attributes:
        why: Why it is unreadable.
        is_report: Whether it is what is left of a drain report. A record is known by its number,
            which other records show to be missing; a stream may be known from a report alone.
    """

    why: str
    is_report: bool = False


Found = Stamped | Refused | Report | Unreadable | None
"""None is a line without a stamp: text, or a record that logship did not ship."""

STAMP: Final = r"([!#-9;-\[\]-~]{12}):((?!0{10})[0-9]{10})"
"""Twelve visible ASCII characters except quote, colon and backslash; then a number from 1."""

_LINE_FORMATS: Final = (
    # JSON lines: `logship receive`, Fluentd's json, Fluent Bit's plain and json_lines. An array of
    # records is Fluent Bit's json.
    re.compile(r"(?P<json>\{.*|\[\s*\{.*)", re.DOTALL),
    # Fluentd's out_file: time TAB tag TAB record; time and tag can be switched off.
    re.compile(r"[^\t]*\t(?:(?P<tag>[^\t]*)\t)?(?P<json>\{.*)", re.DOTALL),
    # Fluentd's out_file with `delimiter space` or `comma`. No tag has a quote: what has one before
    # this brace is a line of logship, behind a time that `docker logs --timestamps` puts there.
    re.compile(
        r"\d{4}-\d\d-\d\dT[^ ,{]+(?P<delimiter>[ ,])(?P<tag>[^\"]*?)(?P=delimiter)(?P<json>\{.*)",
        re.DOTALL,
    ),
    # Fluent Bit's out_file. Only the first time in a line counts: were each of them tried, a line
    # of many would cost its length squared.
    re.compile(r"(?>(?P<tag>.*?): \[\d+\.\d+, (?=\{))(?P<json>.*)\]", re.DOTALL),
)

_OURS_KINDS: Final = (SPILLED_KIND, REFUSED_KIND, *REPORT_SOURCES)
_OURS: Final = re.compile(rf'\{{"{KIND_KEY}":\s?"(?:{"|".join(_OURS_KINDS)})".*', re.DOTALL)
"""A line of logship on stderr, behind the prefix of a log viewer such as `docker compose logs` or
`kubectl logs --prefix`, or behind text that has no end of line, such as a progress bar."""

_WARNING: Final = "logship: "
"""How a warning begins. It may quote what a sidecar said, which may look like a report."""

_REPORT_BEGINS: Final = re.compile(rf'"{KIND_KEY}\\*": ?\\*"(?:{"|".join(REPORT_SOURCES)})\\*"')
"""As it stands in a line, or in a string of one."""

_REFUSED_BEGINS: Final = re.compile(
    rf'"{KIND_KEY}\\*":\s?\\*"{REFUSED_KIND}\\*",\s?\\*"{REFUSED_KEY}\\*":\s?\\*"{STAMP}'
)
"""The same of a line of a refused record; its number comes first."""


def read_stamps(value: object) -> Iterator[tuple[str, int]]:
    """Yield stream and number of each stamp in a list, such as a high-water record has."""
    for stamp in value if isinstance(value, list) else ():
        if isinstance(stamp, str) and (match := re.fullmatch(STAMP, stamp)):
            yield match[1], int(match[2])


def stream_in(line: str, stamp_key: str) -> str | None:
    """Return the stream of the first stamp in a line that cannot be read; None if it has none."""
    stamp = re.search(rf'{re.escape(stamp_key)}\\*":\s?\\*"{STAMP}', line)
    return stamp[1] if stamp else None


def refused_in(line: str) -> Refused | None:
    """Return the number of a refused record whose line cannot be read; None if there is none."""
    refused = _REFUSED_BEGINS.search(line)
    return Refused(refused[1], int(refused[2])) if refused else None


def read_line(line: str, stamp_key: str = STAMP_KEY) -> list[Found]:
    """Return what one line of a sidecar's output, or of an application's stderr, holds.

    The outermost stamp counts: one at the top, then one inside `record`, then one inside JSON in a
    string under `log` or `message`, where a log driver puts a spilled copy. A stamp in any other
    place is the application's own text and does not count.

    Args:
        line: One line without its end.
        stamp_key: The field that carries the stamp.

    Returns:
        One finding, or one per record where the line is an array of records. Behind a record that
        is itself a line of logship, what that line says.
    """
    for line_format in _LINE_FORMATS:
        if match := line_format.fullmatch(line):
            return _read_json(match["json"], match.groupdict().get("tag"), stamp_key)
    if line.startswith(_WARNING):
        return [None]
    if ours := _OURS.search(line):
        return _read_json(ours[0], None, stamp_key)
    if _REPORT_BEGINS.search(line):
        return [Unreadable("no known format, but a report's kind", is_report=True)]
    return [Unreadable("no known format, but a stamp's key")] if stamp_key in line else [None]


def _read_json(text: str, tag: str | None, stamp_key: str) -> list[Found]:
    try:
        document = json.loads(text)
        records = document if isinstance(document, list) else [document]
        found = [_read_record(record, tag, stamp_key) for record in records]
        if _REPORT_BEGINS.search(text):
            found = list(map(_unless_it_hides_a_report, found, records))
        return [each for one in found for each in (one, *_carried_by(one, stamp_key))]
    except UnreadableReport as error:
        return [Unreadable(str(error), is_report=True)]
    except (ValueError, RecursionError):
        return [Unreadable("not JSON, or cut off", _REPORT_BEGINS.search(text) is not None)]


def _unless_it_hides_a_report(found: Found, record: object) -> Found:
    """Tell of a report in a place where none is looked for: it may name other streams."""
    if isinstance(found, Unreadable | None) and _REPORT_BEGINS.search(json.dumps(record)):
        return Unreadable("a report's kind among other text or fields", is_report=True)
    return found


def _carried_by(found: Found, stamp_key: str) -> Iterator[Found]:
    """Yield what lines of logship say from which `logship run` made a stamped record.

    The program inside may name streams on its stderr of which nothing else is anywhere. It may be
    another `logship run`.
    """
    if isinstance(found, Stamped):
        yield from _carried_as_text(found.record, stamp_key)
        yield from _carried_as_fields(found.record, stamp_key)


def _carried_as_text(record: Mapping[str, object], stamp_key: str) -> Iterator[Found]:
    """Yield what a text says that has a line of logship behind other text, or below it."""
    if record.get("source") not in TEXT_SOURCES:
        return  # it is the application's own text
    texts = [text for name in _TEXT_KEYS if isinstance(text := record.get(name), str)]
    for line in chain.from_iterable(map(str.splitlines, texts)):
        if (ours := _OURS.search(line)) and not line.startswith(_WARNING):
            yield from filter(None, _read_json(ours[0], None, stamp_key))


def _carried_as_fields(record: Mapping[str, object], stamp_key: str) -> Iterator[Found]:
    is_ours = "record" in record or "streams" in record  # else it is the application's field
    if record.get(KIND_KEY) not in _OURS_KINDS or not is_ours:
        return
    line = {
        REFUSED_KEY if name == RENAMED_REFUSED_KEY else name: value
        for name, value in record.items()
        if name != stamp_key
    }
    try:
        carried = _read_record(line, None, stamp_key)
    except UnreadableReport as error:
        carried = Unreadable(str(error), is_report=True)
    if carried is not None:
        yield carried
        yield from _carried_by(carried, stamp_key)


def _read_record(
    record: object, tag: str | None, stamp_key: str, strings_left: int = NESTED_STRINGS_MAX
) -> Found:
    """Look for a stamp or a report in `record`, level by level, from the outside in."""
    spilled = False
    levels: list[dict[str, object]] = []
    while isinstance(record, dict) and (len(levels) < 2 or spilled):
        if stamp_key in record:
            return _read_stamp(record, _tag_of(record, tag), stamp_key, spilled)
        if str(record.get(KIND_KEY)) in REPORT_SOURCES:
            return read_report(record, stamp_key)
        if record.get(KIND_KEY) == REFUSED_KIND and REFUSED_KEY in record:
            return _read_refused(record[REFUSED_KEY])
        spilled = record.get(KIND_KEY) == SPILLED_KIND
        tag = _tag_of(record, None if spilled else tag)
        levels.append(record)
        record = record.get("record")
    return _read_strings(levels, stamp_key, strings_left)


def _tag_of(record: Mapping[str, object], known: str | None) -> str | None:
    tags = (known, *(record.get(key) for key in TAG_KEYS))
    return next((tag for tag in tags if isinstance(tag, str)), None)


def _read_stamp(
    record: Mapping[str, object], tag: str | None, stamp_key: str, spilled: bool
) -> Found:
    for stream, number in read_stamps([record[stamp_key]]):
        return Stamped(stream, number, tag, record, spilled)
    return Unreadable(f"{stamp_key} is not a stamp")


def _read_refused(given: object) -> Found:
    for life, number in read_stamps([given]):
        return Refused(life, number)
    return Unreadable(f"{REFUSED_KEY} is not the number of a refused record")


def _read_strings(levels: list[dict[str, object]], stamp_key: str, strings_left: int) -> Found:
    """Look into strings of JSON. Their record has a tag of its own, not that of its carrier."""
    texts = [level.get(name) for level in levels for name in _TEXT_KEYS]
    for text in texts:
        if strings_left and isinstance(text, str) and (ours := _ours_in(text, stamp_key)):
            try:
                found = _read_record(json.loads(ours), None, stamp_key, strings_left - 1)
            except ValueError:
                is_report = _REPORT_BEGINS.search(text) is not None
                found = Unreadable("a copy inside a string is not JSON, or cut off", is_report)
            if found is not None:
                return found
    return None


def _ours_in(text: str, stamp_key: str) -> str:
    """Return what may be JSON of logship in a string; nothing if there is none."""
    if not text.lstrip().startswith("{"):
        ours = _OURS.search(text)
        return ours[0] if ours else ""
    marks = (stamp_key, REFUSED_KEY, *REPORT_SOURCES)
    return text if any(mark in text for mark in marks) else ""


_HEAD: Final = re.compile(
    rb'(?P<receive>\{"tag":\s?"[^"\\{}]*",\s?"time_ns":\s?\d+,\s?"record":\s?\{)'
    rb"|(?P<json>\{)"
    rb"|(?P<fluentd>[^\t{}]*\t[^\t{}]*\t\{)"
    rb"|(?P<bit>[^{}]*: \[\d+\.\d+, \{)"
)
KEYS_OF_OURS: Final = b'"logship'
"""How the names of logship's own fields begin."""

_BRACES: Final = {"receive": (2, b"}}"), "json": (1, b"}"), "fluentd": (1, b"}"), "bit": (1, b"}]")}
"""How many braces each head opens, and what closes them."""


class Glance:
    """Finds the outermost stamp of most lines with regular expressions, several times as fast.

    The stamp that it finds is the outermost one, because no brace stands before it except those of
    a known head. The stamp is not inside a string, because there a backslash would stand before its
    quotes. The line is whole, because only plain members follow up to its end, and it has none of
    the zeros that a crash of the machine leaves in a file. Every other line is parsed, and so is a
    line with more keys of logship, because it may be a control record, or a line of its stderr.
    """

    def __init__(self, stamp_key: str) -> None:
        self._key = json.dumps(stamp_key).encode()
        self._keys_of_ours = self._key.count(KEYS_OF_OURS)
        self._tail = re.compile(
            re.escape(self._key) + rb':\s?"' + STAMP.encode() + rb'"'
            rb'(?:,\s?"[^"\\{}]*":\s?(?:"[^"\\{}]*"|[-+.0-9eE]+|true|false|null))*+'
            rb"(\}[}\]]?)"
        )

    def stamp(self, line: bytes) -> re.Match[bytes] | None:
        """Return a match whose groups 1 and 2 are stream and number; None if it must be parsed."""
        at = line.rfind(self._key)
        if at < 0 or line.count(KEYS_OF_OURS) != self._keys_of_ours:
            return None
        if line.find(b"}", 0, at) >= 0 or 0 in line:
            return None
        head = _HEAD.match(line)
        tail = self._tail.fullmatch(line, at)
        if head is None or tail is None or head.lastgroup is None:
            return None
        braces = (line.count(b"{", 0, at), tail[3])
        return tail if braces == _BRACES[head.lastgroup] else None
