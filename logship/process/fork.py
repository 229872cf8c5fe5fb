"""Forks: a child begins with a client of its own, and never sends what is the parent's.

Two kinds of child need two kinds of hook. Every fork through `os.fork` runs the functions of
`os.register_at_fork`. A multiprocessing child also leaves by `os._exit`, which skips `atexit`,
so that its records would be lost; only a `Finalize` that `register_after_fork` makes in the child
runs there. uWSGI runs neither, which is why `BackgroundClient` compares the pid as well.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from logship import living

_child_ends: list[Callable[[], None]] = []
_registered_with: list[object] = []


def register() -> None:
    """Register the hooks for every fork; called once, when `logship` is imported."""
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


def at_multiprocessing_child_end(end: Callable[[], None]) -> None:
    """Have `end` called when a multiprocessing child of this process ends."""
    _child_ends.append(end)
    _register_with_multiprocessing()


def _before_fork() -> None:
    _register_with_multiprocessing()


def _after_fork_in_child() -> None:
    for client in living.forkable():
        client.after_fork_in_child()


def _register_with_multiprocessing() -> None:
    """Register with multiprocessing, once the application has imported it; never import it."""
    util = sys.modules.get("multiprocessing.util")
    if util is None or _registered_with or not _child_ends:
        return
    anchor = _Anchor()
    _registered_with.append(anchor)  # multiprocessing holds it weakly
    util.register_after_fork(anchor, _Anchor.finalize_in_child)


class _Anchor:
    """Something that multiprocessing can hold a weak reference to."""

    def finalize_in_child(self) -> None:
        """In a multiprocessing child, as it begins: arrange for its end."""
        util = sys.modules["multiprocessing.util"]
        # The lowest priority runs last: what other finalizers log is still taken.
        util.Finalize(None, _end_child, exitpriority=-1000)


def _end_child() -> None:
    for end in _child_ends:
        end()
