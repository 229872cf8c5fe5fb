"""Entries: exact bytes by hand, and what holds for every record there is."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import gc
import itertools
import struct
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

import msgpack
import msgpack.fallback
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logship._protocol import entries, plain
from logship._protocol.entries import (
    ENTRY_BYTES_MIN,
    CutEntry,
    pack_control,
    record_packer,
    unpack_entries,
)
from logship.errors import ProtocolError
from tests.protocol.stamping import STAMP, STAMP_VALUE, TIME_NS, readable, stamped, stamped_at_time
from tests.support.packing import pack_record
from tests.support.raising import raising
from tests.support.threads import in_threads

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


@pytest.mark.parametrize("count", [13, 14, 15, 16, 17, 200, 65_533, 65_534, 65_535, 65_536])
def test_the_map_header_counts_the_stamp_at_every_size(count: int) -> None:
    record = {f"f{number}": number for number in range(count)}
    for _ in range(2):  # the second time its names are known
        assert readable(record) == record


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.text(st.characters(codec=None, categories=["Cs", "Lu", "So"])),
    st.binary(),
    st.datetimes(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(),
    st.uuids(),
    st.fractions(),
    st.complex_numbers(),
    st.builds(ValueError, st.text()),
)
keys = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["message", "level", "logship_id", "app_logship_id", "logship_gap", "1"]),
    st.integers(-3, 3),
    st.booleans(),
    st.none(),
    st.floats(),
    st.binary(max_size=3),
    st.tuples(st.integers(0, 2), st.text(max_size=2)),
    st.text(st.characters(categories=["Cs"]), max_size=2),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=5),
        st.frozensets(st.integers()),
    ),
    max_leaves=10,
)
records = st.dictionaries(keys, values, max_size=8)
plain_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
names = st.text(max_size=12).filter(lambda name: not name.startswith("logship_"))
plain_values = st.recursive(
    plain_scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(names, inner, max_size=5)),
    max_leaves=10,
)


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


@given(st.dictionaries(names, plain_values, max_size=8))
def test_plain_records_arrive_as_they_are(record: dict[str, Any]) -> None:
    assert readable(record) == record
    assert readable(record) == record, "the second time, by the short way"


@given(st.integers(0, (1 << 32) * 1_000_000_000 - 1))
def test_every_time_that_fits_is_exact(time_ns: int) -> None:
    assert stamped_at_time(pack_record({"a": 1}, time_ns)) == (time_ns, {"a": 1})


@pytest.mark.parametrize(
    ("time_ns", "clamped"),
    [
        (-1, 0),
        (-(1 << 63), 0),
        (7_258_118_400_000_000_000, 4_294_967_295_999_999_999),  # the year 2200
        ((1 << 32) * 1_000_000_000, 4_294_967_295_999_999_999),
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


# Re-entrancy: the application's code, signal handlers and the garbage collector log while a
# record is being packed.


def test_a_del_that_logs_while_a_record_is_found_not_to_be_plain() -> None:
    """Some of it is packed already, and where exceptions are made a collection may begin."""
    logged: list[bytes] = []
    inner, spoilt = {"message": "from __del__", "a": 1}, {"a": "x" * 50, "message": "\udc80"}

    class Last:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            logged.append(pack_record(inner, TIME_NS))

    assert readable(inner) == inner  # now its names are known
    threshold = gc.get_threshold()
    gc.collect()
    gc.freeze()  # what the other tests have imported would cost each collection a tenth of a second
    try:
        for step in range(1, 200):
            gc.collect()
            Last()
            gc.set_threshold(step, 1 << 20, 1 << 20)
            packed = pack_record(spoilt, TIME_NS)
            gc.set_threshold(*threshold)
            assert stamped(packed)["a"] == spoilt["a"]
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()
    gc.collect()
    assert [stamped(entry) for entry in logged] == [inner] * 199


def test_a_key_that_logs_while_it_is_packed() -> None:
    """A proxy that is equal to a known name passes for it; msgpack asks for its class."""
    logged: list[bytes] = []

    class Proxy:
        def __hash__(self) -> int:
            return hash("user")

        def __eq__(self, other: object) -> bool:
            return other == "user"

        def __str__(self) -> str:
            return "user"

        @property
        def __class__(self) -> type:
            logged.append(pack_record({"message": "from a key", "user": "b"}, TIME_NS))
            return str

        @__class__.setter
        def __class__(self, kind: type) -> None: ...

    assert readable({"message": "", "user": ""}) == {"message": "", "user": ""}
    assert readable({"message": "first", Proxy(): "a"}) == {"message": "first", "user": "a"}
    assert logged
    assert all(stamped(entry) == {"message": "from a key", "user": "b"} for entry in logged)


class Packers:
    """Stands in for msgpack's `Packer`, and sees how many are made and what they pack.

    Attributes:
        made: How many were.
        fault: What the next value raises; once.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self.fault: type[BaseException] | None = None
        self._make = msgpack.Packer
        monkeypatch.setattr(msgpack, "Packer", self)

    def __call__(self, *, strict_types: bool = False) -> Packers:
        del strict_types
        self.made += 1
        return self

    def pack(self, value: object) -> bytes:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        packed: bytes = self._make().pack(value)
        return packed


@pytest.fixture
def packers(monkeypatch: pytest.MonkeyPatch) -> Packers:
    return Packers(monkeypatch)


NAME = "a name that no client of this process gives to each of its records"


@pytest.mark.parametrize("fault", [MemoryError, OverflowError, SystemExit])
def test_a_packer_that_failed_is_not_used_again(
    fault: type[BaseException], packers: Packers
) -> None:
    """What it had packed until then would stand before the next record."""
    assert readable({NAME: "a name that is known"})
    pack = record_packer()
    assert stamped(pack({NAME: "zeroth"}, TIME_NS)) == {NAME: "zeroth"}
    packers.fault = fault
    with contextlib.suppress(SystemExit):
        assert stamped(pack({NAME: "first"}, TIME_NS)) == {NAME: "first"}
    packers.made = 0
    for number in range(2):
        assert stamped(pack({NAME: str(number)}, TIME_NS)) == {NAME: str(number)}
        assert packers.made == 1, "and another one from then on"


def test_the_memory_of_a_large_record_is_not_kept(packers: Packers) -> None:
    assert readable({NAME: "a name that is known"})
    pack = record_packer()
    made = []
    for text in ("small", "small", "x" * (2 << 20), "small", "small"):
        packers.made = 0
        assert stamped(pack({NAME: text}, TIME_NS)) == {NAME: text}
        made.append(packers.made)
    assert made == [1, 0, 0, 1, 0]


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


@pytest.mark.parametrize("time_ns", [10**4000, -(10**4000), 10**39])
def test_an_absurd_time_is_told_in_few_characters(time_ns: int) -> None:
    record = {f"a field {number}": number for number in range(20_000)}
    entry = pack_at_most(entries.ENTRY_BYTES_MIN, record, time_ns)
    assert isinstance(entry, CutEntry)
    assert len(entry) <= entries.ENTRY_BYTES_MIN


@pytest.mark.parametrize("packer", [msgpack.Packer, msgpack.fallback.Packer])
def test_many_threads_at_once(packer: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """With msgpack in pure Python too, where threads do meet in the middle of a pack."""
    monkeypatch.setattr(msgpack, "Packer", packer)
    pack = record_packer()

    def log(worker: int) -> None:
        for number in range(200):
            record = {"worker": worker, "n": number, "text": str(worker) * 200, "f": [1.5]}
            assert stamped(pack(record, TIME_NS)) == record

    switch_interval_seconds = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        assert in_threads(6, log) == [None] * 6
    finally:
        sys.setswitchinterval(switch_interval_seconds)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_a_signal_handler_raises_passes(kind: type[BaseException]) -> None:
    class Stopped:
        def __repr__(self) -> str:
            raise kind

    with pytest.raises(kind):
        pack_record({"value": Stopped()}, TIME_NS)
    assert readable({"value": 1}) == {"value": 1}, "and the next record is packed as always"


def _dive(depth: int, call: Callable[[], bytes]) -> bytes:
    return _dive(depth - 1, call) if depth else call()


@pytest.mark.parametrize(
    "record",
    [
        {"message": "flat"},
        {"message": {"a": [{"b": (1, {2})}]}, "when": datetime.date(2026, 1, 2)},
        {"error": ValueError("x"), "id": uuid.UUID(int=1), "amount": decimal.Decimal(1)},
    ],
)
def test_where_the_stack_ends_the_record_is_still_an_entry(record: Any) -> None:
    packed_at = set()
    for depth in range(sys.getrecursionlimit() - 250, sys.getrecursionlimit()):
        with contextlib.suppress(RecursionError):
            fields = stamped(_dive(depth, lambda: pack_record(record, TIME_NS)))
            is_read = (
                fields.get("message") != "<record unreadable: no stack or memory left to read it>"
            )
            assert is_read or fields["logship_truncated"] is True
            packed_at.add(depth)
    deepest = _deepest_dive()
    assert packed_at >= set(range(deepest - 100, deepest - 10))


def _deepest_dive() -> int:
    """Return at what depth not even a function that does nothing can be called."""
    for depth in itertools.count(sys.getrecursionlimit() - 250):
        try:
            _dive(depth, bytes)
        except RecursionError:
            return depth
    raise AssertionError


# Truncation.


def pack_at_most(bytes_max: int, record: Any, time_ns: int = TIME_NS, **options: Any) -> bytes:
    return record_packer(bytes_max=bytes_max, **options)(record, time_ns)


def test_a_value_is_made_readable_once_where_its_record_is_cut() -> None:
    class Counted:
        asked = 0

        def __str__(self) -> str:
            self.asked += 1
            return f"asked {self.asked} times"

    value = Counted()
    entry = pack_at_most(1000, {"message": "x" * 5000, "value": value})
    assert stamped(entry)["value"] == "asked 1 times"
    assert value.asked == 1


def test_the_longest_texts_are_cut_and_short_ones_kept() -> None:
    record = {"message": "x" * 50_000, "error": "é" * 20_000, "level": "INFO", "n": {"id": "abc"}}
    entry = pack_at_most(10_000, record)
    fields = stamped(entry)
    assert 9_900 < len(entry) <= 10_000
    assert fields["level"] == "INFO"
    assert fields["n"] == {"id": "abc"}
    assert fields["logship_truncated"] is True
    assert fields["message"].strip("x") == "…"
    assert fields["error"].strip("é") == "…"


def test_texts_are_cut_no_shorter_than_they_must_be() -> None:
    record = {f"text {number}": "x" * 1000 for number in range(10)} | {"longest": "x" * 1200}
    entry = pack_at_most(9500, record)
    assert 9400 < len(entry) <= 9500


def test_too_many_fields_become_a_summary() -> None:
    record = {f"field {number}": number for number in range(10_000)}
    entry = pack_at_most(1000, record)
    fields = stamped(entry)
    assert len(entry) <= 1000
    assert fields["logship_truncated"] is True
    assert fields["message"].startswith("<record of 10000 fields, too large to send; it began:>")
    assert '"field 3": 3' in fields["message"]


texts_of_any_length = st.builds(
    lambda text, times: text * times, st.text(min_size=1, max_size=8), st.integers(0, 2000)
)


@given(
    st.dictionaries(keys, st.one_of(values, texts_of_any_length), max_size=10),
    st.integers(ENTRY_BYTES_MIN, 20_000),
    st.sampled_from([TIME_NS, -5, 1 << 64]),
)
def test_truncated_is_never_larger_than_asked(record: Any, bytes_max: int, time_ns: int) -> None:
    entry = pack_at_most(bytes_max, record, time_ns)
    assert len(entry) <= bytes_max
    assert isinstance(entry, CutEntry) == (len(pack_record(record, time_ns)) > bytes_max)
    assert not isinstance(entry, CutEntry) or stamped(entry)["logship_truncated"] is True


def test_a_reserved_name_cannot_come_in_through_truncation() -> None:
    record = {"logship_gap": "x" * 5000, "seq": 1}
    entry = pack_at_most(1000, record, also_reserved=frozenset({"seq"}))
    assert set(stamped(entry)) == {"app_logship_gap", "app_seq", "logship_truncated"}


# Unpacking.


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


@pytest.mark.parametrize("fault", [MemoryError, RecursionError])
def test_what_there_is_no_memory_to_cut_is_an_entry_that_says_so(
    fault: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "cut_texts", raising(fault))
    fields = stamped(pack_at_most(ENTRY_BYTES_MIN, {"message": "x" * 1000}))
    assert fields["logship_truncated"] is True
    assert "no stack or memory left" in fields["message"]
