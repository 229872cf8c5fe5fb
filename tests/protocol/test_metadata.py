"""Entries with metadata beside their time, as Fluent Bit sends them (version 1.5)."""

from __future__ import annotations

import gzip
import json

import pytest

from logship._protocol import unpacking
from logship._protocol.entries import entry_of, unpack_entries
from logship._protocol.frames import frame_parts
from logship._protocol.messages import Message, ack_message
from logship._protocol.payloads import BATCH_ENTRIES, count_entries, payload_lines
from logship._receiver.session import Close, Session, counted
from logship.errors import ProtocolError
from tests.protocol.hostile import array

TIME = "d700 00000001 00000002"
EMPTY = f"92 92 {TIME} 80 81 a161 01"  # [[time, {}], {"a": 1}]
FULL = f"92 92 {TIME} df00000001 a16d 02 df00000001 a161 01"  # lengths as Fluent Bit writes them
BARE = f"dd00000002 {TIME} 81 a161 01"  # with `retain_metadata_in_forward_mode false`
OPTION = "df00000003 a5 6368756e6b a2 6964 a4 73697a65 01 ad 666c75656e745f7369676e616c 00"

LINE = b'{"tag":"app","time_ns":1000000002,"record":{"a":1}}\n'
LINE_WITH = b'{"tag":"app","time_ns":1000000002,"metadata":{"m":2},"record":{"a":1}}\n'
LINES = {EMPTY: LINE, FULL: LINE_WITH, BARE: LINE}


def sent(entry: str, mode: str) -> bytes:
    packed = bytes.fromhex(entry)
    if mode == "Forward":
        return bytes.fromhex(f"93 a3 617070 91 {entry} {OPTION}")
    if mode == "CompressedPackedForward":
        packed = gzip.compress(packed, mtime=0)
    head, tail = frame_parts(
        "app", "id", 1, len(packed), "gzip" if mode.startswith("Compressed") else None
    )
    return head + packed + tail


@pytest.mark.parametrize("entry", LINES, ids=["empty", "full", "bare"])
@pytest.mark.parametrize("mode", ["Forward", "PackedForward", "CompressedPackedForward"])
def test_each_mode_by_its_bytes(entry: str, mode: str) -> None:
    message = sent(entry, mode)
    assert [*Session().receive(message)] == [Message(LINES[entry], 1, ack_message("id"))]
    assert [*Session(form=counted).receive(message)] == [Message(b"", 1, ack_message("id"))]


def test_a_message_has_its_metadata_in_the_option() -> None:
    """Fluent Bit sends so where the tag is made of each record."""
    option = "df00000002 ad 666c75656e745f7369676e616c 00 a8 6d65746164617461 81 a16d 02"
    message = bytes.fromhex(f"94 a3 617070 {TIME} 81 a161 01 {option}")
    assert [*Session().receive(message)] == [Message(LINE_WITH, 1, b"")]
    both = bytes.fromhex(f"94 a3 617070 {TIME} 81 a161 01 82 a8 6d65746164617461 81 a16d 01")
    again = bytes.fromhex("a8 6d65746164617461 81 a16d 02")
    assert [*Session().receive(both + again)] == [Message(LINE_WITH, 1, b"")], "the last one counts"


@pytest.mark.parametrize(
    "metadata",
    ["05", "a178", "90", "91" * 1021 + "90", "81 05 05"],
    ids=["number", "text", "list", "deep list", "number for key"],
)
def test_a_messages_metadata_are_a_map_as_in_any_option(metadata: str) -> None:
    option = b"\x81\xa8metadata" + bytes.fromhex(metadata)
    [event] = Session().receive(b"\x94\xa3app\x00\x80" + option)
    assert isinstance(event, Close)
    assert len(event.reason) < 350


@pytest.mark.parametrize(
    "head",
    [
        "90",
        f"91 {TIME}",
        f"92 {TIME} 90",
        f"92 {TIME} c0",
        f"92 {TIME} 05",
        f"93 {TIME} 80 80",
        f"92 92 {TIME} 80 80",
        "92 c0 80",
        "92 80 80",
    ],
)
@pytest.mark.parametrize("before", [0, 1, BATCH_ENTRIES])
def test_what_is_no_time_with_metadata_is_refused(head: str, before: int) -> None:
    payload = bytes.fromhex(EMPTY) * before + bytes.fromhex(f"92 {head} 80")
    with pytest.raises(ProtocolError):
        payload_lines("app", payload)
    with pytest.raises(ProtocolError):
        count_entries(payload)


@pytest.mark.parametrize("kinds", [(EMPTY, FULL), (FULL, BARE), (BARE, EMPTY), (EMPTY, BARE)])
def test_entries_of_all_forms_in_one_payload(kinds: tuple[str, str]) -> None:
    for count in (1, BATCH_ENTRIES - 1, BATCH_ENTRIES):
        both = [kinds[0]] * count + [kinds[1]] * 2
        payload = bytes.fromhex("".join(both))
        assert payload_lines("app", payload) == (b"".join(LINES[each] for each in both), len(both))
        assert count_entries(payload) == len(both)


def test_metadata_are_as_bounded_as_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their values count, and so do the bytes that they make."""
    wide = bytes.fromhex(f"92 92 {TIME} 81 a16d") + array(b"\x90", times=10_000) + b"\x80"
    monkeypatch.setattr(unpacking, "VALUES_MAX", 20_000)
    with pytest.raises(ProtocolError, match="more than 20000 values"):
        payload_lines("app", wide * 3)


def test_what_json_cannot_say_is_readable_in_metadata_too() -> None:
    odd = bytes.fromhex(f"92 92 {TIME} 82 a161 ca7fc00000 05 c401ff 80")
    [line] = payload_lines("app", odd)[0].splitlines()
    assert json.loads(line)["metadata"] == {"a": "NaN", "5": "\\xff"}


def test_what_logship_writes_itself_has_none() -> None:
    """A spool is read as strictly as it is written."""
    payload = bytes.fromhex(EMPTY)
    with pytest.raises(ProtocolError, match="a time is list"):
        list(unpack_entries(payload))
    with pytest.raises(ProtocolError):
        entry_of([[(1, 2), {}], {}])
