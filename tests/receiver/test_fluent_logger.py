"""A foreign sender: fluent-logger, whose messages carry no chunk and want no acknowledgement."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from fluent import asyncsender, handler, sender

from tests.support.receiver_process import ReceiverProcess


@pytest.mark.parametrize("new_sender", [sender.FluentSender, asyncsender.FluentSender])
@pytest.mark.parametrize("nanosecond_precision", [False, True])
def test_every_record_of_a_sender_arrives(
    receiver: ReceiverProcess, new_sender: Callable[..., Any], nanosecond_precision: bool
) -> None:
    before = time.time()
    fluent = new_sender(
        "app", host="127.0.0.1", port=receiver.port, nanosecond_precision=nanosecond_precision
    )
    for number in range(500):
        assert fluent.emit("web", {"n": number, "message": "é" * 200})
    fluent.close()
    lines = receiver.wait_for_records(500)
    assert [line["record"]["n"] for line in lines] == list(range(500))
    assert {line["tag"] for line in lines} == {"app.web"}
    assert all(int(before) <= line["time_ns"] / 1e9 <= time.time() for line in lines)


def test_records_of_its_logging_handler_arrive(receiver: ReceiverProcess) -> None:
    fluent = handler.FluentHandler("app", host="127.0.0.1", port=receiver.port)
    fluent.setFormatter(handler.FluentRecordFormatter({"level": "%(levelname)s"}))
    logger = logging.Logger("foreign")
    logger.addHandler(fluent)
    logger.warning("hello %s", "there")
    fluent.close()
    [line] = receiver.wait_for_records(1)
    assert line["record"] == {"level": "WARNING", "message": "hello there"}
