"""The evidence about a stream as plain values, for the state of a watch."""

from __future__ import annotations

import dataclasses
from typing import Any

from logship._audit.evidence import EndRecord, Stream
from logship._audit.ranges import Ranges
from logship._audit.reports import Declared, StreamReport


def stored(stream: Stream) -> dict[str, Any]:
    """Return what JSON can hold, without the fields that say nothing."""
    fields: dict[str, Any] = {
        "name": stream.name,
        "tag": stream.tag,
        "delivered": [*stream.delivered],
        "duplicates": stream.duplicates,
        "spilled": [*stream.spilled],
        "control": [*stream.control],
        "gaps": {reason: [*numbers] for reason, numbers in stream.gaps.items()},
        "ends": [dataclasses.asdict(end) for end in stream.ends],
        "stated": stream.stated,
        "report": dataclasses.asdict(stream.report) if stream.report else None,
        "problems": [*stream.problems],
    }
    return {name: value for name, value in fields.items() if value}


def restored(fields: dict[str, Any]) -> Stream:
    """Return the stream that `stored` was given.

    Raises:
        KeyError, TypeError, ValueError: `stored` did not make these fields.
    """
    problems = dict.fromkeys(fields.get("problems", ()))
    stream = Stream(**{**fields, "report": None, "problems": problems})
    for name in ("delivered", "spilled", "control"):
        setattr(stream, name, Ranges(fields.get(name, ())))
    stream.gaps = {reason: Ranges(pairs) for reason, pairs in fields.get("gaps", {}).items()}
    stream.ends = {EndRecord(**end) for end in fields.get("ends", ())}
    if report := fields.get("report"):
        declared = tuple(Declared(**each) for each in report["declared"])
        stream.report = StreamReport(**{**report, "declared": declared})
    return stream
