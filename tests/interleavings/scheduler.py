"""Runs threads one at a time, and decides before each access to shared state which one goes on.

A run is told by its choices, so it can be made again. `explore` makes all runs with at most so
many preemptions: it repeats a run up to one of its decisions and takes another choice there.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

RAISE = -1
"""The choice that the running thread is interrupted by an exception, at most once in a run."""

_NO_THREAD = -2
_HANG_SECONDS = 60.0

_NEVER_OVER_SECONDS = 0.5
"""A wait for so long ends before its time: a section takes microseconds, and nothing in a scene
makes the thread that is in it wait for the one that wants to enter."""


class Interruption(Exception):  # noqa: N818 - what a signal handler raises
    """Raised in a thread where a run says so."""


def _handle_signal(number: int, frame: FrameType) -> None:
    """Raise as a signal handler does: by its arguments the product tells it from a bug."""
    raise Interruption(number, frame)


class Deadlock(Exception):  # noqa: N818 - it says what is found, not what failed
    """No thread can go on."""


class _Abandoned(BaseException):
    """Ends the threads of a run that is over."""


@dataclass
class Decision:
    """What could be chosen at a point, and what was.

    Attributes:
        current: The thread that came to the point.
        can_go_on: Whether it could go on itself.
        others: The threads that could go on instead.
        may_raise: Whether it may be interrupted here.
        choice: A thread, or `RAISE`.
    """

    current: int
    can_go_on: bool
    others: tuple[int, ...]
    may_raise: bool
    choice: int

    @property
    def is_preemption(self) -> bool:
        """Whether a thread that could go on had to wait."""
        return self.can_go_on and self.choice not in (self.current, RAISE)


@dataclass
class _Thread:
    work: Callable[[], object]
    turn: _thread.LockType = field(default_factory=_thread.allocate_lock)
    is_over: bool = False
    waits_for: CooperativeLock | None = None
    may_give_up: bool = False


class Scheduler:
    """One run.

    Args:
        choices: What to choose at the first decisions; behind them the running thread goes on for
            as long as it can.

    Attributes:
        decisions: All of the run.
        error: What a thread raised that no test expects, or a deadlock.
    """

    def __init__(self, choices: Sequence[int] = (), *, raises: bool = False) -> None:
        self._raises = raises
        self.decisions: list[Decision] = []
        self.error: BaseException | None = None
        self._choices = choices
        self._has_raised = False
        self._threads: list[_Thread] = []
        self._idents: dict[int, int] = {}
        self._all_over = _thread.allocate_lock()
        self._is_abandoned = False

    def run(self, works: Sequence[Callable[[], object]]) -> None:
        self._threads = [_Thread(work) for work in works]
        self._all_over.acquire()
        for each in self._threads:
            each.turn.acquire()
        for index in range(len(works)):
            _thread.start_new_thread(self._be_thread, (index,))
        self._decide(_NO_THREAD, can_go_on=False, may_raise=False)
        assert self._all_over.acquire(timeout=_HANG_SECONDS), "the run hangs"

    def point(self, *, may_switch: bool = True) -> None:
        """Come to a point where another thread may go on; for a thread of the run alone.

        Args:
            may_switch: False where only an exception may come.
        """
        index = self._idents.get(threading.get_ident())
        if index is None or not (may_switch or self._raises):
            return
        choice = self._decide(index, can_go_on=True, may_raise=True, may_switch=may_switch)
        if choice == RAISE:
            _handle_signal(signal.SIGALRM, sys._getframe())

    def wait_for(self, lock: CooperativeLock, *, may_give_up: bool) -> None:
        """Let others go on until the lock is free, or the wait is given up."""
        index = self._idents[threading.get_ident()]
        thread = self._threads[index]
        thread.waits_for, thread.may_give_up = lock, may_give_up
        self._decide(index, can_go_on=False, may_raise=False)
        thread.waits_for = None

    def _be_thread(self, index: int) -> None:
        thread = self._threads[index]
        self._idents[threading.get_ident()] = index
        thread.turn.acquire()
        try:
            if not self._is_abandoned:
                thread.work()
        except _Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001 - the run tells it
            self.error = error
            self._is_abandoned = True
        thread.is_over = True
        if all(each.is_over for each in self._threads):
            self._all_over.release()
        elif self._is_abandoned:
            self._abandon()
        else:
            self._decide(index, can_go_on=False, may_raise=False)

    def _abandon(self) -> None:
        """Have the next thread end."""
        self._is_abandoned = True
        for each in self._threads:
            if not each.is_over:
                each.turn.release()
                return

    def _decide(
        self, current: int, *, can_go_on: bool, may_raise: bool, may_switch: bool = True
    ) -> int:
        """Choose who goes on, and return here when this thread may."""
        others, givers_up = self._candidates(current) if may_switch else ((), ())
        if not can_go_on:
            can_resume = others or givers_up
            if not can_resume:
                self.error = Deadlock()
                self._abandon()
                return self._rest(current)
            default = can_resume[0]
        else:
            default = current
        step = len(self.decisions)
        choice = self._choices[step] if step < len(self._choices) else default
        may_raise = may_raise and self._raises and not self._has_raised
        others = tuple(sorted({*others, *givers_up}))
        self.decisions.append(Decision(current, can_go_on, others, may_raise, choice))
        if choice == RAISE:
            self._has_raised = True
            return RAISE
        if choice != current:
            self._threads[choice].turn.release()
            return self._rest(current)
        return choice

    def _candidates(self, current: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the other threads that can go on, and those that can only give up a wait."""
        others = tuple(
            index
            for index, each in enumerate(self._threads)
            if index != current and not each.is_over and (not each.waits_for or _is_free(each))
        )
        givers_up = tuple(
            index
            for index, each in enumerate(self._threads)
            if not each.is_over and each.may_give_up and each.waits_for and index not in others
        )
        return others, givers_up

    def _rest(self, current: int) -> int:
        """Wait for this thread's turn, unless it is over or none of the run's."""
        if current != _NO_THREAD and not self._threads[current].is_over:
            self._threads[current].turn.acquire()
            if self._is_abandoned:
                raise _Abandoned
        return current


class CooperativeLock:
    """Takes the place of the RLock in a `SectionLock`, and lets the scheduler decide.

    `release` is the real lock's own, in C, because the section lock tells by the traceback who
    raised.

    Args:
        scheduler: Of the run.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._real = threading.RLock()
        self.release = self._real.release
        self._is_owned = self._real._is_owned  # type: ignore[attr-defined]

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self._scheduler.point()
        if not self._real.acquire(blocking=False):
            if not blocking or timeout == 0:
                return False
            may_give_up = 0 < timeout < _NEVER_OVER_SECONDS
            self._scheduler.wait_for(self, may_give_up=may_give_up)
            if not self._real.acquire(blocking=False):
                return False
        self._scheduler.point()
        return True

    def is_free(self) -> bool:
        if self._is_owned() or not self._real.acquire(blocking=False):
            return False
        self._real.release()
        return True


def _is_free(thread: _Thread) -> bool:
    return thread.waits_for is not None and thread.waits_for.is_free()


class Scene(Protocol):
    """Some threads with what they share, made anew for each run."""

    @property
    def works(self) -> Sequence[Callable[[], object]]:
        """What the threads do."""

    def judge(self) -> str:
        """Return what is wrong when all of them are over; nothing where all is well."""


@dataclass
class Explored:
    """What an exploration came to.

    Attributes:
        schedules: How many runs there were.
        fault: What was wrong with the first bad one.
        choices: Of that run.
    """

    schedules: int = 0
    fault: str = ""
    choices: tuple[int, ...] = ()


def explore(
    make_scene: Callable[[Scheduler], Scene],
    *,
    preemptions: int,
    raises: bool = False,
    until: Callable[[], bool] = lambda: False,
) -> Explored:
    """Make every run with at most so many preemptions; stop at the first bad one.

    Args:
        make_scene: Makes the threads and what they share.
        preemptions: How often a thread that could go on has to wait.
        raises: Whether in each run an exception may interrupt one of the threads at one point.
        until: Ends the exploration early where it is true.
    """
    explored = Explored()
    pending: list[tuple[int, ...]] = [()]
    while pending and not until():
        choices = pending.pop()
        scheduler = Scheduler(choices, raises=raises)
        scene = make_scene(scheduler)
        scheduler.run(scene.works)
        explored.schedules += 1
        fault = repr(scheduler.error) if scheduler.error else scene.judge()
        if fault:
            made = tuple(each.choice for each in scheduler.decisions)
            explored.fault, explored.choices = fault, made
            return explored
        pending += _alternatives(scheduler.decisions, len(choices), preemptions)
    return explored


def _alternatives(
    decisions: Sequence[Decision], begin: int, preemptions: int
) -> Iterator[tuple[int, ...]]:
    """Yield the choices of the runs that differ from this one first behind `begin`."""
    choices = tuple(each.choice for each in decisions)
    used = sum(each.is_preemption for each in decisions[:begin])
    for step in range(begin, len(decisions)):
        decision = decisions[step]
        if used < preemptions or not decision.can_go_on:
            for other in decision.others:
                if other != decision.choice:
                    yield (*choices[:step], other)
        if decision.may_raise:
            yield (*choices[:step], RAISE)
        used += decision.is_preemption
