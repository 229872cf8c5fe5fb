"""Which call fails how, in which component: the whole matrix, and the part for each test run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.faults.injection import SHORT

COMPONENTS = ("client", "spill", "spool", "outage", "killed", "recover", "receive", "run")
"""A client in memory, with a sidecar and without; one with a spool, the same, and killed; and the
commands."""

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENOMEM", "EINTR")

CALLS: Mapping[str, tuple[str, ...]] = {
    "open": ERRORS,
    "write": (*ERRORS, SHORT),
    "fallocate": ERRORS,
    "mmap": ERRORS,
    "rename": ERRORS,
    "fsync": ERRORS,
    "flock": ERRORS,
    "read": (*ERRORS, SHORT),
    "mkdir": ERRORS,
    "unlink": ERRORS,
    "pipe": ERRORS,
    "connect": ERRORS,
    "accept": ERRORS,
    "send": (*ERRORS, SHORT),
    "recv": (*ERRORS, SHORT),
    "thread": ("EAGAIN",),
    "fork": (*ERRORS, "EAGAIN"),
    "pwrite": (*ERRORS, SHORT),
    "stat": ERRORS,
    "rmdir": ERRORS,
    "listdir": ERRORS,
    "statvfs": ERRORS,
    "seek": ERRORS,
    "dup": ERRORS,
}
"""The calls by name, and how each fails; CPython tells of a thread's only that it did not start."""


WITHOUT_SIDECAR = ("spill", "outage")
"""Where each write fails, these can tell nothing: neither a spool nor stderr takes a record."""


@dataclass(frozen=True)
class Case:
    """One call that fails.

    Attributes:
        component: What it fails in.
        call: Which one.
        error: A name of `errno`, or `short`: it does half of what it was asked for.
        occurrence: Which of the calls, from `1`; with a `+` behind it the later ones too.
    """

    component: str
    call: str
    error: str
    occurrence: str

    @property
    def fault(self) -> str:
        """The case as `injection.py` takes it."""
        return f"{self.call}:{self.error}:{self.occurrence}"

    def __str__(self) -> str:
        return f"{self.component}-{self.call}-{self.error}-{self.occurrence}"


def whole_matrix(counts: Mapping[str, Mapping[str, int]], seed: int) -> Iterator[Case]:
    """Yield each call and error in each component: the first, the second, a later call, and all.

    Args:
        counts: How often each component makes each call where nothing fails. A call that it never
            makes cannot fail; the later one is drawn from the third to the last.
        seed: Of what is drawn.
    """
    for component in COMPONENTS:
        for call, errors in CALLS.items():
            last = counts[component].get(call, 0)
            for error in errors:
                chance = random.Random(f"{seed} {component} {call} {error}")
                drawn = [chance.randint(3, last)] if last > 2 else []
                for occurrence in [*range(1, min(last, 2) + 1), *drawn]:
                    yield Case(component, call, error, str(occurrence))
                can_tell = component not in WITHOUT_SIDECAR or call != "write" or error == SHORT
                if last and can_tell:
                    yield Case(component, call, error, "1+")
