"""Signals for the command: noted by handlers, and passed on from the main loop.

PID 1 gets the signals of the orchestrator, which are meant for the command. Every signal that can
be handled is passed on, except those that a process causes by its own faults, and SIGVTALRM where
`--multiline-start` is given (`patterns.py`). The handlers only note a signal. The loop that passes
it on also reaps, so no signal can reach a new process that got the number of a dead one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import NamedTuple

from logship._hooks.dispositions import has_default
from logship._settings import Settings
from logship._signal_names import NEVER_SENT_ON, signal_number
from logship.errors import SettingsError


class Noted(NamedTuple):
    """A signal that came: its number before the mapping, and when, monotonic."""

    signum: int
    at_seconds: float


class Signals:
    """The signal handlers of `run`, and a descriptor that wakes the main loop.

    The mapping has the signal to send instead, by the signal that comes.
    """

    def __init__(self, mapping: Mapping[int, int]) -> None:
        self._mapping = mapping
        self._noted: deque[Noted] = deque()
        self.descriptor, self._write_descriptor = os.pipe()
        for descriptor in (self.descriptor, self._write_descriptor):
            os.set_blocking(descriptor, False)

    def take(self) -> None:
        """Install the handlers; in the main thread, before the command is started.

        An ignored signal stays ignored, here and in the command: that is how `nohup` works. The
        command gets SIGPIPE and SIGXFSZ with their defaults all the same, from `subprocess`.
        """
        signal.set_wakeup_fd(self._write_descriptor, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake_only)
        for signum in signal.valid_signals() - NEVER_SENT_ON:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._note)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a blocked one would stop nothing

    def give_back(self) -> None:
        """Undo `take`; signals that came meanwhile do now what they would have done without it."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        for signum in signal.valid_signals() - NEVER_SENT_ON:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, signal.SIG_DFL)
        for noted in self.noted():
            os.kill(os.getpid(), noted.signum)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def wake(self) -> None:
        """Wake the main loop; from any thread."""
        with contextlib.suppress(OSError):  # full: it is awake
            os.write(self._write_descriptor, b"\0")

    def noted(self) -> list[Noted]:
        """Return the signals that came since the last call."""
        with contextlib.suppress(OSError):  # empty; and nothing that matters comes through it
            while os.read(self.descriptor, 4096):
                pass
        return [self._noted.popleft() for _ in range(len(self._noted))]

    def is_stop(self, signum: int, settings: Settings, command: int | None) -> bool:
        """Return whether the signal starts the clock.

        By default SIGHUP does so only if it ends the command. Many programs handle it: they read
        their configuration again.

        Args:
            signum: The signal that came.
            settings: Which signals ask to stop, beside those of the mapping.
            command: The command's process, before it gets the signal; None if it does not run.
        """
        if signum in self._mapping or signum in self._mapping.values():
            return True
        is_unsure = signum == signal.SIGHUP and settings.stop_signals is None
        if is_unsure and command is not None and not has_default(signum, command):
            return False
        return signum in settings.stop_signals_or_default

    def translated(self, signum: int) -> int:
        """Return the signal to send to the command when this signal comes."""
        return self._mapping.get(signum, signum)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        del frame
        self._noted.append(Noted(signum, time.monotonic()))


def parse_mapping(texts: Iterable[str]) -> dict[int, int]:
    """Return the mapping of texts such as `TERM:QUIT`.

    Raises:
        SettingsError: A text is not a pair of signals that can be passed on.
    """
    mapping = {}
    for text in texts:
        came, separator, sent = text.partition(":")
        if not separator:
            raise SettingsError(f"{text!r} is not a pair of signals; give one as TERM:QUIT")
        mapping[_parse(came)] = _parse(sent)
    return mapping


def _parse(text: str) -> int:
    signum = signal_number(text)
    if signum is None or signum in NEVER_SENT_ON:
        raise SettingsError(
            f"{text.strip()!r} is not a signal that can be passed on; give TERM, SIGTERM or 15"
        )
    return signum


def _wake_only(signum: int, frame: FrameType | None) -> None:
    """A child has ended: the wake-up descriptor has said so already."""
