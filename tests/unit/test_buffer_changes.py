"""A change may be made twice: after an exception from outside, the next call makes it once more."""

from __future__ import annotations

from typing import Any

import pytest

from logship.buffer import accumulator
from logship.buffer.changes import Change, Changes
from tests.unit.accounts import check_declared
from tests.unit.test_buffer_interrupted import Scene, Stage, each_scene, quarantine


@each_scene
@pytest.mark.parametrize("bytes_max", [100_000, 1 << 24], ids=["with care", "through the inbox"])
def test_a_change_that_is_made_twice_is_as_if_made_once(
    scene: Scene, bytes_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Changes.commit

    def commit_twice(self: Changes, change: Change, *values: Any) -> None:
        commit(self, change, *values)
        commit(self, change, *values)

    monkeypatch.setattr(accumulator, "STREAMS_MAX", 3)
    monkeypatch.setattr(Changes, "commit", commit_twice)
    stage = Stage(scene, bytes_max)
    stage.call()
    stage.go_on()
    if scene is not quarantine:
        check_declared(stage.buffer, stage.sink.acked)
