"""Shows what happens rarely to an entry: calls in its middle, no memory or stack, no room."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import gc
import itertools
import sys
import uuid
from collections.abc import Callable
from typing import Any

import msgpack
import msgpack.fallback
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logship._protocol import entries
from logship._protocol.entries import ENTRY_BYTES_MIN, CutEntry, record_packer
from tests.protocol.generated import keys, values
from tests.protocol.stamping import TIME_NS, readable, stamped
from tests.support.packing import pack_record
from tests.support.raising import raising
from tests.support.threads import in_threads

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


@settings(max_examples=50)
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


@pytest.mark.parametrize("fault", [MemoryError, RecursionError])
def test_what_there_is_no_memory_to_cut_is_an_entry_that_says_so(
    fault: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "cut_texts", raising(fault))
    fields = stamped(pack_at_most(ENTRY_BYTES_MIN, {"message": "x" * 1000}))
    assert fields["logship_truncated"] is True
    assert "no stack or memory left" in fields["message"]
