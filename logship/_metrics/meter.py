"""One client's numbers, read from its plain counters at each scrape.

Nothing is computed where records are logged. Two things hold for the result. A counter never goes
down, at whatever moment it is read. After the client's end the numbers are those of its drain
report, to the last record. The meter stays when a client is gone without an end, and keeps none of
its memory alive.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from weakref import ref

from logship import _reasons
from logship._buffer.buffer import Buffer
from logship._buffer.counters import Account, DrainReport, StreamReport
from logship._buffer.ranges import Ranges
from logship._delivery.delivery import Delivery
from logship._delivery.states import State
from logship._metrics.client_measures import CLIENT_MEASURES
from logship._metrics.measures import Kind
from logship._metrics.sums import SLOTS, Numbers, ended, slot, zeros

if TYPE_CHECKING:
    from logship._spool.orphans import Orphans
    from logship._spool.storage import SpoolStorage

_NEVER_DOWN = frozenset(
    slot(measure.name, value)
    for measure in CLIENT_MEASURES
    if measure.kind in (Kind.COUNTER, Kind.HISTOGRAM)
    for value in measure.values
)
_OF_DELIVERY = (
    *("connections_lost", "chunks_sent", "chunks_resent", "chunks_split"),
    *("shipper_restarts", "chunks_quarantined"),
)
_OF_RECOVERY = tuple(
    each.name.removeprefix("recovery_").removesuffix("_total")
    for each in CLIENT_MEASURES
    if each.kind is Kind.COUNTER and each.name.startswith("recovery_")
)
"""Counters that are exported under their own names."""

_ACK_SLOTS = tuple(value for name, value in SLOTS if name == "ack_seconds" and value != "sum")


class Meter:
    """Reads one client's numbers, and keeps its counters when the client is gone.

    Its `Process` reads one at a time. The end may be noted meanwhile, by any thread.

    Args:
        buffer, delivery: The client's. A meter does not keep them alive.
        spool, orphans: The client's, where it has any.
        stop_timeout_seconds: Its setting.
    """

    def __init__(
        self,
        buffer: Buffer,
        delivery: Delivery[Any],
        *,
        spool: SpoolStorage | None,
        orphans: Orphans | None,
        stop_timeout_seconds: float,
    ) -> None:
        self._buffer, self._delivery = ref(buffer), ref(delivery)
        self._spool = None if spool is None else ref(spool)
        self._counters, self._shipped = buffer.counters, delivery.counters
        self._recovered = None if orphans is None else orphans.counters
        self._stop_timeout_seconds = stop_timeout_seconds
        self._bytes_sent = 0
        self._unspooled: int = 0
        self._report: DrainReport | None = None
        self._published: Numbers = zeros()
        self._in_use = False

    @property
    def is_gone(self) -> bool:
        """Whether there is no client any more."""
        return self._buffer() is None

    @property
    def is_done(self) -> bool:
        """Whether the client has ended, or was never used: its process may die."""
        counters = self._counters
        return self._report is not None or not (counters.accepted or counters.refused)

    def begins_use(self) -> bool:
        """Return True once, when the client is used for the first time."""
        was_in_use, self._in_use = self._in_use, self._counters.accepted > 0
        return self._in_use and not was_in_use

    def sent(self, size: int) -> None:
        """Count bytes that were handed to a connection."""
        self._bytes_sent += size

    def drained(self, report: DrainReport) -> None:
        """Note the client's end; from now on its report is exported."""
        self._report = report

    def read(self) -> Numbers:
        """Return the numbers of this moment, or the last ones while the buffer is busy.

        After the client's end they are those of its report, also while the buffer is busy.
        """
        buffer, delivery = self._buffer(), self._delivery()
        if buffer is None or delivery is None:
            return self.remains()
        report, account = self._report, buffer.account()
        if account is None and report is None:
            return self._published
        numbers = self.remains() if account is None else self._numbers(account, report)
        numbers[slot("stop_timeout_seconds")] = self._stop_timeout_seconds
        if account is not None and report is None:
            self._fill_gauges(numbers, account, buffer, delivery)
        return numbers

    def remains(self) -> Numbers:
        """Return the numbers of a client that is gone; its undelivered records are lost."""
        counters, report = self._counters, self._report
        settled = counters.acked + counters.spilled + counters.dropped.total()
        waiting = counters.accepted - settled
        account = Account(counters.now(), waiting, 0, self._unspooled, 0)
        numbers = self._numbers(account, report)
        return numbers if report is not None else ended(numbers)

    def _numbers(self, account: Account, report: DrainReport | None) -> Numbers:
        """Return the numbers; no counter is lower than when it was read last."""
        self._unspooled = account.unspooled
        numbers = zeros()
        for name, value, number in self._counted(account, report):
            numbers[slot(name, value)] += number
        for index in _NEVER_DOWN:
            numbers[index] = max(numbers[index], self._published[index])
        self._published = numbers
        return numbers

    def _counted(
        self, account: Account, report: DrainReport | None
    ) -> Iterator[tuple[str, str, float]]:
        """Yield measure, label and number of all that is counted, as the report says if it can."""
        counters, shipped = account.counters, self._shipped
        told = counters if report is None else report
        for name in ("accepted", "acked", "spilled", "truncated"):
            yield f"records_{name}_total", "", getattr(told, name)
        yield "records_refused_total", "", counters.refused
        yield "records_unspooled_total", "", account.unspooled
        yield "emit_blocked_seconds_total", "", counters.blocked_seconds
        for reason, dropped in counters.dropped.items():
            if reason in _reasons.ON_PURPOSE:
                yield "records_withheld_total", reason, dropped
            else:
                known = reason if reason in _reasons.DROPPED else "other"
                yield "records_dropped_total", known, dropped
        yield "bytes_sent_total", "", self._bytes_sent
        yield "connects_total", "ok", shipped.connected
        yield "connects_total", "failed", shipped.connect_failures
        for name in _OF_DELIVERY:
            yield f"{name}_total", "", getattr(shipped, name)
        for value, acks in zip(_ACK_SLOTS, accumulate(shipped.acks_by_seconds), strict=True):
            yield "ack_seconds", value, acks
        yield "ack_seconds", "sum", shipped.ack_seconds
        for name in _OF_RECOVERY if self._recovered is not None else ():
            yield f"recovery_{name}_total", "", getattr(self._recovered, name)
        if report is None:
            yield "records_waiting", "", account.waiting
            yield "records_spooled", "", account.spooled
            return
        # What has counted as unacked stays so if a correction says that it has been spilled since.
        settled_late = max(0.0, self._published[slot("records_unacked_total")] - report.unacked)
        yield "records_unacked_total", "", report.unacked + settled_late
        yield "records_spilled_total", "", -settled_late
        yield "records_left_spooled_total", "", report.spooled
        yield "drain_seconds", "", report.seconds
        is_long = report.seconds > self._stop_timeout_seconds / 2
        yield "drains_total", "over_half" if is_long else "under_half", 1
        for stream in report.streams:
            yield "stream_ends_total", _where_end_is(stream), 1

    def _fill_gauges(
        self, numbers: Numbers, account: Account, buffer: Buffer, delivery: Delivery[Any]
    ) -> None:
        spool = None if self._spool is None else self._spool()
        numbers[slot("buffer_bytes")] = account.bytes_held
        numbers[slot("buffer_bytes_max")] = buffer.bytes_max
        numbers[slot("buffer_fullest_ratio")] = account.bytes_held / buffer.bytes_max
        numbers[slot("clients")] = delivery.state is not State.IDLE or account.counters.accepted > 0
        numbers[slot("connected")] = delivery.state is State.READY
        numbers[slot("inflight_chunks")] = delivery.inflight_chunks
        numbers[slot("spool_bytes")] = 0 if spool is None else spool.bytes_on_disk
        if self._recovered is not None:
            numbers[slot("recovery_unknown_version")] = self._recovered.unknown_version


def _where_end_is(stream: StreamReport) -> str:
    """Return which of `STREAM_ENDS` it is."""
    if stream.end is None or _holds(stream.unacked + stream.spilled, stream.end):
        return "unproven"
    return "spooled" if _holds(stream.spooled, stream.end) else "acked"


def _holds(ranges: Ranges, number: int) -> bool:
    return any(first <= number <= last for first, last in ranges)
