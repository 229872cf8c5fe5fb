"""Many beginnings at once: the same bytes as one after the other, whatever is among them."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logship.protocol import bodies as bodies_module
from logship.protocol.bodies import RUN_RECORDS_MIN, Bodies, pack_records
from logship.protocol.entries import pack_record
from logship.protocol.plain import NAMES
from tests.protocol.stamping import TIME_NS, stamped
from tests.protocol.test_entries import Logger, records, values

names = st.sampled_from(["message", "level", "n", "é", "logship_id", "a" * 40, "1"])
plain = st.one_of(st.text(), st.integers(-(1 << 63), (1 << 64) - 1), st.booleans(), st.none())
one_kind = st.sampled_from(
    [
        st.just("INFO"),
        st.sampled_from(["INFO", "ERROR"]),
        st.text(),
        st.integers(-(1 << 64), 1 << 65),
        st.floats(),
        st.floats(allow_nan=False, allow_infinity=False),
        plain,
        st.text(st.characters(categories=["Cs", "Lu"])),
        values,
    ]
)


@st.composite
def alike(draw: st.DrawFn) -> list[Any]:
    """Records with the same names in the same order, and one kind of values under each."""
    kinds = draw(st.dictionaries(names, one_kind, max_size=4))
    count = draw(st.integers(0, 2 * RUN_RECORDS_MIN))
    columns = {name: draw(st.lists(kind, min_size=3, max_size=3)) for name, kind in kinds.items()}
    return [{name: column[n % 3] for name, column in columns.items()} for n in range(count)]


def every_body(sent: list[Any], *arguments: Any, **options: Any) -> list[bytes]:
    """Return what all of them are packed to, and see that each time at least one is."""
    packed: list[bytes] = []
    while len(packed) < len(sent):
        bodies = pack_records(sent[len(packed) :], *arguments, **options)
        each = listed(bodies)
        assert each
        assert bodies.size == sum(map(len, each))
        assert bodies.sizes() == [*map(len, each)]
        packed += each
    return packed


def listed(bodies: Bodies) -> list[bytes]:
    return [bodies[at] for at in range(bodies.count)]


def one_by_one(sent: list[Any], *arguments: Any) -> list[bytes]:
    return [pack_record(each, *arguments) for each in sent]


def known(count: int, **fields: Any) -> list[Any]:
    """Return records of names that have been seen before."""
    sent = [{"message": str(number), **fields} for number in range(count)]
    pack_record(sent[0], TIME_NS)
    return sent


@pytest.fixture
def no_detour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid the way of single records."""
    refuse = "_pack_one_by_one"
    monkeypatch.setattr(bodies_module, refuse, lambda *_: pytest.fail("packed one by one"))


@given(
    st.one_of(alike(), st.lists(st.one_of(records, values), max_size=3)),
    st.one_of(alike(), st.lists(st.one_of(records, values), max_size=3)),
    st.one_of(st.integers(0, 1 << 62), st.integers(-(10**30), 10**30)),
    st.integers(0, 1),
    st.sampled_from([frozenset[str](), frozenset({"message", "a"})]),
)
def test_many_are_packed_as_if_one_by_one(
    some: list[Any],
    others: list[Any],
    time_ns: int,
    extra_fields: int,
    also_reserved: frozenset[str],
) -> None:
    sent = some + others
    arguments = (time_ns, extra_fields, also_reserved)
    expected = one_by_one(sent, *arguments)  # and their names are known from now on
    assert every_body(sent, *arguments) == expected


@pytest.mark.parametrize("count", [RUN_RECORDS_MIN, 200])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"level": "INFO"},
        {"n": 5},
        {"level": "INFO", "n": 1.5, "none": None, "yes": True, "logger": "web", "empty": ""},
        {f"n{number}": number for number in range(20)},
    ],
)
@pytest.mark.usefixtures("no_detour")
def test_records_that_are_alike_need_no_detour(count: int, fields: dict[str, Any]) -> None:
    sent = known(count, **fields)
    bodies = pack_records(sent, TIME_NS)
    assert bodies.count == count
    assert listed(bodies) == one_by_one(sent, TIME_NS)


@pytest.mark.usefixtures("no_detour")
def test_records_that_are_all_the_same_and_records_without_fields() -> None:
    alike: list[dict[str, str]] = [{"message": "x"}, {"message": "é" * 300}, {}]
    for record in alike:
        sent = [record] * 20
        pack_record(record, TIME_NS)
        bodies = pack_records(sent, TIME_NS)
        assert listed(bodies) == one_by_one(sent, TIME_NS)
        assert bodies.sizes(5) == [len(bodies[0])] * 15


@given(st.lists(st.lists(st.binary(max_size=3), max_size=5), max_size=3), st.data())
def test_bodies_are_stamped_from_any_one_on(
    columns: list[list[bytes]], data: st.DataObject
) -> None:
    count = min(map(len, columns), default=4)
    constants = [data.draw(st.binary(max_size=3)) for _ in range(len(columns) + 1)]
    bodies = Bodies(constants, [each[:count] for each in columns], count)
    begin = data.draw(st.integers(0, count))
    ends = [b"%d" % number for number in range(data.draw(st.integers(0, count - begin)))]
    expected = [bodies[begin + at] + b"|" + end for at, end in enumerate(ends)]
    assert bodies.stamped(begin, b"|", ends) == b"".join(expected)
    assert bodies.sizes(begin) == [len(bodies[at]) for at in range(begin, count)]
    assert bodies.size == sum(bodies.sizes())


def test_no_more_are_packed_than_there_is_room_for() -> None:
    """Text counts as it is, and what surrounds it does not count: that is near enough."""
    for message in ("x" * 100, "é" * 100):
        for level in ("INFO", None):
            sent = [{"message": message, "level": level} for _ in range(1000)]
            one = len(pack_record(sent[0], TIME_NS))
            for room in (1, one, 10 * one, 500 * one, 2000 * one):
                count = pack_records(sent, TIME_NS, bytes_max=room).count
                assert min(1000, max(1, room // one)) <= count
                assert count <= max(1, 3 * room // one)


@pytest.mark.parametrize("at", [0, 1, 15, 16, 40, 99])
def test_a_large_one_among_small_ones_is_not_packed_with_them(at: int) -> None:
    sent = known(100)
    sent[at] = {"message": "x" * 10_000}
    first = pack_records(sent, TIME_NS, bytes_max=5_000)
    assert first.count == max(at, 1)
    assert every_body(sent, TIME_NS, bytes_max=5_000) == one_by_one(sent, TIME_NS)


@pytest.mark.parametrize("odd", [{"a": object()}, {f"n{n}": n for n in range(20)}, ["list"], {}])
def test_what_is_not_plain_among_many_changes_nothing_for_the_others(odd: Any) -> None:
    for at in (0, 7, 15, 16, 17, 40, 99):
        sent = known(100, n=5)
        sent[at] = odd
        assert every_body(sent, TIME_NS) == one_by_one(sent, TIME_NS)


@pytest.mark.parametrize(
    "odd",
    [{"message": 1, "a": 2}, {"a": 2, "message": 1}, {"a": 2}, {"a": 2, "message": 1, "n": 3}],
)
def test_names_in_another_order_or_other_ones_end_the_run(odd: dict[str, int]) -> None:
    for at in (16, 17, 40):
        sent = [*known(at, a=1), odd, *known(60, a=1)]
        pack_record(odd, TIME_NS)
        assert pack_records(sent, TIME_NS).count in (at, len(sent))
        assert every_body(sent, TIME_NS) == one_by_one(sent, TIME_NS)


def test_a_name_that_was_not_seen_before_is_looked_at() -> None:
    sent = [{"message": "x", f"never seen {id(NAMES)}": n} for n in range(20)]
    assert every_body(sent, TIME_NS) == one_by_one(sent, TIME_NS)


class Text(str):
    """What `type` does not call a text."""

    __slots__ = ()


@pytest.mark.parametrize("value", [Text("x"), 1 << 70, float("nan"), "\ud800", b"x", [1], {"a": 1}])
@pytest.mark.parametrize("at", [0, 19])
def test_a_value_that_must_be_made_readable(value: Any, at: int) -> None:
    sent = known(20, a="x", n=1.5)
    sent[at]["a"] = value
    assert every_body(sent, TIME_NS) == one_by_one(sent, TIME_NS)


def test_a_packer_that_failed_among_many_is_not_used_for_the_next() -> None:
    """What it had packed until then would stand before that."""
    for fault in ("\ud800", 1 << 70):
        sent = known(40, a="x")
        sent[20]["a"] = fault
        assert every_body(sent, TIME_NS) == one_by_one(sent, TIME_NS)
        good = known(40, a="y")
        assert every_body(good, TIME_NS) == one_by_one(good, TIME_NS)


@pytest.mark.parametrize("fault", [MemoryError, OverflowError, SystemExit])
def test_a_packer_that_fails_among_many_is_not_kept(
    fault: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> bytes:
        raise fault

    monkeypatch.setattr(bodies_module, "_idle", fail)
    sent = known(20)
    with contextlib.suppress(SystemExit):
        assert listed(pack_records(sent, TIME_NS)) == one_by_one(sent, TIME_NS)
    assert bodies_module._idle is not fail


def test_the_memory_of_a_large_record_among_many_is_not_kept() -> None:
    small = known(20)
    large = {"message": "x" * (2 << 20)}
    for sent in ([*small, large], [large, *small], [large] * 20):
        assert pack_records(small, TIME_NS).count == 20
        before = bodies_module._idle
        assert before is not None
        assert every_body(sent, TIME_NS) == one_by_one(sent, TIME_NS)
        assert bodies_module._idle is not before


@pytest.fixture
def logged() -> Iterator[list[bytes]]:
    Logger.logged = []
    yield Logger.logged
    gc.collect()


def test_one_of_many_that_logs_while_it_is_packed(logged: list[bytes]) -> None:
    sent: list[Any] = [{"a": 1}] * 20 + [{"a": Logger()}] + [{"a": 2}] * 20
    packed = every_body(sent, TIME_NS)
    assert [stamped(entry)["a"] for entry in packed] == [1] * 20 + ["a logger"] + [2] * 20
    assert [stamped(entry)["message"] for entry in logged].count("from repr") == 1


class EqualToAll(str):
    """Says that it is what it is not."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize("value", [EqualToAll("another"), mock.ANY])
def test_a_value_that_only_says_that_it_is_equal(value: Any) -> None:
    for at in (0, 5, 19):
        sent = known(20, level="INFO")
        sent[at]["level"] = value
        assert every_body(sent, TIME_NS) == one_by_one(sent, TIME_NS)


class NamedLikeAnother:
    """Equal to a name that is known, and no text."""

    def __eq__(self, other: object) -> bool:
        return other == "message"

    def __hash__(self) -> int:
        return hash("message")

    def __str__(self) -> str:
        return "another"


def test_a_key_that_only_says_that_it_is_a_name() -> None:
    for at in (0, 5, 19):
        sent = known(20)
        sent[at] = {NamedLikeAnother(): "x"}
        assert every_body(sent, TIME_NS) == one_by_one(sent, TIME_NS)
