"""Shipping what dead processes left on a spool, from another process: `logship recover`.

An application that will not start again cannot ship what it left, so a second container that
shares the volume does. It is a shipper whose only records are adopted ones. When it is asked to
stop it goes on for as long as any process on the spool is alive and time is left, because what
dies last matters most. What it then cannot ship it writes to stderr, for a person to find, and
leaves on the spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from logship._buffer.chunk import Chunk
from logship._client.shipper import Shipper
from logship._delivery.drain import SPILL_SECONDS_PER_BYTE, DrainPlan, Step
from logship._metrics.process import Process
from logship._process.clock import Started, StopClock
from logship._settings import Settings
from logship._signal_names import signal_name
from logship._spool.adoption import AdoptedChunk
from logship._spool.orphans import Orphans, unknown_owner
from logship._spool.progress import RecoveryCounters, RecoveryState
from logship._stderr.last_resort import LastResort
from logship._stderr.spill import spilled_lines

_CHECK_SECONDS = 0.1
_YIELD_SECONDS = 0.005
_RESERVE_SECONDS_MIN = 0.5
_RESERVE_SHARE_MAX = 0.5


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What a recoverer did.

    Attributes:
        counters: What became of the orphans.
        seconds: How long it took.
        complete: Whether the last search found nothing more, everything that was found was acked
            and is gone, and nothing was damaged, refused or given up; for `run`, also whether no
            process on the spool was alive.
    """

    counters: RecoveryCounters
    seconds: float
    complete: bool

    @property
    def fields(self) -> dict[str, Any]:
        """All that it says, as plain values."""
        counters = dataclasses.asdict(self.counters)
        return {"complete": self.complete, "seconds": round(self.seconds, 3), **counters}

    def to_json(self) -> str:
        """Return the report as one JSON line."""
        return json.dumps({"logship": "recovery report", **self.fields})


class Recoverer:
    """Ships what orphans hold until there are none, or it is told to stop.

    Args:
        settings: Of the shipper; its own `spool_dir` is not used.
        path: The spool's directory.
        watches: Whether it waits for more processes to die, until it is told to stop.
        last_resort: Takes the rest; stderr.
        clock: The stop clock, where the caller has one.
        is_last: Whether nothing will ship what processes leave that are alive at its end. Then
            only `finish` or the deadline ends it, and it is not complete if there are any.
        owner_of: As of `Orphans`.
    """

    def __init__(
        self,
        settings: Settings,
        path: Path,
        *,
        watches: bool = False,
        last_resort: LastResort | None = None,
        clock: StopClock | None = None,
        is_last: bool = False,
        owner_of: Callable[[str], str] = unknown_owner,
        monotonic: Callable[[], float] = time.monotonic,
        **parts: Any,
    ) -> None:
        self._settings = dataclasses.replace(settings, spool_dir=None, report=False)
        self._path = path
        self._watches = watches
        self._is_last = is_last
        self._monotonic = monotonic
        self._last_resort = last_resort or LastResort()
        self._orphans = Orphans(path, any_owner=True, owner_of=owner_of, monotonic=monotonic)
        self._clock = clock or StopClock(settings.stop_timeout_seconds)
        self._parts = parts
        self._shipper: Shipper | None = None
        self._woken = asyncio.Event()
        self._hurries = False
        self._unasked_seconds = 0.0  # when the sidecar last had nothing to ack
        self._last_pass: DrainPlan | None = None

    def stop(self, signum: int) -> None:
        """Make a last pass, within the stop timeout; on the loop."""
        self._clock.start(Started(self._monotonic(), signal_name(signum)))
        self.look_now()

    def look_now(self) -> None:
        """Look for dead processes at once: one has died; on the loop."""
        self._orphans.scan_now()
        if self._shipper is not None:
            self._shipper.stop_lingering()
        self._woken.set()

    def has_shipped_from(self, name: str) -> bool:
        """Tell whether a chunk of this process directory was on its way; from any thread."""
        return self._orphans.has_shipped_from(name)

    def finish(self, plan: DrainPlan) -> None:
        """Make a last pass, whichever processes are alive, by this plan's deadline at the latest.

        What cannot be shipped is written to stderr, for the spool may go with the container.
        On the loop.
        """
        self._last_pass = plan
        self.look_now()

    async def run(self) -> RecoveryReport:
        """Ship until it is over, and return what became of it."""
        started = self._unasked_seconds = self._monotonic()
        shipper = Shipper(
            self._settings,
            orphans=self._orphans,
            last_resort=self._last_resort,
            monotonic=self._monotonic,
            **self._parts,
        )
        self._shipper = shipper
        shipper.on_progress(self._woken.set)
        shipper.start()
        while not self._is_over(shipper):
            await self._wait(shipper)
        if self._deadline_seconds is not None:
            self._abandon(shipper)
        is_over = not shipper.broken and not shipper.buffer.adopted
        leaves_some_alive = self._is_last and self._orphans.others_live
        complete = is_over and self._orphans.is_complete and not leaves_some_alive
        shipper.shut()
        shipper.buffer.close_intake()
        return RecoveryReport(self._orphans.counters, self._monotonic() - started, complete)

    def _is_over(self, shipper: Shipper) -> bool:
        """Tell whether there is nothing more to do, or no more time to do it in."""
        if shipper.broken or self._orphans.is_closed:
            return True
        now, deadline, plan = self._monotonic(), self._deadline_seconds, self._last_pass
        idle = self._orphans.is_idle and self._orphans.has_scanned
        if deadline is not None and now >= deadline - self._reserve_seconds(shipper):
            return True
        if plan is not None:  # a last pass that no clock bounds waits for acks until it stalls
            stalled = plan.give_up_when_stalled and plan.step(now, shipper.progress()) != Step.WAIT
            return idle or stalled
        if self._is_last:  # a process that is not there yet may die, too
            return False
        if deadline is not None:
            return idle and not self._orphans.others_live
        if not shipper.buffer.adopted:  # files are read; those of a slow disk for long
            self._unasked_seconds = now
        last = max(self._unasked_seconds, shipper.delivery.last_ack_seconds or 0.0)
        return not self._watches and (idle or now >= last + self._settings.exit_stall_seconds)

    @property
    def _deadline_seconds(self) -> float | None:
        """When the process ends, or the last pass, whichever is sooner; monotonic."""
        last_pass = None if self._last_pass is None else self._last_pass.deadline_seconds
        known = [each for each in (self._clock.deadline_seconds, last_pass) if each is not None]
        return min(known, default=None)

    def _reserve_seconds(self, shipper: Shipper) -> float:
        """Return the time to keep for writing the rest to stderr."""
        held = sum(chunk.size for chunk in shipper.buffer.adopted)
        wanted = max(_RESERVE_SECONDS_MIN, held * SPILL_SECONDS_PER_BYTE)
        return min(wanted, self._settings.stop_timeout_seconds * _RESERVE_SHARE_MAX)

    async def _wait(self, shipper: Shipper) -> None:
        """Wait for an ack or a signal; with a deadline, look for dead processes all the time."""
        deadline = self._deadline_seconds
        if deadline is not None:
            self._orphans.scan_now()
            if not self._hurries:
                self._hurries = True
                shipper.hurry(DrainPlan.until(self._monotonic(), deadline))
            shipper.stop_lingering()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CHECK_SECONDS):
                await self._woken.wait()
        self._woken.clear()

    # -- what cannot be shipped --------------------------------------------------------------------

    def _abandon(self, shipper: Shipper) -> None:
        """Write what is left to stderr, until the deadline; it stays on the spool all the same."""
        shipper.shut_connection()
        for chunk in self._rest(shipper):
            for line, is_control in spilled_lines(chunk.stream.tag, bytes(chunk.data)):
                if not self._write(line):
                    return
                self._orphans.counters.records_abandoned += not is_control

    def _rest(self, shipper: Shipper) -> Iterator[Chunk]:
        """Yield what is adopted and not acked, then what else is found on the spool in time."""
        yield from shipper.buffer.adopted
        self._orphans.scan_now()
        while self._seconds_left() > 0:
            found = self._orphans.step()
            if isinstance(found, AdoptedChunk):
                yield found
            elif found is RecoveryState.AWAITING_ACKS:
                self._orphans.skip()
            elif found is RecoveryState.AWAITING_ORPHANS:
                return

    def _write(self, line: bytes) -> bool:
        """Write a line to stderr; False when there is no more time for it, or stderr is gone.

        Records in memory go first: unlike these, they are nowhere else.
        """
        while (left := self._seconds_left()) > 0:
            if not self._last_resort.others_go_first:
                if self._last_resort.write_line(line):
                    return True
                if self._last_resort.is_gone:
                    return False
                self._last_resort.wait_writable(min(left, _CHECK_SECONDS))
            time.sleep(min(left, _YIELD_SECONDS))  # a full disk takes no bytes and is writable
        return False

    def _seconds_left(self) -> float:
        return (self._deadline_seconds or 0.0) - self._monotonic()


async def recover(settings: Settings, path: Path, *, watches: bool) -> RecoveryReport:
    """Recover until done or told to stop, by a stop signal; in the main thread."""
    last_resort, process = LastResort(), Process()
    recoverer = Recoverer(settings, path, watches=watches, last_resort=last_resort, process=process)
    loop = asyncio.get_running_loop()

    def stop(signum: int, frame: FrameType | None) -> None:
        del frame
        loop.call_soon_threadsafe(recoverer.stop, signum)

    for signum in settings.stop_signals_or_default:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, stop)
    if watches:
        last_resort.write_line(f"logship recover: watching {path}\n".encode())
    report = await recoverer.run()
    for signum in settings.stop_signals_or_default:
        signal.signal(signum, signal.SIG_IGN)  # another one must not spoil the exit code
    process.write_last()  # most recoverers are gone before their page is written again
    return report


def settings_for_recovery(**settings: Any) -> Settings:
    """Return the settings of a recoverer, from the environment but for its own spool.

    Raises:
        SettingsError: One of them is wrong.
    """
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("LOGSHIP_SPOOL")
    }
    return Settings.from_env(environ, **settings)
