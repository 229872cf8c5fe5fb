"""Forks: a child begins with a client of its own, and never sends what is the parent's.

Two kinds of child need two kinds of hook. Every fork through `os.fork` runs the functions of
`os.register_at_fork`. A multiprocessing child also leaves by `os._exit`, which skips `atexit`,
so that its records would be lost; only a `Finalize` that `register_after_fork` makes in the child
runs there. A child of Celery's pool leaves by `os._exit` before its finalizers: Celery sends its
signal `worker_process_shutdown` there, and that alone. uWSGI runs none of them, which is why
`BackgroundClient` looks at a mark of its own as well (see `forkmark`).

A child that gets SIGTERM before these functions have run still has its parent's handlers. The one
in C wakes the parent's watchdog, which would take the signal for the parent's own; and CPython
forgets in the child that it came, so that the child would live on. So from right before a fork
until then that signal waits. It is felt in the last of these functions; a handler of the
application's own that raises there is as good as forgotten, because CPython swallows what a
function of `os.register_at_fork` raises.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from logship.hooks import late_imports, registry

_child_ends: list[Callable[[], None]] = []
_registered_with: dict[str, object] = {}
_held_back: set[signal.Signals] = set()
_masks: dict[int, set[int]] = {}
"""What a thread that forks blocked before, by its identifier, which it keeps in the child."""


def register() -> None:
    """Register the hooks for every fork; called once, when `logship` is imported."""
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=late_imports.after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
    # By themselves, so that they run whatever happened in the others.
    os.register_at_fork(
        before=_hold_signals_back, after_in_parent=_let_signals_in, after_in_child=_let_signals_in
    )


def hold_back(signum: signal.Signals) -> None:
    """Have a forked child get this signal only when it has let go of its parent."""
    _held_back.add(signum)


def at_multiprocessing_child_end(end: Callable[[], None]) -> None:
    """Have `end` called when a child of this process ends that multiprocessing or Celery made."""
    _child_ends.append(end)
    _register_with_makers_of_children()


def terminate_daemons() -> None:
    """Tell the daemonic children of multiprocessing to end.

    The exit of this process would do it, and it will die by a signal instead. Without this they
    would go on without their parent, until a container's end kills them.
    """
    for child in _daemons():
        with contextlib.suppress(Exception):  # it has ended, or been closed
            child.terminate()


def join_daemons(until_seconds: float) -> None:
    """Wait for the end of those children, until then (monotonic seconds) at most."""
    for child in _daemons():
        with contextlib.suppress(Exception):
            child.join(max(0.0, until_seconds - time.monotonic()))


def _daemons() -> list[Any]:
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return []
    with contextlib.suppress(Exception):
        children, here = process.active_children(), os.getpid()
        # In a child that `os.fork` made, the others are its siblings.
        return [each for each in children if each.daemon and each._parent_pid == here]
    return []


def _before_fork() -> None:
    late_imports.before_fork()
    _register_with_makers_of_children()


def _after_fork_in_child() -> None:
    late_imports.after_fork_in_child()
    for client in registry.forkable():
        client.after_fork_in_child()


def _hold_signals_back() -> None:
    """Block them in this thread; others still take what comes for the parent."""
    if _held_back:
        # Noted before anything is blocked: a handler that raises comes in after a call.
        _masks.setdefault(threading.get_ident(), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        signal.pthread_sigmask(signal.SIG_BLOCK, _held_back)


def _let_signals_in() -> None:
    """Block no more than before the fork; what has come meanwhile is felt here."""
    thread = threading.get_ident()
    if thread in _masks:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, _masks[thread])
        finally:
            _masks.pop(thread, None)


def _register_with_makers_of_children() -> None:
    """Register with those that the application has imported; import none of them."""
    if not _child_ends:
        return
    for module, register_with in (
        ("multiprocessing.util", _register_with_multiprocessing),
        ("celery.signals", _register_with_celery),
    ):
        if module in sys.modules and module not in _registered_with:
            _registered_with[module] = register_with(sys.modules[module])


def _register_with_multiprocessing(util: Any) -> object:
    anchor = _Anchor()
    util.register_after_fork(anchor, _Anchor.finalize_in_child)
    return anchor  # multiprocessing holds it weakly


def _register_with_celery(signals: Any) -> object:
    return signals.worker_process_shutdown.connect(_end_celery_child, weak=False)


class _Anchor:
    """Something that multiprocessing can hold a weak reference to."""

    def finalize_in_child(self) -> None:
        """In a multiprocessing child, as it begins: arrange for its end."""
        util = sys.modules["multiprocessing.util"]
        # The lowest priority runs last: what other finalizers log is still taken.
        util.Finalize(None, _end_child, exitpriority=-1000)


def _end_celery_child(**_: Any) -> None:
    _end_child()


def _end_child() -> None:
    for end in _child_ends:
        end()
