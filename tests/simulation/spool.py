"""A simulated client's view of its spool: the product's upkeep, with the judge listening."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from logship._client.upkeep import SpoolUpkeep
from logship._spool.adoption import AdoptedChunk
from logship._spool.orphans import Orphans
from logship._spool.progress import RecoveryState
from logship._stderr.last_resort import LastResort
from tests.simulation.disk import SimulatedDisk
from tests.simulation.wire import decode

if TYPE_CHECKING:
    from tests.simulation.client import SimulatedClient


class WatchedOrphans:
    """What dead processes left, in the midst of faults; tells the judge what is adopted."""

    def __init__(self, client: SimulatedClient, disk: SimulatedDisk) -> None:
        self.orphans = disk.orphans()
        self.orphans.warn = WatchedLastResort(client.last_resort, disk).warn
        self._client = client
        self._disk = disk

    def step(self) -> AdoptedChunk | RecoveryState:
        """Do as `Orphans.step` does."""
        with self._disk.recovering():
            found = self.orphans.step()
        if self._disk.faults is not None and found is RecoveryState.AWAITING_ORPHANS:
            self._disk.faults.told()
        if isinstance(found, AdoptedChunk):
            history = self._client.history
            dead = self._disk.estate.life_of(found.adoption.name)
            frame = decode(found.id, found.stream.tag, found.data, history.options.stamp_key)
            history.judge.adopted(frame, dead)
        return found

    @property
    def deadline_seconds(self) -> float | None:
        """When to take the next step."""
        return self.orphans.deadline_seconds

    def close(self) -> None:
        self.orphans.close()


class WatchedLastResort:
    """Where a person is told of the spool; the judge hears it, without paths."""

    def __init__(self, last_resort: LastResort, disk: SimulatedDisk) -> None:
        self._last_resort = last_resort
        self._disk = disk

    def warn_of_bug(self, where: str, error: BaseException) -> None:
        """Fail: recovery has none."""
        del where
        raise error

    def warn(self, kind: str, text: str, interval_seconds: float = 0.0) -> None:
        """Do as `LastResort.warn` does, but for words of success, and of the dead."""
        faults = self._disk.faults
        is_dead = faults is not None and faults.is_dead
        if kind == "volume" or text.startswith("shipped ") or is_dead:
            return
        text = self._disk.said(text)
        if kind == "recovery":
            self._disk.estate.said(text)
        self._last_resort.warn(kind, text, interval_seconds)


def upkeep_of(client: SimulatedClient, disk: SimulatedDisk, orphans: WatchedOrphans) -> SpoolUpkeep:
    return SpoolUpkeep(
        client.buffer,
        client.storage,
        cast(Orphans, orphans),
        last_resort=cast(LastResort, WatchedLastResort(client.last_resort, disk)),
    )
