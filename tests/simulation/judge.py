"""Decides whether a history was a good one; knows what happened from the wire and the producers.

It uses nothing of the product but names of reasons. What the client says of itself (its counters,
its report) is compared with what the judge counted on its own; see `accounts`.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

from logship._reasons import MIXED, OVERFLOW, QUARANTINED, SPILLED, WITHHELD
from tests.simulation.accounts import check_declared
from tests.simulation.ledgers import Life, StreamLedger
from tests.simulation.options import Options
from tests.simulation.wire import NO_SERIAL, Frame, Violation

if TYPE_CHECKING:
    from tests.simulation.estate import Estate
    from tests.simulation.network import Link

_MOMENT = 1e-6
_SILENT_LOSSES_BEFORE_REORDER = 4
"""Two connections lost in silence begin a trial, two more set a chunk aside."""

_LONE_LOSSES_OF_THE_GUILTY = 2
_ACCUSATIONS_OF_THE_GUILTY = 2
"""So often others were acked after it had been lost alone twice."""

_OVERTAKEN_SECONDS = 20.0
_HURRIED_OVERTAKEN_SECONDS = 2.0
_HURRIED_ACK_SECONDS_MIN = 5.0
_HURRIED_WAIT_SECONDS = 0.25
_ENDS_SECONDS = 3.0
_RETURN_SECONDS = 60.0
_NO_ANSWER_SECONDS = 1.0
_NO_ANSWER_FAILURES = 32


_NEVER_IN_A_CHUNK = frozenset({OVERFLOW, SPILLED, WITHHELD})
"""Why a number that was given out may never have been in a chunk."""


class Judge:
    """One history's judge.

    Attributes:
        acked_seconds: When an ack reached the client last.
        progress_seconds: The same, or when a server refused a chunk.
        refusals: How often a server refused a chunk for what is in it.
        innocents: Records that were quarantined on good evidence, and were not poison.
        unproven: Poison that was left at the end, for want of anything to compare it with.
        estate: What is known of processes with a spool, where there are any.
    """

    def __init__(self, options: Options) -> None:
        self.acked_seconds = self.progress_seconds = 0.0
        self.refusals = 0
        self.innocents = 0
        self.unproven = 0
        self.estate: Estate | None = None
        self._options = options
        self._late_seconds = options.timer_late_seconds + _MOMENT
        self._frames: dict[str, Frame] = {}
        self._stamps: dict[int, tuple[str, int]] = {}
        self._durable: set[str] = set()
        self._ledgers: dict[str, StreamLedger] = {}

    # -- the client's beginning and its producers ------------------------------------------------

    def begin(self, number: int) -> Life:
        """A client was made."""
        options = self._options
        return Life(number, options.ack_timeout_seconds, options.backoff_seconds_max)

    # -- on the wire -----------------------------------------------------------------------------

    def frame(self, chunk_id: str) -> Frame | None:
        """Return what was sent under this id."""
        return self._frames.get(chunk_id)

    def sent(self, link: Link, frame: Frame, now: float) -> None:
        known = self._frames.get(frame.id)
        if known is None:
            self._sent_first(link, frame, now)
        elif known.was_split:
            raise Violation(f"chunk {frame.id} was sent again after its halves")
        elif known is not frame:
            raise Violation(f"chunk {frame.id} was sent again with other entries or another tag")
        if self._was_passed_over(link.life, frame, now):
            frame.is_suspect = True
        elif frame.id in link.outstanding:
            raise Violation(f"chunk {frame.id} was sent twice on one connection")
        if not link.outstanding and link.condemned_seconds != now:
            link.quiet_since = now
        link.outstanding[frame.id] = frame
        if len(link.outstanding) > self._options.window:
            self._check_window(link, now)
        frame.overtaken_seconds = None
        self._sent_in_order(link, frame)

    def _forget_passed_over(self, link: Link, frame: Frame, now: float) -> None:
        """The client waits for this one no more; that does not end the silence."""
        if link.outstanding.pop(frame.id, None) is not None:
            link.condemned_seconds = now

    def _check_window(self, link: Link, now: float) -> None:
        waiting = self._waiting(link, now)
        if waiting > self._options.window:
            raise Violation(f"{waiting} chunks are in flight")

    def _waiting(self, link: Link, now: float) -> int:
        """Count the chunks that an ack may still be expected for: not those passed over."""
        passed_over = [
            frame
            for frame in link.outstanding.values()
            if self._was_passed_over(link.life, frame, now)
        ]
        return len(link.outstanding) - len(passed_over)

    def _sent_in_order(self, link: Link, frame: Frame) -> None:
        highest = link.highest_sent.get(frame.stream, 0)
        if frame.numbers[0] > highest:
            link.highest_sent[frame.stream] = frame.numbers[-1]
        elif not (link.life.reorders or frame.is_suspect or frame.was_recovered):
            raise Violation(
                f"{frame.stream}:{frame.numbers[0]} was sent behind {highest} on one connection"
            )

    def _sent_first(self, link: Link, frame: Frame, now: float) -> None:
        numbers = frame.numbers
        if any(one >= next_one for one, next_one in pairwise(numbers)):
            raise Violation(f"numbers in chunk {frame.id} do not ascend: {numbers}")
        self._frames[frame.id] = frame
        stream = self._ledger(frame.stream, link.life)
        carrier = stream.carrier
        for number, serial in zip(numbers, frame.serials, strict=True):
            before = carrier.get(number)
            if before is not None:
                self._check_half(link, before, frame, now)
                if before.serials[before.numbers.index(number)] != serial:
                    raise Violation(f"number {frame.stream}:{number} was given out twice")
            elif serial != NO_SERIAL:
                if serial in self._stamps:
                    raise Violation(f"record {serial} has a second stamp: {number}")
                self._stamps[serial] = (frame.stream, number)
            carrier[number] = frame
        for gap in frame.gaps:
            self._check_gap(stream, gap)

    def _check_half(self, link: Link, whole: Frame, half: Frame, now: float) -> None:
        """A record may have a new chunk only after its chunk was tried and taken apart."""
        if half.whole is whole:
            return
        if half.whole is not None or not set(half.numbers) < set(whole.numbers):
            raise Violation(f"the records of chunk {whole.id} got the new id {half.id}")
        half.whole = whole
        if not whole.was_split:
            whole.was_split = True
            whole.was_passed_over = whole.is_suspect and self._was_passed_over(
                link.life, whole, now
            )
            if not (whole.was_passed_over or self._had_trial(whole)):
                raise Violation(f"chunk {whole.id} was taken apart without a trial")
            self._forget_passed_over(link, whole, now)
        half.is_suspect = whole.is_suspect
        link.life.reorders = self._stream_of(half).life.reorders = True

    @staticmethod
    def _had_trial(frame: Frame) -> bool:
        """Tell whether it was lost alone twice, or once behind a record that had been."""
        return frame.lone_losses >= _LONE_LOSSES_OF_THE_GUILTY or frame.was_probe

    def _was_passed_over(self, life: Life, frame: Frame, now: float) -> bool:
        if frame.overtaken_seconds is None:
            return False
        return now >= frame.overtaken_seconds + self._patience(life) - _MOMENT

    def _patience(self, life: Life) -> float:
        patience = min(_OVERTAKEN_SECONDS, self._options.ack_timeout_seconds)
        return min(patience, _HURRIED_OVERTAKEN_SECONDS) if life.hurried else patience

    def _check_gap(self, stream: StreamLedger, gap: tuple[int, int, str]) -> None:
        """What was sent is no gap unless it was given up, and a gap has the reason for that."""
        first, last, reason = gap
        if stream.life.damaged:
            return  # it may have been sent, before it was damaged
        for number in range(first, last + 1):
            given_up = stream.given_up.get(number)
            if given_up is None and number in stream.carrier:
                raise Violation(f"number {number} was sent and is declared {reason}")
            reasons = _NEVER_IN_A_CHUNK if given_up is None else {given_up, SPILLED}
            if reason != MIXED and reason not in reasons:
                raise Violation(f"number {number} is declared {reason}, not one of {reasons}")

    def ack_reached(self, link: Link, chunk_id: str, now: float) -> None:
        if chunk_id not in link.outstanding:
            return
        was_sent_before = True
        for other in link.outstanding.values():
            if other.id == chunk_id:
                was_sent_before = False
            elif other.overtaken_seconds is None and (was_sent_before or other.is_suspect):
                other.overtaken_seconds = now
        del link.outstanding[chunk_id]
        link.acks += 1
        link.quiet_since = self.acked_seconds = self.progress_seconds = now
        life = link.life
        life.struck.pop(chunk_id, None)
        if life.struck:
            for struck in life.struck.values():
                struck.accusations += 1
                struck.losses_since_ack = 0
            life.struck.clear()
        life.failures = life.silent_losses = 0

    # -- what dead processes left ----------------------------------------------------------------

    def adopted(self, frame: Frame, dead: Life) -> None:
        """A client takes over a chunk of a dead process, whether it was sent before or not."""
        known = self._frames.get(frame.id)
        if known is not None and known.payload != frame.payload:
            raise Violation(f"chunk {frame.id} was recovered with other entries than were sent")
        stream = self._ledger(frame.stream, dead)
        stream.life.reorders = True  # what it had in flight, others have seen already
        for number, serial in zip(frame.numbers, frame.serials, strict=True):
            if not dead.damaged:
                self._check_stamp(stream, frame, number, serial)
            stream.carrier[number] = frame
        for gap in frame.gaps:
            self._check_gap(stream, gap)
        # It comes again where it is acked, and that could not be stored.
        frame.was_recovered = not stream.acked.isdisjoint(frame.numbers)
        self._frames[frame.id] = frame

    def _check_stamp(self, stream: StreamLedger, frame: Frame, number: int, serial: int) -> None:
        """A number belongs to one record, and a record has one number, from every sender."""
        before = stream.carrier.get(number)
        if before is not None and before.serials[before.numbers.index(number)] != serial:
            raise Violation(f"number {frame.stream}:{number} was given out twice")
        if serial == NO_SERIAL:
            return
        stamp = (frame.stream, number)
        if self._stamps.setdefault(serial, stamp) != stamp:
            raise Violation(f"record {serial} has a second stamp: {number}")

    # -- what servers have -----------------------------------------------------------------------

    def stored(self, server: int, frame: Frame) -> None:
        """A server has every record of the frame, and did not ack it yet."""
        frame.stored_by.add(server)
        stream = self._stream_of(frame)
        numbers = frame.numbers
        if numbers[0] > stream.highest_stored:
            stream.stored.update(numbers)
            stream.highest_stored = numbers[-1]
            return
        fresh = [number for number in numbers if number not in stream.stored]
        if fresh and fresh[0] < stream.highest_stored and not stream.life.reorders:
            raise Violation(
                f"{frame.stream}:{fresh[0]} arrived first after {stream.highest_stored} had"
            )
        stream.stored.update(numbers)
        stream.highest_stored = max(stream.highest_stored, numbers[-1])

    def forgotten(self, server: int, frame: Frame) -> None:
        """A server that died has lost a frame that it had not acked."""
        frame.stored_by.discard(server)

    def acked_by(self, server: int, frame: Frame) -> None:
        """A server is about to ack a frame, and will keep it."""
        assert server in frame.stored_by, "the simulated server acks what it does not have"
        self._durable.add(frame.id)
        stream = self._stream_of(frame)
        for first, last, _ in frame.gaps:
            stream.declared.update(range(first, last + 1))
        if frame.end is not None:
            stream.end_number = frame.numbers[-1]
            stream.accepted_at_end = frame.end.get("logship_accepted")
        if self.estate is not None:
            self.estate.acked(frame)

    def refused(self, frame: Frame, now: float, *, closes: bool) -> None:
        """A server does not take a frame, for what is in it or because it cannot keep it."""
        self.progress_seconds = now
        self.refusals += 1
        if not closes:
            self._stream_of(frame).life.reorders = True

    def _ledger(self, name: str, life: Life) -> StreamLedger:
        """Return a stream's ledger, a new one where nothing is known of this life's stream."""
        stream = self._ledgers.get(name)
        if stream is None:
            stream = self._ledgers[name] = life.streams[name] = StreamLedger(life)
        return stream

    def _stream_of(self, frame: Frame) -> StreamLedger:
        return self._ledgers[frame.stream]

    # -- connections -----------------------------------------------------------------------------

    def connects(self, life: Life, now: float) -> None:
        if life.failed_seconds is None:
            return
        life.attempt_seconds = now
        waited, most = now - life.failed_seconds, life.wait_seconds_max if life.failures else 0.0
        if waited > most + self._late_seconds:
            raise Violation(f"waited {waited:.3f} s to connect; {most} would be right")

    def connect_failed(self, life: Life, now: float) -> None:
        life.failures += 1
        life.failed_seconds = now
        life.had_no_answer = now >= life.attempt_seconds + _NO_ANSWER_SECONDS

    def link_ended(self, link: Link, now: float) -> None:
        """A connection ended, or the client gives it up with good reason."""
        life = link.life
        life.failed_seconds = now
        life.had_no_answer = False
        if link.acks:
            return
        life.failures += 1
        if not link.outstanding:
            return
        life.silent_losses += 1
        if life.silent_losses >= _SILENT_LOSSES_BEFORE_REORDER:
            life.reorders = True
        if len(link.outstanding) == 1:
            frame = next(iter(link.outstanding.values()))
            frame.lone_losses += 1
            frame.losses_since_ack += 1
            if frame.losses_since_ack == _LONE_LOSSES_OF_THE_GUILTY:
                life.struck[frame.id] = frame
            if life.silent_losses > _LONE_LOSSES_OF_THE_GUILTY:
                frame.was_probe = True

    def gave_up(self, link: Link, now: float) -> None:
        """The client ends a connection that the network and the server did not end."""
        silent = now - link.quiet_since
        if not link.outstanding:
            link.life.failed_seconds = now
            if now < link.opened_seconds + _RETURN_SECONDS - _MOMENT:
                raise Violation("ended an idle connection")
            return
        if silent < link.life.ack_timeout_seconds - _MOMENT:
            raise Violation(f"gave up a connection after {silent:.3f} s without an ack")
        self.link_ended(link, now)

    def check_wait(self, life: Life, failures: int) -> None:
        """The client asked how long to wait after so many failures in a row."""
        right = max(life.failures, _NO_ANSWER_FAILURES) if life.had_no_answer else life.failures
        if failures != right:
            raise Violation(f"backs off after {failures} failures in a row, not {right}")

    def hurried(self, life: Life, link: Link | None, budget_seconds: float, now: float) -> None:
        """The client was told that time is short."""
        timeout = max(_HURRIED_ACK_SECONDS_MIN, budget_seconds / 3)
        life.hurried = True
        life.ack_timeout_seconds = min(life.ack_timeout_seconds, timeout)
        life.wait_seconds_max = min(life.wait_seconds_max, _HURRIED_WAIT_SECONDS)
        if life.failed_seconds is not None:
            life.failed_seconds = max(life.failed_seconds, now)
        if link is not None:
            link.quiet_since = now

    def check_silence(self, link: Link, now: float) -> None:
        """Look whether the client waits longer for an ack than it said it would."""
        # What is sent in place of a record that was given up does not end the silence. But its gap
        # record may be sent in a later turn of the same moment, and begins one.
        silent = now - max(link.quiet_since, link.gave_up_seconds)
        if silent > link.life.ack_timeout_seconds + self._late_seconds and self._waiting(link, now):
            raise Violation(f"waits for an ack since {silent:.3f} s")

    # -- what the client does with its chunks -----------------------------------------------------

    def released(self, life: Life, chunk_id: str) -> None:
        """The client frees a chunk as acked."""
        frame = self._frames.get(chunk_id)
        if frame is None or chunk_id not in self._durable:
            raise Violation(f"chunk {chunk_id} was released, and no server has acked it")
        stream = life.streams[frame.stream]
        if not stream.acked.isdisjoint(frame.numbers):
            raise Violation(f"chunk {chunk_id} was released twice")
        stream.acked.update(frame.numbers)
        for first, last, reason in frame.gaps:
            stream.told.update(range(first, last + 1))
            if reason == WITHHELD:  # its report need not name them again
                stream.withheld.update(range(first, last + 1))
            elif reason == MIXED:  # nor those of the withheld records among these
                stream.mixed.update(range(first, last + 1))
        life.acked += frame.records

    def recovered(self, chunk_id: str) -> None:
        """The client frees a chunk of a dead process as acked."""
        frame = self._frames.get(chunk_id)
        if frame is None or chunk_id not in self._durable:
            raise Violation(f"chunk {chunk_id} was recovered, and no server has acked it")
        self._stream_of(frame).acked.update(frame.numbers)

    def chunk_given_up(
        self, life: Life, link: Link | None, frame: Frame, reason: str, now: float
    ) -> None:
        """The client gives up a chunk, its own or a dead process's.

        Args:
            life: The client's.
            link: Its connection.
            frame: The chunk.
            reason: Why.
            now: When.
        """
        stream = self._ledger(frame.stream, life)
        is_own = stream.life is life
        if reason == QUARANTINED:
            self._quarantined(life, link, frame.id, now)
        elif is_own and frame.id in self._frames:
            raise Violation(f"chunk {frame.id} was sent and is given up: {reason}")
        stream.given_up |= dict.fromkeys(frame.numbers, reason)
        if life.is_closing:
            life.given_up_late.append(frame)
        if self.estate is not None and not is_own:
            self.estate.gave_up(frame, reason)

    def _quarantined(self, life: Life, link: Link | None, chunk_id: str, now: float) -> None:
        """A chunk that no server takes is a single record, and it is proven."""
        frame = self._frames.get(chunk_id)
        if frame is None or len(frame.numbers) != 1:
            raise Violation(f"chunk {chunk_id} was quarantined, which is no single record")
        closed_on = frame.accusations >= _ACCUSATIONS_OF_THE_GUILTY
        passed_over = frame.is_suspect and self._was_passed_over(life, frame, now)
        if not closed_on and not passed_over:
            raise Violation(f"record {frame.stream}:{frame.numbers[0]} was quarantined unproven")
        if link is not None:
            self._forget_passed_over(link, frame, now)
            link.gave_up_seconds = now
        if not self.is_poison(frame):
            self.innocents += 1

    def is_poison(self, frame: Frame) -> bool:
        limit = self._options.frame_bytes_max
        return bool(frame.poison) or 0 < limit < len(frame.payload)

    # -- accounts --------------------------------------------------------------------------------

    def drained(self, life: Life, text: str, left: list[Frame], silent_seconds: float) -> None:
        """Everything had healed when the client closed: nothing may be left but what is poison.

        Args:
            life: The client's.
            text: Its report.
            left: What is still in its buffer; poison may be, if nothing else was there to show
                that the server takes other records. And end records may be, which were not acked
                in time, if nothing else is.
            silent_seconds: For how long no ack has come.
        """
        gives_up_ends = silent_seconds >= _ENDS_SECONDS and all(map(_is_end, left))
        for frame in left:
            is_excused = len(frame.numbers) == 1 and self.is_poison(frame)
            if not (is_excused or gives_up_ends):
                raise Violation(f"did not drain, {frame.stream}:{frame.numbers} is left: {text}")
        self.unproven += sum(map(self.is_poison, left))
        excused = {
            (frame.stream, number)
            for frame in (*left, *life.given_up_late)
            for number in frame.numbers
        }
        for told in json.loads(text)["streams"]:
            check_declared(life, told, excused)


def _is_end(frame: Frame) -> bool:
    return frame.end is not None and len(frame.numbers) == 1
