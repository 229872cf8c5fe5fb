"""Forks: a child begins with its own client, and never sends its parent's records.

Different kinds of child need different hooks:

- Every fork through `os.fork` runs the functions of `os.register_at_fork`.
- A multiprocessing child ends by `os._exit`. Before 3.13 that skips `atexit`, and only a `Finalize`
  that `register_after_fork` makes in the child runs there.
- A child of Celery's pool calls `os._exit` before its finalizers, and only sends the signal
  `worker_process_shutdown`.
- RQ's work horse calls `os._exit` when its job is over, and says so nowhere. So logship puts a
  function around `os._exit`, which looks for RQ's own call.
- Celery restarts itself at SIGHUP by an exec in an exit hook, before older exit hooks. It sends
  `worker_shutdown` before it exits.
- uWSGI runs none of these hooks. So `Emitter` also checks a mark (see `fork_mark`).

A child that gets a stop signal before these functions have run has its parent's handlers. The
handler in C would wake the parent's watchdog, which would take the signal for the parent's own, and
CPython would forget the signal in the child. So the signal is blocked from right before a fork
until the last of these functions, and takes effect there. What a handler of the application raises
there is lost, because CPython swallows exceptions of functions of `os.register_at_fork`.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any, NoReturn

from logship import _system
from logship._hooks import exits, late_imports, registry
from logship._hooks.preexec import frame_of

_STOPPED_SECONDS = 1.0
_START_SECONDS = 0.5
"""How long the end of this process waits for a start of a child to go on. A start may hang."""

_START_CHECK_SECONDS = 0.001
_LOOKS = 3
"""How often all threads are looked at before none of them counts as starting a child."""

_registered_with: set[str] = set()
_held_back: set[int] = set()
_children_told: set[int] = set()
"""The process numbers of the children that got SIGTERM."""

_is_ending = False
"""Whether this process is about to end, and no child of it may begin any more."""

_has_clients = False
_masks: dict[int, set[int]] = {}
"""The signals that a forking thread had blocked before, by the thread's identifier. The thread has
the same identifier in the child."""


def register() -> None:
    """Register the hooks for every fork; called once, when `logship` is imported."""
    if not _system.IS_POSIX:
        return
    # Each is registered separately, so that it runs even if another function raises.
    for lock in late_imports.TAKEN_BY_FORKS:
        lock.be_taken_by_forks()
    os.register_at_fork(
        before=_register_with_makers_of_children, after_in_child=_after_fork_in_child
    )


def hold_back(signals: Iterable[int]) -> None:
    """Block these signals in a forked child until the fork hooks have run.

    The hooks for that are registered now, so that in a child they run behind those of asyncio.
    """
    if not _held_back and _system.IS_POSIX:
        os.register_at_fork(
            before=_hold_signals_back, after_in_parent=_let_signals_in, after_in_child=_begin_child
        )
    _held_back.update(signals)


def reach_ends_of_children() -> None:
    """Have the clients drained where a child ends that skips `atexit`; each client calls this.

    A program without a client keeps its `os._exit`.
    """
    global _has_clients  # noqa: PLW0603 - the fork hook looks at it
    _has_clients = _system.IS_POSIX
    _register_with_makers_of_children()


def _register_with_makers_of_children() -> None:
    """Register with multiprocessing, Celery and RQ if the application has imported them."""
    if not _has_clients:
        return
    for module, register_with in (
        ("multiprocessing.util", _register_with_multiprocessing),
        ("celery.signals", _register_with_celery),
        ("rq.worker", _register_with_rq),
    ):
        if module in sys.modules and module not in _registered_with:
            register_with(sys.modules[module])
            _registered_with.add(module)


def dependent_children() -> list[Any]:
    """Return the children of multiprocessing that must not be left when a signal ends this process.

    Daemonic ones would run without their parent until the container ends. PID 1 has no child that
    survives it: the kernel kills them all, with the records that they have not delivered.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return []
    with contextlib.suppress(Exception):
        children, here = process.active_children(), os.getpid()
        # In a child that `os.fork` made, the others are its siblings.
        return [
            each for each in children if each._parent_pid == here and (each.daemon or here == 1)
        ]
    return []


def is_multiprocessing_child() -> bool:
    """Return whether multiprocessing made this process, or one that it was forked from."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def is_starting_child_here() -> bool:
    """Return whether this call interrupted multiprocessing before it noted a child that it forked.

    Until the interrupted call goes on, that child is none of the dependent children. A forked child
    itself runs inside of its parent's call.
    """
    return _is_starting_child(sys._getframe())


def is_starting_child() -> bool:
    """Return whether a thread is between the start of a child and multiprocessing's note of it.

    Without a global lock, a frame that returns at this moment may have no callers.
    """
    return any(
        _is_starting_child(frame) for _ in range(_LOOKS) for frame in sys._current_frames().values()
    )


def terminate_dependent_children() -> None:
    """Send those children SIGTERM, as the normal exit of this process would; once each.

    A pool starts another child for each one that ends. So no thread can start one from now on.
    """
    global _is_ending  # noqa: PLW0603 - a process ends once
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.BaseProcess.start = _start_none
    _is_ending = True
    for child in dependent_children():
        if child.pid not in _children_told:
            _children_told.add(child.pid)
            with contextlib.suppress(Exception):  # it has ended, or been closed
                child.terminate()


def join_dependent_children(until_seconds: float) -> None:
    """Wait for the end of those children, at most until the deadline (monotonic seconds)."""
    # A thread that has just forked a child, and waits for the interpreter, has not noted it.
    starts_until_seconds = min(until_seconds, time.monotonic() + _START_SECONDS)
    while is_starting_child() and time.monotonic() < starts_until_seconds:
        time.sleep(_START_CHECK_SECONDS)
    terminate_dependent_children()  # those of a start that has gone on meanwhile
    for child in dependent_children():
        with contextlib.suppress(Exception):
            child.join(max(0.0, until_seconds - time.monotonic()))


def _is_starting_child(frame: FrameType) -> bool:
    start = frame_of("BaseProcess.start", frame)
    child = None if start is None else start.f_locals.get("self")
    return bool(getattr(child, "_parent_pid", None) == os.getpid())


def _start_none(_: Any) -> NoReturn:
    while True:
        time.sleep(_STOPPED_SECONDS)


def _after_fork_in_child() -> None:
    if _is_ending:  # without logship the parent would not have lived to make this child
        exits.die_by(signal.SIGTERM)
    with contextlib.ExitStack() as hooks:  # each runs, also if another one raises
        for client in registry.clients():
            hooks.callback(client.after_fork_in_child)


def _hold_signals_back() -> None:
    """Block the signals in this thread. Other threads still get the parent's signals."""
    if _held_back:
        # Noted before a signal is blocked, because a handler may raise after any call.
        _masks.setdefault(threading.get_ident(), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        signal.pthread_sigmask(signal.SIG_BLOCK, _held_back)


def _begin_child() -> None:
    try:
        for client in registry.clients():
            client.begin_child()
    finally:
        _let_signals_in()


def _let_signals_in() -> None:
    """Restore the mask from before the fork; signals that came meanwhile take effect here."""
    thread = threading.get_ident()
    if thread in _masks:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, _masks[thread])
        finally:
            _masks.pop(thread, None)


def _register_with_multiprocessing(util: Any) -> None:
    util.register_after_fork(_finalize_in_child, operator.call)
    if is_multiprocessing_child():
        _finalize_in_child()  # this is a child already, and it leaves without exit hooks


def _register_with_celery(signals: Any) -> None:
    # Celery gives keywords. Registered once more, the exit hook runs before Celery's.
    signals.worker_shutdown.connect(lambda **_: exits.register(), weak=False)
    signals.worker_process_shutdown.connect(lambda **_: _end_child(), weak=False)


def _register_with_rq(_: Any) -> None:
    """Put a function around `os._exit`: `install` may be called in the middle of a job."""
    leave = os._exit

    @functools.wraps(leave)
    def end_and_leave(status: int) -> NoReturn:
        try:
            if sys._getframe(1).f_code.co_name == "main_work_horse":
                _end_child()
        finally:
            leave(status)

    os._exit = end_and_leave


def _finalize_in_child() -> None:
    """Register a function for the end of a multiprocessing child, in the child."""
    registry.exit_is_over = False  # an exit hook of the parent may have made the child
    util = sys.modules["multiprocessing.util"]
    # The lowest priority runs last, so records that other finalizers log are still taken.
    util.Finalize(None, _end_child, exitpriority=-1000)


def _end_child() -> None:
    try:
        exits.at_exit(is_child=True)
    except BaseException:  # a signal handler may raise as it begins, and no other call follows
        exits.at_exit(is_child=True)
        raise
