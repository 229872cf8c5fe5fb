"""Lines as receivers, collectors and logship itself write them, made by hand.

Nothing here uses logship: the formats are typed in from their descriptions, and those of Fluentd
and Fluent Bit were compared with files that Fluentd 1.19.3 and Fluent Bit 5.1.1 wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ONE = "abcdefghij01"
TWO = "ABC-EFGH_J02"
LIFE = "life0-_life0"

Record = dict[str, Any]
Range = tuple[int, int] | tuple[int, int, str]


def stamp(number: int, stream: str = ONE) -> str:
    return f"{stream}:{number:010d}"


def record(number: int, stream: str = ONE, **fields: Any) -> Record:
    """An application's record; the stamp is its last field, as logship appends it."""
    return {"message": f"line {number}", **fields, "logship_id": stamp(number, stream)}


def gap(number: int, first: int, last: int, reason: str = "overflow", stream: str = ONE) -> Record:
    return {
        "message": "logship: records will not arrive",
        "logship_gap": [first, last, reason],
        "logship_id": stamp(number, stream),
    }


def end(
    number: int, accepted: int, stream: str = ONE, kind: Any = True, refused: int = 0
) -> Record:
    return {
        "message": "logship: stream closed",
        "logship_end": kind,
        "logship_accepted": accepted,
        "logship_refused": refused,
        "logship_id": stamp(number, stream),
    }


def high_water(number: int, *stamps: str, stream: str = TWO) -> Record:
    return {
        "message": "logship: highest numbers",
        "logship_high_water": list(stamps),
        "logship_id": stamp(number, stream),
    }


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def received(record: Record, tag: str = "web") -> bytes:
    return compact({"tag": tag, "time_ns": 1_700_000_000_123_456_789, "record": record}).encode()


def received_with_blanks(record: Record, tag: str = "web") -> bytes:
    return json.dumps({"tag": tag, "time_ns": 1, "record": record}).encode()


def received_with_metadata(record: Record, tag: str = "web") -> bytes:
    """What a Fluent Bit passed on; a stamp among the metadata is none of the record's."""
    metadata = {"otlp": {"severity_text": "INFO"}, "record": {"logship_id": stamp(99)}}
    fields = {"tag": tag, "time_ns": 1_700_000_000_123_456_789, "metadata": metadata}
    return compact({**fields, "record": record}).encode()


def fluentd(record: Record, tag: str = "web") -> bytes:
    return f"2023-11-14T22:13:20+00:00\t{tag}\t{compact(record)}".encode()


def fluentd_without_tag(record: Record, tag: str = "web") -> bytes:
    del tag
    return f"2023-11-14T22:13:20+00:00\t{compact(record)}".encode()


def fluentd_comma(record: Record, tag: str = "web") -> bytes:
    return f"2023-11-14T22:13:20+00:00,{tag},{compact(record)}".encode()


def fluentd_space(record: Record, tag: str = "web") -> bytes:
    return f"2023-11-14T22:13:20+00:00 {tag} {compact(record)}".encode()


def plain(record: Record, tag: str = "web") -> bytes:
    """Fluentd's json without injection, and Fluent Bit's plain."""
    del tag
    return compact(record).encode()


def fluentd_injected(record: Record, tag: str = "web") -> bytes:
    return compact({**record, "tag": tag, "time": 1700000000.123456}).encode()


def fluentd_sidecar(record: Record, tag: str = "web") -> bytes:
    """What `sidecar/fluentd` writes; a field `tag` is the application's own."""
    time = "2023-11-14T22:13:20.123456789+0000"
    return compact({"tag": "mine", **record, "fluentd_tag": tag, "fluentd_time": time}).encode()


def bit(record: Record, tag: str = "web") -> bytes:
    return f"{tag}: [1700000000.123456789, {compact(record)}]".encode()


def bit_json_lines(record: Record, tag: str = "web") -> bytes:
    del tag
    return compact({"date": 1700000000.123457, **record}).encode()


Format = Callable[..., bytes]
TAGGED: tuple[Format, ...] = (
    received,
    received_with_blanks,
    received_with_metadata,
    fluentd,
    fluentd_comma,
    fluentd_space,
    fluentd_injected,
    fluentd_sidecar,
    bit,
)
UNTAGGED: tuple[Format, ...] = (fluentd_without_tag, plain, bit_json_lines)
FORMATS = TAGGED + UNTAGGED


def spilled(record: Record, tag: str = "web") -> bytes:
    """What logship writes to stderr as the last resort."""
    return compact({"logship": "spilled", "tag": tag, "time_ns": 1, "record": record}).encode()


def in_string(line: bytes, key: str = "log") -> Record:
    """What FireLens makes of a line of a container's stderr."""
    return {"container_name": "app", "source": "stderr", key: line.decode()}


def shipped_by_run(line: bytes, number: int, stream: str = ONE, key: str = "logship_id") -> Record:
    """What `logship run` makes of a line of logship on the stderr of a program inside."""
    fields = json.loads(line)
    renamed = {
        f"app_{name}" if name.startswith("logship_") else name: fields[name] for name in fields
    }
    return {**renamed, key: stamp(number, stream)}


def stream_report(
    last: int,
    accepted: int,
    *,
    stream: str = ONE,
    end: int | None = None,
    tag: str = "web",
    refused: int = 0,
    **ranges: Iterable[Range],
) -> Record:
    names = ("spilled", "dropped", "unacked", "spooled")
    return {
        "stream": stream,
        "tag": tag,
        "last": last,
        "end": end,
        "accepted": accepted,
        "refused": refused,
        **{name: [list(item) for item in ranges.get(name, ())] for name in names},
    }


def refused(number: object, life: str = LIFE) -> bytes:
    """What is on stderr of a record that the client refused; it holds a stamp as well."""
    stamp = f"{life}:{number:010d}" if isinstance(number, int) else number
    line = {"logship": "refused", "logship_refused": stamp, "tag": "web", "time_ns": 1}
    return json.dumps({**line, "record": {"message": "late", "logship_id": f"{ONE}:9"}}).encode()


def report(*streams: Record, **counts: object) -> bytes:
    """A drain report; its sums hold, unless `counts` overrides them."""
    accepted = sum(stream["accepted"] for stream in streams)
    document = {
        "logship": "drain report",
        "reason": "SIGTERM",
        "seconds": 1.5,
        "accepted": accepted,
        "acked": accepted,
        **dict.fromkeys(("spooled", "spilled", "dropped", "unacked", "truncated"), 0),
        **dict.fromkeys(("refused", "refused_lines", "refused_unwritten"), 0),
        "streams": list(streams),
    }
    return json.dumps({**document, **counts}).encode()


def spill_begins(*streams: Record, **counts: object) -> bytes:
    """What a spill's first line says, with a drain report's fields."""
    return report(*streams, logship="spill begins", **counts)


def correction(*streams: Record, **counts: object) -> bytes:
    """What is said after a drain report, with its fields."""
    return report(*streams, logship="report correction", **counts)


def text(lines: Iterable[bytes]) -> bytes:
    """Return lines as they are in a file."""
    return b"".join(line + b"\n" for line in lines)


def write(path: Path | str, lines: Iterable[bytes]) -> None:
    """Write lines into a file."""
    Path(path).write_bytes(text(lines))


def append(path: Path | str, lines: Iterable[bytes]) -> None:
    """Append lines to a file."""
    with Path(path).open("ab") as file:
        file.write(text(lines))


def records(first: int, last: int) -> list[Record]:
    """Return records with these numbers."""
    return [record(number) for number in range(first, last + 1)]


def delivered(first: int, last: int, stream: str = ONE) -> list[bytes]:
    """Return the lines of records that a receiver got."""
    return numbered(*range(first, last + 1), stream=stream)


def numbered(*numbers: int, stream: str = ONE) -> list[bytes]:
    """Return the same of records with these numbers."""
    return [received(record(number, stream)) for number in numbers]
