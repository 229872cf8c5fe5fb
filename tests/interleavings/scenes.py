"""Threads that log into a small buffer, end its intake and ship, and the one sentence that judges.

What each call returned is what is in the chunks, the numbers have no holes, and each thread's order
is kept.
"""

from __future__ import annotations

import functools
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from logship._buffer.chunk import ChunkState, MemoryStorage
from logship._buffer.entrance import Outcome
from tests.interleavings.scheduler import Interruption, Scheduler
from tests.interleavings.watching import Watch, a_watched_buffer
from tests.support.packing import pack_record

FAR_AWAY = 1 << 20


class _OutlivingStorage(MemoryStorage):
    """Memory that says of itself that it is a spool: every call commits its own entry."""

    outlives_process = True


@dataclass
class Scene:
    """Some threads and their buffer.

    Args:
        watch: Of the exploration.
        scheduler: Of the run.
        offers: For each producer, the tags of the records that it logs.
        closes: Whether one more thread ends intake.
        ships: Whether one more thread is the shipper.
        outlives: Whether each call must commit its entry.
        options: Of the buffer.
    """

    watch: Watch
    scheduler: Scheduler
    offers: Sequence[str] = ("aa", "a")
    closes: bool = True
    ships: bool = False
    outlives: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wakes = 0
        self.timer: float | None = None
        self.saw_sealed = False
        self.outcomes: dict[int, Outcome | None] = {}
        self.faults: list[str] = []
        ids = iter(range(1000))
        options: dict[str, Any] = {
            "bytes_max": FAR_AWAY,
            "chunk_bytes_max": 100,
            "linger_seconds": 0.2,
            "stamp_key": "id",
            "wake": self._wake,
            "monotonic": lambda: 1.0,
            "time_ns": lambda: 1,
            "random_bytes": lambda size: next(ids).to_bytes(size, "big"),
            **self.options,
        }
        if self.outlives:
            options["storage"] = _OutlivingStorage(options["random_bytes"], 100)
        self.buffer = a_watched_buffer(self.watch, self.scheduler, **options)
        works: list[Callable[[], object]] = [
            functools.partial(self._produce, producer) for producer in range(len(self.offers))
        ]
        if self.closes:
            works.append(self._close)
        if self.ships:
            works.append(self._ship)
        self.works = works

    # -- threads ---------------------------------------------------------------------------------

    def _produce(self, producer: int) -> None:
        for place, tag in enumerate(self.offers[producer]):
            number = 10 * producer + place
            self.outcomes[number] = None
            try:
                self.outcomes[number] = self.buffer.offer(tag, _body(number))
            except Interruption:
                continue  # as an application does that caught it

    def _close(self) -> None:
        try:
            self._end()
        except Interruption:
            self._end()

    def _end(self) -> None:
        self.buffer.close_intake()
        self.buffer.refuse_rest(deque())

    def _ship(self) -> None:
        """Be the shipper for one turn, and rest."""
        try:
            self._turn()
        except Interruption:
            self._turn()  # the loop goes on

    def _turn(self) -> None:
        self.wakes = 0
        self.buffer.departure.seal_due(1.0)
        while self.buffer.departure.take() is not None:
            pass
        self.timer = self.buffer.departure.next_deadline_seconds()
        self.saw_sealed = self.buffer.departure.has_sealed()

    def _wake(self) -> None:
        self.wakes += 1

    # -- the judge -------------------------------------------------------------------------------

    def judge(self) -> str:
        self.watch.end()
        if self.ships and not self.closes and not self._is_looked_after():
            return "something waits, and the shipper will not come"
        self.buffer.close_intake()
        streams: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for chunk in self.buffer.unsettled():
            for record in _records(bytes(chunk.data)):
                streams[record["id"].partition(":")[0]].append(record)
        faults = [fault for each in streams.values() for fault in _faults_of_stream(each)]
        return "; ".join([*faults, *self._faults_of_outcomes(streams)])

    def _is_looked_after(self) -> bool:
        inbox = self.buffer._section.inbox.items[:]
        states = [each.state for each in self.buffer._section.accumulator.chunks.unsettled.values()]
        if not inbox and all(state is ChunkState.TAKEN for state in states):
            return True
        return self.wakes > 0 or self.timer is not None or self.saw_sealed

    def _faults_of_outcomes(self, streams: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
        present = [r["n"] for records in streams.values() for r in records if "n" in r]
        for number, outcome in self.outcomes.items():
            times = present.count(number)
            wanted = (0, 1) if outcome is None else (int(outcome is Outcome.ACCEPTED),)
            if times not in wanted:
                yield f"record {number}: {outcome}, and {times} times in the chunks"
        report = self.buffer.report("", 0.0)
        if report.accepted != len(present):
            yield f"the report says {report.accepted} of {len(present)} records"
        refused = sum(each is Outcome.REFUSED for each in self.outcomes.values())
        unknown = sum(each is None for each in self.outcomes.values())
        if not refused <= report.refused <= refused + unknown:
            yield f"the report says {report.refused} refused of {refused}"


def _faults_of_stream(records: list[dict[str, Any]]) -> Iterator[str]:
    numbers = [int(record["id"].partition(":")[2]) for record in records]
    if numbers != [*range(1, len(numbers) + 1)]:
        yield f"numbers {numbers}"
    if "n" in records[-1] or sum("logship_end" in each for each in records) != 1:
        yield "no one end record at the end"
    for producer in range(10):
        own = [r["n"] for r in records if "n" in r and r["n"] // 10 == producer]
        if own != sorted(own):
            yield f"order {own}"


@functools.cache
def _body(number: int) -> bytes:
    return pack_record({"n": number}, 1)


def _records(data: bytes) -> list[dict[str, Any]]:
    unpacker = msgpack.Unpacker(ext_hook=lambda code, value: None)
    unpacker.feed(data)
    return [record for _, record in unpacker]


SCENES: dict[str, dict[str, Any]] = {
    "each call combines": {"options": {"combine_at": 1}},
    "two entries are combined": {"options": {"combine_at": 2}},
    "tags": {"options": {"combine_at": 2}, "offers": ("ab", "b")},
    "only the end combines": {"options": {"combine_at": 64}},
    "each call commits": {"outlives": True},
    "near the bound": {"options": {"bytes_max": 120, "combine_at": 1}},
    "each call commits, near the bound": {"outlives": True, "options": {"bytes_max": 120}},
    "shipper": {"options": {"combine_at": 2}, "closes": False, "ships": True},
    "shipper of what outlives": {"outlives": True, "closes": False, "ships": True},
    "one producer": {"options": {"combine_at": 1}, "offers": ("aa",)},
    "small, combined": {"options": {"combine_at": 1}, "offers": "aa"},
    "small, each call commits, near the bound": {
        "outlives": True,
        "options": {"bytes_max": 80},
        "offers": "aa",
    },
    "small, shipper of what outlives": {
        "outlives": True,
        "offers": "aa",
        "closes": False,
        "ships": True,
    },
    "small, at the end": {"options": {"combine_at": 64}, "offers": "aa"},
    "small, with a shipper": {
        "options": {"combine_at": 1},
        "offers": "a",
        "closes": False,
        "ships": True,
    },
}
"""By name, what differs from the defaults. Small ones are explored deeper."""
