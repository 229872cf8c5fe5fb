"""What both clients have in common; on an event loop's thread it never waits for space."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from logship._buffer.entrance import Outcome
from logship._client.intake import Intake, Record
from logship._client.parts import chosen_settings
from logship._client.shipper import Shipper
from logship._delivery.transport import Transport
from logship._hooks import fork, registry
from logship._hooks.fork_mark import Mark, fork_mark
from logship._hooks.interruptions import is_interruption
from logship._hooks.locking import SectionLock
from logship._hooks.preexec import is_about_to_exec
from logship._hooks.threads import is_starting_one_here, may_wait_here
from logship._settings import Settings
from logship._stderr.last_resort import LastResort
from logship._stderr.spill import refused_line

if TYPE_CHECKING:
    from logship._settings.keywords import SettingsKeywords

FALL_BACK_SECONDS_MAX = 1.0
"""How long a record that is refused because the client is closed may wait for stderr."""

_ACCEPTED = Outcome.ACCEPTED
_Begun = tuple[Shipper, Intake, Mark]


class Emitter(registry.Registered):
    """A client that takes records; its shipper sends them.

    After a fork, the parent ships the parent's records. The child's first record begins anew, with
    another shipper: the child may be about to exec and log nothing.

    Both clients have its constructor, and describe the arguments.

    Attributes:
        settings: What to do.
        intake: The way into the shipper's buffer.
        when_begun_anew: Called in a forked child after its first record made a new shipper.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        transport: Transport | None = None,
        parts: Mapping[str, Any] | None = None,
        **options: Unpack[SettingsKeywords],
    ) -> None:
        self.settings: Settings = chosen_settings(settings, **options)
        self._parts = {"transport": transport, **(parts or {})}
        self._shipper = Shipper(self.settings, **self._parts)
        self.intake: Intake = self._shipper.new_intake()
        self._here: Mark = fork_mark()  # not zero: shipper and intake belong to this process
        self._lock = SectionLock()
        self._begun: list[_Begun] = []
        self._is_over = False  # the end came, and nothing was held
        self.when_begun_anew: Callable[[], None] = lambda: None
        if not self.settings.disabled:
            registry.add(self)
            fork.reach_ends_of_children()
            # Asked behind `add`: the end may not reach this client.
            if registry.exit_is_over or registry.must_end():
                self._is_over = True
                self._shipper.buffer.close_intake()
            else:
                self._begin_here()

    def __repr__(self) -> str:
        """Return what a person who debugs wants to see first."""
        buffer = self._shipper.buffer
        held = f"buffer={buffer.bytes_held}/{buffer.bytes_max} bytes"
        return f"<logship.{type(self).__name__} {self._shipper.delivery!r} {held}>"

    @property
    def shipper(self) -> Shipper:
        """What ships this process's records; after a fork it may be another one."""
        if not self._here[0]:
            self._begin_anew()
        return self._shipper

    @property
    def is_of_this_process(self) -> bool:
        """Whether its buffer is; a forked child has none before its first record."""
        return bool(self._here[0])

    @property
    def is_open_here(self) -> bool:
        """Whether its buffer is of this process, and its end has not come."""
        is_over = self._is_over or self._shipper.closing.report is not None
        return self.is_of_this_process and not is_over

    @property
    def used(self) -> bool:
        """Whether this process has logged anything, without starting anything to find out."""
        return self.is_of_this_process and self._shipper.buffer.is_used

    @property
    def is_busy_here(self) -> bool:
        """Whether this call has interrupted, in its own thread, what the client's end needs."""
        return (
            self._shipper.buffer.is_held_here
            or self.last_resort.is_held_here
            or self._shipper.closing.is_stepping_here
            or is_starting_one_here()  # the shipper's thread is to end
        )

    @property
    def intake_closed(self) -> bool:
        """Whether the client takes no more records."""
        return self._shipper.buffer.intake_closed or self.settings.disabled

    @property
    def last_resort(self) -> LastResort:
        """Standard error, for what a closed client refuses."""
        return self._shipper.last_resort

    def exit_is_interrupted(self) -> None:
        """See `Registered`."""
        if self.is_open_here:
            self._shipper.break_down("the exit hook was interrupted")

    def emit(
        self,
        record: Record,
        tag: str | None = None,
        *,
        time_ns: int | None = None,
        writes_refused: bool = False,
    ) -> bool:
        """Put a record into the buffer; never raises, never waits for space on a loop's thread.

        Args:
            record: The record; any mapping.
            tag: Its tag; by default the setting `tag`.
            time_ns: Its time in nanoseconds since the epoch; now by default.
            writes_refused: Whether a record that is refused after `close` is written to stderr,
                because this caller returns nothing.

        Returns:
            Whether the record is in the buffer. If it is not, `redact` withheld it or the overflow
            policy dropped or spilled it, and it is counted and declared; after `close` it is
            refused.
        """
        try:
            if not self._here[0]:
                self._begin_anew()
            intake = self.intake
            route = intake.tag if tag is None else intake.route(tag)
            body = intake.pack(record, time_ns)
            outcome = intake.put(route, body)
            if outcome is _ACCEPTED:
                return True
            outcome = intake.admit_after(outcome, route, body)
        except Exception as error:
            if is_interruption(error):
                raise
            self.last_resort.warn_of_bug("emit", error)
            self._shipper.buffer.note("refused", 1)
            outcome = Outcome.REFUSED
        if outcome is Outcome.REFUSED and (writes_refused or not self.intake_closed):
            self.write_refused(record, tag, time_ns)
        return outcome is _ACCEPTED

    def withhold(self, reason: str, tag: str | None = None) -> bool:
        """Keep a record back on purpose; it is counted, numbered and declared.

        Args:
            reason: One of `ON_PURPOSE`.
            tag: Its route; the default one where none is given.

        Returns:
            False where the client takes no more records, and nothing happened.
        """
        if not self._here[0]:
            self._begin_anew()
        return self.intake.withhold(self.intake.route(tag), reason)

    def write_refused(self, record: Record, tag: str | None, time_ns: int | None) -> None:
        """Write a record to stderr that got no number; never raises. The arguments are `emit`'s.

        While intake is open, the line is written at the pace of spilled lines or not at all.
        """
        self.last_resort.stop_here()  # where the call must not return, no line is written
        time_ns = time.time_ns() if time_ns is None else time_ns
        buffer, number, is_written = self._shipper.buffer, "", False
        try:
            fields = self.intake.shown(record, time_ns)
            if fields is None:
                return  # it is withheld, as it would have been before the end
            number = buffer.number_refused()
            is_written = self._write_refused(number, tag, time_ns, fields)
        except Exception as error:
            if is_interruption(error):
                raise
            self.last_resort.warn_of_bug("a refused record", error)
            if not number:
                buffer.number_refused()  # of a line that will be missing
        if not is_written:
            buffer.note("refused_unwritten", 1)
        self.last_resort.stop_here()  # once more: the last report may not count this record

    def _write_refused(self, number: str, tag: str | None, time_ns: int, fields: Record) -> bool:
        """Write the line of a refused record; return whether stderr has it, or will.

        As fast as spilled ones while intake is open, because many may follow. A child that is about
        to exec has intake open as well, but no report that would count the lines that were not
        written.
        """
        if self._shipper.spill is None:
            text = "records that are logged after the end are lost: last_resort is none"
            self.last_resort.warn("late", text)
            return False
        route = self._shipper.buffer.tag_of(self.intake.route(tag))
        line = refused_line(number, route, time_ns, self.intake.readable(fields))
        if self.intake_closed or is_about_to_exec():
            patience_seconds = FALL_BACK_SECONDS_MAX if may_wait_here() else 0.0
            return self.last_resort.write_in_turn(line, patience_seconds)
        return self.last_resort.offer_line(line)

    def correct_report(self, *, goes_on: bool = False) -> bool:
        """See `Closing.correct_report`, of this process."""
        closing = self._shipper.closing
        return self.is_of_this_process and closing.correct_report(goes_on=goes_on)

    # -- fork --------------------------------------------------------------------------------------

    def after_fork_in_child(self) -> None:
        """Have the next record begin anew.

        If a child that is about to exec logs before that, no thread will ship that. A spool
        outlives the exec; without one the parent's shipper stays, which refuses all records now.
        """
        if self._here[0]:
            return  # an earlier fork hook of the application has logged, and this has begun anew
        self._lock.reset()
        self._begun = []
        self._is_over = registry.exit_is_over
        self._shipper.after_fork_in_child()
        if self.settings.spool_dir is None and is_about_to_exec():
            self._here = fork_mark()

    def _begin_anew(self) -> None:
        """Replace what belongs to the parent process: shipper, buffer, streams, thread.

        Other threads, and signal handlers in the middle of this, may do the same. The first shipper
        in the list is the one.
        """
        mark = fork_mark()
        shipper = Shipper(self.settings, **self._parts)
        mine = (shipper, shipper.new_intake(), mark)
        self._begun.append(mine)
        first = next((each for each in self._begun if each[2][0]), None)  # not of a parent
        if first is None:  # a signal handler in the middle has forked
            shipper.after_fork_in_child()
            self._begin_anew()
        elif self._lock.hold(lambda: self._take_over(first, mine)):
            self.when_begun_anew()

    def _take_over(self, first: _Begun, mine: _Begun) -> bool:
        """Put the first shipper in the place of the parent's; tell whether it is mine and ships."""
        if not self._here[0]:
            self._shipper.after_fork_in_child()  # where no hook of fork did, as under uWSGI
            self._shipper, self.intake, self._here = first
        if first is not mine:
            mine[0].shut()  # it may have a spool
            with contextlib.suppress(ValueError):  # a signal handler in the middle has forked
                self._begun.remove(mine)  # else it would be counted as a client
            return False
        if self._is_over:
            mine[0].buffer.close_intake()
            return False
        if not self.settings.disabled:
            self._begin_here()
        return True

    def _begin_here(self) -> None:
        """Begin to ship, if that needs no event loop of the caller's."""
