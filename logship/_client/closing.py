"""The end of a client: intake closes, the rest is delivered, spilled or named.

One procedure for all callers that end a client: the asyncio client on its loop, the background
client in each thread that closes it, the watchdog at the stop deadline. Each joins with a plan, and
the plan that ends first holds. The procedure is written as steps that say how long to wait. Each
caller waits in its own way and does the next step when it can: a signal handler of the application
may hold another one for ever. The last step makes the report, which all callers return.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Protocol

from logship._buffer.buffer import Buffer
from logship._buffer.counters import DrainReport
from logship._buffer.inbox import Item, Tag
from logship._delivery.drain import DrainPlan, Progress, Step
from logship._hooks import registry
from logship._hooks.interruptions import is_interruption
from logship._hooks.locking import SectionLock
from logship._protocol.entries import unpack_unstamped
from logship._stderr.last_resort import LastResort
from logship._stderr.spill import Spill, refused_line

_BUSY = -1.0
_BUSY_SECONDS = 0.02
"""How long a thread waits while another one does a step."""

_LATE_SECONDS = 0.5
"""How long past the deadline a step of another thread may take. Then that thread counts as
hanging."""

_DECISION_SECONDS = 0.02
"""How long what was decided holds while acks come in: to decide, all chunks are looked at."""

_SPILL_SLICE_SECONDS = 0.05
_LEFT_OVER_SECONDS = 0.2
"""How long a spill that ran out of time goes on at each correction of the report."""

_REPORT_SECONDS_MIN = 0.1
"""So long stderr is tried for the report at least, also past the deadline. Another thread may be in
the middle of a line, and the reader of a full pipe may have to wait for a processor. A process that
was stopped, and goes on behind its deadline, needs that time too."""

_QUEUE_SECONDS_MAX = 0.1
"""How long a full stderr is tried for the lines that were held up by the report."""

_STALLED_STDERR_SECONDS_MIN = 0.001
_STALLED_STDERR_SECONDS_MAX = 0.02
"""How long a full stderr is left alone: a pipe with a living reader is empty in a millisecond,
and with fixed pauses it would take no more than 64 KiB in each of them."""


class Drainable(Protocol):
    """What the end asks of a `Shipper`; callable from any thread."""

    buffer: Buffer
    last_resort: LastResort
    spill: Spill | None
    broken: bool

    def progress(self) -> Progress:
        """Return how sending goes."""

    def hurry(self, plan: DrainPlan) -> None:
        """Send what there is at once, and wait less for everything."""


class Closing:
    """One client's end.

    Args:
        client: The client; its intake may still be open.
        always_report: Whether the report is printed even when everything was acked, and no logging
            call was refused.
        is_over: Told the report before it is printed.
        publish: Called behind that: the process may end.
        more: Makes one more line of the report, to be printed whatever it says; none by default.

    Attributes:
        report: What happened to every record, once the end is over.
    """

    def __init__(
        self,
        client: Drainable,
        *,
        always_report: bool,
        monotonic: Callable[[], float],
        is_over: Callable[[DrainReport], None] = lambda report: None,
        publish: Callable[[], None] = lambda: None,
        more: Callable[[DrainReport], str] | None = None,
    ) -> None:
        self.report: DrainReport | None = None
        self._is_over = is_over
        self._publish = publish
        self._more = more
        self._client = client
        self._plans: list[DrainPlan] = []  # of all callers that drive it
        self._hurried_for: DrainPlan | None = None
        self._reason = ""
        self._last_resort = client.last_resort
        self._spill = client.spill
        self._spilling = False
        self._unnumbered: deque[Item] = deque()
        self._number = ""  # of the line for the first of these
        self._is_ahead = False  # whether the spill has begun while intake is open
        self._pause_seconds = _STALLED_STDERR_SECONDS_MIN
        self._always_report = always_report
        self._monotonic = monotonic
        self._lock = SectionLock()
        self._steps: Iterator[float] = iter(())

    def spill_ahead(self, plan: DrainPlan, reason: str) -> float | None:
        """Do what is due while a stop clock runs and the application still logs.

        A sidecar that takes nothing, or too little, leaves a buffer that grows faster than it could
        be written to stderr in the time that is left. So that is begun while intake is open;
        sending goes on, and what it delivers after all is on both.

        Returns:
            The seconds to wait, or None when intake must be closed.
        """
        now = self._monotonic()
        progress = self._client.progress()
        step = plan.step_while_logging(now, progress)
        if step is Step.OVER:
            return None
        if step is Step.SPILL and self._spill is not None:
            buffer = self._client.buffer
            if not self._is_ahead and buffer.spilling.to_spill():
                self._is_ahead = self._announce(plan, progress, buffer.report(reason, 0.0))
                self._last_resort.step_back()  # the application's own lines are held up no longer
                if not self._is_ahead:
                    return self._pause()
            now = self._monotonic()
            wait_seconds = self._write_slice(
                self._spill, now + _SPILL_SLICE_SECONDS, newest_first=plan.is_acking(progress)
            )
            if wait_seconds is not None:
                return wait_seconds
        return plan.wait_seconds_while_logging(now)

    def join(self, plan: DrainPlan, reason: str, *, alone: bool = False) -> None:
        """Let `plan` hold too, from any thread.

        Its caller drives the steps from now on, or has interrupted a call that does. The plan that
        ends first holds: a stop clock may run. But a program that ends by itself gives up when its
        own plan does. The first reason is the report's. A caller that is `alone` knows that no
        caller before it goes on, so that their plans hold no more.
        """
        self._reason = self._reason or reason
        if alone:
            self._plans = [plan]
        else:
            self._plans.append(plan)

    def skip(self, reason: str) -> DrainReport:
        """Report at once: a disabled client has taken nothing."""
        self.report = self.report or self._client.buffer.report(reason, 0.0)
        return self.report

    def leave(self, plan: DrainPlan) -> None:
        """Note that the caller with this plan does not go on; the plans of the others hold.

        Nothing is to wait for a spill, or for a report, while there is no other caller.
        """
        with contextlib.suppress(ValueError):  # it was interrupted in `join`
            self._plans.remove(plan)
        self._last_resort.end_spill()

    def step(self) -> float | None:
        """Do the next step, unless another thread does one; from any thread.

        Returns:
            How many seconds may pass before the next step. The caller should come back sooner when
            an ack came in. None when the end is over: `report` is set and printed.
        """
        wait_seconds = self._lock.run(self._next_step, _BUSY)
        if wait_seconds != _BUSY:
            return wait_seconds
        if self._monotonic() > self._plan.deadline_seconds + _LATE_SECONDS:
            self.cut_short()
            return None
        return _BUSY_SECONDS

    @property
    def is_stepping_here(self) -> bool:
        """Whether this call interrupted a step of its own thread, and so cannot do the next."""
        return self._lock.is_owned()

    def steps(self) -> Iterator[float]:
        """Do all steps of the end; yield after each how many seconds may pass before the next."""
        self._client.buffer.close_intake()
        yield from self._deliver()
        for line in self._refuse_rest():
            write = functools.partial(self._last_resort.write_line, line)
            self._note_written((yield from self._retry(write, self._plan.deadline_seconds)))
        yield from self._deliver()  # the end records, which waited for that
        if self.report is not None:
            return  # `cut_short` has reported while a step hung
        self._last_resort.end_spill()
        report = self._account()
        self._is_over(report)
        until = max(self._plan.deadline_seconds, self._monotonic() + _REPORT_SECONDS_MIN)
        for line in self._lines_of(report):
            yield from self._retry(functools.partial(self._last_resort.go_first, line), until)
        # The lines that the report held up come now: there may be no next write.
        until = min(until, self._monotonic() + _QUEUE_SECONDS_MAX)
        yield from self._retry(self._last_resort.step_back, until)
        self._publish()
        self.report = report  # not before: where this is interrupted, `cut_short` reports

    def seconds_left(self) -> float:
        """Return how long this can still take."""
        return max(0.0, self._plan.deadline_seconds - self._monotonic())

    def cut_short(self) -> DrainReport:
        """End the client now, because the call that drove the steps cannot go on."""
        self._client.buffer.close_intake()
        for line in self._refuse_rest():
            self._note_written(self._last_resort.write_line(line))
        report = self._account()
        self._is_over(report)
        self._last_resort.step_back()
        for line in self._lines_of(report):
            self._last_resort.write_in_turn(line)
        self._publish()
        self.report = report
        return report

    def correct_report(self, *, goes_on: bool = False) -> bool:
        """Go on with a spill that ran out of time, and report once more if anything has changed.

        From any thread. The client has ended, and the application goes on. A last line is only true
        at the very end of the process, so its exit hooks call this.

        Args:
            goes_on: Whether the process goes on, and there is time to wait for a full stderr.

        Returns:
            Whether the spill is still not over.
        """
        if self.report is None:
            return False
        self._spill_left_over(_LEFT_OVER_SECONDS if goes_on else 0.0)
        now = self._client.buffer.report(self.report.reason, self.report.seconds)
        if now.late_counts == self.report.late_counts:
            return self._has_left_over
        self._is_over(now)
        is_due = self._always_report or not now.says_all_is_well
        line = self._report_line(now, "report correction")
        is_said = not is_due or self._last_resort.write_in_turn(line)
        self._publish()
        if is_said:  # not before: another thread may end the process as soon as this is set
            self.report = now
        return self._has_left_over

    def _spill_left_over(self, patience_seconds: float) -> None:
        """Write what the spill had no time for; no call of the application waits for that.

        A full stderr is waited for `patience_seconds` at most.
        """
        if self._spill is None or not self._has_left_over:
            return
        until = self._monotonic() + _LEFT_OVER_SECONDS
        try:
            while wait_seconds := self._write_slice(self._spill, until, newest_first=False):
                patience_seconds -= wait_seconds
                if patience_seconds < 0.0:
                    return
                self._last_resort.wait_writable(wait_seconds)
        except Exception as error:
            if is_interruption(error):
                raise
            self._spilling = False
            self._last_resort.warn_of_bug("a spill", error)

    @property
    def _has_left_over(self) -> bool:
        """Whether a spill ran out of time, and its rest may be written yet."""
        return self._spilling and bool(self._client.buffer.spilling.bytes_to_spill)

    @property
    def _plan(self) -> DrainPlan:
        """The plan that ends first; that of a stop clock that has begun, if it ends before all.

        A process that goes on after that clock's deadline has no clock any more.
        """
        plans = tuple(self._plans)  # another thread may change them meanwhile
        plan = min(plans, key=lambda plan: plan.deadline_seconds)
        stop = registry.stop_deadline_seconds()
        if stop is None or not plan.started_seconds < stop < plan.deadline_seconds:
            return plan
        return DrainPlan.until(plan.started_seconds, stop, ends_process=plan.ends_process)

    def _next_step(self) -> float | None:
        wait_seconds = next(self._steps, None)
        if wait_seconds is None and self.report is None:  # not begun, or interrupted in a step
            self._steps = self.steps()
            wait_seconds = next(self._steps, None)
        return wait_seconds

    def _deliver(self) -> Iterator[float]:
        """Wait until all that is numbered is acked, or spill it."""
        due_seconds = -math.inf
        while any(chunk.entries for chunk in self._client.buffer.unsettled()):
            now = self._monotonic()
            if now < due_seconds:
                yield due_seconds - now
                continue
            wait_seconds = self._deliver_some()
            if wait_seconds is None:
                return
            wait_seconds = min(wait_seconds, self.seconds_left())
            due_seconds = now + min(wait_seconds, _DECISION_SECONDS)
            yield wait_seconds

    def _refuse_rest(self) -> Iterator[bytes]:
        """Yield a line for each record that has a place and could not be numbered."""
        buffer = self._client.buffer
        buffer.refuse_rest(self._unnumbered)
        while self._unnumbered:
            item = self._unnumbered[0]
            self._number = self._number or buffer.number_refused()
            line = self._refused_line(*item)
            if line is None:
                self._note_written(False)
            else:
                yield line
            if self._unnumbered and self._unnumbered[0] is item:  # else `cut_short` took it
                self._number = ""
                self._unnumbered.popleft()  # not before: the end may be cut short

    def _refused_line(self, tag: Tag, body: bytes) -> bytes | None:
        """Return the line of a record that could not be numbered; None if there is to be none."""
        buffer = self._client.buffer
        if self._spill is None:
            return None
        try:
            time_ns, record = unpack_unstamped(body, buffer.stamp_key)
            return refused_line(self._number, buffer.tag_of(tag), time_ns, record)
        except Exception as error:
            if is_interruption(error):
                raise
            self._last_resort.warn_of_bug("a refused record", error)
            return None

    def _note_written(self, is_written: bool) -> None:
        if not is_written:
            self._client.buffer.note("refused_unwritten", 1)

    def _deliver_some(self) -> float | None:
        """Do what is due; return the seconds to wait, or None when it is over."""
        plan = self._plan
        if plan != self._hurried_for:
            self._client.hurry(plan)
            self._hurried_for = plan
        now = self._monotonic()
        progress = self._client.progress()
        plan = self._holding(plan, now, progress).limited(progress)
        step = plan.step(now, progress)
        if step is Step.OVER:
            return None
        if step is Step.WAIT and not self._client.broken:
            return plan.wait_seconds(now, progress)
        return self._spill_some(plan, now, progress)

    def _holding(self, plan: DrainPlan, now: float, progress: Progress) -> DrainPlan:
        """Return the plan that holds now; `plan` ends first.

        A stop signal gives no new patience to a program that was about to end by itself.
        """
        for each in tuple(self._plans):
            if each.gives_up(now, progress):
                deadline = min(each.deadline_seconds, plan.deadline_seconds)
                return each._replace(deadline_seconds=deadline)
        return plan

    def _spill_some(self, plan: DrainPlan, now: float, progress: Progress) -> float | None:
        if self._spill is None:
            return self._after_spill(plan)
        if not self._spilling and self._client.buffer.spilling.bytes_to_spill:
            self._spilling = self._announce(plan, progress, self._account())
            if not self._spilling:  # stderr is full; one that is gone holds up nothing
                return self._after_spill(plan) if self._last_resort.is_gone else self._pause()
            self._last_resort.begin_spill(all_callers_wait=plan.has_only_the_reserve)
        until = min(now + _SPILL_SLICE_SECONDS, plan.deadline_seconds)
        newest_first = plan.is_acking(progress)
        wait_seconds = self._write_slice(self._spill, until, newest_first=newest_first)
        if wait_seconds is not None and not self._last_resort.is_gone:
            return wait_seconds
        self._last_resort.end_spill()
        return self._after_spill(plan)

    def _after_spill(self, plan: DrainPlan) -> float | None:
        """Return the seconds to wait when stderr has all, or will take no more.

        None if the end need not wait.
        """
        is_over = plan.give_up_when_stalled or self._client.broken
        return None if is_over else _SPILL_SLICE_SECONDS

    def _announce(self, plan: DrainPlan, progress: Progress, account: DrainReport) -> bool:
        """Name every number that is not acked before the first record is written, and say why.

        If the process is killed in the middle of the spill, the first line is what remains.

        Returns:
            Whether stderr took that line.
        """
        if not self._last_resort.go_first(self._line_of(account, "spill begins")):
            return False
        kind = "give up" if plan.give_up_when_stalled else "spill"
        why = plan.reason_to_spill(self._monotonic(), progress, account.unacked)
        self._last_resort.warn(kind, why)
        return True

    def _account(self) -> DrainReport:
        seconds = self._monotonic() - self._plan.started_seconds
        return self._client.buffer.report(self._reason, seconds)

    def _lines_of(self, report: DrainReport) -> Iterator[bytes]:
        if self._always_report or not report.says_all_is_well:
            yield self._report_line(report, "drain report")
        if self._more is not None:
            yield _line(self._more(report))

    def _report_line(self, report: DrainReport, kind: str) -> bytes:
        """Return a report's line, which says whether a correction may follow."""
        is_final = self._last_resort.has_stopped_others and not self._has_left_over
        return self._line_of(report, kind, final=is_final)

    def _line_of(self, report: DrainReport, kind: str, **more: object) -> bytes:
        """Return a report's line, which says under which key its numbers are in the records."""
        stamp_key = self._client.buffer.stamp_key
        return _line(report.to_json(kind, stamp_key=stamp_key, **more))

    def _retry(self, write: Callable[[], bool], until: float) -> Generator[float, None, bool]:
        """Write until stderr takes it, is gone, or the time is up; return whether it took it."""
        while not write():
            left = until - self._monotonic()
            if left <= 0 or self._last_resort.is_gone:
                return False
            yield min(left, self._pause())
        return True

    def _write_slice(self, spill: Spill, until: float, *, newest_first: bool) -> float | None:
        """Write until then; return the seconds to wait, or None when everything is written."""
        written = spill.bytes_written
        if spill.step(until, newest_first=newest_first):
            return None
        if self._monotonic() >= until:
            return 0.0
        return self._pause(took_some=spill.bytes_written > written)

    def _pause(self, *, took_some: bool = False) -> float:
        """Return how long to leave a full stderr alone: twice as long after each vain try."""
        longer = min(2 * self._pause_seconds, _STALLED_STDERR_SECONDS_MAX)
        self._pause_seconds = _STALLED_STDERR_SECONDS_MIN if took_some else longer
        return self._pause_seconds


def drive(step: Callable[[], float | None], wait: Callable[[float], object] = time.sleep) -> None:
    """Do all of the steps that are left in this thread, and wait in between."""
    while (wait_seconds := step()) is not None:
        wait(wait_seconds)


def _line(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace") + b"\n"
