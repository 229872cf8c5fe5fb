"""Payloads that are taken apart: the lines that decoding makes of them, or an exception."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logship.errors import ProtocolError
from logship.protocol.alike import ENTRIES_MIN, PAYLOAD_BYTES_MAX, alike_lines
from logship.protocol.entries import pack_record, unpack_entries
from logship.protocol.jsonlines import json_line
from logship.protocol.layouts import text_header
from logship.protocol.payloads import payload_lines

TIME_NS = 1_700_000_000_123_456_789
COUNT = ENTRIES_MIN + 8
STAMP = b"\xaalogship_id\xb7AAAAAAAAAAAA:"
CONSTANTS: list[dict[Any, Any]] = [
    {},
    {"level": "INFO", "logger": "app.worker"},
    {"größe": "é", "quoted": '"\\\n', "n": -5, "x": 1.5, "none": None, "all": [1, {"a": True}]},
    {"": "", "long": "y" * 800},
]
LENGTHS = [0, 1, 31, 32, 255, 256, 4095, 4096, 65_535, 65_536]


def entry(fields: dict[Any, Any], number: int, time_ns: int = TIME_NS) -> bytes:
    return pack_record(fields, time_ns, 1) + STAMP + b"%010d" % number


def raw_entry(text: bytes, number: bytes, name: bytes = b"\xa7message") -> bytes:
    """Return an entry with any bytes for its text."""
    header = text_header(len(text))
    time = struct.pack(">II", 1_700_000_000, 5)
    return b"\x92\xd7\x00" + time + b"\x82" + name + header + text + STAMP + number


def decoded(payload: bytes) -> tuple[bytes, int] | None:
    """Return the lines that decoding makes of it, or None where it must be refused."""
    try:
        entries = [*unpack_entries(payload)]
    except ProtocolError:
        return None
    return b"".join(json_line("wéb", *each) for each in entries), len(entries)


def taken_apart(payload: bytes) -> tuple[bytes, int] | None:
    """Return the lines, or None where it is left to the others."""
    try:
        return alike_lines("wéb", payload)
    except Exception:  # noqa: BLE001 - as its callers do
        return None


def records(texts: list[Any], before: dict[Any, Any], behind: dict[Any, Any]) -> bytes:
    each = [before | {"message": text} | behind for text in texts]
    return b"".join(entry(fields, at, TIME_NS + at) for at, fields in enumerate(each))


@pytest.mark.parametrize("before", CONSTANTS)
@pytest.mark.parametrize("behind", CONSTANTS[:3])
def test_what_is_alike_is_taken_apart(before: dict[Any, Any], behind: dict[Any, Any]) -> None:
    texts = [f"request {at}: é 😀 \x7f \u2028 done" for at in range(COUNT)]
    payload = records(texts, before, {name + "2": value for name, value in behind.items()})
    assert taken_apart(payload) == decoded(payload) is not None


@pytest.mark.parametrize("length", LENGTHS)
def test_texts_of_every_length(length: int) -> None:
    texts = ["x" * length, *[f"{at}" * (at + 1) for at in range(COUNT)], "y" * length]
    payload = records(["first", "second", *texts], {"level": "INFO"}, {"logger": "app"})
    assert taken_apart(payload) == decoded(payload) is not None


def test_one_text_over_and_over() -> None:
    payload = records(["the same text, and longer than its level"] * COUNT, {}, {"level": "INFO"})
    assert taken_apart(payload) == decoded(payload) is not None


def test_entries_of_several_seconds() -> None:
    times = [TIME_NS + at * 300_000_000 for at in range(COUNT)]
    each = [entry({"message": f"at {at}"}, at, time_ns) for at, time_ns in enumerate(times)]
    assert taken_apart(b"".join(each)) == decoded(b"".join(each)) is not None


def test_much_that_is_shared_is_left_to_the_others() -> None:
    payload = records([f"text {at}" for at in range(COUNT)], {"long": "y" * 1024}, {})
    assert taken_apart(payload) is None


@pytest.mark.parametrize("more_bytes", [0, 1])
def test_a_very_large_payload_is_left_to_the_others(more_bytes: int) -> None:
    usual = records(["one", "two"] * COUNT, {}, {})
    last = entry({"message": "x" * 1000}, 7)
    text = "x" * (1000 + PAYLOAD_BYTES_MAX + more_bytes - len(usual) - len(last) - 2)
    payload = usual + entry({"message": text}, 7)
    assert len(payload) == PAYLOAD_BYTES_MAX + more_bytes
    assert taken_apart(payload) == (None if more_bytes else decoded(payload))


def test_a_few_are_left_to_the_others() -> None:
    payload = records([f"{at}" for at in range(10, 10 + ENTRIES_MIN - 1)], {}, {})
    assert taken_apart(payload) is None
    assert payload_lines("wéb", payload) == decoded(payload)


@pytest.mark.parametrize("at", [0, 1, 2, COUNT // 2, COUNT - 1])
@pytest.mark.parametrize(
    "odd",
    [
        entry({"message": "x", "level": "DEBUG"}, 7),
        entry({"message": 5}, 7),
        entry({"another": "x"}, 7),
        entry({"message": "x", "more": 1}, 7),
        entry({}, 7),
        raw_entry(b"x", b"000000000x"),
        raw_entry(b"x", b'000000000"'),
        raw_entry(b"x", b"000000000\xb2"),
        raw_entry(b"x", b"000000000\n"),
        raw_entry(b"x", b"00000\xd9\xa0\xd9\xa1\xd9"),
        raw_entry(b'a "quoted" one', b"0000000007"),
        raw_entry(b"back\\slash", b"0000000007"),
        *[raw_entry(b"control " + bytes([code]), b"0000000007") for code in range(0x20)],
        raw_entry(b"\xff not UTF-8", b"0000000007"),
        raw_entry(b"\xed\xa0\x80 a surrogate", b"0000000007"),
        raw_entry(b"cut \xc3", b"0000000007") + raw_entry(b"\xa9 in two", b"0000000008"),
        raw_entry(b"x" + STAMP, b"0000000007"),
        raw_entry(b"x" + STAMP + b"0000000006", b"0000000007"),
        raw_entry(raw_entry(b"one inside", b"0000000006"), b"0000000007"),
        raw_entry(b"x" + raw_entry(b"", b"0000000006") * 2, b"0000000007"),
        raw_entry(
            b"x" + STAMP + b"0000000006" + raw_entry(b"y", b"")[: -len(STAMP)], b"0000000007"
        ),
        raw_entry(b"x", b"0000000007", b"\xa7Message"),
        raw_entry(b"x", b"0000000007")[:-1],
        raw_entry(b"x", b"0000000007") + b"\xc0",
        msgpack.packb([5, {"message": "x", "logship_id": "AAAAAAAAAAAA:0000000007"}]),
        b"\x92\xd7\x01" + raw_entry(b"x", b"0000000007")[3:],
        b"\x93" + raw_entry(b"x", b"0000000007")[1:],
    ],
)
def test_one_that_is_not_alike(odd: bytes, at: int) -> None:
    usual = [raw_entry(b"text %d" % each, b"%010d" % each) for each in range(COUNT)]
    assert taken_apart(b"".join(usual)) is not None
    payload = b"".join([*usual[:at], odd, *usual[at:]])
    expected = decoded(payload)
    assert taken_apart(payload) in (None, expected)
    try:
        assert payload_lines("wéb", payload) == expected
    except ProtocolError:
        assert expected is None


def test_a_payload_that_is_cut_by_as_much_as_is_put_behind_it() -> None:
    usual = [raw_entry(b"text %d" % each, b"%010d" % each) for each in range(COUNT)]
    head = raw_entry(b"", b"")[: -len(STAMP)]
    last = raw_entry(b"z" * (len(head) + 9), b"")[: len(head) + 9]
    assert taken_apart(b"".join([*usual, last])) is None


def test_a_list_that_ends_with_a_number() -> None:
    head = b"\x92\xd7\x00" + bytes(8) + b"\x82\xa7message\xa2"
    behind = b"\xa4list\x91\xb7AAAAAAAAAAAA:"
    payload = b"".join(head + b"%02d" % at + behind + b"%010d" % at for at in range(COUNT))
    assert decoded(payload) is not None
    assert taken_apart(payload) in (None, decoded(payload))


@pytest.mark.parametrize(
    "names", [[b"\xa1a", b"\xa1a"], [b"\x01", b"\xc3"], [b"\xc0", b"\x01"], [b"\xa1\xff", b"\x90"]]
)
def test_names_that_are_odd(names: list[bytes]) -> None:
    """Twice the same, equal ones, none that JSON knows, not UTF-8, a list."""
    head = b"\x92\xd7\x00" + bytes(8) + b"\x84"
    fields = b"".join(name + b"\xa1x" for name in names)
    payload = b"".join(
        head + fields + b"\xa7message\xa2%02d" % each + STAMP + b"%010d" % each
        for each in range(COUNT)
    )
    assert taken_apart(payload) in (None, decoded(payload))


@pytest.mark.parametrize("value", ["c4 01 61", "c7 08 05 0000000000000000", "cb 7ff8000000000000"])
def test_what_json_cannot_say_is_left_to_the_others(value: str) -> None:
    head = b"\x92\xd7\x00" + bytes(8) + b"\x83\xa1v" + bytes.fromhex(value)
    payload = b"".join(
        head + b"\xa7message\xa2%02d" % each + STAMP + b"%010d" % each for each in range(COUNT)
    )
    assert taken_apart(payload) is None
    assert payload_lines("wéb", payload) == decoded(payload)


USUAL = records([f"text {at}" * (at % 9) for at in range(COUNT)], {"l": "I"}, {"logger": "app"})


@given(
    st.lists(st.tuples(st.integers(0, len(USUAL) - 1), st.integers(0, 255)), max_size=3),
    st.integers(0, 40),
)
def test_what_was_changed_on_the_way(changes: list[tuple[int, int]], cut: int) -> None:
    changed = bytearray(USUAL)
    for at, byte in changes:
        changed[at] = byte
    payload = bytes(changed[: len(changed) - cut])
    assert taken_apart(payload) in (None, decoded(payload))


pieces = st.sampled_from(
    [
        STAMP,
        b"0000000001",
        b"\x92\xd7\x00",
        bytes(8),
        b"\x82\xa7message",
        b"\xa1",
        b"\xd9\x20",
        b"x",
    ]
)


@given(st.lists(st.lists(pieces, max_size=12).map(b"".join), min_size=3, max_size=6))
def test_texts_that_look_like_the_bytes_between_them(texts: list[bytes]) -> None:
    all_of_them = [texts[at % len(texts)] for at in range(COUNT)]
    each = [raw_entry(text, b"%010d" % at) for at, text in enumerate(all_of_them)]
    payload = b"".join(each)
    assert taken_apart(payload) in (None, decoded(payload))


@given(st.lists(st.text(max_size=40), min_size=3, max_size=6))
def test_any_texts(texts: list[str]) -> None:
    payload = records([texts[at % len(texts)] for at in range(COUNT)], {}, {"level": "INFO"})
    assert taken_apart(payload) in (None, decoded(payload))
