"""This process, seen from outside: its clients' numbers, its page, and perhaps the endpoint.

A client registers when it is made; metrics cost it nothing more. Where a setting asks for it, a
daemon thread writes the process's page once a second, and another one serves the container's
numbers if no other process does. When the process that serves dies, another one takes its place.
Only these threads use files and sockets, so a slow volume delays no logging call. A forked child
begins anew, without its parent's numbers.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from logship._hooks import registry
from logship._hooks.fork_mark import Mark, fork_mark
from logship._metrics.meter import Meter
from logship._metrics.sums import Numbers, Total, plus_ended, summed, zeros
from logship._settings import Settings
from logship._stderr.last_resort import LastResort

if TYPE_CHECKING:
    from logship._metrics.outlet import Outlet

_METERS_MAX = 100


class Process(registry.Registered):
    """The numbers of this process, and its part in those of the container."""

    def __init__(self) -> None:
        self._here: Mark = fork_mark()
        self._lock = threading.RLock()
        self._meters: dict[int, Meter] = {}
        self._past = zeros()
        self._outlet: Outlet | None = None

    # -- the clients -------------------------------------------------------------------------------

    def add(self, meter: Meter, settings: Settings, voice: LastResort) -> None:
        """Make a client's numbers known.

        The first client whose settings ask for it has a page kept, and the numbers served.

        Args:
            meter: The client's. When the client is gone, its counters stay.
            settings: The client's.
            voice: Where warnings go.
        """
        self.after_fork_in_child()
        self._meters[id(meter)] = meter
        if len(self._meters) > _METERS_MAX:
            self.read()  # which adds up the numbers of clients that are gone
        if self._outlet is not None or not settings.wants_metrics:
            return
        from logship._metrics.outlet import Outlet  # noqa: PLC0415 - few want metrics

        outlet = Outlet(self.page, self.total, settings, voice)
        with self._lock:
            self._outlet = self._outlet or outlet  # another thread may have been first
        if self._outlet is outlet:
            outlet.start()

    def write_last(self) -> None:
        """Have the page written, and wait for that a moment: the process may end."""
        if self._outlet is not None and self._here[0]:
            self._outlet.write_last()

    def write_soon(self) -> None:
        """Have the page written at once, without waiting for it.

        Until a client is used, a page says that nothing would be lost. Without this call a process
        that is killed in its first second would be counted as drained.
        """
        if self._outlet is not None and self._here[0]:
            self._outlet.wake()

    def read(self) -> Numbers:
        """Return the numbers of this process."""
        self.after_fork_in_child()
        living_numbers: list[Numbers] = []
        with self._lock:
            for key, meter in list(self._meters.items()):
                if not meter.is_gone:
                    living_numbers.append(meter.read())
                elif self._meters.pop(key, None) is not None:
                    self._past = plus_ended(self._past, meter.remains())
            return summed(living_numbers, self._past)

    def page(self) -> tuple[bool, Numbers]:
        """Return whether nothing would be lost if this process were killed now, and its numbers."""
        # In this order: what is done by then is in the numbers.
        is_done = all(each.is_done or each.is_gone for each in list(self._meters.values()))
        return is_done, self.read()

    def total(self) -> Total:
        """Return the numbers of the container where pages are kept, else of this process."""
        self.after_fork_in_child()
        if self._outlet is None:
            return Total(self.read(), 0)
        pages = self._outlet.refreshed()
        if pages is not None:
            return pages.total()
        return self._outlet.last_total or Total(self.read(), 0)

    def end_pages(self) -> None:
        """Let go of the directory of the pages, because it is about to be removed."""
        if self._outlet is not None:
            self._outlet.end()

    # -- fork --------------------------------------------------------------------------------------

    def after_fork_in_child(self) -> None:
        """Forget the parent's numbers in a forked child, and close its files.

        The fork hook calls it. uWSGI runs no fork hooks, so what reads or adds numbers calls it
        too.
        """
        if self._here[0]:
            return  # it is of this process already
        outlet = self._outlet
        self._here = fork_mark()
        self._lock = threading.RLock()
        self._meters, self._past, self._outlet = {}, zeros(), None
        if outlet is not None:
            outlet.abandon()


HERE = Process()
"""This process."""

registry.add(HERE)
