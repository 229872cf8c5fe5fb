"""The event loop of a client."""

from __future__ import annotations

import errno
import gc
import selectors
import sys

import pytest

from logship._client.schedule import new_loop
from tests.support.raising import raising


def test_a_loop_that_the_system_refuses_to_watch_is_an_error_and_no_complaint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where root has lowered `fs.epoll.max_user_watches`."""
    complaints: list[object] = []
    refused = OSError(errno.ENOSPC, "no more watches")
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    monkeypatch.setattr(selectors.DefaultSelector, "register", raising(refused))
    with pytest.raises(OSError, match="no more watches"):
        new_loop()
    gc.collect()
    assert not complaints
