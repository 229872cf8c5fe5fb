"""The threads that write a process's page and begin to serve the container's numbers.

Most programs ask for no metrics and import none of this: pages need checksums, temporary files and
locks. The module is imported when the first client is made whose settings ask for metrics, in the
thread that makes it, so that a child that is forked later has it already.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from logship import _system
from logship._hooks import late_imports
from logship._hooks.locking import Bell
from logship._hooks.threads import OwnThread
from logship._metrics.pages import Pages, PagesError
from logship._metrics.sums import Numbers, Total
from logship._settings import Settings, variable_name
from logship._stderr.last_resort import LastResort

if TYPE_CHECKING:
    from logship._metrics.prometheus import Endpoint

PAGES = "metrics"
"""The directory of the pages in a spool."""

WRITE_SECONDS = 1.0
"""How old a page may be. A SIGKILL costs the counters at most so much, and nothing else."""

_LAST_WRITE_SECONDS = 1.0
"""How long the end of a client waits until its last numbers are written."""


def pages_directory(settings: Settings) -> Path | None:
    """Return where the pages lie; None where each process serves its own numbers, or none.

    Without a directory from the operator, all processes of one port share one in the temporary
    directory. Processes that ask for any free port serve one endpoint each, and so do all on
    Windows, and all where there is no place for temporary files.
    """
    port = settings.metrics_port
    if settings.metrics_dir is not None:
        return Path(settings.metrics_dir)
    if port is not None and settings.spool_dir is not None:
        return Path(settings.spool_dir) / PAGES
    if not port or not _system.IS_POSIX:
        return None
    try:
        temporary = tempfile.gettempdir()
    except OSError:
        return None
    return Path(temporary) / f"logship-metrics-{os.geteuid()}-{port}"


def environ_for_children(settings: Settings) -> dict[str, str]:
    """Return the variables that make child processes keep their pages with this process's.

    A supervisor's children may have a spool that it has not. They would keep their pages there, and
    contend for the port. None of them serves, because the supervisor outlives them.
    """
    directory = pages_directory(settings)
    if directory is None:
        return {}
    return {
        variable_name("metrics_dir"): str(_system.absolute(directory)),
        variable_name("metrics_port"): "",
    }


class Outlet:
    """Writes this process's page in a thread, and serves if no other process does.

    Args:
        page, total: Of the `Process`.
        settings: Of the client that was made first.
        voice: Where warnings go.
    """

    def __init__(
        self,
        page: Callable[[], tuple[bool, Numbers]],
        total: Callable[[], Total],
        settings: Settings,
        voice: LastResort,
    ) -> None:
        self._page, self._total = page, total
        self._settings = settings
        self._voice = voice
        self._lock = threading.RLock()
        self._woken = Bell()
        self._asked: list[Bell] = []
        self._thread = OwnThread(self._run, "metrics")
        self._starter: OwnThread | None = None
        self._has_looked = False  # for the pages, since another program removed them
        self._pages: Pages | None = None
        self._endpoint: Endpoint | None = None
        self.last_total: Total | None = None

    def start(self) -> None:
        """Start the thread."""
        with contextlib.suppress(RuntimeError):  # at interpreter exit: no scrape will come
            self._thread.start()

    def wake(self) -> None:
        """Have the page written now."""
        self._woken.ring()

    def write_last(self) -> None:
        """Have the page written now, and wait for it a moment: the process may end."""
        if self._thread.is_alive():
            written = Bell()
            self._asked.append(written)
            self._woken.ring()
            written.wait(_LAST_WRITE_SECONDS)

    def refreshed(self) -> Pages | None:
        """Write this process's page, and return all of them; None if there are none."""
        with self._lock:
            self._write()
            return self._pages if self._pages is not None and self._pages.is_begun else None

    def end(self) -> None:
        """Write no more, because the directory is about to go; `last_total` keeps the sum."""
        with self._lock:
            self._write()
            pages = self._pages
            if pages is not None:
                with contextlib.suppress(OSError):  # the program has closed all descriptors
                    self.last_total = pages.total()
                self._pages = None
                pages.close()

    def abandon(self) -> None:
        """Close the parent's files in a forked child, without touching any lock."""
        if self._endpoint is not None:
            self._endpoint.close_in_child()
        if self._pages is not None:
            self._pages.close()

    # -- the thread that writes --------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._guard(self._take_turn)
            self._woken.wait(WRITE_SECONDS)

    def _guard(self, step: Callable[[], None]) -> None:
        """Take a step of a thread; metrics must neither end nor do harm."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - a thread must go on
            self._warn("bug", f"an error of its own in metrics, please report it: {error!r}")

    def _take_turn(self) -> None:
        asked = [*self._asked]
        with self._lock:
            self._write()
        for written in asked:
            self._asked.remove(written)
            written.ring()
        port = self._settings.metrics_port
        if port is not None and self._may_serve(port):
            # From a separate thread, which imports a large library and resolves a name: the page
            # must be written meanwhile.
            serve = partial(self._guard, partial(self._serve, port))
            self._starter = OwnThread(serve, "metrics-starter")
            with contextlib.suppress(RuntimeError):  # out of threads; or at interpreter exit
                self._starter.start()

    def _write(self) -> None:
        """Write the page, and make what it needs; under the lock."""
        if self.last_total is not None:
            return
        if self._pages is None:
            self._open_pages()
            self._has_looked = True
        if self._pages is None:
            return
        try:
            is_done, numbers = self._page()
            self._pages.write(numbers, is_done=is_done)
        except OSError as error:
            is_first = not self._pages.is_begun
            effect = "metrics show each process alone" if is_first else "metrics may be old"
            reason = f"{self._pages.path} cannot be written: {error.strerror}"
            self._warn("page", f"{effect}: {reason}; logship keeps trying")
            if not self._pages.is_there:  # else this page would be counted, and another one begun
                self._pages.close()
                self._pages = None
                self._has_looked = False

    def _open_pages(self) -> None:
        """Open the pages; the next turn tries again, for their volume may come later."""
        directory = pages_directory(self._settings)
        if directory is None:
            if self._settings.metrics_port and _system.IS_POSIX:
                text = "there is no place for temporary files; set LOGSHIP_METRICS_DIR"
                self._warn("pages", f"metrics show each process alone: {text}")
            return
        try:
            self._pages = Pages(directory)
        except PagesError as error:
            self._warn("pages", f"metrics show each process alone: {error}")

    def _may_serve(self, port: int) -> bool:
        """Return whether to begin to serve: no process does that shares its pages with this one."""
        with self._lock:
            is_starting = self._starter is not None and self._starter.is_alive()
            if self._endpoint is not None or is_starting or not self._has_looked:
                return False
            pages = self._pages
            if pages is None or not pages.is_begun or pages.is_claimed:
                return self.last_total is None
            try:
                return pages.claim_endpoint(port)
            except OSError:  # there is no lock: the first process that gets the port serves
                return True

    def _serve(self, port: int) -> None:
        host = self._settings.metrics_host
        prometheus = late_imports.late("logship._metrics.prometheus")  # its import is not cheap
        late_imports.late("encodings.idna")  # otherwise `resolved` would import it
        collector = prometheus.TotalCollector(self._total)

        def begin(address: str) -> Endpoint:
            endpoint: Endpoint = prometheus.Endpoint(address, port, collector)
            self._endpoint = endpoint
            return endpoint

        try:
            address = prometheus.resolved(host)
            # A child that is forked before the endpoint is noted would keep the port.
            endpoint = late_imports.without_fork(partial(begin, address))
        except OSError as error:
            failure = f"{host}:{port}: {error.strerror or error}"
            self._warn("port", f"metrics cannot be served on {failure}; {_ADVICE}")
        else:
            if port == 0:
                line = f"logship: metrics are served on {endpoint.url}\n"
                self._voice.write_in_turn(line.encode())

    def _warn(self, kind: str, text: str) -> None:
        """Write a warning once."""
        self._voice.warn(f"metrics {kind}", text, interval_seconds=float("inf"))


_ADVICE = (
    "the program continues without them. If another logship process serves on that port, give "
    "both the same metrics_dir (LOGSHIP_METRICS_DIR); if they belong to different users, it must "
    "belong to root and have mode 1777"
    if _system.IS_POSIX
    else "the program goes on without; on Windows each process needs a metrics_port of its own"
)
