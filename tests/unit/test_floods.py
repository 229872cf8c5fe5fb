"""Log calls that are kept back because there are many, and levels that a file changes."""

from __future__ import annotations

import errno
import itertools
import logging
import logging.config
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logship._installation.floods import FloodControl
from logship._installation.handler import KEPT_BACK_KEY, Handler
from logship._installation.levels import LevelsFile
from logship._reasons import RATE_LIMITED, SAMPLED
from logship.testing import Sidecar
from tests.support.memory import traced_memory
from tests.support.raising import raising
from tests.support.threads import in_threads
from tests.unit.accounts import gaps_in
from tests.unit.clients import Stderr, a_background_client, quick_settings


class Shop:
    """A client, and loggers of its own whose records it ships."""

    def __init__(self, **settings: Any) -> None:
        self.sidecar = Sidecar()
        self.client = a_background_client(self.sidecar, buffer_bytes_max=1 << 24, **settings)
        self.seconds = 0.0
        floods = FloodControl(
            self.client.settings,
            monotonic=lambda: self.seconds,
            chance=random.Random(1).random,
        )
        self._handler = Handler(self.client, floods=floods)

    def logger(self, name: str) -> logging.Logger:
        logger = logging.Logger(name, logging.DEBUG)
        logger.addHandler(self._handler)
        return logger

    def records(self) -> list[dict[str, Any]]:
        """End the client; return the application's records."""
        self.report = self.client.close(timeout=20)
        assert self.report.all_acked
        records = [each.record for each in self.sidecar.delivered]
        return [each for each in records if "message" in each and "logger" in each]

    def gaps(self) -> list[list[Any]]:
        records = [each.record for each in self.sidecar.delivered]
        return gaps_in(records)


def test_a_template_is_shipped_so_often_in_each_interval() -> None:
    shop = Shop(template_records_max=2, flood_seconds=10)
    log = shop.logger("app")
    for _ in range(2):
        for number in range(7):
            log.info("request %s", number)
        log.info("other")
        shop.seconds += 10
    log.info("request %s", "last")
    records = shop.records()
    messages = [each["message"] for each in records]
    assert messages == [*["request 0", "request 1", "other"] * 2, "request last"]
    assert [each.get(KEPT_BACK_KEY) for each in records] == [None, None, None, 5, None, None, 5]
    assert (shop.report.accepted, shop.report.withheld) == (17, 10)
    assert {reason for _, _, reason in shop.gaps()} == {RATE_LIMITED}
    assert sum(last - first + 1 for first, last, _ in shop.gaps()) == 10


def test_what_was_kept_back_is_said_after_an_interval_of_others_alone() -> None:
    shop = Shop(logger_records_max=2, template_records_max=3, flood_seconds=10)
    first, other = shop.logger("first"), shop.logger("other")
    for _ in range(10):
        first.info("text")
    for _ in range(3):
        shop.seconds += 10
        other.info("text")
    shop.seconds += 10
    first.info("text")
    first.info("text")
    kept_back = [(each["logger"], each.get(KEPT_BACK_KEY)) for each in shop.records()]
    assert kept_back == [("first", None)] * 2 + [("other", None)] * 3 + [
        ("first", 8),
        ("first", None),
    ]


def test_a_closed_client_says_of_no_record_that_it_was_kept_back(stderr: Stderr) -> None:
    """It writes each to stderr, also those that are too many."""
    client = a_background_client(Sidecar(), stderr, logger_records_max=1)
    client.close(timeout=20)
    log = logging.Logger("late")
    log.addHandler(Handler(client, floods=FloodControl(client.settings)))
    for _ in range(3):
        log.info("text")
    refused = [line["record"] for line in stderr.json("refused")]
    assert [KEPT_BACK_KEY in record for record in refused] == [False] * 3


@pytest.fixture
def few_templates(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("logship._installation.floods.TEMPLATES_MAX", 1000)
    return 1000


def test_counts_that_no_record_asks_for_are_forgotten(few_templates: int) -> None:
    seconds = 0.0
    settings = quick_settings(template_records_max=1, flood_seconds=10)
    floods = FloodControl(settings, monotonic=lambda: seconds)
    with traced_memory() as memory:
        for number in range(4 * few_templates):
            record = logging.makeLogRecord({"name": "app", "msg": f"text {number}"})
            floods.reason(record)
            assert floods.reason(record) == RATE_LIMITED
            seconds += 0.1
    assert memory.kept_bytes < 400 * few_templates
    seconds += 10
    floods.reason(record)
    assert floods.kept_back_before(record) == 1


def test_a_field_of_the_application_keeps_the_name_of_the_count() -> None:
    shop = Shop(template_records_max=1, flood_seconds=10)
    log = shop.logger("app")
    for _ in range(2):
        log.info("request", extra={KEPT_BACK_KEY: "mine"})
    shop.seconds += 10
    log.info("request", extra={KEPT_BACK_KEY: "mine"})
    assert [each[KEPT_BACK_KEY] for each in shop.records()] == ["mine", "mine"]


def test_a_logger_has_a_limit_for_all_its_templates() -> None:
    shop = Shop(logger_records_max=3)
    for number in range(10):
        shop.logger("a").info(f"text {number}")
        shop.logger("b").info({"number": number})
    assert Counter(each["logger"] for each in shop.records()) == {"a": 3, "b": 3}


def test_so_many_templates_are_counted_and_no_more(few_templates: int) -> None:
    shop = Shop(template_records_max=1)
    log = shop.logger("app")
    for _ in range(2):
        for number in range(few_templates + 5):
            log.info(f"text {number}")
    assert len(shop.records()) == few_templates + 10


def test_levels_are_sampled_and_others_are_not() -> None:
    shop = Shop(sample={"DEBUG": 0.25, "INFO": 0})
    log = shop.logger("app")
    for level in (logging.DEBUG, logging.INFO, logging.ERROR):
        for _ in range(1000):
            log.log(level, "text")
    shipped = Counter(each["level"] for each in shop.records())
    assert 200 < shipped["DEBUG"] < 300
    assert (shipped["INFO"], shipped["ERROR"]) == (0, 1000)
    assert shop.report.withheld == 3000 - shipped.total()
    assert {reason for _, _, reason in shop.gaps()} == {SAMPLED}


def test_an_application_that_seeds_random_samples_as_any_other() -> None:
    record = logging.LogRecord("app", logging.INFO, "", 0, "text", None, None)
    settings = quick_settings(sample=(("INFO", 0.5),))
    kept = []
    for _ in range(2):
        random.seed(1)
        before = random.getstate()
        floods = FloodControl(settings)
        kept.append([floods.reason(record) for _ in range(100)])
        assert random.getstate() == before
    assert kept[0] != kept[1]


@pytest.mark.parametrize("change", ["a colour", "a name in small letters"])
def test_a_level_is_known_by_its_number(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """A formatter of another handler may put colours into the name of a record's level."""
    shop = Shop(sample={"DEBUG": 0})
    if change == "a colour":
        record = logging.LogRecord("app", logging.DEBUG, "", 0, "text", None, None)
        record.levelname = "\x1b[33mDEBUG\x1b[0m"
        shop.logger("app").handle(record)
    else:
        monkeypatch.setitem(logging._levelToName, logging.DEBUG, "debug")  # as `addLevelName` does
        shop.logger("app").debug("text")
    assert shop.records() == []


@pytest.mark.parametrize("name", ["debug", "DEBUG", "warn"])
def test_levels_have_the_names_that_people_give_them(name: str) -> None:
    shop = Shop(sample={name: 0})
    level = logging.WARNING if name == "warn" else logging.DEBUG
    shop.logger("app").log(level, "text")
    assert shop.records() == []


@pytest.mark.parametrize("odd", [{"name": ["x"]}, {"levelname": ["x"]}, {"msg": ["x"]}, {}])
def test_a_record_made_by_hand_is_shipped_all_the_same(odd: dict[str, Any]) -> None:
    shop = Shop(template_records_max=10, logger_records_max=10, sample={"INFO": 0.5})
    made = logging.makeLogRecord({"msg": "text", "levelname": "ERROR", "levelno": 40, **odd})
    shop.logger("app").handle(made)
    shop.client.close(timeout=10)
    assert len(shop.sidecar.delivered) == 2  # and the end


def test_long_templates_are_not_kept() -> None:
    floods = FloodControl(quick_settings(template_records_max=1))
    with traced_memory() as memory:
        for number in range(100):
            record = logging.makeLogRecord({"msg": f"{number}" + "x" * 100_000})
            assert floods.reason(record) is None
            del record
    assert memory.kept_bytes < 200_000


def test_everything_is_shipped_or_declared_from_many_threads() -> None:
    shop = Shop(logger_records_max=100, sample={"DEBUG": 0.5})

    def work(log: logging.Logger) -> None:
        for _, level in zip(range(3000), itertools.cycle((10, 20, 30)), strict=False):
            log.log(level, "text")

    logs = [shop.logger(f"logger {number}") for number in range(4)]
    assert in_threads(4, lambda number: work(logs[number])) == [None] * 4
    shipped = len(shop.records())
    assert shop.report.accepted == 12_000
    assert shop.report.withheld == 12_000 - shipped
    assert sum(last - first + 1 for first, last, _ in shop.gaps()) == 12_000 - shipped


def test_threads_that_log_at_the_same_moment_are_counted_exactly() -> None:
    record = logging.LogRecord("app", logging.INFO, "", 0, "text", None, None)
    seconds = 0.0
    settings = quick_settings(template_records_max=10_000, flood_seconds=10)
    floods = FloodControl(settings, monotonic=lambda: seconds)

    def kept_back(_: int) -> int:
        return sum(floods.reason(record) is not None for _ in range(10_000))

    switch_interval_seconds = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        counts = in_threads(4, kept_back)
    finally:
        sys.setswitchinterval(switch_interval_seconds)
    assert sum(counts) == 30_000
    seconds += 10
    assert floods.reason(record) is None
    assert floods.kept_back_before(record) == 30_000


def test_a_call_that_is_kept_back_is_not_even_formatted() -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    shop = Shop(sample={"INFO": 0})
    shop.logger("app").info("%s", Costly())
    shop.logger("app").warning("%s", "kept")
    assert [each["message"] for each in shop.records()] == ["kept"]


# -- levels ----------------------------------------------------------------------------------------


class Levels:
    """A file of levels, and what was told of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[dict[str, str]] = []
        self.warned: list[str] = []
        self.file = LevelsFile(str(path), self.told.append, self.warned.append)

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self.check()

    def check(self) -> None:
        self.file.look()
        self.file.check()


@pytest.fixture
def levels(tmp_path: Path) -> Iterator[Levels]:
    found = Levels(tmp_path / "levels")
    yield found
    found.path.unlink(missing_ok=True)
    found.check()


def test_a_file_sets_levels_and_takes_them_back(levels: Levels) -> None:
    name = "tests.floods.a"
    logger, root = logging.getLogger(name), logging.getLogger()
    logger.setLevel(logging.ERROR)
    before = root.level
    levels.check()
    levels.write(f"# while we look\n{name}=debug  # all of it\nroot = 35\n\n")
    assert (logger.level, root.level) == (logging.DEBUG, 35)
    levels.write(f"{name}=INFO\n")
    assert (logger.level, root.level) == (logging.INFO, before)
    levels.check()
    levels.path.unlink()
    levels.check()
    assert logger.level == logging.ERROR
    assert levels.told == [{name: "DEBUG", "root": "35"}, {name: "INFO"}, {}]
    assert levels.warned == []


@pytest.mark.parametrize("line", ["x=LOUD", "x", "x=", "x=-5", "x=\x00", "x=9" * 9])
def test_a_line_that_means_nothing_is_told_and_the_others_hold(levels: Levels, line: str) -> None:
    levels.write(f"tests.floods.b=WARNING\n{line}\n")
    assert logging.getLogger("tests.floods.b").level == logging.WARNING
    assert levels.told == [{"tests.floods.b": "WARNING"}]
    assert len(levels.warned) == 1


@pytest.mark.parametrize("name", ["*", "uvicorn.*", "ROOT", "Root"])
def test_a_name_that_is_of_no_logger_is_told_and_makes_none(levels: Levels, name: str) -> None:
    levels.write(f"{name}=DEBUG")
    (warning,) = levels.warned
    assert f"no logger is named {name}" in warning
    assert name not in logging.Logger.manager.loggerDict
    assert levels.told == []


def test_all_wrong_lines_of_a_file_are_one_warning(levels: Levels) -> None:
    """A second warning would be held back for a minute, and never come."""
    levels.write("wrong\ntests.floods.h=WARNING\nx=NOPE\nuvicorn.*=DEBUG\ny=\n")
    assert levels.told == [{"tests.floods.h": "WARNING"}]
    (warning,) = levels.warned
    assert warning.startswith(f"{levels.path}: ")
    assert warning.count(str(levels.path)) == 1
    for said in ("logger wrong", "NOPE is not a level", "uvicorn.*", "logger y"):
        assert said in warning


def test_a_level_that_became_wrong_is_taken_back(levels: Levels) -> None:
    levels.write("tests.floods.d=DEBUG\n")
    levels.write("tests.floods.d=BOGUS\n")
    assert logging.getLogger("tests.floods.d").level == logging.NOTSET
    assert levels.told[-1] == {}


def test_a_level_of_the_file_outlives_a_configuration_of_the_program(levels: Levels) -> None:
    """Django calls `dictConfig` after `install`."""
    name = "tests.floods.f"
    logger = logging.getLogger(name)
    levels.write(f"{name}=DEBUG\ntests.floods.g=BOGUS\n")
    for level in ("ERROR", "ERROR", "INFO"):
        logging.config.dictConfig(
            {"version": 1, "disable_existing_loggers": False, "loggers": {name: {"level": level}}}
        )
        levels.check()
        assert logger.level == logging.DEBUG
    levels.write("")
    assert logger.level == logging.INFO
    assert levels.told == [{name: "DEBUG"}, {}]
    assert len(levels.warned) == 1


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(levels: Levels) -> None:
    os.mkfifo(levels.path)
    levels.check()
    assert "not a regular file" in levels.warned[0]


def test_a_file_that_cannot_be_read_changes_nothing(levels: Levels) -> None:
    levels.write("tests.floods.c=WARNING\n")
    levels.path.unlink()
    levels.path.mkdir()
    levels.check()
    levels.path.rmdir()
    assert logging.getLogger("tests.floods.c").level == logging.WARNING
    assert "cannot be read" in levels.warned[0]


def test_a_file_that_can_be_read_again_need_not_change(
    levels: Levels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`chmod` changes neither its size nor its time."""
    levels.path.write_text("tests.floods.e=WARNING\n")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", raising(PermissionError(errno.EACCES, "Permission denied")))
        levels.check()
    levels.check()
    levels.check()
    assert levels.told == [{"tests.floods.e": "WARNING"}]
    assert levels.warned == [f"{levels.path} cannot be read: Permission denied"]
