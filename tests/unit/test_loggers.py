"""Loggers that do not propagate: their records are shipped, once."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from logship._installation.loggers import Loggers


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture
def handler() -> Iterator[Kept]:
    kept = Kept()
    logging.getLogger().addHandler(kept)
    yield kept
    for name in ("", "shop", "shop.access", "shop.error", "shopping", "other"):
        logger = logging.getLogger(name)
        logger.removeHandler(kept)
        logger.propagate = True


def log(*names: str) -> None:
    for name in names:
        logging.getLogger(name).error(name)


def test_named_loggers_and_their_children_are_covered(handler: Kept) -> None:
    for name in ("shop", "shop.access", "other", "shopping"):
        logging.getLogger(name).propagate = False
    loggers = Loggers(handler, ("shop",))
    for _ in range(2):
        loggers.check()
    log("shop", "shop.access", "shop.error", "other", "shopping")
    assert handler.messages == ["shop", "shop.access", "shop.error"]


def test_all_loggers_can_be_meant(handler: Kept) -> None:
    logging.getLogger("other").propagate = False
    loggers = Loggers(handler, ("*",))
    loggers.check()
    log("shop", "other")
    assert handler.messages == ["shop", "other"]


def test_no_record_comes_twice_when_a_logger_propagates_again(handler: Kept) -> None:
    logging.getLogger("shop").propagate = False
    loggers = Loggers(handler, ("shop",))
    loggers.check()
    logging.getLogger("shop").propagate = True
    loggers.check()
    log("shop")
    assert handler.messages == ["shop"]


def test_a_handler_that_was_removed_is_put_back(handler: Kept) -> None:
    logging.getLogger("shop").propagate = False
    loggers = Loggers(handler, ("shop",))
    loggers.check()
    logging.getLogger("shop").handlers.clear()
    loggers.check()
    log("shop")
    assert handler.messages == ["shop"]
