"""What disturbs the program of a storm: alarms, garbage with last words, tracers, debuggers."""

from __future__ import annotations

import bdb
import gc
import io
import pdb
import random
import signal
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ALARM_SECONDS = 0.001
_DEPTH_MAX = 3
_GARBAGE_MAX = 50
_IS_3_12 = sys.version_info[:2] == (3, 12)
"""Its interpreter crashes where instructions are watched while tools come and go, and several
threads set tracers: see CPython's issues of that version. There is no Python code to blame."""

CAN_HAVE_TOOLS = not sysconfig.get_config_var("Py_GIL_DISABLED")
"""A free-threaded build ends or hangs where tracers, profilers or monitors come and go beside
threads, in its own C code, whatever these do: 3.13 always, 3.14 by a segmentation fault in 11 of
186 short storms, and oftener with forks. Without these tools none of 240 did."""

_TOOL_SECONDS = 0.004
_CALM_SECONDS = 0.1


class TimeLimit(Exception):  # noqa: N818 - as Celery's SoftTimeLimitExceeded
    """What an application's signal handler raises."""


class Cancelled(BaseException):
    """The same, of the kind that no `except Exception` catches."""


INTERRUPTIONS = (TimeLimit, Cancelled, bdb.BdbQuit)


class Alarm:
    """A signal handler that logs a thousand times a second, and raises where it is armed.

    Args:
        log: Logs; called with the depth of the handler.
        seed: Of its choices.
        also: What it does now and then besides.

    Attributes:
        armed: Whether it may raise now; it disarms itself when it does.
        raised: How often it has raised.
    """

    def __init__(self, log: Callable[[int], object], seed: int, also: Callable[[], object]) -> None:
        self.armed = False
        self.raised = 0
        self._log = log
        self._also = also
        self._random = random.Random(seed)
        self._depth = 0

    def start(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, ALARM_SECONDS, ALARM_SECONDS)

    def stop(self) -> None:
        self.armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        del number
        depth = self._depth
        if depth >= _DEPTH_MAX:
            return
        self._depth = depth + 1
        try:
            self._log(depth)
            if depth == 0 and self._random.random() < 0.001:
                self._also()
        finally:
            self._depth = depth
        if self.armed and not _is_of_debugger(frame) and self._random.random() < 0.7:
            self.armed = False
            self.raised += 1
            raise self._random.choice((TimeLimit, Cancelled))("from the alarm")


def _is_of_debugger(frame: FrameType | None) -> bool:
    """Tell whether a debugger runs, or its script that connects: interrupted, it would be gone."""
    while frame is not None:
        if frame.f_code.co_filename == "<string>" or frame.f_globals.get("__name__") == "bdb":
            return True
        frame = frame.f_back
    return False


class Garbage:
    """Objects in cycles whose `__del__` logs, in whatever thread the collector runs.

    Args:
        log: Logs.
    """

    def __init__(self, log: Callable[[], object]) -> None:
        self._log = log
        gc.set_threshold(_GARBAGE_MAX)

    def drop(self) -> None:
        """Leave one more behind."""
        _Cycle(self._log)


class _Cycle:
    def __init__(self, log: Callable[[], object]) -> None:
        self._me = self
        self._log = log

    def __del__(self) -> None:
        self._log()


def _trace_nothing(frame: FrameType, event: str, _: Any) -> Any:
    del event
    frame.f_trace_opcodes = True
    return _trace_nothing


def _trace_lines(frame: FrameType, event: str, _: Any) -> Any:
    del frame, event
    return _trace_lines


def _profile_nothing(*_: Any) -> None:
    pass


@contextmanager
def a_tool(choice: random.Random) -> Iterator[None]:
    """Be observed for a while by one of the tools that there are for this thread."""
    kinds = ["lines", "profile", "debugger"]
    if not _IS_3_12:
        kinds.append("opcodes")
    kind = choice.choice(kinds)
    try:
        match kind:
            case "lines":
                sys.settrace(_trace_lines)
            case "opcodes":
                sys.settrace(_trace_nothing)
            case "profile":
                sys.setprofile(_profile_nothing)
            case "debugger":
                attach_debugger(choice.randrange(10, 200))
        yield
    finally:
        sys.settrace(None)
        sys.setprofile(None)


# The first debugger imports modules. An alarm that raises in an import can leave its lock taken.
pdb.Pdb(stdin=io.StringIO(), stdout=io.StringIO(), nosigint=True, readrc=False)


def attach_debugger(steps: int) -> None:
    """Step through what this thread does next, then let it go on."""
    commands = io.StringIO("step\n" * steps + "continue\n")
    debugger = pdb.Pdb(stdin=commands, stdout=io.StringIO(), nosigint=True, readrc=False)
    debugger.use_rawinput = False
    # Python 3.11 crashes if the trace function is freed while it is about to be called: the
    # collector may run then, and a traced `__del__` may be where the debugger ends. Held in a
    # cycle, one bound method for all uses outlives that collection.
    debugger.trace_dispatch = debugger.trace_dispatch  # type: ignore[method-assign]
    debugger.set_trace(sys._getframe(1))


class Monitors:
    """Tools that come and go on a thread of their own and watch all the others."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End, with no tool left."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        kinds = [self._profile_all]
        if sys.version_info >= (3, 12):
            kinds.append(self._monitor)
        if sys.version_info >= (3, 13):
            kinds.append(self._trace_all)
        while not self._stopped.wait(_CALM_SECONDS):
            self._random.choice(kinds)()

    def _profile_all(self) -> None:
        """Profile all threads that begin from now on, and where it can be, those that run."""
        if sys.version_info >= (3, 12):
            threading.setprofile_all_threads(_profile_nothing)
            self._stopped.wait(_TOOL_SECONDS)
            threading.setprofile_all_threads(None)

    def _trace_all(self) -> None:
        if sys.version_info >= (3, 12):
            threading.settrace_all_threads(_trace_lines)
            self._stopped.wait(_TOOL_SECONDS)
            threading.settrace_all_threads(None)  # type: ignore[arg-type]

    def _monitor(self) -> None:
        if sys.version_info >= (3, 12):
            monitoring = sys.monitoring
            kinds = monitoring.events
            choices = [kinds.LINE, kinds.CALL | kinds.PY_START | kinds.PY_RETURN]
            if not _IS_3_12:
                choices.append(kinds.INSTRUCTION)
            wanted = self._random.choice(choices)
            monitoring.use_tool_id(3, "storm")
            for kind in (
                kinds.LINE,
                kinds.INSTRUCTION,
                kinds.CALL,
                kinds.PY_START,
                kinds.PY_RETURN,
            ):
                monitoring.register_callback(3, kind, _profile_nothing)
            monitoring.set_events(3, wanted)
            self._stopped.wait(_TOOL_SECONDS)
            monitoring.set_events(3, 0)
            monitoring.free_tool_id(3)
