"""Every kind of value that a record may hold: each becomes something readable, within bounds."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

import pytest

from logship._protocol.readable import (
    CHARACTERS_MAX,
    DEPTH_MAX,
    NODES_MAX,
    SHORT_CHARACTERS_MAX,
    mapping_of_pairs,
    plain_value,
)
from tests.protocol.stamping import readable
from tests.support.raising import Unprintable


class Colour(enum.Enum):
    RED = "#f00"


class Level(enum.IntEnum):
    HIGH = 3


class Share(float):
    def __repr__(self) -> str:
        return "not the number itself"


class Place(enum.StrEnum):
    HOME = "home"


@dataclass
class Point:
    x: int
    y: Any


@dataclass
class Account:
    name: str
    key: str = field(repr=False)  # is kept to itself


POINT = Point(1, 2)
del POINT.y


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even for this")


class Worse:
    def __repr__(self) -> str:
        raise UnprintableError


def raises(text: str) -> Any:
    """Return a property that cannot be read."""

    def read(_: Any) -> NoReturn:
        raise RuntimeError(text)

    return property(read)


Nameless = type("Nameless", (type,), {"__name__": raises("no name")})(
    "Nameless", (Unprintable,), {}
)
Classless = type("Classless", (), {"__class__": raises("not connected")})


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not the text itself"


ZONE = datetime.timezone(datetime.timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"\xff\x00", "\\xff\x00"),
        (bytearray(b"abc"), "abc"),
        (memoryview(b"abc"), "abc"),
        (datetime.datetime(2026, 1, 2, 3, 4, 5, 6, ZONE), "2026-01-02T03:04:05.000006+02:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.timedelta(seconds=90), "0:01:30"),
        (decimal.Decimal("0.10"), "0.10"),
        (fractions.Fraction(1, 3), "1/3"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (Colour.RED, "Colour.RED"),
        (Place.HOME, "home"),
        (1 + 2j, "(1+2j)"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (1 << 64, "18446744073709551616"),
        (-(1 << 63) - 1, "-9223372036854775809"),
        (ValueError("wrong"), "ValueError: wrong"),
        (Text("itself"), "itself"),
        ("\udc80 lone", "\\udc80 lone"),
        ("\ud83d half", "\\ud83d half"),
        (int, "<class 'int'>"),
        (Unprintable(), "<Unprintable: unreadable: ValueError: no text today>"),
        (Worse(), "<Worse: unreadable: UnprintableError>"),
        (Nameless(), "<object: unreadable: ValueError: no text today>"),
        pytest.param(
            Classless(), "<Classless: unreadable: RuntimeError: not connected>", id="no class"
        ),
        pytest.param(1 << 100_000, hex(1 << 100_000), id="more digits than Python prints"),
        pytest.param("é" * 1_000_000, "é" * 1_000_000, id="huge"),
    ],
)
def test_a_value_becomes_text(value: Any, text: str) -> None:
    assert readable({"value": value, "other": 1}) == {"value": text, "other": 1}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Level.HIGH, 3),
        (Share(0.5), 0.5),
        (Share("nan"), "NaN"),
        (True, True),
        (1.5, 1.5),
        ((1 << 64) - 1, (1 << 64) - 1),
        (-(1 << 63), -(1 << 63)),
        ((1, (2, 3)), [1, [2, 3]]),
        ({7}, [7]),
        (frozenset({7}), [7]),
        (collections.deque([1, 2]), [1, 2]),
        (Point(1, Point(2, None)), {"x": 1, "y": {"x": 2, "y": None}}),
        (POINT, {"x": 1}),
        (Account("joe", "secret"), {"name": "joe"}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": {1: 2}}), {"a": {"1": 2}}),
        ({"deep": [{"b": b"x"}]}, {"deep": [{"b": "x"}]}),
    ],
)
def test_a_value_keeps_its_structure(value: Any, plain: Any) -> None:
    assert readable({"value": value}) == {"value": plain}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (1, "1"),
        (None, "None"),
        (True, "True"),
        (1.5, "1.5"),
        (b"\xffkey", "\\xffkey"),
        ((1, "a"), "(1, 'a')"),
        (Colour.RED, "Colour.RED"),
        (Place.HOME, "home"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ("\udc80", "\\udc80"),
        (float("nan"), "nan"),
        (Unprintable(), "<Unprintable: unreadable: ValueError: no text today>"),
    ],
)
def test_a_key_becomes_text(key: Any, name: str) -> None:
    assert readable({key: "value"}) == {name: "value"}


def test_a_key_whose_hash_raises_after_it_was_stored() -> None:
    class Moody:
        stored = False

        def __hash__(self) -> int:
            if self.stored:
                raise OSError("not now")
            return 1

        def __repr__(self) -> str:
            return "moody"

    key = Moody()
    record = {key: 1}
    Moody.stored = True
    assert readable(record) == {"moody": 1}


def test_keys_that_read_the_same_keep_all_their_values() -> None:
    record = {1: "int", "1": "text", 1.5: "float", "1.5": "text too", b"1": "bytes"}
    assert readable(record) == {
        "1": "text",
        "1_2": "int",
        "1_3": "bytes",
        "1.5": "text too",
        "1.5_2": "float",
    }
    # A name made for one key does not take the name of another.
    given = {1: "int", "1": "text", "1_2": "own"}
    assert readable(given) == {"1": "text", "1_2": "own", "1_3": "int"}


def test_an_exception_brings_its_traceback() -> None:
    try:
        raise ValueError("wrong") from KeyError("cause")
    except ValueError as error:
        text = readable({"error": error})["error"]
    assert text.startswith("KeyError: 'cause'")
    assert "Traceback (most recent call last):" in text
    assert text.endswith("ValueError: wrong")


def test_an_exception_without_text() -> None:
    assert "UnprintableError" in readable({"error": UnprintableError()})["error"]


def test_a_proxy_that_claims_to_be_text() -> None:
    proxy = type(
        "Proxy", (), {"__class__": property(lambda _: str), "__str__": lambda _: "behind the proxy"}
    )
    assert readable({"value": proxy(), proxy(): 1}) == {"value": "behind the proxy"} | {
        "behind the proxy": 1
    }


def test_structures_inside_themselves() -> None:
    record: dict[str, Any] = {"list": [1]}
    record["self"] = record
    record["list"].append(record["list"])
    assert readable(record) == {"list": [1, "<list inside itself>"], "self": "<dict inside itself>"}


def test_one_value_in_several_places_is_no_cycle() -> None:
    shared = [1]
    assert readable({"a": shared, "b": [shared, shared]}) == {"a": [1], "b": [[1], [1]]}


def nested(depth: int, wrap: Any) -> Any:
    value: Any = "bottom"
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"k": v}, lambda v: (v,)])
def test_ten_thousand_levels_are_cut_and_marked(wrap: Any) -> None:
    record = readable({"deep": nested(10_000, wrap), "other": 1})
    assert record["other"] == 1
    assert record["logship_truncated"] is True
    assert f"nested more than {DEPTH_MAX} deep" in str(record["deep"])


def test_shared_references_that_explode_are_bounded() -> None:
    value: Any = ["x"]
    for _ in range(40):
        value = [value, value]
    record = readable({"bomb": value, "other": 1})
    assert record["logship_truncated"] is True
    assert "other" in record
    assert plain_value({"bomb": value})


def test_text_shared_by_many_places_is_bounded() -> None:
    big = "x" * (CHARACTERS_MAX // 4)
    record = readable({"many": [big] * 2000, "tuple": (1,)})
    rest = 2000 * (SHORT_CHARACTERS_MAX + 1)
    assert sum(len(text) for text in record["many"]) <= CHARACTERS_MAX + rest
    assert record["logship_truncated"] is True


def test_an_enormous_text_costs_no_other_field() -> None:
    others = {"level": "ERROR", "order": 4711, "shop": "n", "tags": {"first": "a"}}
    record = readable({"message": "x" * (CHARACTERS_MAX + 1), **others})
    assert record.pop("message").startswith("x" * SHORT_CHARACTERS_MAX)
    assert record == {**others, "logship_truncated": True}


def test_more_values_than_the_bound_say_so() -> None:
    record = readable({"many": list(range(NODES_MAX + 10))})
    assert record["many"][-1] == f"<more than {NODES_MAX} values in one record>"
    assert record["many"][: NODES_MAX - 1] == list(range(NODES_MAX - 1))
    assert record["logship_truncated"] is True


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("text", "text"),
        (None, None),
        (7, 7),
        ([1, b"x"], [1, "x"]),
        (ValueError("w"), "ValueError: w"),
    ],
)
def test_what_is_no_mapping_becomes_the_message(record: Any, message: Any) -> None:
    assert readable(record) == {"message": message}


@pytest.mark.parametrize(
    ("pairs", "fields"),
    [
        ([], {}),
        ([("a", 1), ("b", 2)], {"a": 1, "b": 2}),
        ([("a", 1), ("a", 2), ("b", 3), ("a", 4)], {"a": 1, "a_2": 2, "b": 3, "a_3": 4}),
        ([("a", 1), ("a", 2), ("a_2", 3)], {"a": 1, "a_3": 2, "a_2": 3}),
    ],
)
def test_a_name_that_comes_again_becomes_another_one(
    pairs: list[tuple[str, int]], fields: dict[str, int]
) -> None:
    """JSON may have a name twice. A name that stands there keeps its value."""
    assert mapping_of_pairs(pairs) == fields
