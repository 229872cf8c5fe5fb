"""Which patterns are found in records, and which are not. What they are used for: `test_direct`."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from logship.protocol import repeats
from logship.protocol.layouts import Around
from logship.protocol.repeats import (
    LEARN_FROM,
    LOOK_EVERY,
    SEEN_MAX,
    WAIT_MIN,
    Repeats,
)

A_TEXT_FIRST = {"message": "one", "level": "INFO", "logger": "app"}


def seen(*records: dict[str, Any], extra_fields: int = 1) -> Repeats:
    found = Repeats(extra_fields)
    for number, record in enumerate(records):
        found.look_at(record, number, True)
    return found


def around(found: Repeats) -> dict[Any, Around]:
    assert found.pattern is not None
    return {others: each for others, (_, each) in found.pattern[4].items()}


@pytest.mark.parametrize(
    ("first", "second", "text_name"),
    [
        (A_TEXT_FIRST, A_TEXT_FIRST | {"message": "two"}, "message"),
        (A_TEXT_FIRST, A_TEXT_FIRST | {"logger": "other"}, "logger"),
        (
            {"level": "", "message": "one", "n": ""},
            {"level": "", "message": "", "n": ""},
            "message",
        ),
        ({"message": "one"}, {"message": "two"}, "message"),
    ],
    ids=["the first", "the last", "in the middle", "alone"],
)
@pytest.mark.parametrize("extra_fields", [0, 1])
def test_what_is_around_the_text_is_what_msgpack_puts_there(
    first: dict[str, str], second: dict[str, str], text_name: str, extra_fields: int
) -> None:
    found = seen(first, second, extra_fields=extra_fields)
    assert found.pattern is not None
    assert found.pattern[:2] == (text_name, None)
    ((map_header, before, between, behind, *_),) = around(found).values()
    assert found.pattern[2] == {name: first[name] for name in first if name != text_name}
    assert found.pattern[3] == (map_header, before, between, behind, {}, {})
    text = msgpack.packb(second[text_name])
    whole = msgpack.packb(second | {"stamp": ""} if extra_fields else second)
    assert map_header + before + text + behind == (whole[:-7] if extra_fields else whole)
    assert not between


@pytest.mark.parametrize(
    "names", [["a", "b"], ["b", "c"], ["c", "d"], ["a", "d"], ["a", "c"], ["b", "d"]]
)
@pytest.mark.parametrize("extra_fields", [0, 1])
def test_where_one_text_is_not_enough_two_are(names: list[str], extra_fields: int) -> None:
    records = [
        {each: f"{each} {number}" if each in names else each for each in "abcd"}
        for number in range(SEEN_MAX)
    ]
    assert seen(*records[:-1], extra_fields=extra_fields).pattern is None
    found = seen(*records, extra_fields=extra_fields)
    assert found.pattern is not None
    assert found.pattern[:2] == tuple(names)
    assert found.pattern[2] == {each: each for each in "abcd" if each not in names}
    ((map_header, before, between, behind, *_),) = around(found).values()
    first, second = (msgpack.packb(records[-1][name]) for name in names)
    whole = msgpack.packb(records[-1] | {"stamp": ""} if extra_fields else records[-1])
    entry = map_header + before + first + between + second + behind
    assert entry == (whole[:-7] if extra_fields else whole)


def test_one_text_is_preferred_to_two() -> None:
    levels = ["INFO", "DEBUG"]
    records = [{"message": str(number), "level": levels[number % 2]} for number in range(9)]
    found = seen(*records)
    assert found.pattern is not None
    assert found.pattern[:2] == ("message", None)


def test_two_texts_in_another_order_are_not_learned() -> None:
    stream = Stream()
    for number in range(100):
        stream.write({"message": str(number), "request": f"request {number}", "level": "INFO"})
    pattern = stream.repeats.pattern
    assert pattern is not None
    for number in range(40):
        stream.write({"request": f"request {number}", "message": str(number), "level": "DEBUG"})
    assert [*around(stream.repeats)] == [(("level", "INFO"),)]


def test_of_many_fields_no_two_are_tried() -> None:
    more = {f"n{n}": "" for n in range(7)}
    records = [{"message": str(n), "request": f"request {n}"} | more for n in range(100)]
    assert seen(*records).pattern is None
    for record in records:
        del record["n0"]
    assert seen(*records).pattern is not None


@pytest.mark.parametrize(
    "others",
    [
        {"n": 1},
        {"n": True},
        {"n": 1.5},
        {"n": None},
        {"n": ["a"]},
        {"n": {"a": "b"}},
        {"n": b"a"},
        {"n": "x" * 1025},
        {f"n{n}": "" for n in range(15)},
    ],
    ids=lambda others: repr(others)[:20],
)
def test_what_could_be_packed_otherwise_or_is_large_is_not_remembered(
    others: dict[str, Any],
) -> None:
    assert seen({"message": "a"} | others, {"message": "b"} | others).pattern is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"message": "a", "level": "INFO"}, {"message": "b", "level": "DEBUG"}),
        ({"message": "a", "level": "INFO"}, {"message": "b"}),
        ({"message": "a", "level": "INFO"}, {"text": "b", "level": "INFO"}),
        ({"message": 1, "level": "INFO"}, {"message": 2, "level": "INFO"}),
        ({"n": 1}, {"n": 2}),
        ({}, {}),
        ({}, {"message": "a"}),
        ({"message": "a"}, {}),
    ],
    ids=repr,
)
def test_records_that_differ_otherwise_have_no_pattern(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert seen(first, second).pattern is None


class Stream:
    """Shows records as who writes them does, and asks only where there is a pattern.

    Args:
        beside: So many records of the stream come by another way for each that is asked.
    """

    def __init__(self, beside: int = 0) -> None:
        self.repeats = Repeats()
        self.number = self.fitting = self.asked = self.looks = 0
        self._look_in = 1
        self._any_fitted = False
        self._beside = beside

    def write(self, record: dict[str, Any]) -> None:
        self.number += 1 + self._beside
        pattern = self.repeats.pattern
        if pattern is not None:
            self.asked += 1
            texts, known = {name for name in pattern[:2] if name is not None}, pattern[4]
            others = {name: value for name, value in record.items() if name not in texts}
            with contextlib.suppress(TypeError):
                if texts <= {*record} and (*others.items(),) in known:
                    self.fitting += 1
                    self._any_fitted = True
                    return
        self._look_in -= 1
        if not self._look_in:
            self.looks += 1
            self._look_in = self.repeats.look_at(record, self.number, self._any_fitted)
            self._any_fitted = False


@pytest.mark.parametrize("kinds", [1, 10, 100])
def test_what_repeats_is_soon_found(kinds: int) -> None:
    stream, draw = Stream(), random.Random(1)
    for number in range(20_000):
        record = {"message": str(number), "logger": str(draw.randrange(kinds))}
        stream.write(record if number % 50 else {"n": number})
    assert stream.fitting > 20_000 * 0.9
    assert stream.looks < LEARN_FROM * 3 + 20_000 / LOOK_EVERY / 20


def test_what_repeats_all_but_two_texts_is_soon_found() -> None:
    stream = Stream()
    for number in range(20_000):
        record = {"message": str(number), "request": f"request {number}", "level": "INFO"}
        stream.write(record if number % 50 else {"n": number})
    assert stream.fitting > 20_000 * 0.9


def unique(number: int) -> dict[str, str]:
    """Return a record of which three texts are its own."""
    return {"message": str(number), "request": f"request {number}", "user": f"user {number}"}


@pytest.mark.parametrize(
    "record_of",
    [
        unique,
        lambda number: {"message": str(number), "n": number},
        lambda number: {"message": str(number), "kind": str(number % 2 or number)},
        lambda number: {"message": str(number), "path": ["a"]},
        lambda number: {},
    ],
    ids=["unique", "a number", "every other one", "nested", "empty"],
)
def test_where_nothing_repeats_it_is_hardly_asked_for(
    record_of: Callable[[int], dict[str, Any]],
) -> None:
    stream = Stream()
    for number in range(100_000):
        stream.write(record_of(number))
    assert stream.asked < 3000
    assert stream.looks < 3000
    assert len(stream.repeats._seen) <= 2 * SEEN_MAX


def test_a_program_that_begins_to_repeat_itself_is_noticed() -> None:
    stream = Stream()
    for number in range(100_000):
        stream.write(unique(number))
    assert not stream.asked
    for number in range(10_000):
        stream.write({"message": str(number), "request": "the same"})
    assert stream.fitting > 1000
    fitting = stream.fitting
    for number in range(10_000):
        stream.write({"message": str(number), "request": "the same"})
    assert stream.fitting == fitting + 10_000
    for number in range(1000):  # it is of use, so a bad time is not held against it for long
        stream.write(unique(number))
    fitting = stream.fitting
    for number in range(1000):
        stream.write({"message": str(number), "request": "the same"})
    assert stream.fitting > fitting + 1000 - 8 * WAIT_MIN


def test_a_pattern_that_is_of_no_use_any_more_gives_way_to_another() -> None:
    stream = Stream()
    for event in range(2):
        for number in range(1000):
            level = "the same" if event or number % 3 else "another"
            stream.write({"event" if event else "message": str(number), "level": level})
    assert stream.repeats.pattern is not None
    assert stream.repeats.pattern[0] == "event"
    assert [b"event" in each.before for each in around(stream.repeats).values()] == [True]
    assert stream.fitting > 2000 - 2 * LEARN_FROM - 2 * WAIT_MIN


def test_what_comes_by_another_way_does_not_keep_a_pattern_in_use() -> None:
    stream = Stream(beside=5)
    for number in range(100):
        stream.write({"message": str(number), "request": "the same"})
    assert stream.repeats.pattern is not None
    for number in range(100):
        stream.write(unique(number))
    assert stream.repeats.pattern is None


def test_what_is_known_of_a_pattern_outlives_a_bad_time() -> None:
    stream = Stream()
    for number in range(1000):
        stream.write({"message": str(number), "logger": str(number // 2 % 20)})
    known = len(around(stream.repeats))
    for number in range(100):
        stream.write({"n": number})
    assert stream.repeats.pattern is None
    for number in range(2 * WAIT_MIN + 2):
        stream.write({"message": str(number), "logger": "0"})
    assert len(around(stream.repeats)) == known


class Name(str):
    """A name that is not plainly one."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        raise ValueError

    __hash__ = str.__hash__


def test_names_that_are_no_plain_texts_are_not_remembered() -> None:
    found = Repeats()
    for number in range(100):
        found.look_at({"message": str(number), Name("level"): "INFO"}, number, False)
    assert found.pattern is None
    assert not found._seen


def test_no_large_record_is_kept_to_be_compared() -> None:
    found = seen({"message": "a", "body": "x" * 1025}, {"body": "x" * 1025, "message": "a"})
    assert all(len(repr(each)) < 100 for each in found._seen)


def test_only_so_many_are_remembered() -> None:
    found = seen(A_TEXT_FIRST, A_TEXT_FIRST | {"message": "two"})
    for number in range(1000):
        found.look_at(A_TEXT_FIRST | {"level": str(number)}, 1000 * number, True)
        assert len(around(found)) <= repeats._OTHERS_KNOWN_MAX
    assert len(around(found)) > 1
