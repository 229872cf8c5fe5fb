"""Mistakes put into the buffer, which the exploration must find."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from logship._buffer.changes import Change, Changes
from logship._buffer.entrance import Entrance, Outcome
from logship._buffer.inbox import Inbox, Item
from logship._buffer.section import NOT_HELD, Section
from logship._buffer.wakeups import ShipperState, Wakeups
from tests.interleavings.exploring import Depth, explore_scene


def _offer_that_looks_at_the_end_before_only(self: Entrance, tag: str, body: bytes) -> Outcome:
    section = self._section
    if section.closing:
        return self._offer_with_care(tag, body)
    section.inbox.items.append((tag, body))
    if len(section.inbox) >= self._combine_at:
        section.enter(lambda: None, 0.0)
    return Outcome.ACCEPTED


def _remove_without_identity(self: Inbox, first: Item, count: int) -> None:
    del self.items[:count]


def _remove_all(self: Inbox, first: Item, count: int) -> None:
    if self.items and self.items[0] is first:
        del self.items[:]


def _enter_that_releases_first(self: Section, work: Callable[[], Any], patience: float) -> Any:
    if self._lock.run(lambda: True, NOT_HELD, patience) is NOT_HELD:
        return NOT_HELD
    result = self._do(work)
    self._tell()
    return result


def _commit_that_does_not_note_it(self: Changes, change: Change, *values: Any) -> None:
    change(*values)


def _end_without_a_last_look(self: Section) -> None:
    self.closed = True
    for stream in list(self.accumulator.streams.open.values()):
        self.accumulator.end(stream, retires=False)
    self._all_ended = True


def _always_settled(self: Section, item: Item) -> bool:
    del item
    self.exclusively(lambda: None)
    return True


def _refuse_what_its_call_will_withdraw(self: Section, refused: deque[Item]) -> None:
    refused += self.inbox.items
    del self.inbox.items[:]


def _wakes_nothing(self: Wakeups) -> None:
    self.shipper = ShipperState.AWAKE


MUTANTS: list[tuple[type, str, Any, str, Depth]] = [
    (Entrance, "offer", _offer_that_looks_at_the_end_before_only, "small, at the end", Depth(1)),
    (Inbox, "remove", _remove_without_identity, "one producer", Depth(0, raises=True)),
    (Inbox, "remove", _remove_all, "each call combines", Depth(1)),
    (Section, "enter", _enter_that_releases_first, "each call combines", Depth(1)),
    (Changes, "commit", _commit_that_does_not_note_it, "each call commits", Depth(0, raises=True)),
    (Section, "_end_intake", _end_without_a_last_look, "small, combined", Depth(1)),
    (Section, "is_settled", _always_settled, "small, at the end", Depth(2)),
    (Section, "refuse_rest", _refuse_what_its_call_will_withdraw, "small, at the end", Depth(1)),
    (Wakeups, "entry_waits", _wakes_nothing, "shipper of what outlives", Depth(0)),
]


@pytest.mark.parametrize(
    ("owner", "name", "mutant", "scene", "depth"), MUTANTS, ids=lambda v: getattr(v, "__name__", "")
)
def test_the_exploration_finds_it(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, mutant: Any, scene: str, depth: Depth
) -> None:
    monkeypatch.setattr(owner, name, functools.wraps(getattr(owner, name))(mutant))
    explored, _ = explore_scene(scene, depth)
    assert explored.fault
