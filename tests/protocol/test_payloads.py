"""Payloads taken at once: the same lines and the same refusals as one entry after the other."""

from __future__ import annotations

from typing import Any, NoReturn

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logship._protocol import payloads, unpacking
from logship._protocol.entries import unpack_with_metadata
from logship._protocol.jsonlines import json_line, line_maker
from logship._protocol.payloads import BATCH_ENTRIES, count_entries, payload_lines
from logship._protocol.unpacking import Allowance
from logship.errors import ProtocolError
from tests.protocol.test_jsonlines import msgpack_scalars, msgpack_values
from tests.support.packing import pack_record

TIME_NS = 1_700_000_000_123_456_789
TEXTS = ['"', "\\", "\n", "\x00", "\x1f", "\x7f", "é", "\u2028", "😀", "", "plain"]

texts = st.one_of(st.sampled_from(TEXTS), st.text(st.characters(codec="utf-8")))
alike = st.dictionaries(texts, st.sampled_from([texts, st.integers(-9, 9), st.floats()])).flatmap(
    lambda kinds: st.lists(st.fixed_dictionaries(kinds), max_size=6)
)
"""Records with the same names, and values of one kind under each."""

mixed = st.lists(st.dictionaries(msgpack_scalars, msgpack_values, max_size=4), max_size=4)
event_times = st.binary(min_size=8, max_size=8).map(lambda data: msgpack.ExtType(0, data))
metadata: list[Any] = [{}, {}, {}, {"a": [1]}, None, []]
with_metadata = st.tuples(event_times, st.sampled_from(metadata))
other_times = st.one_of(
    with_metadata,
    st.integers(0, 1 << 32),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.builds(msgpack.ExtType, st.integers(0, 3), st.binary(min_size=6, max_size=9)),
)


def packed(times: Any, records: list[Any]) -> bytes:
    entries = zip(times, records, strict=True)
    options = {"unicode_errors": "surrogatepass"}
    return b"".join(msgpack.packb([time, record], **options) for time, record in entries)


def one_by_one(tag: str, payload: bytes) -> tuple[bytes, int] | None:
    """Return what the payload's lines must be, or None where it must be refused."""
    try:
        entries = list(unpack_with_metadata(payload, Allowance()))
    except ProtocolError:
        return None
    line = line_maker(tag)
    return b"".join(line(*entry) for entry in entries), len(entries)


def at_once(tag: str, payload: bytes) -> tuple[bytes, int] | None:
    try:
        return payload_lines(tag, payload)
    except ProtocolError:
        return None


def counted(payload: bytes) -> int | None:
    try:
        return count_entries(payload)
    except ProtocolError:
        return None


@pytest.fixture
def no_detour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid the longer way."""

    def refuse(payload: bytes, allowance: Allowance) -> NoReturn:
        del allowance
        raise AssertionError(f"{len(payload)} bytes go the longer way")

    monkeypatch.setattr(payloads, "unpack_with_metadata", refuse)


@given(st.data(), st.one_of(alike, mixed), st.one_of(texts, st.just("\udcff")))
def test_lines_are_the_same_byte_for_byte(
    data: st.DataObject, records: list[Any], tag: str
) -> None:
    times = data.draw(st.sampled_from([event_times, event_times, with_metadata, other_times]))
    payload = packed([data.draw(times) for _ in records], records)
    assert at_once(tag, payload) == one_by_one(tag, payload)


@pytest.mark.parametrize("value", [*TEXTS, 5, True, None, 1.5, [1, {"a": []}], {"b": "\n"}])
@pytest.mark.parametrize("count", [1, BATCH_ENTRIES - 1, BATCH_ENTRIES, 2 * BATCH_ENTRIES + 1])
@pytest.mark.usefixtures("no_detour")
def test_usual_payloads_are_taken_in_batches(value: Any, count: int) -> None:
    records: list[Any] = [{"message": f"{n}", "value": value} for n in range(count)]
    records[count // 2] = {"another": value}
    payload = b"".join(pack_record(each, TIME_NS + at, 0) for at, each in enumerate(records))
    expected = b"".join(json_line("web", TIME_NS + at, each) for at, each in enumerate(records))
    assert payload_lines("web", payload) == (expected, count)
    assert count_entries(payload) == count


@pytest.mark.usefixtures("no_detour")
def test_empty_metadata_take_no_detour() -> None:
    """Fluent Bit sends them with each record."""
    records = [{"message": f"{n}"} for n in range(BATCH_ENTRIES + 1)]
    payload = packed([[msgpack.ExtType(0, bytes(8)), {}]] * len(records), records)
    expected = b"".join(json_line("web", 0, each) for each in records)
    assert payload_lines("web", payload) == (expected, len(records))


ROOM = b"\x92\x00\x81\xa1a\xdc\x00\xc0"
NAN = b"\xca\x7f\xc0\x00\x00"
USUAL, UNUSUAL = ROOM + b"\xc0" * 192, ROOM + b"\xc0" * 191 + NAN
"""Entries of 192 values in an array; 1,300 of them are longer than what is looked at at a time."""


@pytest.mark.parametrize("at", [0, 1023, 1024, 1309, 1310, 1311, 1999])
def test_an_unusual_entry_takes_its_batch_the_longer_way_and_no_more(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = USUAL * at + UNUSUAL + USUAL * (1999 - at)
    expected = one_by_one("web", payload)
    longer_ways: list[int] = []

    def counting(part: bytes, allowance: Allowance) -> Any:
        longer_ways.append(len(part))
        return unpack_with_metadata(part, allowance)

    monkeypatch.setattr(payloads, "unpack_with_metadata", counting)
    assert payload_lines("web", payload) == expected
    [part] = longer_ways
    assert part <= BATCH_ENTRIES * len(USUAL) + len(NAN)


def test_values_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of these entries are unusual, and hold nearly as many values as a message may."""
    monkeypatch.setattr(unpacking, "VALUES_MAX", 100_000)
    count = 100_000 // (192 + 6)
    assert payload_lines("web", UNUSUAL * count)[1] == count


@pytest.mark.usefixtures("no_detour")
def test_a_payload_of_none() -> None:
    assert payload_lines("web", b"") == (b"", 0)
    assert count_entries(b"") == 0


@pytest.mark.parametrize("kinds", [[1, True], [True, 1], [1, 1.0]])
def test_keys_that_are_equal_and_not_the_same(kinds: list[Any]) -> None:
    payload = packed([5] * 2, [{key: "x"} for key in kinds])
    usual = packed([msgpack.ExtType(0, bytes(8))] * 2, [{key: "x"} for key in kinds])
    assert at_once("web", payload) == one_by_one("web", payload)
    assert at_once("web", usual) == one_by_one("web", usual)


def test_a_key_of_no_bytes() -> None:
    payload = packed([5] * 2, [{b"": "x"}] * 2)
    assert at_once("web", payload) == one_by_one("web", payload) is not None


@pytest.mark.parametrize("code", [0, 5])
def test_an_extension_inside_a_record(code: int) -> None:
    inner = msgpack.ExtType(code, bytes(8))
    payload = packed([msgpack.ExtType(0, bytes(8))] * 2, [{"a": inner}, {"a": {"b": [inner]}}])
    assert at_once("web", payload) == one_by_one("web", payload) is not None


PAYLOAD = b"".join(
    pack_record({"message": "x" * 20, "n": [1, 2.5, {"deep": None}]}, TIME_NS + number, 0)
    for number in range(3)
)
END = len(PAYLOAD) - 1


@given(st.lists(st.tuples(st.integers(0, END), st.integers(0, 255)), max_size=6), st.integers(0, 9))
@example([(0, 0x93)], 0)
@example([(1, 0xC0)], 0)
@example([(3, 0x01)], 0)
@example([(11, 0x92)], 0)
@example([(11, 0xC0)], 0)
@example([], 1)
def test_what_is_refused_is_the_same(changes: list[tuple[int, int]], cut: int) -> None:
    mutated = bytearray(PAYLOAD)
    for at, byte in changes:
        mutated[at] = byte
    sent = bytes(mutated[: len(mutated) - cut])
    expected = one_by_one("web", sent)
    assert at_once("web", sent) == expected
    if expected is not None:
        assert counted(sent) == expected[1], "what can be decoded is counted right"


@given(st.binary(max_size=100))
def test_garbage_raises_protocol_errors_and_nothing_else(garbage: bytes) -> None:
    assert at_once("web", garbage) == one_by_one("web", garbage)
    counted(garbage)


EVENT_TIME = "d700 00000001 00000002"
GOOD = f"92 {EVENT_TIME} 81 a161 01"


@pytest.mark.parametrize(
    "bad",
    [
        f"93 {EVENT_TIME} 80 80",
        f"91 {EVENT_TIME}",
        f"82 {EVENT_TIME} 80 00 80",
        "92 d701 00000001 00000002 80",
        "92 c70901 00000001 00000002 00 80",
        "92 c70900 00000001 00000002 00 80",
        "92 a131 80",
        "92 c0 80",
        f"92 {EVENT_TIME} c0",
        f"92 {EVENT_TIME} 90",
        f"92 {EVENT_TIME} a0",
        f"92 {EVENT_TIME} 81 a161",
        f"92 {EVENT_TIME} 81 a161 a5 61",
        f"92 {EVENT_TIME} 81 a161 c1",
        f"92 {EVENT_TIME}",
        "05",
        "c1",
        "d700",
        "91" * 3000,
    ],
)
@pytest.mark.parametrize("before", [0, 1, BATCH_ENTRIES])
def test_what_is_no_entry_is_refused(bad: str, before: int) -> None:
    sent = bytes.fromhex(GOOD) * before + bytes.fromhex(bad)
    assert one_by_one("web", sent) is None
    assert at_once("web", sent) is None
    with pytest.raises(ProtocolError):
        count_entries(sent)


@pytest.mark.parametrize("time", ["05", "cb3ff8000000000000", "c70800 00000001 00000002"])
def test_counting_knows_every_form_of_time(time: str) -> None:
    assert count_entries(bytes.fromhex(f"{GOOD} 92 {time} 80 {GOOD}")) == 3


def test_what_counting_does_not_look_at() -> None:
    list_for_key = bytes.fromhex(f"92 {EVENT_TIME} 81 90 00")
    assert one_by_one("web", list_for_key) is None
    assert count_entries(list_for_key) == 1
