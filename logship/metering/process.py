"""This process, seen from outside: its clients' numbers, its page, and perhaps the endpoint.

A client makes itself known when it is made; that is all that metrics cost it. Where a setting
asks for it, a daemon thread writes the process's page once a second, and serves the container's
numbers if no other process does: when the one that serves dies, another takes its place. All
files and sockets are that thread's affair, so that a slow volume delays nobody who logs. After a
fork the child begins anew, with nothing of its parent's.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol
from weakref import ref

from logship import living
from logship.buffer.counters import DrainReport
from logship.lastresort import LastResort
from logship.metering.measures import Numbers, buried, summed, zeros
from logship.metering.meter import Meter, Tally
from logship.metering.pages import Claim, Page, Pages, PagesError, Total
from logship.settings import Settings, variable_name
from logship.threads import OwnThread

WRITE_SECONDS = 1.0
"""How old a page may be: what a SIGKILL can cost the counters, and nothing else."""

_LAST_WRITE_SECONDS = 1.0
"""So long the end of a client waits for its last numbers to be written down."""

_ENTRIES_MAX = 100


@dataclass(frozen=True, slots=True)
class Choices:
    """What the settings say about metrics.

    Attributes:
        port: To serve on; 0 is any free one; None serves nothing.
        host: To serve on.
        directory: Of the pages; None where one is to be found.
    """

    port: int | None
    host: str
    directory: Path | None

    @classmethod
    def of(cls, settings: Settings) -> Choices | None:
        """Return what `settings` say, or None where nobody wants metrics."""
        directory = settings.metrics_dir
        if settings.metrics_port is None and directory is None:
            return None
        if directory is None and settings.spool_dir is not None:
            directory = str(Path(settings.spool_dir) / "metrics")
        where = None if directory is None else Path(directory)
        return cls(settings.metrics_port, settings.metrics_host, where)

    def pages_directory(self) -> Path | None:
        """Return where the pages lie; None where each process is on its own.

        Without a directory of the operator's it is one in the temporary directory, for all that
        are to be found on this port. Who asks for any free port asks for one each.
        """
        if self.directory is not None or not self.port:
            return self.directory
        return Path(tempfile.gettempdir()) / f"logship-metrics-{os.geteuid()}-{self.port}"


def environ_for_children(settings: Settings) -> dict[str, str]:
    """Return the variables by which the clients of child processes are counted with ours.

    For a supervisor, whose children may have a spool that it has not: they would keep their pages
    there, and contend for the port. None of them serves, for the supervisor outlives them.
    """
    choices = Choices.of(settings)
    directory = None if choices is None else choices.pages_directory()
    if directory is None:
        return {}
    return {
        variable_name("metrics_dir"): str(directory.absolute()),
        variable_name("metrics_port"): "",
    }


class Endpoint(Protocol):
    """A server of metrics."""

    @property
    def port(self) -> int:
        """Where it listens."""

    @property
    def url(self) -> str:
        """Where a scraper finds it."""

    def close_in_child(self) -> None:
        """In a forked child: close the listening socket, which the parent still has."""


class _Entry(NamedTuple):
    """A client: its meter while it is there, and what stays of it."""

    meter: ref[Meter]
    tally: Tally


class Process:
    """The numbers of this process, and its part in those of the container."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._entries: dict[int, _Entry] = {}
        self._past = zeros()
        self._outlet: Outlet | None = None

    # -- the clients -------------------------------------------------------------------------------

    def add(self, meter: Meter, settings: Settings, voice: LastResort) -> None:
        """Make a client's numbers known, and begin what its settings ask for.

        Args:
            meter: The client's; held weakly. When it is gone, its counters stay.
            settings: The client's.
            voice: Where a person is told what is wrong.
        """
        self._be_this_process()
        self._entries[id(meter.tally)] = _Entry(ref(meter), meter.tally)
        if len(self._entries) > _ENTRIES_MAX:
            self.read()  # which moves the numbers of those that are gone
        self.begin(settings, voice)

    def begin(self, settings: Settings, voice: LastResort) -> None:
        """Keep a page and serve, where the settings ask for it; the first who asks decides.

        Each client does this when it is made. A supervisor that has no client of its own may,
        and then answers for the processes that share its `metrics_dir`.
        """
        self._be_this_process()
        choices = Choices.of(settings)
        if choices is not None and self._outlet is None:
            self._outlet = Outlet(self, choices, voice)
            self._outlet.start()

    def drained(self, meter: Meter, report: DrainReport) -> Callable[[], None]:
        """Take note of a client's end.

        Returns:
            What has it written down, and waits for that a moment: the process may end now.
        """
        meter.drained(report)
        if self._outlet is not None and self._pid == os.getpid():
            return self._outlet.write_last
        return lambda: None

    def read(self) -> Numbers:
        """Return the numbers of this process."""
        self._be_this_process()
        living_numbers: list[Numbers] = []
        with self._lock:
            for key, entry in list(self._entries.items()):
                meter = entry.meter()
                if meter is not None:
                    living_numbers.append(meter.read())
                elif self._entries.pop(key, None) is not None:
                    self._past = buried(self._past, entry.tally.remains())
            return summed(living_numbers, self._past)

    def total(self) -> Total:
        """Return the numbers of the container, where pages are kept, else of this process."""
        self._be_this_process()
        if self._outlet is None:
            return Total(self.read(), 0)
        pages = self._outlet.refreshed()
        if pages is not None:
            return pages.total()
        return self._outlet.last_total or Total(self.read(), 0)

    def end_pages(self) -> None:
        """Let go of the directory of the pages, before whoever made it removes it."""
        if self._outlet is not None:
            self._outlet.end()

    @property
    def is_done(self) -> bool:
        """Whether nothing would be lost if this process were killed now."""
        meters = [entry.meter() for entry in list(self._entries.values())]
        return all(meter.is_done for meter in meters if meter is not None)

    # -- fork --------------------------------------------------------------------------------------

    def end_at_exit(self) -> None:
        """At interpreter exit: nothing, a client's end has been written down."""

    def after_fork_in_child(self) -> None:
        """In a forked child: nothing of the parent's counts, and nothing of his stays open."""
        outlet = self._outlet
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._entries, self._past, self._outlet = {}, zeros(), None
        if outlet is not None:
            outlet.abandon()

    def _be_this_process(self) -> None:
        """Begin anew where no hook of fork has done it, as under uWSGI."""
        if self._pid != os.getpid():
            self.after_fork_in_child()


class Outlet:
    """The thread that writes this process's page, and serves if nobody else does.

    Args:
        process: Whose page.
        choices: What the settings say.
        voice: Where a person is told what is wrong.
    """

    def __init__(self, process: Process, choices: Choices, voice: LastResort) -> None:
        self._process = process
        self._choices = choices
        self._voice = voice
        self._lock = threading.RLock()
        self._woken = threading.Event()
        self._asked, self._answered = 0, threading.Condition()
        self._answers = 0
        self._thread = OwnThread(self._run, "metrics")
        self._is_open = False
        self._pages: Pages | None = None
        self._page: Page | None = None
        self._claim: Claim | None = None
        self._endpoint: Endpoint | None = None
        self.last_total: Total | None = None

    def start(self) -> None:
        """Start the thread."""
        with contextlib.suppress(RuntimeError):  # at interpreter exit: nobody will ask any more
            self._thread.start()

    def write_last(self) -> None:
        """Have the page written now, and wait for it a moment, in case this is the end."""
        if not self._thread.is_alive():
            return
        with self._answered:
            self._asked = mine = self._asked + 1
            self._woken.set()
            self._answered.wait_for(lambda: self._answers >= mine, _LAST_WRITE_SECONDS)

    def refreshed(self) -> Pages | None:
        """Return the pages, that of this process with the numbers of this moment; None if none."""
        with self._lock:
            self._write()
            return self._pages if self._page is not None else None

    def end(self) -> None:
        """Write no more: the directory is about to go. Who asks is told the sum as it is now."""
        pages = self.refreshed()
        with self._lock:
            if pages is not None:
                self.last_total = pages.total()
                self._page = self._pages = None
                pages.close()

    def abandon(self) -> None:
        """In a forked child: close what is the parent's, and touch none of the locks."""
        if self._endpoint is not None:
            self._endpoint.close_in_child()
        if self._pages is not None:
            self._pages.close()

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._woken.clear()
            asked = self._asked
            try:
                with self._lock:
                    self._write()
                with self._answered:
                    self._answers = asked
                    self._answered.notify_all()
                if self._endpoint is None and self._choices.port is not None:
                    self._try_to_serve(self._choices.port)
            except Exception as error:  # noqa: BLE001 - metrics must neither end nor harm anybody
                self._warn("bug", f"an error of its own in metrics, please report it: {error!r}")
            self._woken.wait(WRITE_SECONDS)

    def _write(self) -> None:
        """Write the page, making what it needs; under the lock."""
        if self.last_total is not None:
            return
        if not self._is_open:
            self._is_open = True
            self._open_pages()
        if self._pages is None:
            return
        try:
            if self._page is None or not self._page.is_there:
                self._page = self._pages.begin()
            # Asked first: what is done by then is in what is read.
            is_done = self._process.is_done
            self._page.write(self._process.read(), is_done=is_done)
        except OSError as error:
            reason = f"{self._pages.path} cannot be written: {error.strerror}"
            self._warn("page", f"metrics may be old: {reason}; it goes on trying")
            if not self._pages.is_there:  # else our page would be counted, and begun anew
                self._pages.close()
                self._pages = self._page = self._claim = None
                self._is_open = False

    def _open_pages(self) -> None:
        directory = self._choices.pages_directory()
        if directory is None:
            return
        try:
            self._pages = Pages(directory)
        except PagesError as error:
            self._warn("pages", f"metrics are of each process alone: {error}")

    def _try_to_serve(self, port: int) -> None:
        """Serve, where no other process of this container does."""
        if self._claim is None and self._pages is not None:
            self._claim = self._pages.claim_endpoint(port)
            if self._claim is None:
                return
        last_port = self._claim.last_port if self._claim is not None and port == 0 else 0
        # By name: it is above this room, and prometheus_client is not cheap to import.
        serve: Serve = importlib.import_module("logship.metrics").serve
        for number in dict.fromkeys((last_port or port, port)):
            try:
                self._endpoint = serve(self._choices.host, number)
            except OSError as error:
                failure = f"{self._choices.host}:{number}: {error.strerror or error}"
            else:
                self._tell(self._endpoint, port)
                return
        self._warn("port", f"metrics cannot be served on {failure}; {_ADVICE}")

    def _tell(self, endpoint: Endpoint, port: int) -> None:
        if self._claim is not None:
            self._claim.note_port(endpoint.port)
        if port == 0:
            line = f"logship: metrics are served on {endpoint.url}\n"
            self._voice.write_in_turn(line.encode())

    def _warn(self, kind: str, text: str) -> None:
        """Say it once."""
        self._voice.warn(f"metrics {kind}", text, interval_seconds=float("inf"))


Serve = Callable[[str, int], Endpoint]

_ADVICE = (
    "the program goes on without. If it is another process of logship's that serves there, give "
    "both the same metrics_dir (LOGSHIP_METRICS_DIR)"
)

HERE = Process()
"""This process."""

living.add_forkable(HERE)
