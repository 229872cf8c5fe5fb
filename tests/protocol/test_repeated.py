"""Fields that records repeat: an entry has them all, whether they were packed once or merged."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logship._protocol import plain
from logship._protocol.entries import record_packer
from logship._protocol.repeated import Repeated
from tests.protocol.generated import names, values
from tests.protocol.stamping import TIME_NS, readable, stamped
from tests.unit.interruptions import every_point

# Names of constant fields take another way from then on, so no other test has names like these.
own_names = st.one_of(st.sampled_from(["~a", "~b", "~c"]), names.map(lambda name: f"~{name}"))
mappings = st.dictionaries(own_names, values, max_size=9)


class Text(str):
    __slots__ = ()


def packer_in(context: Repeated, **options: Any) -> Any:
    return record_packer(context_of=lambda: context, **options)


@settings(max_examples=40)
@given(mappings, mappings, mappings)
def test_the_record_wins_over_the_context_and_that_over_constants(
    constants: dict[str, Any], context: dict[str, Any], record: dict[str, Any]
) -> None:
    pack = packer_in(Repeated(context), constants=constants)
    expected = readable({**constants, **context, **record})
    for _ in range(3):  # with names that are not known, then known, then with a packed context
        assert stamped(pack(record, TIME_NS)) == expected


def test_a_name_seen_before_stands_once_where_it_is_a_constant_now() -> None:
    record = {"~site": "theirs"}
    readable(record)
    packed = record_packer(constants={"~site": "ours"})(record, TIME_NS)
    assert packed.count(b"~site") == 1
    assert stamped(packed) == record


def test_a_name_that_another_thread_learns_as_it_becomes_a_constant_stands_once() -> None:
    packers: list[Any] = []
    names = (f"~place {number}" for number in itertools.count())

    def prepare() -> tuple[Callable[[], object], Callable[[], object]]:
        name = next(names)
        learn = functools.partial(readable, {name: 1})
        return learn, lambda: packers.append((name, record_packer(constants={name: "ours"})))

    for run in every_point(prepare, room=plain.__file__):
        run()
        name, pack = packers[-1]
        assert pack({name: "theirs"}, TIME_NS).count(name.encode()) == 1


def test_a_context_is_packed_once_for_each_packer() -> None:
    context = Repeated({"user": "joe", "number": 7})
    packers = [packer_in(context), packer_in(context, constants={"~service": "web"})]
    for _ in range(3):
        for pack, constants in zip(packers, [{}, {"~service": "web"}], strict=True):
            expected = {"user": "joe", "number": 7, "message": "hi", **constants}
            assert stamped(pack({"message": "hi"}, TIME_NS)) == expected
    assert len(context.beginnings) == 2


@pytest.mark.parametrize("value", [[1], {"a": 1}, float("nan"), Text("x"), 1 << 64, "\ud800"])
def test_a_context_that_may_change_or_must_be_made_readable_is_merged(value: Any) -> None:
    context = Repeated({"user": value})
    pack = packer_in(context)
    for _ in range(3):
        assert stamped(pack({"message": "hi"}, TIME_NS)) == readable(
            {"user": value, "message": "hi"}
        )
    assert not context.beginnings


def test_a_record_that_gets_a_field_of_the_context_while_it_is_packed() -> None:
    """Another thread, or a signal handler, adds it."""
    pack = packer_in(Repeated({"user": "joe"}))
    pack({"message": "hi", "user": "ann"}, TIME_NS)  # now both names are known
    record: dict[str, Any] = {}
    tracer = sys.gettrace()

    def trace(*_: Any) -> Any:
        if next(lines) == line:
            record["user"] = "ann"
        return trace

    for line in itertools.count():
        lines = itertools.count()
        record.clear()
        record["message"] = "hi"
        sys.settrace(trace)
        try:
            entry = pack(record, TIME_NS)
        finally:
            sys.settrace(tracer)
        assert stamped(entry) in ({"message": "hi", "user": user} for user in ("joe", "ann"))
        if next(lines) <= line:
            break


def test_a_list_in_a_context_is_read_for_each_record() -> None:
    steps = ["begun"]
    pack = packer_in(Repeated({"steps": steps}))
    for step in ("paid", "sent"):
        steps.append(step)
        assert stamped(pack({"message": "hi"}, TIME_NS))["steps"] == steps


def test_a_name_that_is_reserved_for_the_caller_is_changed_in_a_context_too() -> None:
    context = Repeated({"seq": 1})
    assert readable({"seq": 1})
    pack = packer_in(context, also_reserved=frozenset({"seq"}))
    for _ in range(3):
        assert stamped(pack({"message": "hi"}, TIME_NS)) == {"app_seq": 1, "message": "hi"}
    assert not context.beginnings


@pytest.mark.parametrize("fields", [1, 13, 14, 15, 16, 70_000])
def test_the_map_header_counts_the_context(fields: int) -> None:
    record = {f"f{number}": number for number in range(fields)}
    pack = packer_in(Repeated({"user": "joe"}))
    for _ in range(3):
        assert stamped(pack(record, TIME_NS)) == {"user": "joe", **record}


def test_an_entry_that_is_too_long_with_its_context_is_cut() -> None:
    pack = packer_in(Repeated({"user": "u" * 200}), bytes_max=500)
    for _ in range(3):
        assert len(pack({"message": "m" * 200}, TIME_NS)) > 400
        entry = pack({"message": "m" * 350}, TIME_NS)
        assert len(entry) <= 500
        assert stamped(entry)["logship_truncated"] is True
