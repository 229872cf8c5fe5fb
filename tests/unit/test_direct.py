"""The straight way of most records does what the other one does, or nothing.

What holds of all lanes is in `test_buffer_lanes`.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import UserString
from collections.abc import Callable
from typing import Any
from unittest.mock import ANY

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logship.buffer import buffer as buffer_module
from logship.buffer.buffer import Buffer, Outcome
from logship.buffer.direct import DirectWriter, direct_writer
from logship.client import Client
from logship.protocol.entries import pack_record, unpack_entries
from logship.protocol.layouts import layout_of
from logship.protocol.repeats import Repeats
from logship.settings import Settings
from tests.support.layouts import layouts_then
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


def put(buffer: Buffer, write: DirectWriter, record: Any) -> bool:
    """Put a record into the buffer as `send` does, and tell whether it was in at once."""
    body = write(record)
    if body == b"":
        return True
    body = pack_record(record, NOW_NS) if body is None else body
    assert buffer.offer("t", body) is Outcome.ACCEPTED
    return False


def payloads(buffer: Buffer) -> list[bytes]:
    return [bytes(chunk.data) for chunk in buffer.unsettled()]


def entries(buffer: Buffer) -> list[Any]:
    """Return times and records: mappings, which are equal in whatever order."""
    return [entry for payload in payloads(buffer) for entry in unpack_entries(payload)]


def assert_both_ways_lead_to_the_same(
    given_records: list[Any],
    time_ns: int,
    also_reserved: frozenset[str],
    seen_as: Callable[[Buffer], list[Any]] = payloads,
) -> None:
    """Put records into one buffer directly where that can be, into another the other way."""
    direct, other = an_open_buffer(random_bytes=bytes), an_open_buffer(random_bytes=bytes)
    write = direct_writer(direct, "t", 1, also_reserved, lambda: time_ns)
    for record in given_records:
        body = pack_record(record, time_ns, 1, also_reserved)
        direct.offer("t", pack_record(FIRST, NOW_NS))  # looking closed the lane
        other.offer("t", pack_record(FIRST, NOW_NS))
        before = direct.counters.accepted, direct.bytes_held
        left = write(record)
        if left != b"":
            assert (direct.counters.accepted, direct.bytes_held) == before
            assert direct.offer("t", body if left is None else left) is Outcome.ACCEPTED
        assert other.offer("t", body) is Outcome.ACCEPTED
        assert seen_as(direct) == seen_as(other)
    assert direct.report("", 0.0) == other.report("", 0.0)


@given(st.lists(records, max_size=6), st.integers(-5, 1 << 70), st.sampled_from(["", "id"]))
@example([{"message": "m", "level": "INFO"}, {"message": "n", "level": 7}], NOW_NS, "")
@example([{}, {"message": None}, {f"n{n}": n for n in range(15)}], NOW_NS, "")
def test_it_puts_there_what_the_other_way_does_or_nothing(
    given_records: list[Any], time_ns: int, reserved: str
) -> None:
    also_reserved = frozenset({reserved}) if reserved else frozenset[str]()
    assert_both_ways_lead_to_the_same(given_records, time_ns, also_reserved)


class Level(str):
    """A text that is not plainly one."""

    __slots__ = ()


class Encodes:
    """Something that can be encoded, and is no text."""

    def __repr__(self) -> str:
        return "in words"

    def encode(self) -> bytes:
        return b"encoded"


@st.composite
def alike(draw: st.DrawFn, *, keeps_order: bool) -> list[dict[str, Any]]:
    """Return records of a few statements, which differ in little but a text or two."""
    sizes = st.sampled_from([0, 1, 31, 32, 255, 256, 511, 512, 20_000])
    texts = st.one_of(st.text(max_size=3), sizes.map("x".__mul__), anything, st.builds(Encodes))
    values = st.sampled_from(["INFO", "WARNING", Level("INFO"), 1, True, 1.0, None, ["INFO"]])
    fields = st.dictionaries(st.sampled_from(["level", "logger", "id", "n"]), values, max_size=3)
    statements = draw(st.lists(fields, min_size=1, max_size=3))
    order = draw(st.permutations(["level", "logger", "id", "n", "message", "text"]))
    found = []
    for _ in range(draw(st.integers(1, 15))):
        which = draw(st.sampled_from([["message"], ["text"], ["message", "text"]]))
        record = draw(st.sampled_from(statements)) | {name: draw(texts) for name in which}
        if not keeps_order:
            order = draw(st.permutations(order))
        found.append({name: record[name] for name in order if name in record})
    return found


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have many records looked at, so that few are enough to learn from."""
    monkeypatch.setattr("logship.protocol.repeats.SEEN_MAX", 3)
    monkeypatch.setattr("logship.protocol.repeats.WAIT_MIN", 1)
    monkeypatch.setattr("logship.protocol.repeats.WAIT_MAX", 1)


@given(alike(keeps_order=True), st.sampled_from(["", "id"]))
@example([{"message": "a"}, {"message": "b"}, {"text": "c"}, {"message": "d"}], "")
@pytest.mark.usefixtures("looks_often")
def test_what_repeats_is_put_there_as_if_it_did_not(
    given_records: list[dict[str, Any]], reserved: str
) -> None:
    also_reserved = frozenset({reserved}) if reserved else frozenset[str]()
    assert_both_ways_lead_to_the_same(given_records, NOW_NS, also_reserved)


@given(alike(keeps_order=False))
@pytest.mark.usefixtures("looks_often")
def test_fields_in_another_order_are_the_same_record(given_records: list[dict[str, Any]]) -> None:
    assert_both_ways_lead_to_the_same(given_records, NOW_NS, frozenset(), entries)


class Caseless(str):
    """A text that is equal to others which it is not, and has the hash of one of them."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.lower() == self.lower()

    def __hash__(self) -> int:
        return hash(self.lower())


class EqualTo(str):
    """A text that is equal to another one, and to nothing else."""

    other: str

    def __new__(cls, text: str, other: str) -> EqualTo:
        made = super().__new__(cls, text)
        made.other = other
        return made

    def __eq__(self, other: object) -> bool:
        return self.other == getattr(other, "other", other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.other)


@pytest.mark.parametrize(
    "odd",
    [
        {EqualTo("logship_id", "level"): "INFO", "message": "odd"},
        {"level": "INFO", EqualTo("Message", "message"): "odd"},
        {"level": EqualTo("debug", "INFO"), "message": "odd"},
        {EqualTo("Level", "level"): EqualTo("debug", "INFO"), EqualTo("M", "message"): "odd"},
    ],
    ids=["a name", "the text's name", "a value", "all"],
)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_plain_record_is_itself_whatever_came_before(odd: dict[str, str], before: int) -> None:
    buffer = an_open_buffer()
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    plain_record = {"level": "INFO", "message": "plain"}
    pack_record(plain_record, NOW_NS)  # its names are known
    for record in [plain_record] * before + [odd] * 3 + [plain_record] * 3:
        put(buffer, write, record)
    found = [record for _, record in entries(buffer) if record.get("message") == "plain"]
    assert found == [plain_record | {"logship_id": each["logship_id"]} for each in found]
    assert len(found) == before + 3


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Return what tells whether the writer that was made last asks records for a pattern."""
    made: list[Repeats] = []

    def noted(*arguments: Any) -> Repeats:
        made.append(Repeats(*arguments))
        return made[-1]

    monkeypatch.setattr("logship.buffer.direct.Repeats", noted)
    return lambda: made[-1].pattern is not None


def test_a_pattern_that_most_fit_stays_in_use(asks: Callable[[], bool]) -> None:
    buffer = a_buffer(bytes_max=1 << 24, chunk_bytes_max=1 << 16)
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    for number in range(10_000):
        put(buffer, write, {"message": str(number)} | ({"n": number} if number % 5 == 0 else {}))
        assert asks() or number < 100


@pytest.mark.parametrize(
    "other",
    [{"n": 1}, {f"n{n}": "" for n in range(20)}, {"message": "m", "body": b""}],
    ids=["of numbers", "large", "not plain"],
)
def test_records_that_do_not_fit_are_not_asked_for_ever(
    other: dict[str, Any], asks: Callable[[], bool]
) -> None:
    """Though the stream gets many records more, by another way."""
    buffer = a_buffer(bytes_max=1 << 24, chunk_bytes_max=1 << 16)
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    for number in range(20):
        put(buffer, write, {"message": str(number)})
    assert asks()
    for _ in range(200):
        put(buffer, write, other)
        for _ in range(5):
            buffer.offer("t", pack_record(other, NOW_NS))
    assert not asks()
    for number in range(2000):
        put(buffer, write, {"message": str(number)})
    assert asks()


@pytest.mark.parametrize("odd", [Encodes(), b"bytes", 5, None, Level("x"), ["a"], "\ud800"])
@pytest.mark.parametrize("name", ["message", "user"])
def test_one_of_two_texts_that_is_none(name: str, odd: Any, asks: Callable[[], bool]) -> None:
    buffer = an_open_buffer()
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    usual = [{"message": str(at), "level": "INFO", "user": f"user {at}"} for at in range(30)]
    for record in usual:
        put(buffer, write, record)
    assert asks()
    put(buffer, write, usual[0] | {name: odd})
    put(buffer, write, usual[1])
    *_, as_it_was, after = payload_entries = entries(buffer)
    other = an_open_buffer()
    other.offer("t", pack_record(usual[0] | {name: odd}, NOW_NS))
    assert as_it_was[1] | {"logship_id": ""} == entries(other)[-1][1] | {"logship_id": ""}
    assert after[1] == usual[1] | {"logship_id": after[1]["logship_id"]}
    assert len(payload_entries) == 33


class NotComparable:
    """Raises where others say no."""

    def __eq__(self, other: object) -> bool:
        raise ValueError

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "in words"


def test_what_says_that_it_is_equal_to_a_text_is_taken_at_its_word() -> None:
    """Decision 027. It is not what the next ones are compared with."""
    buffer = an_open_buffer()
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    levels = ["info", "info", UserString("info"), ANY, "debug", "debug", Caseless("INFO"), "INFO"]
    for level in levels:
        assert write({"message": "m", "level": level}) == b""
    assert write({"message": "m", "level": NotComparable()}) != b""
    sink = Sink(buffer)
    buffer.seal_all()
    sink.drain()
    assert [each["level"] for each in sink.acked[1:]] == [
        *["info"] * 4,
        *["debug"] * 2,
        "info",
        "INFO",
    ]


class Packers:
    """The packers that are made, and what they packed."""

    def __init__(self) -> None:
        self.made = 0
        self.packed: list[dict[str, Any]] = []

    def Packer(self) -> Packers:  # noqa: N802 - as msgpack names it
        self.made += 1
        return self

    def pack(self, fields: dict[str, Any]) -> bytes:
        self.packed.append(fields)
        packed: bytes = msgpack.packb(fields)
        return packed


@pytest.mark.parametrize(
    ("record_of", "packs_max"),
    [
        (lambda number: {"message": str(number)}, 3),
        (lambda number: {"message": str(number), "level": "INFO", "logger": "orders"}, 3),
        (lambda number: {"level": "INFO", "message": "x" * (number % 2000)}, 3),
        (lambda number: {"level": "INFO", "message": str(number), "logger": "orders"}, 3),
        (lambda number: {"message": str(number), "level": f"level {number // 3 % 20}"}, 800),
        (lambda number: {"message": str(number), "user": f"{number}", "level": "INFO"}, 20),
        (lambda number: {"level": "I", "message": str(number), "n": "n", "user": f"{number}"}, 20),
        (lambda number: {"message": str(number), "user": "é" * (number % 2000)}, 20),
        (
            lambda number: {
                "message": f"{number}",
                "user": f"{number}",
                "level": f"{number // 3 % 20}",
            },
            800,
        ),
        (lambda number: {"message": str(number), "n": number % 3, "path": [number % 3]}, 3000),
        (lambda number: {"message": str(number)} | ({"path": []} if number % 9 == 0 else {}), 3000),
    ],
    ids=[
        "a text alone",
        "a text first",
        "a text last",
        "a text in the middle",
        "many others",
        "two texts",
        "two texts apart",
        "two texts alone",
        "two texts and many others",
        "no texts",
        "now and then",
    ],
)
def test_of_what_repeats_only_the_text_is_packed(
    record_of: Callable[[int], dict[str, Any]], packs_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    packers = Packers()
    monkeypatch.setattr("logship.buffer.direct.msgpack", packers)
    buffer = a_buffer(bytes_max=1 << 24, chunk_bytes_max=1 << 24)
    write, written = direct_writer(buffer, "t", time_ns=lambda: NOW_NS), 0
    for number in range(3000):
        written += put(buffer, write, record_of(number))
    assert written > 2975  # and where the lane needed more digits, or its chunk more memory
    assert len(packers.packed) <= packs_max
    assert packers.made == 1
    sink = Sink(buffer)
    buffer.seal_all()
    sink.drain()
    for number, acked in enumerate(sink.acked):
        assert acked == record_of(number) | {"logship_id": acked["logship_id"]}
    assert len(sink.acked) == 3000


def by_two_statements(number: int) -> dict[str, Any]:
    if number % 2:
        return {"message": f"served order {number}", "level": "INFO", "logger": "orders"}
    return {"logger": "orders", "level": "DEBUG", "message": f"looked at order {number}"}


def test_threads_whose_records_repeat() -> None:
    """What one of them learns another one uses, and may have forgotten again in between."""
    threads_count, each_count = 6, 3000
    buffer = a_buffer(bytes_max=1 << 30, chunk_bytes_max=1 << 16)
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    direct: list[int] = []

    def produce(thread: int) -> None:
        for number in range(each_count):
            record: dict[str, Any] = by_two_statements(number) | {"thread": str(thread)}
            if thread % 2:
                record = {"thread": str(thread)} | by_two_statements(number)
            if number % 50 == 0:
                record["level"] = ["a list"]
            if put(buffer, write, record):
                direct.append(number)

    patience = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=produce, args=(n,)) for n in range(threads_count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(patience)
    sink = Sink(buffer)
    buffer.seal_all()
    sink.drain()
    assert direct
    for thread_number in range(threads_count):
        mine = [each for each in sink.acked if each["thread"] == str(thread_number)]
        assert [each["message"] for each in mine] == [
            by_two_statements(number)["message"] for number in range(each_count)
        ]


def test_nearly_all_records_go_this_way() -> None:
    """One at the beginning, two a chunk and one each thousand numbers do not."""
    buffer = an_open_buffer(bytes_max=1 << 22)
    sink = Sink(buffer)
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    left = 0
    for number in range(5000):
        record = {"message": f"{number:060}", "level": "INFO", "number": number, "is_last": False}
        record |= {"seconds": number / 7, "request": {"path": ["orders", number]}}
        left += not put(buffer, write, record)
    assert left < 30
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
    left = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)(record)
    assert left is None or len(left) > 50_000
    assert (buffer.counters.accepted, buffer.bytes_held) == before
    assert direct_writer(buffer, "t", time_ns=lambda: NOW_NS)(FIRST) == b""


def test_without_a_lane_it_only_packs() -> None:
    buffer = a_buffer()
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    pack_record(FIRST, NOW_NS)  # its names are known
    packed = pack_record(FIRST, NOW_NS)
    assert write(FIRST) == packed
    buffer.offer("t", packed)
    buffer.close_intake()
    assert write(FIRST) == packed
    assert buffer.counters.accepted == 1


@pytest.mark.parametrize("ending", ["a record", "a section", "the end", "another chunk"])
@pytest.mark.parametrize("texts", [0, 1, 2])
def test_whoever_comes_in_between_goes_first(ending: str, texts: int) -> None:
    """When the entry is written where the next one belongs, and does not count yet."""
    buffer = an_open_buffer()
    sink = Sink(buffer)
    inner = pack_record({"message": "inner"}, NOW_NS)

    def another_chunk() -> None:
        buffer.seal_all()
        sink.drain()
        buffer.offer("t", inner)

    acts: dict[str, Callable[[], object]] = {
        "a record": lambda: buffer.offer("t", inner),
        "a section": buffer.seal_all,
        "the end": buffer.close_intake,
        "another chunk": another_chunk,
    }
    due: list[Callable[[], object]] = []
    layouts = layouts_then(lambda: due and due.pop()())
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS, layout_of=layouts)
    differs: list[Callable[[str], dict[str, Any]]] = [
        lambda text: {"message": "usual", "n": len(text)},
        lambda text: {"message": text, "level": "INFO"},
        lambda text: {"message": text, "level": "INFO", "user": text},
    ]
    record_of = differs[texts]
    pack_record(record_of(""), NOW_NS)  # its names are known
    for number in range(20):  # or the outer one were no record of a known pattern
        put(buffer, write, record_of(f"{number}"))
    due.append(acts[ending])
    outer = record_of("outer")
    left = write(outer)
    assert not due
    assert left == pack_record(outer, NOW_NS)
    assert buffer.offer("t", left) is (Outcome.CLOSED if ending == "the end" else Outcome.ACCEPTED)
    check(buffer, sink.acked)
    if ending != "the end":
        buffer.seal_all()
        sink.drain()
        last = [each for each in sink.acked if "logship_end" not in each][-1]
        assert last == outer | {"logship_id": last["logship_id"]}


class Fault(BaseException):
    """What a signal handler raises."""


def test_a_signal_that_raises_in_between_leaves_nothing_behind() -> None:
    buffer = an_open_buffer()
    sink = Sink(buffer)

    def raise_() -> None:
        raise Fault

    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS, layout_of=layouts_then(raise_))
    with pytest.raises(Fault):
        write({"message": "never accepted"})
    assert buffer.counters.accepted == 1
    put(buffer, direct_writer(buffer, "t", time_ns=lambda: NOW_NS), {"message": "next"})
    check(buffer, sink.acked)
    buffer.seal_all()
    sink.drain()
    assert [each["message"] for each in sink.acked] == ["first", "next"]


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
    assert write(record) == b""
    sink = Sink(buffer)
    buffer.seal_all()
    sink.drain()
    assert [each["message"] for each in sink.acked] == ["first", "as it was"]


def test_a_packer_that_failed_is_not_used_for_the_next() -> None:
    """What it had packed until then would stand before that."""
    buffer = an_open_buffer()
    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS)
    assert write({"message": "a"}) == b""
    assert write({"level": "x", "message": "\ud800"}) != b""
    assert write({"message": "b"}) == b""
    sink = Sink(buffer)
    buffer.seal_all()
    sink.drain()
    assert [each["message"] for each in sink.acked] == ["first", "a", "b"]


@pytest.mark.parametrize("settings", [{"redact": dict}, {"disabled": True}], ids=str)
def test_who_must_see_each_record_or_none_does_not_use_it(settings: dict[str, Any]) -> None:
    client = Client(Settings(**settings))
    client.emit(FIRST)
    assert not client.intake.put_at_once(FIRST)


def test_layouts_do_not_grow_with_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other fields that were never seen before have all others forgotten, again and again."""
    monkeypatch.setattr("logship.protocol.repeats._OTHERS_KNOWN_MAX", 5)
    monkeypatch.setattr("logship.protocol.layouts.KEPT_MAX", 20)
    buffer = a_buffer(bytes_max=1 << 24, chunk_bytes_max=1 << 16)
    made: list[weakref.ref[Any]] = []

    class Kept:
        """A layout that can be told to be gone."""

        def __init__(self, *sizes: int) -> None:
            self.put, self.size = layout_of(*sizes)

        def __call__(self, *arguments: Any) -> None:
            self.put(*arguments)

    def noted(*sizes: int) -> tuple[Any, int]:
        kept = Kept(*sizes)
        if len(sizes) > 5:  # of two texts, with the stamp
            made.append(weakref.ref(kept))
        return kept, kept.size

    write = direct_writer(buffer, "t", time_ns=lambda: NOW_NS, layout_of=noted)
    for number in range(6000):
        level = f"{number}" if number % 10 == 0 else "INFO"
        user, message = "u" * (number % 50), "m" * (number * 7 % 90)
        put(buffer, write, {"message": message, "user": user, "level": level})
    assert len(made) > 100
    assert sum(each() is not None for each in made) <= 20


@pytest.mark.parametrize("size", [100, 5000])
def test_no_memory_for_the_body_is_no_fault(size: int) -> None:
    class Nanoseconds(int):
        """Of a time that finds no memory."""

        def __sub__(self, other: int) -> Nanoseconds:
            return Nanoseconds(int(self) - other)

        def to_bytes(self, *_: Any) -> bytes:  # type: ignore[override]
            raise MemoryError

    buffer = a_buffer()  # without a lane
    pack_record(FIRST, NOW_NS)
    write = direct_writer(buffer, "t", time_ns=lambda: Nanoseconds(NOW_NS))
    assert write({"message": "m" * size, "level": "INFO"}) is None
