"""What goes over the simulated wire, decoded by msgpack alone: nothing of the product's reading."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgpack

NO_SERIAL = 0
"""Stands for a control record among the serials of the application's records."""

_ANY_FIELD = b"\xa5stamp\xc0"

_FIELDS_OF_AN_ORDINARY_RECORD = 3
"""Serial, text and stamp; poison has one more."""


class Violation(AssertionError):  # noqa: N818 - it says what was done, as a verdict does
    """The client broke its promise."""


@dataclass(slots=True, eq=False)
class Frame:
    """A chunk as it was sent first.

    Attributes:
        numbers: The stamps' numbers, in the order of the entries.
        serials: What the application called each record; `NO_SERIAL` for a control record.
        records: How many the application logged.
        gaps: What gap records in it declare.
        end: The end record in it.
        poison: How a server refuses it: `closes`, `ignored`, or an empty string.
    """

    id: str
    tag: str
    payload: bytes
    stream: str
    numbers: list[int]
    serials: list[int]
    records: int
    gaps: list[tuple[int, int, str]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    poison: str = ""
    # What the judge notes about it.
    lone_losses: int = 0
    was_probe: bool = False
    losses_since_ack: int = 0
    accusations: int = 0
    overtaken_seconds: float | None = None
    is_suspect: bool = False
    was_recovered: bool = False
    whole: Frame | None = None
    was_split: bool = False
    was_passed_over: bool = False
    stored_by: set[int] = field(default_factory=set)


def decode(chunk_id: str, tag: str, payload: bytes, stamp_key: str) -> Frame:
    unpacker = msgpack.Unpacker(ext_hook=_ignore)
    unpacker.feed(payload)
    records = [_record_in(entry, chunk_id) for entry in unpacker]
    stamps = [record[stamp_key] for record in records]
    stream = stamps[0][:12] if stamps else ""
    serials = [record.get("serial", NO_SERIAL) for record in records]
    frame = Frame(
        id=chunk_id,
        tag=tag,
        payload=payload,
        stream=stream,
        numbers=[_number(stamp, stream) for stamp in stamps],
        serials=serials,
        records=len(serials) - serials.count(NO_SERIAL),
    )
    fields = max(map(len, records), default=0)
    if frame.records < len(records) or fields > _FIELDS_OF_AN_ORDINARY_RECORD:
        for record in records:
            _note_special(frame, record)
    return frame


def serial_of(body: bytes) -> int:
    """Return what the application calls the record of an entry that has no stamp yet."""
    _, record = msgpack.unpackb(body + _ANY_FIELD, ext_hook=_ignore)
    return int(record["serial"])


def _number(stamp: str, stream: str) -> int:
    if len(stamp) != 23 or not stamp.startswith(stream) or stamp[12] != ":":
        raise Violation(f"a stamp of stream {stream} is {stamp!r}")
    return int(stamp[13:])


def _record_in(entry: Any, chunk_id: str) -> dict[str, Any]:
    if not isinstance(entry, list):
        raise Violation(f"chunk {chunk_id} has {entry!r} in the place of an entry")
    _, record = entry
    return record  # type: ignore[no-any-return]


def _note_special(frame: Frame, record: dict[str, Any]) -> None:
    """Note what a gap or end record says, and how a record is poison."""
    if "logship_gap" in record:
        frame.gaps.append(tuple(record["logship_gap"]))
    elif "logship_end" in record:
        frame.end = record
    frame.poison = record.get("poison", frame.poison)


def _ignore(code: int, data: bytes) -> None:
    """Times are of no interest."""
