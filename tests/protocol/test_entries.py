"""Entries: exact bytes by hand, what holds for every record there is, and how they are unpacked."""

from __future__ import annotations

import itertools
import struct
import sys
import threading
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logship._protocol import plain
from logship._protocol.entries import pack_control, record_packer, unpack_entries
from logship.errors import ProtocolError
from tests.protocol.generated import names, plain_values, records, values
from tests.protocol.stamping import STAMP, STAMP_VALUE, TIME_NS, readable, stamped, stamped_at_time
from tests.support.packing import pack_record

LAST_TIME_NS = 4_294_967_293_999_999_999
"""The last one before the two seconds that Fluent Bit takes for marks of a group."""

HEAD = "92 d700 6553f100 075bcd15"  # an array of two; EventTime 1700000000 s, 123456789 ns


def packed(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize(
    ("record", "extra_fields", "expected"),
    [
        ({"a": 1}, 1, f"{HEAD} 82 a161 01"),
        ({"a": 1}, 0, f"{HEAD} 81 a161 01"),
        ({}, 2, f"{HEAD} 82"),
        ({"a": None, "b": True}, 1, f"{HEAD} 83 a161 c0 a162 c3"),
        ({"a": 1.5}, 1, f"{HEAD} 82 a161 cb3ff8000000000000"),
        ({"a": ["é"]}, 1, f"{HEAD} 82 a161 91 a2c3a9"),
    ],
)
def test_the_bytes_of_an_entry(record: Any, extra_fields: int, expected: str) -> None:
    for _ in range(2):  # as an unknown record, and as one like the last
        assert pack_record(record, TIME_NS, extra_fields) == packed(expected)


@pytest.mark.parametrize("count", [13, 14, 15, 16, 17, 200, 65_534, 65_535])
def test_the_map_header_counts_the_stamp_at_every_size(count: int) -> None:
    record = {f"f{number}": number for number in range(count)}
    for _ in range(2):  # the second time its names are known
        assert readable(record) == record


@settings(max_examples=50)
@given(records)
@example({1: "a", "1": "b", "True": "c", b"1": "d"})
def test_whatever_is_logged_is_one_well_formed_entry_with_every_field(record: Any) -> None:
    fields = readable(record)
    assert len(fields) == len(record)
    assert not any(name.startswith("logship_") for name in fields)
    assert readable(record) == fields


@given(values)
def test_whatever_is_logged_instead_of_a_mapping(value: Any) -> None:
    fields = readable(value)
    assert "message" in fields or isinstance(value, dict)


@settings(max_examples=50)
@given(st.dictionaries(names, plain_values, max_size=8))
def test_plain_records_arrive_as_they_are(record: dict[str, Any]) -> None:
    assert readable(record) == record
    assert readable(record) == record, "the second time, by the short way"


@given(st.integers(0, LAST_TIME_NS))
def test_every_time_that_fits_is_exact(time_ns: int) -> None:
    assert stamped_at_time(pack_record({"a": 1}, time_ns)) == (time_ns, {"a": 1})


@pytest.mark.parametrize(
    ("time_ns", "clamped"),
    [
        (-1, 0),
        (-(1 << 63), 0),
        (7_258_118_400_000_000_000, LAST_TIME_NS),  # the year 2200
        ((1 << 32) * 1_000_000_000, LAST_TIME_NS),
        (4_294_967_295_000_000_000, LAST_TIME_NS),
        (LAST_TIME_NS + 1, LAST_TIME_NS),
    ],
)
def test_a_time_out_of_range_is_clamped_and_kept_readable(time_ns: int, clamped: int) -> None:
    expected = (clamped, {"a": 1, "logship_time_ns": time_ns})
    assert stamped_at_time(pack_record({"a": 1}, time_ns)) == expected
    assert stamped_at_time(pack_control({"a": 1}, time_ns)) == expected


def test_a_record_of_our_own_keeps_reserved_names() -> None:
    fields = {"message": "logship: stream closed", "logship_end": True}
    assert stamped(pack_control(fields, TIME_NS)) == fields


def test_names_that_the_caller_appends_are_renamed_too() -> None:
    for _ in range(2):
        pack_record({"seq": "theirs"}, TIME_NS)
        packed_record = pack_record({"seq": "theirs"}, TIME_NS, also_reserved=frozenset({"seq"}))
        assert stamped(packed_record) == {"app_seq": "theirs"}


def test_of_many_different_names_a_bounded_number_is_remembered() -> None:
    for number in range(20_000):
        assert pack_record({f"name {number}": 1}, TIME_NS).endswith(b"\x01")
        pack_record({f"another name {number}": b"x"}, TIME_NS)
    assert len(plain.NAMES) < 10_000
    assert readable({"name 5": {"name 6": 1.5}}) == {"name 5": {"name 6": 1.5}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1 << 70, "\udc80", b"x", {1: 2}])
def test_one_bad_value_under_known_names(value: Any) -> None:
    readable({"message": "x", "inner": {"message": [1]}})
    assert readable({"message": value})["message"] != value
    assert readable({"message": "x", "inner": {"message": [value]}})["inner"] != value


def test_a_reserved_name_seen_deep_in_one_record_is_not_free_in_the_next() -> None:
    assert readable({"inner": {"logship_gap": {2}}}) == {"inner": {"logship_gap": [2]}}
    assert readable({"logship_gap": "forged"}) == {"app_logship_gap": "forged"}


@pytest.mark.parametrize("value", [1.5, b"not plain"])
def test_the_record_that_was_given_is_not_touched(value: Any) -> None:
    inner = [value]
    middle = {"list": inner}
    record = {"message": "x", "middle": middle}
    for _ in range(2):
        pack_record(record, TIME_NS)
        assert record["middle"] is middle
        assert middle["list"] is inner
        assert inner == [value]


def test_a_list_changed_by_another_thread_between_check_and_packing() -> None:
    items: list[Any] = [1.5] * 3
    nan = struct.pack(">d", float("nan"))
    stop = threading.Event()

    def change() -> None:
        for value in itertools.cycle([float("nan"), 1.5]):
            items[0] = value
            if stop.is_set():
                break

    thread = threading.Thread(target=change)
    switch_interval_seconds = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(30_000):
            assert nan not in pack_record({"message": items}, TIME_NS)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(switch_interval_seconds)


class NoInteger:
    def __int__(self) -> int:
        raise OSError("not now")


@pytest.mark.parametrize(
    ("given_ns", "packed_ns"),
    [
        *((1.5e9, 1_500_000_000), (0.0, 0), ("7", 7)),
        *((float("nan"), TIME_NS), (object(), TIME_NS), (NoInteger(), TIME_NS)),
    ],
)
def test_a_time_of_another_type_is_taken_as_far_as_it_is_one(given_ns: Any, packed_ns: int) -> None:
    pack = record_packer(now_ns=lambda: TIME_NS)
    for _ in range(2):
        assert stamped_at_time(pack({"message": "hi"}, given_ns))[0] == packed_ns


# Unpacking.


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.dictionaries(names, plain_values, max_size=4), st.integers(0, 1 << 61)),
        max_size=4,
    )
)
def test_entries_come_back_as_they_went(sent: list[tuple[dict[str, Any], int]]) -> None:
    payload = b"".join(pack_record(record, time_ns) + STAMP for record, time_ns in sent)
    expected = [(time_ns, record | {"logship_id": STAMP_VALUE}) for record, time_ns in sent]
    assert list(unpack_entries(payload)) == expected
    assert list(unpack_entries(memoryview(payload))) == expected
    assert list(unpack_entries(bytearray(payload))) == expected


@pytest.mark.parametrize(
    ("time", "time_ns"),
    [
        ("d700 00000001 00000002", 1_000_000_002),
        ("c70800 00000001 00000002", 1_000_000_002),
        ("05", 5_000_000_000),
        ("ce6553f100", 1_700_000_000_000_000_000),
        ("cb3ff8000000000000", 1_500_000_000),
    ],
)
def test_all_forms_of_time(time: str, time_ns: int) -> None:
    assert list(unpack_entries(packed(f"92 {time} 80"))) == [(time_ns, {})]


def test_text_that_is_not_utf_8_is_kept_readable() -> None:
    assert list(unpack_entries(packed("92 00 81 a161 a2ff41"))) == [(0, {"a": "\\xffA"})]


def test_a_record_may_have_numbers_for_keys_and_any_extension() -> None:
    [(_, record)] = unpack_entries(
        packed("92 00 86 01 02 c403616263 c0 a161 d405ff cb3ff8000000000000 03 c0 04 c3 05")
    )
    extension = msgpack.ExtType(5, b"\xff")
    assert record == {"1": 2, b"abc": None, "a": extension, "1.5": 3, "null": 4, "true": 5}


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ("92 00", "entries end \\d bytes into one"),
        ("92 00 80 92", "entries end \\d bytes into one"),
        ("80", "not an array"),
        ("91 00", "not an array"),
        ("93 00 80 80", "not an array"),
        ("92 00 a161", "a record is a str"),
        ("92 00 c0", "a record is a NoneType"),
        ("92 a131 80", "a time is str"),
        ("92 c0 80", "a time is NoneType"),
        ("92 c3 80", "a time is bool"),
        ("92 c408 0000000000000000 80", "a time is bytes"),
        ("92 cb7ff8000000000000 80", "a time is float"),
        ("92 cb7ff0000000000000 80", "a time is float"),
        ("92 d600 00000001 80", "a time is ExtType"),
        ("92 d6ff 00000001 80", "a time is Timestamp"),
        ("c1", "not msgpack"),
        ("92 00 81 90 00", "a map's key is a list"),
        ("92 00 81 80 00", "a map's key is a dict"),
        ("92 00 81 d400ff 00", "a map's key is a ExtType"),
        ("92 00 81 d700 0000000100000002 00", "a map's key is a tuple"),
        ("dd 7fffffff", "not msgpack"),
        ("92 00 81 a161 dd 00200000", "not msgpack"),  # more elements than we make room for
        ("91" * 3000, "not msgpack"),
    ],
)
def test_what_is_no_run_of_entries_is_a_protocol_error(payload: str, fault: str) -> None:
    with pytest.raises(ProtocolError, match=fault):
        list(unpack_entries(packed(payload)))
