"""Makes the buffer's shared state visible to the scheduler, without a look at any bytecode.

Each attribute of the buffer's parts is watched. One that some thread used outside the lock, and
that is written while the threads run, is *open*: before every access to it another thread may go
on. What only the holder of the lock uses cannot be seen by another thread, so to let one go on
there would show nothing new. Which attributes are open is found out and not listed: where a change
of the code takes one out of the lock's protection, it becomes a point by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import MemberDescriptorType, ModuleType
from typing import Any
from unittest.mock import patch

from logship._buffer import accumulator, buffer, chunk, chunks, section, stream
from logship._buffer.buffer import Buffer
from tests.interleavings.scheduler import CooperativeLock, Scheduler
from tests.support.raising import reraise

_PARTS: tuple[tuple[ModuleType, str], ...] = (
    (buffer, "Section"),
    (buffer, "Accumulator"),
    (section, "Inbox"),
    (section, "Wakeups"),
    (accumulator, "Changes"),
    (accumulator, "Chunks"),
    (accumulator, "Counters"),
    (accumulator, "Streams"),
    (stream, "Stream"),
    (chunk, "MemoryChunk"),
    (chunks, "Waiters"),
)


class Watch:
    """Knows which state is open, and tells the scheduler of accesses to it.

    Attributes:
        open_names: Class and attribute of what is open.
        has_grown: Whether one was found since this was last cleared.
        scheduler: Of the current run.
        is_owned: Tells whether this thread has the lock.
    """

    def __init__(self) -> None:
        self.open_names: set[tuple[str, str]] = set()
        self.has_grown = False
        self.scheduler: Scheduler | None = None
        self.is_owned: Callable[[], bool] = lambda: True
        self._seen: dict[tuple[str, str], set[str]] = {}
        self._written_outside: set[tuple[str, str]] = set()
        self._is_running = False

    def begin(self, scheduler: Scheduler, lock: CooperativeLock) -> None:
        """Watch a run from now on."""
        self.scheduler, self.is_owned, self._is_running = scheduler, lock._is_owned, True

    def end(self) -> None:
        """Watch no more: what comes now is the judge's."""
        self._is_running = False

    def access(self, owner: str, name: str, *, writes: bool) -> None:
        """Note an access, and let another thread go on before it where the state is open.

        An exception may come before every access: it leaves what only the lock protects half done.
        """
        if not self._is_running:
            return
        assert self.scheduler is not None
        self.scheduler.point(may_switch=self._is_open((owner, name), writes=writes))

    def _is_open(self, key: tuple[str, str], *, writes: bool) -> bool:
        """Tell whether another thread can have to do with this access."""
        is_owned = self.is_owned()
        if key not in self.open_names:
            seen = self._seen.setdefault(key, set())
            if writes:
                seen.add("written")
            if not is_owned:
                seen.add("outside")
            if len(seen) < 2:
                return False
            self.open_names.add(key)
            self.has_grown = True
        if writes and not is_owned and key not in self._written_outside:
            self._written_outside.add(key)
            self.has_grown = True
        # What is written inside the lock alone does not change for its holder.
        return writes or not is_owned or key in self._written_outside


class _WatchedList(list[Any]):
    """A list whose every use is an access."""

    def __init__(self, watch: Watch, owner: str, name: str) -> None:
        super().__init__()
        self._watch, self._key = watch, (owner, name)

    def _access(self, writes: bool) -> None:
        self._watch.access(*self._key, writes=writes)

    def append(self, item: Any) -> None:
        self._access(True)
        super().append(item)

    def remove(self, item: Any) -> None:
        self._access(True)
        super().remove(item)

    def __len__(self) -> int:
        self._access(False)
        return super().__len__()

    def __getitem__(self, at: Any) -> Any:
        self._access(False)
        return super().__getitem__(at)

    def __setitem__(self, at: Any, item: Any) -> None:
        self._access(True)
        super().__setitem__(at, item)

    def __delitem__(self, at: Any) -> None:
        self._access(True)
        super().__delitem__(at)


def _watched(base: type, watch: Watch) -> type:
    """Return a subclass whose instances tell of each access to what they hold."""
    of_the_class = {
        name
        for name in dir(base)
        if not isinstance(getattr(base, name), MemberDescriptorType)  # that of a slot
    }

    class Watched(base):  # type: ignore[misc]
        __slots__ = ()

        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if name[:2] == "__" or name in of_the_class or isinstance(value, _WatchedList):
                return value
            # What can be changed through this reference counts as written by the lock's holder.
            in_place = isinstance(value, dict | set) and watch.is_owned()
            watch.access(base.__name__, name, writes=in_place)
            return super().__getattribute__(name)

        def __setattr__(self, name: str, value: Any) -> None:
            if type(value) is list and name in ("items", "notes", "_callbacks"):
                value = _WatchedList(watch, base.__name__, name)
            else:
                watch.access(base.__name__, name, writes=True)
            super().__setattr__(name, value)

    return Watched


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Have every buffer that is made in here watched."""
    with ExitStack() as stack:
        for module, name in _PARTS:
            stack.enter_context(patch.object(module, name, _watched(getattr(module, name), watch)))
        yield


def a_watched_buffer(watch: Watch, scheduler: Scheduler, **options: Any) -> Buffer:
    """Return a buffer whose lock and state the scheduler decides about."""
    made = Buffer(failed=reraise, **options)
    lock = CooperativeLock(scheduler)
    made._section._lock._lock = lock  # type: ignore[assignment]
    watch.begin(scheduler, lock)
    return made
