"""The straight way of most records does what the other one does, or nothing.

What holds of all lanes is in `test_buffer_lanes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logship.buffer import buffer as buffer_module
from logship.buffer.buffer import Buffer, Outcome
from logship.buffer.direct import direct_writer
from logship.client import Client
from logship.protocol.entries import pack_record
from logship.settings import Settings
from tests.unit.accounts import Sink, a_buffer, check

pytestmark = pytest.mark.skipif(
    buffer_module.is_traced() or not buffer_module._ASSIGNMENTS_ARE_ONE,
    reason="under a tracer, and without the interpreter's lock, no lane is opened",
)

NOW_NS = 1_700_000_000_123_456_789
FIRST = {"message": "first", "level": "INFO"}

plain = st.one_of(st.text(), st.integers(-(1 << 63), (1 << 64) - 1), st.booleans(), st.none())
anything = st.recursive(
    st.one_of(plain, st.integers(), st.floats(), st.binary(), st.just("\ud800")),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)
names = st.one_of(
    st.sampled_from(["message", "level", "logship_id", "logship_end", "id"]), st.text(max_size=3)
)
records = st.one_of(st.dictionaries(names, st.one_of(plain, anything), max_size=18), anything)


def an_open_buffer(**options: Any) -> Buffer:
    """Return a buffer with a lane."""
    buffer = a_buffer(**{"chunk_bytes_max": 100_000, **options})
    assert buffer.offer("t", pack_record(FIRST, NOW_NS)) is Outcome.ACCEPTED
    return buffer


def payloads(buffer: Buffer) -> list[bytes]:
    return [bytes(chunk.data) for chunk in buffer.unsettled()]


@given(st.lists(records, max_size=6), st.integers(-5, 1 << 70), st.sampled_from(["", "id"]))
@example([{"message": "m", "level": "INFO"}, {"message": "n", "level": 7}], NOW_NS, "")
@example([{}, {"message": None}, {f"n{n}": n for n in range(15)}], NOW_NS, "")
def test_it_puts_there_what_the_other_way_does_or_nothing(
    given_records: list[Any], time_ns: int, reserved: str
) -> None:
    also_reserved = frozenset({reserved}) if reserved else frozenset[str]()
    direct, other = an_open_buffer(random_bytes=bytes), an_open_buffer(random_bytes=bytes)
    write = direct_writer(direct, "t", 1, also_reserved, lambda: time_ns)
    for record in given_records:
        body = pack_record(record, time_ns, 1, also_reserved)
        direct.offer("t", pack_record(FIRST, NOW_NS))  # looking closed the lane
        other.offer("t", pack_record(FIRST, NOW_NS))
        before = direct.counters.accepted, direct.bytes_held
        if not write(record):
            assert (direct.counters.accepted, direct.bytes_held) == before
            assert direct.offer("t", body) is Outcome.ACCEPTED
        assert other.offer("t", body) is Outcome.ACCEPTED
        assert payloads(direct) == payloads(other)
    assert direct.report("", 0.0) == other.report("", 0.0)


def test_nearly_all_records_go_this_way() -> None:
    """One at the beginning, one a chunk and one each thousand numbers do not."""
    buffer = an_open_buffer(bytes_max=1 << 22)
    sink = Sink(buffer)
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    left = 0
    for number in range(5000):
        record = {"message": f"{number:060}", "level": "INFO", "number": number, "is_last": False}
        record |= {"seconds": number / 7, "request": {"path": ["orders", number]}}
        if not write(record):
            left += 1
            assert buffer.offer("t", pack_record(record, NOW_NS)) is Outcome.ACCEPTED
    assert left < 20
    check(buffer, sink.acked)
    sink.drain()
    assert [each["number"] for each in sink.acked if "number" in each] == [*range(5000)]


@pytest.mark.parametrize(
    "record",
    [
        {"message": "m", "a name never seen": 1},
        {"message": "m", "logship_id": "forged"},
        {"message": [b"m"]},
        {"message": {"inner": {"a name never seen": 1}}},
        {"message": float("nan")},
        {"message": b"m"},
        {"message": 1 << 64},
        {"message": "\ud800"},
        {"message": "m" * 60_000},
        [("message", "m")],
        "m",
        None,
    ],
    ids=lambda record: repr(record)[:30],
)
def test_other_records_are_left_alone(record: Any) -> None:
    buffer = an_open_buffer(bytes_max=50_000)
    before = buffer.counters.accepted, buffer.bytes_held
    assert not direct_writer(buffer, "t", time_ns=lambda: NOW_NS)(record)
    assert (buffer.counters.accepted, buffer.bytes_held) == before
    assert direct_writer(buffer, "t", time_ns=lambda: NOW_NS)(FIRST)


def test_without_a_lane_nothing_is_done() -> None:
    buffer = a_buffer()
    write = direct_writer(buffer, "t", time_ns=lambda: pytest.fail("it went on"))
    assert not write(FIRST)
    buffer.offer("t", pack_record(FIRST, NOW_NS))
    buffer.close_intake()
    assert not write(FIRST)
    assert buffer.counters.accepted == 1


def interrupted(buffer: Buffer, act: Callable[[], object]) -> Callable[[], int]:
    """Return a clock that lets somebody in once, as after any call a signal handler may come."""
    acts = [act]

    def time_ns() -> int:
        if acts:
            acts.pop()()
        return NOW_NS

    return time_ns


@pytest.mark.parametrize("ending", ["a record", "a section", "the end"])
def test_whoever_comes_in_between_goes_first(ending: str) -> None:
    buffer = an_open_buffer()
    sink = Sink(buffer)
    acts: dict[str, Callable[[], object]] = {
        "a record": lambda: buffer.offer("t", pack_record({"message": "inner"}, NOW_NS)),
        "a section": buffer.seal_all,
        "the end": buffer.close_intake,
    }
    write = direct_writer(buffer, "t", time_ns=interrupted(buffer, acts[ending]))
    assert not write({"message": "outer"})
    outcome = buffer.offer("t", pack_record({"message": "outer"}, NOW_NS))
    assert outcome is (Outcome.CLOSED if ending == "the end" else Outcome.ACCEPTED)
    check(buffer, sink.acked)


def test_what_another_thread_does_to_the_record_meanwhile_changes_nothing() -> None:
    """It is copied before it is looked at; here another one comes while its names are."""
    buffer = an_open_buffer()
    record: dict[str, Any] = {"message": "as it was"}

    class Watched(set[str]):
        """The names: while they are looked at, somebody changes the record."""

        def issuperset(self, fields: Any, /) -> bool:
            record["message"] = b"never packed"
            return set(fields) <= {"message"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logship.buffer.direct.NAMES", Watched())
        write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    assert write(record)
    sink = Sink(buffer)
    buffer.seal_all()
    sink.drain()
    assert [each["message"] for each in sink.acked] == ["first", "as it was"]


def test_a_packer_that_failed_is_not_used_for_the_next() -> None:
    """What it had packed until then would stand before that."""
    buffer = an_open_buffer()
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    assert write({"message": "a"})
    assert not write({"level": "x", "message": "\ud800"})
    assert write({"message": "b"})
    sink = Sink(buffer)
    buffer.seal_all()
    sink.drain()
    assert [each["message"] for each in sink.acked] == ["first", "a", "b"]


@pytest.mark.parametrize("settings", [{"redact": dict}, {"disabled": True}], ids=str)
def test_who_must_see_each_record_or_none_does_not_use_it(settings: dict[str, Any]) -> None:
    client = Client(Settings(**settings))
    client.emit(FIRST)
    assert not client.intake.put_at_once(FIRST)
