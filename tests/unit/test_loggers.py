"""Loggers that do not propagate: their records are shipped, once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

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


def test_a_logger_whose_parent_does_not_propagate_is_covered_alone(handler: Kept) -> None:
    logging.getLogger("shop").propagate = False
    loggers = Loggers(handler, ("shop.access", "shop.access.slow"))
    for name in ("shop.access.slow", "shop.access", "shop.error"):
        logging.getLogger(name)
    for _ in range(2):
        loggers.check()
    log("shop", "shop.access", "shop.access.slow", "shop.error")
    assert handler.messages == ["shop.access", "shop.access.slow"]


def test_all_loggers_can_be_meant(handler: Kept) -> None:
    logging.getLogger("other").propagate = False
    loggers = Loggers(handler, ("*",))
    loggers.check()
    log("shop", "other")
    assert handler.messages == ["shop", "other"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda shop: setattr(shop, "propagate", True), id="it propagates again"),
        pytest.param(lambda shop: shop.handlers.clear(), id="its handlers are removed"),
    ],
)
def test_each_record_comes_once_after(
    handler: Kept, change: Callable[[logging.Logger], None]
) -> None:
    shop = logging.getLogger("shop")
    shop.propagate = False
    loggers = Loggers(handler, ("shop",))
    loggers.check()
    change(shop)
    loggers.check()
    log("shop")
    assert handler.messages == ["shop"]
