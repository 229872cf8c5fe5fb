"""The outlet of a process's numbers: the thread that writes its page and serves the container's.

A room of its own, because most programs ask for no metrics and import none of it: a directory of
pages needs checksums, temporary files and locks. It is imported when the first client is made
whose settings ask for it, in the thread that makes it: a child that is forked later finds it there.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from logship.hooks.late_imports import late
from logship.hooks.threads import OwnThread
from logship.metrics.pages import Claim, Page, Pages, PagesError
from logship.metrics.sums import Numbers, Total
from logship.settings import Settings, variable_name
from logship.stderr.last_resort import LastResort

WRITE_SECONDS = 1.0
"""How old a page may be: what a SIGKILL can cost the counters, and nothing else."""

_LAST_WRITE_SECONDS = 1.0
"""So long the end of a client waits for its last numbers to be written down."""


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
        """Return what `settings` say, or None where no metrics are wanted."""
        if not settings.wants_metrics:
            return None
        directory = settings.metrics_dir
        if directory is None and settings.spool_dir is not None:
            directory = str(Path(settings.spool_dir) / "metrics")
        where = None if directory is None else Path(directory)
        return cls(settings.metrics_port, settings.metrics_host, where)

    def pages_directory(self) -> Path | None:
        """Return where the pages lie; None where each process is on its own.

        Without a directory of the operator's it is one in the temporary directory, for all that
        are to be found on this port. Each process that asks for any free port gets one.
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


class Source(Protocol):
    """The process, as far as its outlet sees it."""

    @property
    def is_done(self) -> bool:
        """Whether nothing would be lost if this process were killed now."""

    def read(self) -> Numbers:
        """Return the numbers of this process."""

    def total(self) -> Total:
        """Return the numbers of all processes whose pages it sees."""


class Outlet:
    """The thread that writes this process's page, and serves if no other process does.

    Args:
        process: Whose page.
        choices: What the settings say.
        voice: Where a person is told what is wrong.
    """

    def __init__(self, process: Source, choices: Choices, voice: LastResort) -> None:
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
        with contextlib.suppress(RuntimeError):  # at interpreter exit: there will be no scrape
            self._thread.start()

    def wake(self) -> None:
        """Have the page written now."""
        self._woken.set()

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
        """Write no more: the directory is about to go. A scrape is told the sum as it is now."""
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
        prometheus = late("logship.metrics.prometheus")  # it is not cheap to import
        collectors = [prometheus.TotalCollector(self._process.total)]
        for number in dict.fromkeys((last_port or port, port)):
            try:
                self._endpoint = prometheus.serve(self._choices.host, number, collectors)
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


_ADVICE = (
    "the program goes on without. If it is another process of logship's that serves there, give "
    "both the same metrics_dir (LOGSHIP_METRICS_DIR)"
)
