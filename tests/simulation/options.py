"""Everything that is drawn from a seed before its history begins."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any, Literal

from logship._buffer.losses import LOST_MAX
from logship._buffer.ranges import GAPS_MAX
from tests.simulation.faults import FAULTS

_ACK_SLACK_SECONDS = 0.05

Forced = Mapping[str, Any]
"""Options by name that take the place of drawn ones."""

NONE_FORCED: Forced = {}


@dataclass(frozen=True, slots=True)
class Options:
    """One history's options; sizes are bytes, times are virtual seconds.

    Attributes:
        framed: Whether bytes go over the wire, through `protocol/` and the receiver's session;
            otherwise whole chunks do, which is quicker.
        frame_bytes_max: The servers' limit, 0 for none.
        limit_closes: Whether a server closes on a longer frame; otherwise it passes over it.
        rates: How likely each fault is at each occasion.
        moments: When faults begin that last for a while.
        store_seconds: How long a server takes to make a chunk safe before it acks it.
        heals_seconds: When everything but poison heals.
        flushes_first: Whether the last client drains before it is closed.
        look_every: After how many events the judge looks into the buffer.
        hands_over_many: Whether the records of a burst are handed over in one call; not drawn, so
            that other seeds' histories stay what they were. Where there is a disk they are not: it
            judges each record by itself.
        gaps_max: How many gaps of a stream are told apart.
        lost_max: How many gaps of a stream are kept for the report.
        timer_late_seconds: How late timers and wake-ups are at most, as on a busy event loop.
    """

    seed: int
    framed: bool
    compress: Literal["none", "gzip"]
    endpoints: int
    records: int
    tags: int
    text_bytes_max: int
    record_seconds: float
    burst_records: int
    waits_for_space: float
    chunk_bytes_max: int
    linger_seconds: float
    window: int
    buffer_bytes_max: int
    overflow: Literal["block", "drop_oldest", "drop_newest"]
    spills: bool
    spill_bytes_per_second_max: int
    stamp_key: str
    ack_timeout_seconds: float
    connect_timeout_seconds: float
    backoff_seconds_base: float
    backoff_seconds_max: float
    latency_seconds: float
    store_seconds: float
    frame_bytes_max: int
    limit_closes: bool
    rates: dict[str, float]
    moments: tuple[tuple[float, str], ...]
    heals_seconds: float
    flushes_first: bool
    look_every: int
    hands_over_many: bool
    withholds: float
    combine_at: int
    inbox_max: int
    inbox_share: float
    gaps_max: int
    lost_max: int
    timer_late_seconds: float


def told(options: Any, prefix: str = "") -> list[str]:
    """Return options for a person to read."""
    return [f"  {prefix}{each.name} = {getattr(options, each.name)!r}" for each in fields(options)]


def draw_options(seed: int, draw: Random, forced: Forced) -> Options:
    text_bytes_max = int(between(draw, 4, 400))
    framed = draw.random() < 0.25
    record_seconds = between(draw, 0.0005, 0.3)
    records = draw.randint(200, 280)
    enabled = _enabled(seed, draw)
    frame_bytes_max = _frame_bytes(draw, text_bytes_max, enabled)
    rates = {name: between(chance, 0.01, 0.3) for name, chance in enabled.items()}
    for name in ("poison closes", "poison ignored", "too large"):
        rates[name] = rates.get(name, 0.0) / 15
    rates["stderr stalls"] = 3 * rates.get("stderr stalls", 0.0)
    heals_seconds = records * record_seconds * draw.uniform(0.5, 1.1)
    backoff_seconds_max = between(draw, 0.05, 20.0)
    inbox = Random(f"{seed} inbox")  # a stream of chance of its own
    options = Options(
        seed=seed,
        framed=framed,
        compress="gzip" if framed and draw.random() < 0.2 else "none",
        endpoints=draw.choice((1, 1, 2, 3)),
        records=records,
        tags=draw.choice((1, 1, 2, 3)),
        text_bytes_max=text_bytes_max,
        record_seconds=record_seconds,
        burst_records=draw.choice((1, 1, 5, 30)),
        waits_for_space=draw.choice((0.0, 0.0, 0.5, 1.0)),
        chunk_bytes_max=int(between(draw, 150, 6000)),
        linger_seconds=draw.choice((0.0, 0.2, between(draw, 0.001, 2.0))),
        window=draw.choice((1, 2, 3, 4, 8)),
        buffer_bytes_max=_buffer_bytes(draw, max(text_bytes_max, frame_bytes_max), enabled),
        overflow=draw.choice(("block", "drop_oldest", "drop_newest")),
        spills=draw.random() < 0.6,
        spill_bytes_per_second_max=draw.choice((0, 500, 64 * 1024)),
        stamp_key=draw.choice(
            ("logship_id", "logship_id", "n%d", "the field that holds the stamp é")
        ),
        ack_timeout_seconds=between(draw, 1.0, 120.0),
        connect_timeout_seconds=between(draw, 0.1, 5.0),
        backoff_seconds_base=min(between(draw, 0.01, 1.0), backoff_seconds_max),
        backoff_seconds_max=backoff_seconds_max,
        latency_seconds=between(draw, 0.0001, 0.1),
        store_seconds=draw.choice((0.0, 0.0, between(draw, 0.001, 1.0))),
        frame_bytes_max=frame_bytes_max,
        limit_closes=draw.random() < 0.5,
        rates=rates,
        moments=_moments(enabled, heals_seconds),
        heals_seconds=heals_seconds,
        flushes_first=draw.random() < 0.5,
        look_every=draw.choice((1, 40, 40, 40, 40, 40, 40, 40)),
        hands_over_many=seed % 8 == 5,
        withholds=0.3 if seed % 8 == 3 else 0.0,
        combine_at=inbox.choice((1, 2, 3, 5)),
        inbox_max=inbox.choice((1, 2, 4, 8)),
        inbox_share=inbox.choice((0.125, 0.5, 0.9)),
        gaps_max=Random(f"{seed} gaps").choice((2, 6, GAPS_MAX, GAPS_MAX)),
        lost_max=Random(f"{seed} lost").choice((2, 8, LOST_MAX, LOST_MAX)),
        timer_late_seconds=_timer_late(Random(f"{seed} late")),
    )
    options = replace(options, **forced)
    least = ack_seconds_least(options)
    return replace(options, ack_timeout_seconds=max(options.ack_timeout_seconds, least))


def ack_seconds_least(options: Options) -> float:
    """Return the shortest ack timeout with which anything can ever be acked in time."""
    return options.store_seconds + 2 * options.latency_seconds + _ACK_SLACK_SECONDS


def between(draw: Random, least: float, most: float) -> float:
    """Draw a number whose logarithm is uniform: small ones are as interesting as large ones."""
    return round(math.exp(draw.uniform(math.log(least), math.log(most))), 6)


def _enabled(seed: int, draw: Random) -> dict[str, Random]:
    """Draw the faults of this history: none, one or two, or a mix.

    Each has a stream of chance of its own, so that one more fault changes only those histories
    that draw it.
    """
    chances = {name: Random(f"{seed} {name}") for name in FAULTS}
    places = {name: chance.random() for name, chance in chances.items()}
    kind, few, share = draw.random(), draw.choice((1, 2)), draw.choice((0.1, 0.2, 0.4))
    if kind < 0.05:
        names = []
    elif kind < 0.35:
        names = sorted(places, key=lambda name: places[name])[:few]
    else:
        names = [name for name, place in places.items() if place < share]
    return {name: chances[name] for name in names}


def _timer_late(draw: Random) -> float:
    return between(draw, 0.001, 3.0) if draw.random() < 0.2 else 0.0


def _buffer_bytes(draw: Random, record_bytes_max: int, enabled: Collection[str]) -> int:
    """Draw the buffer's bound; whatever it is, two of the largest records fit."""
    least = 2 * (record_bytes_max + 200)
    return int(between(draw, least, least * (4 if "overflow" in enabled else 60)))


def _frame_bytes(draw: Random, text_bytes_max: int, enabled: Collection[str]) -> int:
    """Draw the servers' limit, which an ordinary record is never above."""
    if "too large" not in enabled:
        return 0
    least = max(text_bytes_max + 200, 300)
    return int(between(draw, least, least * 8))


_LASTING = {
    "slow": 3,
    "blocked": 3,
    "full": 3,
    "crash": 4,
    "vanish": 3,
    "reset": 6,
    "one by one": 2,
    "client crash": 3,
    "client close": 3,
}
"""How often each may begin in one history."""


def _moments(enabled: Mapping[str, Random], heals: float) -> tuple[tuple[float, str], ...]:
    moments = [
        (round(chance.uniform(0.0, heals), 6), name)
        for name, chance in enabled.items()
        if name in _LASTING
        for _ in range(chance.randint(1, _LASTING[name]))
    ]
    return tuple(sorted(moments))
