"""The file in which a watch keeps its state, when two watches write it, and when none can."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logship._cli.watching import BadState, resume, save
from tests.audit.watched import Watched


def test_two_watches_with_one_state_do_not_hinder_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    watch, other, fsync = Watched("out.log").watch, Watched("out.log").watch, os.fsync

    def while_the_other_writes(number: int) -> None:
        fsync(number)
        monkeypatch.setattr(os, "fsync", fsync)
        save(other, path)

    monkeypatch.setattr(os, "fsync", while_the_other_writes)
    save(watch, path)
    resume(watch, path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_that_cannot_be_put_in_its_place_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.mkdir()
    with pytest.raises(BadState, match="cannot write"):
        save(Watched("out.log").watch, path)
    assert list(tmp_path.iterdir()) == [path]
