"""Shows how records are read whose own code is unruly: it raises, changes them, or never ends."""

from __future__ import annotations

import datetime
import gc
import signal
import threading
from collections.abc import ItemsView, Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn

import pytest

from logship._protocol import unpacking
from logship._protocol.entries import record_packer, unpack_entries
from tests.protocol.stamping import readable
from tests.support.raising import Unprintable


class Table(Mapping[Any, Any]):
    """A mapping of which nothing is sure but that it is one."""

    def __init__(self, items: Any) -> None:
        self._make_items = items

    def __getitem__(self, key: Any) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def items(self) -> ItemsView[Any, Any]:
        items: ItemsView[Any, Any] = self._make_items()
        return items


def test_a_mapping_with_a_name_twice_keeps_both_values() -> None:
    """As the headers and queries of web frameworks have it."""
    pairs = [("via", 1), ("é", 2), ("via", 3), ("é", 4), ("logship_id", 5), ("logship_id", 6)]
    names = ["via", "é", "via_2", "é_2", "app_logship_id", "app_logship_id_2"]
    assert readable(Table(lambda: pairs)) == dict(zip(names, range(1, 7), strict=True))


def test_a_mapping_that_never_ends() -> None:
    def items() -> Iterator[Any]:
        number = 0
        while True:
            yield number, number
            number += 1

    record = readable(Table(items))
    assert record["7"] == 7
    assert "more than" in record["logship_left_out"]
    assert record["logship_truncated"] is True


def test_a_mapping_whose_iteration_raises_keeps_what_it_gave() -> None:
    def items() -> Iterator[Any]:
        yield "first", 1
        raise OSError("connection lost")

    assert readable(Table(items)) == {
        "first": 1,
        "logship_left_out": "unreadable after 1 items: OSError: connection lost",
        "logship_truncated": True,
    }


def test_a_mapping_that_cannot_be_iterated_at_all() -> None:
    def items() -> NoReturn:
        raise OSError("no connection")

    assert readable(Table(items)) == {"message": "<Table: unreadable: OSError: no connection>"}
    assert readable({"inner": Table(items)}) == {
        "inner": "<Table: unreadable: OSError: no connection>"
    }


def test_a_mapping_whose_items_are_no_pairs() -> None:
    assert "unreadable: ValueError" in readable(Table(lambda: [("a", 1, 2)]))["message"]


def test_a_record_changed_by_the_repr_of_its_value() -> None:
    record: dict[str, Any] = {}

    class Meddler:
        def __repr__(self) -> str:
            record["new"] = len(record)
            return "meddler"

    record.update(a=Meddler(), b=Meddler(), c=1)
    assert readable(record) == {"a": "meddler", "b": "meddler", "c": 1}


def test_a_record_changed_by_garbage_collection_while_it_is_read() -> None:
    record: dict[str, Any] = {f"field {number}": {number} for number in range(3000)}

    class Meddler:
        """Changes the record whenever it is collected, and leaves its like to be collected next."""

        left = 20

        def __del__(self) -> None:
            record[f"new {self.left}"] = 1
            Meddler.left -= 1
            if Meddler.left:
                litter()

    def litter() -> None:
        cycle: list[Any] = [Meddler()]
        cycle.append(cycle)

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        litter()
        while Meddler.left:
            packed = readable(record)
            assert packed["field 2999"] == [2999]
            assert "logship_left_out" not in packed
    finally:
        gc.set_threshold(*threshold)


def test_a_record_changed_by_another_thread_is_packed_whole() -> None:
    record: dict[str, Any] = {"fixed": 1, "when": datetime.date(2026, 1, 2)}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            record[f"field{number % 50}"] = number
            record.pop(f"field{(number + 25) % 50}", None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            packed = readable(record)
            assert packed["fixed"] == 1
            assert "logship_left_out" not in packed
    finally:
        stop.set()
        thread.join()


# What a signal handler raises in the middle of the application's own code.


class TimeLimit(Exception):  # noqa: N818 - what a signal handler raises
    """Of an application."""


@pytest.fixture
def handler_raises() -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> NoReturn:
        raise TimeLimit

    before = signal.signal(signal.SIGUSR1, on_signal)
    yield
    signal.signal(signal.SIGUSR1, before)


def interrupted(*_: Any) -> Any:
    signal.raise_signal(signal.SIGUSR1)
    return "not interrupted"


class Key:
    """A key whose hash is asked for once when it is stored."""

    stored = False

    def __hash__(self) -> int:
        if self.stored:
            interrupted()
        return 1


def with_a_key() -> Any:
    key = Key()
    record = {key: 1}
    key.stored = True
    return record


def with_a_type_without_name() -> Any:
    meta = type("Meta", (type,), {"__name__": property(interrupted)})
    return {"value": meta("Nameless", (Unprintable,), {})()}


def with_an_error_without_text() -> Any:
    error = type("Error", (Exception,), {"__str__": interrupted})

    def fail(_: Any) -> NoReturn:
        raise error

    return {"value": type("Fails", (), {"__repr__": fail})()}


def items_interrupted() -> Iterator[Any]:
    yield "first", 1
    interrupted()


@pytest.mark.parametrize(
    "make",
    [
        with_a_key,
        with_a_type_without_name,
        with_an_error_without_text,
        lambda: {"value": type("Value", (), {"__repr__": interrupted})()},
        lambda: {type("Key", (), {"__repr__": interrupted})(): 1},
        lambda: Table(items_interrupted),
        lambda: Table(interrupted),
    ],
)
@pytest.mark.usefixtures("handler_raises")
def test_what_a_handler_raises_passes(make: Any) -> None:
    """It is meant for the application, wherever in its code it comes."""
    record = make()
    with pytest.raises(TimeLimit):
        readable(record)


@pytest.mark.usefixtures("handler_raises")
def test_what_a_handler_raises_passes_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_decode_extension", interrupted)
    with pytest.raises(TimeLimit):
        list(unpack_entries(bytes.fromhex("92 d700 00000001 00000002 80")))


@pytest.mark.usefixtures("handler_raises")
def test_what_a_handler_raises_passes_a_time() -> None:
    moment = type("Moment", (), {"__int__": interrupted})()
    with pytest.raises(TimeLimit):
        record_packer()({"message": "hi"}, moment)
