"""`install()`, the one line in an entrypoint that makes a program's log records survive its end.

It connects a `BackgroundClient`, a `Handler` on the root logger, the watchdog, the stop signals,
the exit and fork hooks, and the hooks for uncaught exceptions.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

from logship import _system
from logship._client.background import BackgroundClient
from logship._delivery.drain import DrainPlan
from logship._hooks import fork, registry, runtimes
from logship._hooks.interruptions import is_interruption
from logship._hooks.late_imports import installing
from logship._installation import parts
from logship._installation.handler import Handler
from logship._installation.loggers import Loggers
from logship._installation.surroundings import warn_of_basic_config, warn_of_surroundings
from logship._installation.uncaught import take_uncaught
from logship._process import stopfile
from logship._process.clock import Started, StopClock
from logship._process.watchdog import Watchdog
from logship._settings import TASK_METADATA_VARIABLE, Settings, program_name
from logship._spelling import nearest
from logship.errors import SettingsError

if TYPE_CHECKING:
    from logship._installation.announcement import TaskAnnouncement
    from logship._installation.floods import FloodControl
    from logship._installation.levels import LevelsFile
    from logship._settings.keywords import SettingsKeywords

_REPLACED = (
    (sys, "excepthook"),
    (threading, "excepthook"),
    (logging, "basicConfig"),
    (signal, "signal"),
    (signal, "getsignal"),
    (signal, "set_wakeup_fd"),
    (registry, "stop_deadline_seconds"),
    (registry, "must_end"),
)
"""Functions that an installation replaces by its own."""


class Installation(registry.Registered):
    """What `install` made, for the one process it was made in and its forked children.

    A test kit brings other parts of the client.

    Attributes:
        is_wired: Whether `wire` was called, and `unwire` was not.
    """

    ends_last = True

    def __init__(
        self,
        settings: Settings,
        level: int | str | None,
        console: bool | None,
        client_parts: parts.Parts,
    ) -> None:
        self.level = level
        self._console = console
        _system.make_room_for_high_numbers()
        self.client = BackgroundClient(settings, **client_parts)
        self.handler = Handler(self.client, floods=_flood_control(self.client))
        self._levels = _levels_file(self.client)
        loggers = Loggers(self.handler, settings.loggers) if settings.loggers else None
        self._watched = [each for each in (loggers, self._levels) if each is not None]
        self.clock = StopClock(settings.stop_timeout_seconds, stopfile.reader(os.environ))
        self.watchdog = Watchdog(self.client, self.clock, self._check)
        self._announcement = _announcement(self.client)
        self.is_wired = False
        self._warned_of_removal = False
        self._was_first = not logging.getLogger().handlers
        self._undo = contextlib.ExitStack()

    def wire(self, level: int | str | None = None) -> None:
        """Take over the root logger, signals, exit, fork and uncaught exceptions.

        A signal handler may raise in the middle. Then all is undone, and the next call begins anew.
        A level is the root logger's from now on.
        """
        self.level = self.level if level is None else level
        if self.is_wired:
            logging.getLogger().addHandler(self.handler)  # `dictConfig` may have removed it
            self._warned_of_removal = False
            if level is not None:
                logging.getLogger().setLevel(level)
            return
        self._undo.callback(setattr, self, "is_wired", False)
        self.is_wired = True
        try:
            self._take_over()
        except BaseException:
            self.unwire()
            raise

    def unwire(self) -> None:
        """Undo all that `wire` did. The client stays open, and `wire` may be called again."""
        self._undo.close()

    def stopping(self, reason: str) -> None:
        """Start the stop clock: another handler got the signal."""
        self.clock.start(Started(time.monotonic(), reason))
        self.watchdog.wake()

    def exit_begins(self, *, is_child: bool = False) -> None:
        """See `Registered`."""
        del is_child
        self.watchdog.exit_begins()
        self._check()

    def end_at_exit(self, *, is_child: bool = False) -> None:
        """At interpreter exit, behind the ends of all clients: die by the signal that came, if any.

        Calls of other threads may have been refused since the end of this client.
        """
        del is_child
        self.client.correct_report()
        self.watchdog.exit_ends()

    def after_fork_in_child(self) -> None:
        """In a forked child: drop what is the parent's."""
        if self.watchdog.is_of_this_process:
            return  # an earlier fork hook of the application has logged, and all has begun anew
        self.watchdog.after_fork_in_child()
        if self._announcement is not None:
            self._announcement.after_fork_in_child()

    def begin_child(self) -> None:
        """See `Registered`."""
        self.watchdog.begin_child()

    # -- inside ------------------------------------------------------------------------------------

    def _plan_at_exit(self, *, is_child: bool) -> tuple[DrainPlan, str]:
        """Return the client's plan: by the clock, by the owner of a stop, or by itself."""
        now, settings = time.monotonic(), self.client.settings
        started, deadline = self.clock.started, self.clock.deadline_seconds
        ends = [] if deadline is None else [deadline]
        replaced = self.watchdog.signals.has_another_owner
        # Since 3.13 a child of multiprocessing runs `atexit`. Where a stop clock runs, that holds.
        if is_child or (not ends and fork.is_multiprocessing_child()):
            ends.append(now + settings.child_drain_seconds)
        elif not ends and (replaced or runtimes.is_uwsgi()):
            # perhaps after a stop signal that we were not told of
            ends.append(now + settings.exit_drain_seconds)
        if not ends:
            return BackgroundClient.plan_at_exit(self.client, is_child=False)
        return DrainPlan.until(now, min(ends)), "exit" if started is None else started.reason

    def _take_over(self) -> None:
        for owner, name in (*_REPLACED, (self.client, "plan_at_exit")):
            self._undo.callback(setattr, owner, name, getattr(owner, name))
        self._undo.callback(registry.discard, self)
        registry.add(self)
        self.client.plan_at_exit = self._plan_at_exit  # type: ignore[method-assign]
        self.client.when_begun_anew = self._begin_in_child
        registry.stop_deadline_seconds = lambda: self.clock.deadline_seconds
        registry.must_end = lambda: self.watchdog.signals.must_end
        self._configure_root()
        self._undo.callback(self.watchdog.signals.restore)
        self.watchdog.signals.install()
        take_uncaught(self.handler)
        if self._was_first:
            warn_of_basic_config(self.client.last_resort.warn)
        for each in self._watched:
            self._undo.callback(each.take_back)
        self._check_loggers(waits=True)
        warn_of_surroundings(self.client.last_resort.warn)
        if self._announcement is not None:
            self._announcement.tell()  # which begins to read the metadata
        self._undo.callback(self.watchdog.stop)
        self.watchdog.start()

    def _begin_in_child(self) -> None:
        """In a forked child that logs: watch its clock; warn if gunicorn has patched it since."""
        self.watchdog.start()
        for reason in runtimes.patched_by_greenlets():
            self.client.last_resort.warn("runtime", f"records may be lost at the end: {reason}")

    def _configure_root(self) -> None:
        root, level, console = logging.getLogger(), self.level, self._console
        self._undo.callback(root.setLevel, root.level)
        if level is None and self._was_first and root.level == logging.WARNING:
            level = logging.INFO
        if level is not None:
            root.setLevel(level)
        if console is None:
            console = self._was_first and _is_terminal(sys.stderr)
        if console:
            from logship._installation.console import console_handler  # noqa: PLC0415 - on terminals

            self._add_to_root(console_handler(self.client))
        self._add_to_root(self.handler)

    def _add_to_root(self, handler: logging.Handler) -> None:
        self._undo.callback(logging.getLogger().removeHandler, handler)
        logging.getLogger().addHandler(handler)

    def _check(self) -> None:
        """Check, about once a second and at the exit, for changes that nothing reports."""
        if self.clock.started is None and self.clock.told_deadline() is not None:
            self.stopping("logship run stops")
        self._check_loggers(waits=False)  # it may put the handler back
        self._guarded(self._check_handler)
        if self._announcement is not None:
            self._guarded(self._announcement.tell)
        self.client.last_resort.write_queue()  # stderr may take bytes again, and nothing be logged

    def _check_loggers(self, *, waits: bool) -> None:
        """Check the loggers; perhaps not while another thread holds the lock of `logging`.

        `dictConfig` holds it while it makes handlers, and one of these may wait for a server. The
        file is read without it, because a file system may hang too, and each fork takes the lock.
        """
        if self._levels is not None:
            self._guarded(self._levels.look)
        lock = logging._lock  # type: ignore[attr-defined]
        if lock.acquire(blocking=waits):
            try:
                for each in self._watched:
                    self._guarded(each.check)
            finally:
                lock.release()

    def _guarded(self, check: Callable[[], None]) -> None:
        """Make a check. Loggers and handlers may be of the application: the clock must go on."""
        try:
            check()
        except Exception as error:
            if is_interruption(error):
                raise
            self.client.last_resort.warn_of_bug("a look at the loggers", error)

    def _may_get_records_of(self, handler: logging.Handler) -> bool:
        """Return whether this is a handler of the client, or one of `logging.handlers` before it.

        A `QueueHandler` knows its listener only where `dictConfig` made both, since Python 3.12.
        Without that it counts as one that passes records to such a handler.
        """
        listener = getattr(handler, "listener", None)
        if listener is not None:
            return any(map(self._ships, listener.handlers))
        is_queue = hasattr(handler, "enqueue")
        return is_queue or any(map(self._ships, (handler, getattr(handler, "target", None))))

    def _ships(self, handler: object) -> bool:
        """Return whether this handler, which the application may have made, ships by the client."""
        return isinstance(handler, Handler) and handler.client is self.client

    def _check_handler(self) -> None:
        """Warn if the root logger has no handler of the client; once, until `install` adds it."""
        handlers = logging.getLogger().handlers
        if self._warned_of_removal or any(map(self._may_get_records_of, handlers)):
            return
        self._warned_of_removal = True
        self.client.last_resort.warn(
            "handler",
            "its handler was removed from the root logger (logging.config.dictConfig and Celery do "
            "that), so records no longer reach the sidecar; call logship.install() after "
            "configuring logging (with Celery in a receiver of setup_logging), or list the handler "
            "in your configuration as {'()': 'logship.installed_handler'}",
            interval_seconds=0.0,
        )


_installation: Installation | None = None
_disabled_client: BackgroundClient | None = None


def install(
    level: int | str | None = None,
    console: bool | None = None,
    **settings: Unpack[SettingsKeywords],
) -> BackgroundClient:
    """Ship this program's log records, however the program ends.

    Args:
        level: The root logger's level. If none is given and `logging` is not configured, it is
            INFO. Python's default, WARNING, would hide all lower levels, and a later `basicConfig`
            does nothing once the root logger has a handler.
        console: Whether records also go to stderr. The default is true if stderr is a terminal and
            the root logger has no handler yet.
        settings: Fields of `Settings`; the rest comes from the environment.

    Returns:
        The client. Another call with the same settings returns the same client, and puts the
        handler back if it was removed from the root logger. If it names a level, that is the root
        logger's from then on.

    Raises:
        SettingsError: A setting is wrong, or other settings are installed already.
        UnsupportedRuntime: This is a subinterpreter, or gevent or eventlet has patched this
            program, or uWSGI runs it with options that make shipping impossible.
    """
    chosen = Settings.from_env(os.environ, **settings)

    def install_chosen() -> BackgroundClient:
        global _disabled_client  # noqa: PLW0603 - a process has one root logger
        client_parts = parts.parts_for(settings)
        if chosen.disabled and _installation is None:
            _disabled_client = _disabled_client or BackgroundClient(chosen)
            return _disabled_client
        _check_level(level)
        if _installation is None:
            runtimes.refuse_unsupported(is_spooled=chosen.spool_dir is not None)
            _put(Installation(chosen, level, console, client_parts))
        assert _installation is not None
        _check_same(_installation.client.settings, chosen)
        _installation.wire(level)
        return _installation.client

    return installing(install_chosen)  # else a child could wait for this thread, and not have it


def _put(made: Installation) -> None:
    """Have it be the installation of this process, unless another thread was faster.

    One of the two holds the lock of `logging`, and so waits for no other `install`.
    """
    global _installation  # noqa: PLW0603 - a process has one root logger
    if _installation is None:
        _installation = made
    else:
        made.client.close(timeout=0.0)


def stopping(reason: str = "stopping") -> None:
    """Start the stop clock, because this program was asked to stop and logship did not see it.

    This is for programs and frameworks that handle SIGTERM themselves. Only the first call has an
    effect. Without `install`, the call does nothing.
    """
    if _installation is not None:
        _installation.stopping(reason)


def exchange(other: Installation | None) -> Installation | None:
    """Install another installation or none in the place of this one, for a test kit.

    The one before is returned. It is undone, but its client is still open.
    """

    def exchange_here() -> Installation | None:
        global _installation
        before, _installation = _installation, other
        if before is not None:
            before.unwire()
        if other is not None:
            other.wire()
        return before

    return installing(exchange_here)


def installed_client() -> BackgroundClient | None:
    """Return the client of `install`; None before it was called."""
    return None if _installation is None else _installation.client


def is_installed() -> bool:
    """Tell whether `install` was called in this process, or in one that it was forked from.

    A call that was interrupted does not count.
    """
    return _disabled_client is not None or (_installation is not None and _installation.is_wired)


def installed_handler() -> Handler:
    """Return the installed handler, for `dictConfig`: `{"()": "logship.installed_handler"}`.

    Raises:
        SettingsError: `install` was not called.
    """
    if _installation is not None:
        return _installation.handler
    if _disabled_client is not None:
        return Handler(_disabled_client)
    raise SettingsError("installed_handler: call logship.install() first")


def _announcement(client: BackgroundClient) -> TaskAnnouncement | None:
    """Return what announces the ECS task; None, and nothing imported, outside of ECS."""
    if not os.environ.get(TASK_METADATA_VARIABLE):
        return None
    from logship._installation.announcement import TaskAnnouncement  # noqa: PLC0415 - few are in a task

    return TaskAnnouncement(client, os.environ)


def _flood_control(client: BackgroundClient) -> FloodControl | None:
    """Return what keeps records back, where settings ask for it."""
    if not client.settings.limits_floods:
        return None
    from logship._installation.floods import FloodControl, misspelt_levels  # noqa: PLC0415 - few settings need it

    if text := misspelt_levels(client.settings):
        client.last_resort.warn("sample", text)
    return FloodControl(client.settings)


def _levels_file(client: BackgroundClient) -> LevelsFile | None:
    """Return what watches the file of levels, where settings name one."""
    path = client.settings.levels_file
    if path is None:
        return None
    from logship._installation.levels import LevelsFile  # noqa: PLC0415 - few settings need it

    def told(levels: dict[str, str]) -> None:
        text = "logship: levels of loggers have changed"
        client.emit({client.settings.message_key: text, "level": "WARNING", "levels": levels})

    return LevelsFile(path, told, lambda text: client.last_resort.warn("levels", text))


def _check_level(level: int | str | None) -> None:
    """Raise for a level that `logging` does not know, before anything has begun."""
    try:
        if level is not None:
            logging.Logger("logship").setLevel(level)
    except (TypeError, ValueError):
        meant = nearest(str(level).upper(), logging.getLevelNamesMapping())
        advice = f"did you mean {meant}?" if meant else "give a number, or a name such as INFO"
        raise SettingsError(f"level: {level!r} is not allowed; {advice}") from None


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # None, or closed
        return False


def _check_same(installed: Settings, chosen: Settings) -> None:
    """Raise if other settings are installed already.

    The default tag is the program's name, which changes where a child imports the main module.
    """
    names = Settings.__dataclass_fields__
    different = [name for name in names if getattr(installed, name) != getattr(chosen, name)]
    if different and (different != ["tag"] or chosen.tag != program_name()):
        raise SettingsError(
            f"install: already installed with other settings (different: {', '.join(different)}); "
            "call it once, with the settings that hold for the whole process"
        )
