"""The lanes into open chunks: without a lock, and still nothing torn, doubled or counted wrong.

That nobody comes between the assignments of a lane is a property of the interpreter's bytecode,
so it is read from there; what happens around them is tried with real threads.
"""

from __future__ import annotations

import dis
import inspect
import mmap
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from logship.buffer import buffer as buffer_module
from logship.buffer.buffer import Buffer, Outcome
from logship.buffer.chunk import SPARE_BLOCKS_MAX, Chunk, ChunkState, MemoryChunk, MemoryStorage
from logship.buffer.counters import Counters
from logship.buffer.direct import direct_writer, text_writer
from logship.buffer.mapped import SpoolChunk
from logship.buffer.stream import Stream
from logship.protocol.bodies import Bodies
from logship.protocol.entries import pack_record
from logship.protocol.layouts import MakeLayout, layout_of
from tests.spool.spools import WatchedFiles, buffer_on, offer, read_files, storage_in
from tests.support.layouts import layout_by_assignment, layouts_then
from tests.unit.accounts import Sink, a_buffer, body, check, entries_of

pytestmark = pytest.mark.skipif(
    buffer_module.is_traced() or not buffer_module._ASSIGNMENTS_ARE_ONE,
    reason="under a tracer, and without the interpreter's lock, no lane is opened",
)

BREAKS = ("CALL", "PRECALL", "RESUME", "JUMP_BACKWARD", "FOR_ITER", "BUILD_", "SEND", "YIELD")
"""Instructions at which another thread, a signal handler or a collection may come in."""


A_TEXT_WRITER = text_writer(
    a_buffer(), "t", "message", ("level", "logger"), extra_fields=1, bytes_max=1 << 20
)

COMMITS = [
    (Buffer.offer, "return _ACCEPTED"),
    (Buffer._put_in_lane, "return count"),
    (direct_writer(a_buffer(), "t"), 'return b""'),
    (A_TEXT_WRITER, 'return b""'),
]
"""Whoever puts entries into a lane, and what stands behind the last assignment."""


def instructions_of_the_commit(method: Callable[..., Any], last: str) -> list[dis.Instruction]:
    """Return those between the last look at the lanes and the return."""
    return instructions_between(method, "._lanes is lanes", last)


def instructions_between(
    method: Callable[..., Any], first_line: str, last_line: str
) -> list[dis.Instruction]:
    """Return those from the first line that holds a text to the first that holds another one."""
    lines, first = inspect.getsourcelines(method)
    begin = next(n for n, line in enumerate(lines, first) if first_line in line)
    end = next(n for n, line in enumerate(lines, first) if last_line in line)
    line = 0
    found = []
    for each in dis.get_instructions(method):
        if each.positions is not None and each.positions.lineno is not None:
            line = each.positions.lineno
        if begin <= line <= end:
            found.append(each)
    return found


@pytest.mark.parametrize(("method", "last"), COMMITS, ids=["one", "many", "direct", "text"])
def test_nobody_can_come_between_the_assignments_of_a_lane(
    method: Callable[..., Any], last: str
) -> None:
    found = instructions_of_the_commit(method, last)
    if buffer_module.ALLOCATIONS_COLLECT:  # then a place was made before, and that line is not run
        lines, first = inspect.getsourcelines(method)
        other = next((n for n, line in enumerate(lines, first) if "[begin:end]" in line), None)
        found = [each for each in found if each.positions is None or each.positions.lineno != other]
    assert len(found) > 30
    assert [each.opname for each in found if each.opname.startswith(BREAKS)] == []


@pytest.mark.parametrize(
    ("writer", "calls"),
    [(direct_writer(a_buffer(), "t"), 2), (A_TEXT_WRITER, 1)],
    ids=["direct", "text"],
)
def test_nobody_can_come_between_the_look_at_a_lane_and_what_writes_there(
    writer: Callable[..., Any], calls: int
) -> None:
    """The only call is that which writes, one text or two; whoever comes then is seen behind it.

    Where there is no lane, and where it has no room, something else is called, and it is left.
    """
    found = instructions_between(writer, "lanes = buffer._lanes", "words = chunk.words")
    breaks = [each.opname for each in found if each.opname.startswith(BREAKS)]
    returns = sum(each.opname == "RETURN_VALUE" for each in found)
    assert returns == 2
    assert [each for each in breaks if each != "PRECALL"] == ["CALL"] * (calls + returns)
    assert len(found) > 60


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (Stream, ["next_number"]),
        (Counters, ["accepted"]),
        (Buffer, ["_lanes", "_deferred"]),
        (Chunk, ["lane_bytes_max", "lane_digits", "lane_number", "lane_suffix"]),
        (Chunk, ["size", "stream", "turn"]),
        (MemoryChunk, ["mapping", "size"]),
        (SpoolChunk, ["mapping", "commit_index", "payload_at", "size", "words"]),
    ],
)
def test_what_a_lane_assigns_or_asks_for_is_no_property(owner: type, names: list[str]) -> None:
    """A property would be a call, which the bytecode does not show."""
    for name in names:
        assert inspect.ismemberdescriptor(inspect.getattr_static(owner, name)), name
    for name in ("payload_at", "words"):  # of a class, where it is the same for all
        assert not isinstance(inspect.getattr_static(MemoryChunk, name), property)


def test_records_in_lanes_are_numbered_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logship.buffer.chunk._ROOM_BYTES_MIN", 50_000)  # for all of them
    buffer = a_buffer(chunk_bytes_max=100_000)
    sink = Sink(buffer)
    for number in range(4):  # a lane each
        buffer.offer("even" if number % 2 == 0 else "odd", body(number))
    with monkeypatch.context() as patch:
        patch.setattr(Buffer, "_offer", lambda *_: pytest.fail("it needed a section"))
        for number in range(4, 400):
            tag = "even" if number % 2 == 0 else "odd"
            assert buffer.offer(tag, body(number)) is Outcome.ACCEPTED
    assert buffer.counters.accepted == 400
    assert [each.accepted for each in buffer.report("", 0.0).streams] == [200, 200]
    check(buffer, sink.acked)


def test_many_at_once_need_a_section_once_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = a_buffer(bytes_max=1 << 20, chunk_bytes_max=10_000)
    sink = Sink(buffer)
    sections: list[bytes] = []
    offer = Buffer._offer

    def noted(self: Buffer, tag: str, body: bytes) -> Outcome:
        sections.append(body)
        return offer(self, tag, body)

    monkeypatch.setattr(Buffer, "_offer", noted)
    bodies = [body(number) for number in range(3000)]
    for first in range(0, 3000, 500):
        assert buffer.offer_many("t", Bodies.of(bodies[first : first + 500])) == (
            500,
            Outcome.ACCEPTED,
        )
    chunks = len(buffer.unsettled())
    assert chunks > 20
    assert len(sections) <= 2 * chunks + 4  # and one more each thousand numbers
    check(buffer, sink.acked)
    sink.drain()
    assert [each["n"] for each in sink.acked] == [*range(3000)]


class Counted(bytes):
    """An entry that knows how often its bytes were copied to stand before its stamp."""

    copies = 0

    def __add__(self, other: Any) -> bytes:
        self.copies += 1
        return super().__add__(other)


def test_many_large_ones_are_not_copied_again_for_each_chunk() -> None:
    buffer = a_buffer(bytes_max=1 << 20, chunk_bytes_max=2000)
    bodies = [Counted(body(number, 900)) for number in range(200)]
    assert buffer.offer_many("t", Bodies.of(bodies)) == (200, Outcome.ACCEPTED)
    assert len(buffer.unsettled()) > 90
    assert max(each.copies for each in bodies) <= 2


def test_many_at_once_end_where_the_buffer_is_full() -> None:
    buffer = a_buffer(bytes_max=3000, chunk_bytes_max=1000)
    sink = Sink(buffer)
    bodies = [body(number) for number in range(100)]
    kept, outcome = buffer.offer_many("t", Bodies.of(bodies))
    assert outcome is Outcome.FULL
    assert buffer.offer("t", bodies[kept]) is Outcome.FULL
    assert buffer.bytes_held <= 3000
    sink.drain()
    assert [each["n"] for each in sink.acked] == [*range(kept)]
    assert buffer.offer_many("t", Bodies.of([])) == (0, Outcome.ACCEPTED)


def test_many_at_once_end_where_one_is_too_large_or_intake_is_closed() -> None:
    buffer = a_buffer(body_bytes_max=400)
    sink = Sink(buffer)
    bodies = [body(0), body(1), body(2, 500), body(3)]
    assert buffer.offer_many("t", Bodies.of(bodies)) == (2, Outcome.TOO_LARGE)
    buffer.close_intake()
    assert buffer.offer_many("t", Bodies.of(bodies)) == (0, Outcome.CLOSED)
    assert buffer.counters.refused == 1
    check(buffer, sink.acked)


@pytest.mark.parametrize("stamp_key", ["logship_id", None], ids=["stamped", "not stamped"])
def test_many_at_once_lie_there_as_if_offered_one_by_one(stamp_key: str | None) -> None:
    one_by_one, at_once = (
        a_buffer(stamp_key=stamp_key, random_bytes=bytes, bytes_max=1 << 20, chunk_bytes_max=5000)
        for _ in range(2)
    )
    bodies = [body(n, n * 7 % 90, stamped=stamp_key is not None) for n in range(2500)]
    for each in bodies:
        assert one_by_one.offer("t", each) is Outcome.ACCEPTED
    assert at_once.offer_many("t", Bodies.of(bodies[:1300])) == (1300, Outcome.ACCEPTED)
    assert at_once.offer_many("t", Bodies.of(bodies[1300:])) == (1200, Outcome.ACCEPTED)
    chunks = [[bytes(c.data) for c in b.unsettled()] for b in (one_by_one, at_once)]
    assert chunks[0] == chunks[1]
    assert one_by_one.report("", 0.0) == at_once.report("", 0.0)


def test_a_lane_ends_where_the_chunk_or_the_buffer_is_full() -> None:
    buffer = a_buffer(bytes_max=3000, chunk_bytes_max=1000)
    sink = Sink(buffer)
    outcomes = [buffer.offer("t", body(number)) for number in range(100)]
    accepted = outcomes.count(Outcome.ACCEPTED)
    assert set(outcomes[accepted:]) == {Outcome.FULL}
    assert buffer.bytes_held <= 3000
    assert all(chunk.size <= 1000 + 200 for chunk in buffer.unsettled())
    check(buffer, sink.acked)


def test_there_are_lanes_where_an_entry_may_be_half_as_large_as_a_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with a buffer no larger than a chunk, and a spool that is: the bound is an entry's."""
    buffer = a_buffer(bytes_max=1 << 20, chunk_bytes_max=10_000, body_bytes_max=5_000)
    sections: list[bytes] = []
    offer = Buffer._offer

    def noted(self: Buffer, tag: str, body: bytes) -> Outcome:
        sections.append(body)
        return offer(self, tag, body)

    monkeypatch.setattr(Buffer, "_offer", noted)
    for number in range(1000):
        assert buffer.offer("t", body(number)) is Outcome.ACCEPTED
    chunks = len(buffer.unsettled())
    assert chunks > 5
    assert len(sections) <= 2 * chunks + 2
    assert buffer.offer("t", b"x" * 5_001) is Outcome.TOO_LARGE
    assert buffer.counters.accepted == 1000


def test_no_lane_is_left_open_when_intake_closes() -> None:
    buffer = a_buffer()
    for number in range(3):
        buffer.offer("t", body(number))
    buffer.close_intake()
    assert buffer.offer("t", body(3)) is Outcome.CLOSED


@pytest.mark.parametrize("module", [sys, threading])
@pytest.mark.parametrize("kind", ["trace", "profile"])
def test_no_lane_is_opened_under_a_tracer_or_a_profiler(module: Any, kind: str) -> None:
    buffer = a_buffer()
    seen: list[str] = []
    before = getattr(module, f"get{kind}")()
    getattr(module, f"set{kind}")(lambda *_: None)
    try:
        for number in range(3):
            buffer.offer("t", body(number))
            seen += buffer._lanes
    finally:
        getattr(module, f"set{kind}")(before)
    assert seen == []
    buffer.offer("t", body(3))
    assert [*buffer._lanes] == ["t"]


@pytest.mark.parametrize("at_once", [0, 1, 20], ids=["direct", "one by one", "many at once"])
@pytest.mark.parametrize("ships", [True, False], ids=["a shipper", "no shipper"])
def test_threads_in_lanes(ships: bool, at_once: int) -> None:
    """With a shipper, sections close the lanes in the middle of whatever the others do."""
    threads_count, each_count = 6, 4000
    buffer = a_buffer(bytes_max=1 << 30, chunk_bytes_max=4000 if ships else 1 << 30)
    sink = Sink(buffer)
    done = threading.Event()
    direct: list[int] = []

    def produce(thread: int) -> None:
        tag = "odd" if thread % 2 else "even"
        write = direct_writer(buffer, tag)
        for number in range(0, each_count, at_once or 1):
            if not at_once:
                record = {"message": "x" * 20, "n": thread * each_count + number}
                left = write(record)
                if left == b"":
                    direct.append(number)
                else:
                    left = pack_record(record, 1) if left is None else left
                    assert buffer.offer(tag, left) is Outcome.ACCEPTED
                continue
            bodies = [body(thread * each_count + number + n) for n in range(at_once)]
            if at_once == 1:
                assert buffer.offer(tag, bodies[0]) is Outcome.ACCEPTED
            else:
                assert buffer.offer_many(tag, Bodies.of(bodies)) == (at_once, Outcome.ACCEPTED)

    def ship() -> None:
        while ships and not done.is_set():
            buffer.seal_all()
            sink.drain()

    patience = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        shipper = threading.Thread(target=ship)
        producers = [threading.Thread(target=produce, args=(n,)) for n in range(threads_count)]
        for thread in (shipper, *producers):
            thread.start()
        for thread in producers:
            thread.join()
        done.set()
        shipper.join()
    finally:
        sys.setswitchinterval(patience)
    assert buffer.counters.accepted == threads_count * each_count
    assert bool(direct) == (at_once == 0)
    check(buffer, sink.acked)


class Interrupting(bytes):
    """An entry during whose offer another one comes in, as a signal handler's may."""

    buffer: Buffer
    inner: list[bytes]

    def __add__(self, stamp: Any) -> bytes:
        if self.inner:
            assert self.buffer.offer("t", self.inner.pop()) is Outcome.ACCEPTED
        return super().__add__(stamp)


def test_a_record_that_comes_in_between_takes_the_number() -> None:
    buffer = a_buffer()
    sink = Sink(buffer)
    buffer.offer("t", body(0))
    outer = Interrupting(body(2))
    outer.buffer, outer.inner = buffer, [body(1)]
    assert buffer.offer("t", outer) is Outcome.ACCEPTED
    assert outer.inner == []
    check(buffer, sink.acked)
    sink.drain()
    assert [each["n"] for each in sink.acked] == [0, 1, 2]


class InterruptingBodies(Bodies):
    """Entries during whose offer another one comes in, when the lane has been looked at."""

    __slots__ = ("buffer", "inner")

    buffer: Buffer
    inner: list[bytes]

    def stamped(self, begin: int, suffix: bytes, ends: Sequence[bytes]) -> bytes:
        if self.inner:
            assert self.buffer.offer("t", self.inner.pop()) is Outcome.ACCEPTED
        return super().stamped(begin, suffix, ends)


def test_a_record_that_comes_in_between_takes_the_number_of_many() -> None:
    buffer = a_buffer()
    sink = Sink(buffer)
    buffer.offer("t", body(0))
    outer = InterruptingBodies([b"", b""], [[body(2), body(3)]], 2)
    outer.buffer, outer.inner = buffer, [body(1)]
    assert buffer.offer_many("t", outer) == (2, Outcome.ACCEPTED)
    assert outer.inner == []
    check(buffer, sink.acked)
    sink.drain()
    assert [each["n"] for each in sink.acked] == [0, 1, 2, 3]


class NoMemory(bytearray):
    """A chunk's memory that cannot grow in the middle of an entry."""

    def __setitem__(self, where: Any, entry: Any) -> None:
        if len(self) > 300:
            super().__setitem__(where, entry[:-20])
            raise MemoryError  # the record is there, its stamp is not
        super().__setitem__(where, entry)


def fill(buffer: Buffer) -> None:
    for number in range(1, 100):
        buffer.offer("t", body(number))


def fill_many_at_once(buffer: Buffer) -> None:
    for number in range(1, 100, 3):
        buffer.offer_many("t", Bodies.of([body(number), body(number + 1), body(number + 2)]))


def fill_directly(buffer: Buffer) -> None:
    write = direct_writer(buffer, "t", layout_of=layout_by_assignment)
    for number in range(1, 100):
        record = {"message": "x" * 20, "n": number}
        if write(record) != b"":
            buffer.offer("t", pack_record(record, 1))


@pytest.mark.parametrize("fill", [fill, fill_many_at_once, fill_directly])
def test_a_lane_in_which_memory_ran_out_leaves_nothing_behind(
    fill: Callable[[Buffer], None],
) -> None:
    buffer = a_buffer(chunk_bytes_max=100_000)
    sink = Sink(buffer)
    buffer.offer("t", body(0))
    chunk: Chunk = buffer.unsettled()[0]
    assert isinstance(chunk, MemoryChunk)
    chunk.mapping = NoMemory(chunk.data)
    with pytest.raises(MemoryError):
        fill(buffer)
    accepted = buffer.counters.accepted
    assert accepted > 1
    chunk.mapping = bytearray(chunk.mapping)  # there is memory again
    for number in range(100, 110):
        assert buffer.offer("t", body(number)) is Outcome.ACCEPTED
    assert buffer.counters.accepted == accepted + 10
    check(buffer, sink.acked)


def test_a_crash_behind_each_store_of_a_lane_leaves_whole_records(tmp_path: Path) -> None:
    """What was committed is whole, and what `offer` has returned for is committed."""
    files = WatchedFiles()
    path = tmp_path / "spool"
    path.mkdir()
    storage = storage_in(path, mapper=files.map)
    buffer = buffer_on(storage)
    assert offer(buffer, "0")
    assert buffer._lanes
    assert storage._life is not None
    life = storage._life.id
    crashes: list[int] = []

    def crash() -> None:
        left = read_files(files.segments(), life)
        assert left.faults == []
        crashes.append(len(left.markers))

    files.after_store = crash
    for number in range(1, 20):
        assert offer(buffer, str(number))
        assert crashes[-1] == number + 1
    assert len(crashes) > 2 * 19
    assert crashes == sorted(crashes)
    del crashes[:]
    for number in range(20, 50, 5):
        bodies = [pack_record({"message": str(number + n), "pad": ""}, 1) for n in range(5)]
        assert buffer.offer_many("tag", Bodies.of(bodies)) == (5, Outcome.ACCEPTED)
        assert crashes[-1] == number + 5
    assert crashes == sorted(crashes)
    del crashes[:]
    write = direct_writer(buffer, "tag", layout_of=layout_by_assignment)
    for number in range(50, 60):
        assert write({"message": str(number), "pad": ""}) == b""
        assert crashes[-1] == number + 1
    names = "pad", "logger"
    write_text = text_writer(
        *(buffer, "tag", "message", names),
        extra_fields=1,
        bytes_max=1 << 20,
        layout_of=layout_by_assignment,
    )
    at_once = 0
    for number in range(60, 80):
        left = write_text(str(number), ("", ""), 1)
        assert left is not None
        assert not left or buffer.offer("tag", left) is Outcome.ACCEPTED
        assert crashes[-1] == number + 1
        at_once += not left
    assert at_once > 15
    assert crashes == sorted(crashes)


def test_a_chunk_has_room_for_more_entries_until_it_is_sealed() -> None:
    buffer = a_buffer(chunk_bytes_max=100_000)
    for expected in (0, 30_000):  # the second time as much as the last one had
        buffer.offer("t", body(0))
        chunk: Chunk = buffer.unsettled()[-1]
        assert isinstance(chunk, MemoryChunk)
        assert max(4096, expected) < len(chunk.mapping) < 2 * max(4096, expected)
        assert chunk.data == chunk.mapping[: chunk.size]
        while chunk.size < 30_000:
            buffer.offer("t", body(1))
        buffer.seal_all()
        assert len(chunk.mapping) == chunk.size


def test_who_had_a_large_chunk_is_given_a_block() -> None:
    """Though it was sealed because it lingered."""
    buffer = a_buffer(bytes_max=1 << 20, chunk_bytes_max=200_000)
    sink = Sink(buffer)
    for size, is_block in ((70_000, False), (30_000, True), (100, False)):
        buffer.offer("t", body(0))
        chunk: Chunk = buffer.unsettled()[-1]
        assert isinstance(chunk, MemoryChunk)
        assert isinstance(chunk.mapping, mmap.mmap) == is_block
        while chunk.size < size:
            buffer.offer("t", body(1))
        buffer.seal_all()
        sink.drain()


def test_where_there_is_no_more_room_to_be_had_records_go_the_longer_way() -> None:
    """While somebody looks at a chunk its memory cannot grow."""
    buffer = a_buffer(chunk_bytes_max=100_000)
    sink = Sink(buffer)
    buffer.offer("t", body(0))
    chunk: Chunk = buffer.unsettled()[0]
    with memoryview(chunk.data):
        write = direct_writer(buffer, "t", time_ns=lambda: 1)
        while chunk.size + 100 < chunk.lane_bytes_max:
            assert buffer.offer("t", body(1)) is Outcome.ACCEPTED
        room = chunk.lane_bytes_max
        left = write({"message": "x" * 200})
        assert left
        assert chunk.reserve(50_000, 0) == room
    assert buffer.offer("t", left) is Outcome.ACCEPTED
    assert chunk.lane_bytes_max > room
    check(buffer, sink.acked)


def a_direct_put(
    buffer: Buffer, layouts: MakeLayout, extra_fields: int = 1
) -> Callable[[str], bytes | None]:
    write = direct_writer(buffer, "t", extra_fields, layout_of=layouts)
    return lambda text: write({"message": text, "n": 0})


def a_text_put(
    buffer: Buffer, layouts: MakeLayout, extra_fields: int = 1
) -> Callable[[str], bytes | None]:
    write = text_writer(
        *(buffer, "t", "message", ("level", "logger")),
        extra_fields=extra_fields,
        bytes_max=1 << 20,
        layout_of=layouts,
    )
    return lambda text: write(text, ("INFO", "root"), 1)


BOTH = pytest.mark.parametrize("make", [a_direct_put, a_text_put], ids=["direct", "text"])


@BOTH
def test_a_profiler_of_one_thread_comes_in_before_nothing_is_written(
    make: Callable[[Buffer, MakeLayout], Callable[[str], bytes | None]],
) -> None:
    """Another thread has opened the lane; a profiler's function runs between call and called."""
    buffer = a_buffer(chunk_bytes_max=100_000)
    sink = Sink(buffer)
    assert buffer.offer("t", body(0)) is Outcome.ACCEPTED
    write, lefts = make(buffer, layout_of), []

    def others_come_in(_frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and getattr(called, "__name__", "") == "pack_into":
            buffer.offer("t", body(1))

    def profiled() -> None:
        sys.setprofile(others_come_in)
        lefts.append(write("profiled"))
        sys.setprofile(None)

    thread = threading.Thread(target=profiled)
    thread.start()
    thread.join()
    assert lefts[0]
    assert buffer.offer("t", lefts[0]) is Outcome.ACCEPTED
    check(buffer, sink.acked)


@BOTH
@pytest.mark.parametrize("come_in", ["a section", "another tag", "a new lane", "nothing"])
def test_a_signal_handler_that_logs_and_raises_leaves_the_account_right(
    make: Callable[[Buffer, MakeLayout], Callable[[str], bytes | None]], come_in: str
) -> None:
    """Between the write and the last look."""

    class Fault(BaseException):
        """What it raises."""

    def handler() -> None:
        if come_in == "a section":
            buffer.seal_all()
        if come_in in ("another tag", "a new lane"):
            for number in range(1, 6):
                buffer.offer("u" if come_in == "another tag" else "t", body(number))
        if come_in == "a new lane":
            buffer.seal_all()
            buffer.offer("t", body(6))
            buffer.offer("t", body(7))
        raise Fault

    buffer = a_buffer(chunk_bytes_max=100_000)
    sink = Sink(buffer)
    assert buffer.offer("t", body(0)) is Outcome.ACCEPTED
    with pytest.raises(Fault):
        make(buffer, layouts_then(handler))("never accepted")
    for number in range(10, 20):
        assert buffer.offer("t", body(number)) is Outcome.ACCEPTED
    check(buffer, sink.acked)
    buffer.seal_all()
    sink.drain()
    assert buffer.counters.accepted == len(sink.acked)


@BOTH
def test_what_was_deferred_goes_first(
    make: Callable[[Buffer, MakeLayout], Callable[[str], bytes | None]],
) -> None:
    buffer = a_buffer(chunk_bytes_max=100_000)
    sink = Sink(buffer)
    assert buffer.offer("t", body(0)) is Outcome.ACCEPTED
    buffer.defer("t", body(1))
    left = make(buffer, layout_of)("later")
    assert left
    assert buffer.offer("t", left) is Outcome.ACCEPTED
    buffer.seal_all()
    sink.drain()
    assert [each["message"] for each in sink.acked] == ["x" * 20, "x" * 20, "later"]


@BOTH
@pytest.mark.parametrize("stamp_key", [None, "id", "a long name " * 10, "größe %d"])
def test_every_stamp_has_its_room(
    make: Callable[[Buffer, MakeLayout, int], Callable[[str], bytes | None]],
    stamp_key: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("logship.buffer.chunk._ROOM_BYTES_MIN", 150_000)  # for all of them
    buffer = a_buffer(bytes_max=1 << 20, chunk_bytes_max=200_000, stamp_key=stamp_key)
    stamped = stamp_key is not None
    write = make(buffer, layout_of, int(stamped))
    assert buffer.offer("t", body(0, stamped=stamped)) is Outcome.ACCEPTED
    assert [write("x" * number) for number in range(300)] == [b""] * 300
    stream = buffer.report("", 0.0).streams[0].stream
    found = entries_of(buffer.unsettled()[0].data)
    assert [each["message"] for each in found[1:]] == ["x" * number for number in range(300)]
    if stamp_key is not None:
        assert [each[stamp_key] for each in found] == [f"{stream}:{n:010}" for n in range(1, 302)]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12")
@pytest.mark.parametrize("tool", range(6))
def test_no_lane_is_opened_while_a_tool_monitors(tool: int) -> None:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    if monitoring.get_tool(tool):
        pytest.skip("somebody monitors already")
    buffer = a_buffer()
    monitoring.use_tool_id(tool, "a test")
    try:
        buffer.offer("t", body(0))
        assert not buffer._lanes
    finally:
        monitoring.free_tool_id(tool)


class NoCopies(bytearray):
    """Memory of which there is no more."""

    def __getitem__(self, where: Any) -> Any:
        raise MemoryError

    def extend(self, more: Any) -> None:
        raise MemoryError


def test_no_memory_for_more_room_or_for_a_copy_is_no_fault() -> None:
    buffer = a_buffer(chunk_bytes_max=100_000)
    sink = Sink(buffer)
    buffer.offer("t", body(0))
    chunk: Chunk = buffer.unsettled()[0]
    assert isinstance(chunk, MemoryChunk)
    chunk.mapping = NoCopies(chunk.mapping)
    while chunk.size + 200 < len(chunk.mapping):
        assert buffer.offer("t", body(1)) is Outcome.ACCEPTED
    assert chunk.reserve(50_000, 0) == len(chunk.mapping)
    buffer.seal_all()
    assert len(chunk.mapping) > chunk.size
    check(buffer, sink.acked)


def test_of_many_streams_each_has_room_for_little() -> None:
    buffer = a_buffer(bytes_max=1 << 24, chunk_bytes_max=100_000)
    for size in (30, 1):
        for tag in range(50):
            for number in range(size * 10):
                buffer.offer(f"{tag}", body(number))
        if size == 30:
            buffer.seal_all()
    open_chunks = [each for each in buffer.unsettled() if each.state is ChunkState.OPEN]
    room = sum(len(each.mapping) for each in open_chunks if isinstance(each, MemoryChunk))
    assert len(open_chunks) == 50
    assert room < 50 * 10_000


@BOTH
@pytest.mark.parametrize("inner_make", [a_direct_put, a_text_put], ids=["direct", "text"])
@pytest.mark.parametrize("first_done", ["inner", "outer"])
def test_of_two_that_write_over_each_other_one_counts(
    make: Callable[[Buffer, MakeLayout], Callable[[str], bytes | None]],
    inner_make: Callable[[Buffer, MakeLayout], Callable[[str], bytes | None]],
    first_done: str,
) -> None:
    """Both have written, and neither has committed: what lies there is the later one's."""
    buffer = a_buffer(chunk_bytes_max=100_000)
    sink = Sink(buffer)
    assert buffer.offer("t", body(0)) is Outcome.ACCEPTED
    has_written, may_go_on = threading.Event(), threading.Event()

    def wait() -> None:
        has_written.set()
        assert may_go_on.wait(60)

    def put(write: Callable[[str], bytes | None], text: str) -> None:
        left = write(text)
        assert left is not None
        if left:
            assert buffer.offer("t", left) is Outcome.ACCEPTED

    inner = threading.Thread(target=put, args=(inner_make(buffer, layouts_then(wait)), "inner"))

    def come_in() -> None:
        inner.start()
        assert has_written.wait(60)
        if first_done == "inner":
            may_go_on.set()
            inner.join()

    put(make(buffer, layouts_then(come_in)), "outer")
    may_go_on.set()
    inner.join()
    check(buffer, sink.acked)
    buffer.seal_all()
    sink.drain()
    assert sorted(each["message"] for each in sink.acked[1:]) == ["inner", "outer"]


def filled(buffer: Buffer, numbers: range) -> list[Chunk]:
    """Put these records in, and return the chunks that were filled."""
    for number in numbers:
        assert buffer.offer("t", body(number)) is Outcome.ACCEPTED
    taken = []
    while (chunk := buffer.take()) is not None:
        taken.append(chunk)
    return taken


def test_the_memory_of_acked_chunks_is_used_again() -> None:
    buffer = a_buffer(chunk_bytes_max=2000)
    first, second, *_ = filled(buffer, range(100))
    assert isinstance(first.mapping, bytearray)  # nobody knew yet that this stream fills chunks
    block = second.mapping
    assert isinstance(block, mmap.mmap)
    buffer.release(second)
    later = filled(buffer, range(100, 200))
    assert any(chunk.mapping is block for chunk in later)
    assert len(second.data) == 0


def test_memory_that_is_still_looked_at_is_not_used_again() -> None:
    """A transport may hold a chunk that was sent twice, and acked once."""
    buffer = a_buffer(chunk_bytes_max=2000)
    _, second, *_ = filled(buffer, range(100))
    block = second.mapping
    held = memoryview(second.data)
    before = bytes(held)
    buffer.release(second)
    later = filled(buffer, range(100, 200))
    assert all(chunk.mapping is not block for chunk in later)
    assert bytes(held) == before


def test_few_blocks_are_kept() -> None:
    buffer = a_buffer(bytes_max=1 << 20, chunk_bytes_max=2000)
    for chunk in filled(buffer, range(1000)):
        buffer.release(chunk)
    assert isinstance(buffer._storage, MemoryStorage)
    assert len(buffer._storage._spare_blocks) == SPARE_BLOCKS_MAX


def test_a_stream_whose_chunks_linger_takes_no_block() -> None:
    buffer = a_buffer(chunk_bytes_max=2000)
    filled(buffer, range(100))
    buffer.seal_due(1e9)
    [lingered] = filled(buffer, range(0))
    assert isinstance(lingered.mapping, mmap.mmap)
    buffer.offer("t", body(100))
    assert isinstance(buffer.unsettled()[-1].mapping, bytearray)
