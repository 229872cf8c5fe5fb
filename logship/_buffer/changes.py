"""Changes that an exception from outside leaves either undone or done, never half done.

A signal handler may raise between any two steps of a critical section, and so may a debugger. So a
section computes everything first and then hands over a *change*: a function that only stores values
which were computed before. `Changes.commit` keeps the change in one attribute, which is the commit,
and then makes the stores.

If an exception comes before that assignment, nothing has happened. If it comes after it, the next
section calls `finish` before it does anything else, and the stores are made once more. So a change
must do no harm when it is made twice. It assigns values, puts keys into dictionaries and removes
keys that may be gone. It never counts up, appends or pops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Change = Callable[..., None]
"""Makes stores; making them twice is the same as making them once."""


class Changes:
    """Commits changes, one after the other. Everything is called inside the critical section.

    Attributes:
        pending: A change that is not made to its end, with what it is given; None otherwise.
    """

    def __init__(self) -> None:
        self.pending: tuple[Change, tuple[Any, ...]] | None = None

    def commit(self, change: Change, *values: Any) -> None:
        """Make a change; from the assignment on it happens, whatever interrupts it.

        Args:
            change: The stores.
            values: What `change` is given.

        Raises:
            RuntimeError: The change before is not finished, so the values may be wrong.
        """
        if self.pending is not None:
            raise RuntimeError("the change before this one is not finished")
        self.pending = change, values
        change(*values)
        self.pending = None

    def finish(self) -> None:
        """If an exception interrupted a change, make it once more."""
        if self.pending is not None:
            change, values = self.pending
            change(*values)
            self.pending = None
