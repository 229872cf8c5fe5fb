"""What `logging` makes of a text goes straight into the buffer, as if it had been a mapping."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logship.buffer import buffer as buffer_module
from logship.buffer.buffer import Buffer, Outcome
from logship.buffer.direct import TextWriter, text_writer
from logship.protocol import layouts
from logship.protocol.entries import pack_record
from tests.support.layouts import layouts_then
from tests.unit.accounts import Sink, a_buffer, check

NAMES = "INFO", "root"
TIME_NS = 1_700_000_000_123_456_789

needs_lanes = pytest.mark.skipif(
    buffer_module.is_traced() or not buffer_module._ASSIGNMENTS_ARE_ONE,
    reason="under a tracer, and without the interpreter's lock, no lane is opened",
)

texts = st.text(max_size=40) | st.sampled_from(["\udcff", "é" * 300, "x" * 7000])


def a_writer(buffer: Buffer, extra_fields: int = 1, **parts: Any) -> TextWriter:
    parts = {"bytes_max": 1 << 20, **parts}
    names = "level", "logger"
    return text_writer(buffer, "t", "message", names, extra_fields=extra_fields, **parts)


def as_mapping(text: Any, names: tuple[Any, Any] = NAMES) -> dict[str, Any]:
    return {"message": text, "level": names[0], "logger": names[1]}


def open_lane(buffer: Buffer) -> None:
    assert buffer.offer("t", pack_record({"message": "first"}, TIME_NS)) is Outcome.ACCEPTED


def payloads(buffer: Buffer) -> list[bytes]:
    return [bytes(chunk.data) for chunk in buffer.unsettled()]


@needs_lanes
@given(st.lists(st.tuples(texts, texts, texts), max_size=5), st.integers(-(10**9), 5 * 10**18))
@example([("x" * size, "INFO", "root") for size in (0, 1, 31, 32, 255, 256, 3000, 5000)], TIME_NS)
@example([("é" * 128, "INFO", "root"), ("é" * 128, "DEBUG", "root"), ("é", "INFO", "r")], TIME_NS)
def test_it_puts_there_what_a_mapping_would_be_or_says_that_it_cannot(
    given_records: list[tuple[str, str, str]], time_ns: int
) -> None:
    buffer, other = (a_buffer(chunk_bytes_max=90_000, random_bytes=bytes) for _ in range(2))
    write = a_writer(buffer)
    for text, *names in given_records:
        open_lane(buffer)
        open_lane(other)
        body = pack_record(as_mapping(text, (names[0], names[1])), time_ns)
        left = write(text, (names[0], names[1]), time_ns)
        assert left in (None, b"", body)
        if left is None:
            surrogates = any("\ud800" <= each <= "\udfff" for each in "".join([text, *names]))
            assert surrogates or max(map(len, names)) > 1024 or not 0 <= time_ns < 2**32 * 10**9
        if left != b"":
            assert buffer.offer("t", body) is Outcome.ACCEPTED
        assert other.offer("t", body) is Outcome.ACCEPTED
        assert payloads(buffer) == payloads(other)


@pytest.mark.parametrize("extra_fields", [0, 1])
@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 255, 256, 257, 65_535, 65_536])
def test_without_a_lane_it_only_packs(size: int, extra_fields: int) -> None:
    write = a_writer(a_buffer(), extra_fields)
    for text in ["x" * size, "x" * (size - 2) + "é" if size > 1 else "x" * size]:
        body = pack_record(as_mapping(text), TIME_NS, extra_fields)
        assert [write(text, NAMES, TIME_NS) for _ in range(2)] == [body, body]


@pytest.mark.parametrize("bytes_max", [256, 1000, 5000, 100_000])
def test_a_text_that_must_be_cut_is_not_for_it(bytes_max: int) -> None:
    buffer = a_buffer(chunk_bytes_max=90_000, body_bytes_max=bytes_max)
    open_lane(buffer)
    write, size = a_writer(buffer, bytes_max=bytes_max), 0
    for size in range(0, bytes_max + 100, bytes_max // 100):
        for _ in range(2):
            left = write("x" * size, NAMES, TIME_NS)
            fits = len(pack_record(as_mapping("x" * size), TIME_NS)) <= bytes_max
            assert fits or left is None
            assert left is not None or size > bytes_max - 80


@pytest.mark.parametrize("odd", [b"bytes", 7, None, type("Text", (str,), {})("x"), ["x"]])
def test_it_takes_plain_strings_only(odd: Any) -> None:
    write = a_writer(a_buffer())
    assert write(odd, NAMES, TIME_NS) is None
    assert write("text", ("INFO", odd), TIME_NS) is None
    assert write("text", NAMES, TIME_NS) is not None


@needs_lanes
def test_nearly_all_texts_go_this_way() -> None:
    """Also where there are more sizes than are kept, and more names."""
    buffer = a_buffer(bytes_max=1 << 24, chunk_bytes_max=1 << 18)
    open_lane(buffer)
    write, left_count = a_writer(buffer), 0
    for number in range(3000):
        left = write("x" * (number % 700), ("INFO", f"logger {number % 3}"), TIME_NS)
        assert left is not None
        if left:
            left_count += 1
            assert buffer.offer("t", left) is Outcome.ACCEPTED
    assert left_count < 40


@needs_lanes
def test_what_is_kept_of_sizes_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "KEPT_MAX", 10)
    buffer = a_buffer(chunk_bytes_max=90_000)
    sink = Sink(buffer)
    made: list[tuple[int, ...]] = []

    def counted(*sizes: int) -> tuple[layouts.Put, int]:
        made.append(sizes)
        return layouts.layout_of(*sizes)

    write = a_writer(buffer, layout_of=counted)
    for number in range(100):
        left = write("x" * (number % 20), NAMES, TIME_NS)
        assert left is not None
        if left:
            assert buffer.offer("t", left) is Outcome.ACCEPTED
    assert len(made) == len(set(made)) == 20  # of ten texts, and of as many sizes of the rest
    buffer.seal_all()
    sink.drain()
    assert [each["message"] for each in sink.acked] == ["x" * (n % 20) for n in range(100)]


@needs_lanes
@pytest.mark.parametrize("ending", ["a record", "a section", "the end"])
def test_whoever_comes_in_between_goes_first(ending: str) -> None:
    buffer = a_buffer(chunk_bytes_max=90_000)
    sink = Sink(buffer)
    open_lane(buffer)
    acts: dict[str, Callable[[], object]] = {
        "a record": lambda: open_lane(buffer),
        "a section": buffer.seal_all,
        "the end": buffer.close_intake,
    }
    due = [acts[ending]]
    write = a_writer(buffer, layout_of=layouts_then(lambda: due and due.pop()()))
    left = write("outer", NAMES, TIME_NS)
    assert due == []
    assert left == pack_record(as_mapping("outer"), TIME_NS)
    assert buffer.offer("t", left) is (Outcome.CLOSED if ending == "the end" else Outcome.ACCEPTED)
    check(buffer, sink.acked)


@needs_lanes
def test_a_signal_that_raises_in_between_leaves_nothing_behind() -> None:
    class Fault(BaseException):
        """What a signal handler raises."""

    def raise_() -> None:
        raise Fault

    buffer = a_buffer(chunk_bytes_max=90_000)
    sink = Sink(buffer)
    open_lane(buffer)
    write = a_writer(buffer, layout_of=layouts_then(raise_))
    with pytest.raises(Fault):
        write("never accepted", NAMES, TIME_NS)
    assert buffer.counters.accepted == 1
    open_lane(buffer)
    check(buffer, sink.acked)


@needs_lanes
def test_threads() -> None:
    buffer = a_buffer(bytes_max=1 << 30, chunk_bytes_max=1 << 16)
    write, at_once = a_writer(buffer), []

    def produce(thread: int) -> None:
        for number in range(3000):
            left = write(f"{number}", ("INFO", f"{thread}"), TIME_NS)
            assert left is not None
            if left:
                assert buffer.offer("t", left) is Outcome.ACCEPTED
            else:
                at_once.append(number)

    threads = [threading.Thread(target=produce, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink = Sink(buffer)
    buffer.seal_all()
    sink.drain()
    assert at_once
    for number in range(5):
        mine = [each["message"] for each in sink.acked if each["logger"] == f"{number}"]
        assert mine == [f"{n}" for n in range(3000)]
