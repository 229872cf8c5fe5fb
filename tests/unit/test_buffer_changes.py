"""A change may be made twice: after an exception from outside, the next call makes it once more."""

from __future__ import annotations

import pytest

from logship._buffer import stream
from tests.unit.accounts import check_declared, make_changes_twice
from tests.unit.test_buffer_interrupted import Scene, Stage, each_scene, quarantine


@each_scene
@pytest.mark.parametrize("bytes_max", [100_000, 1 << 24], ids=["with care", "through the inbox"])
def test_a_change_that_is_made_twice_is_as_if_made_once(
    scene: Scene, bytes_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 3)
    make_changes_twice(monkeypatch)
    stage = Stage(scene, bytes_max)
    stage.call()
    stage.go_on()
    if scene is not quarantine:
        check_declared(stage.buffer, stage.sink.acked)
