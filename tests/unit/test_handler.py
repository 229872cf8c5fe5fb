"""From `logging` to a mapping: every field, every mistake of an application, and no lock."""

from __future__ import annotations

import io
import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from logship._client.emitter import Emitter
from logship._installation.handler import Handler
from logship._settings import Settings


class Recorder:
    """A client that remembers what it was given."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.records: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self.tags: list[str | None] = []
        self.times_ns: list[int | None] = []
        self.intake_closed = False
        self.full = False

    def emit(
        self,
        record: dict[str, Any],
        tag: str | None = None,
        *,
        time_ns: int | None = None,
        writes_refused: bool = False,
    ) -> bool:
        if self.intake_closed and writes_refused:
            self.refused.append(record)
        if self.intake_closed or self.full:
            return False
        self.records.append(record)
        self.tags.append(tag)
        self.times_ns.append(time_ns)
        return True


@pytest.fixture
def client() -> Recorder:
    return Recorder()


@pytest.fixture
def handler(client: Recorder) -> Handler:
    return Handler(cast(Emitter, client))


@pytest.fixture
def logger(handler: Handler) -> logging.Logger:
    fresh = logging.Logger("app.part")
    fresh.addHandler(handler)
    return fresh


def test_another_message_key_and_tag(client: Recorder) -> None:
    Handler(cast(Emitter, client), message_key="log", tag="route").emit(
        logging.LogRecord("n", logging.INFO, "", 1, "hi", None, None)
    )
    assert client.records[0]["log"] == "hi"
    assert client.tags == ["route"]


def test_a_span_is_found_after_the_clock_was_set_back(
    logger: logging.Logger, client: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application imports OpenTelemetry after its first record."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    logger.info("before")
    context = SimpleNamespace(trace_id=0xABC, span_id=0xDEF, is_valid=True)
    span = SimpleNamespace(get_span_context=lambda: context)
    trace = SimpleNamespace(get_current_span=lambda: span)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", cast(ModuleType, trace))
    record = logger.makeRecord("app.part", logging.INFO, "", 1, "in a span", (), None)
    record.created -= 3600.0
    logger.handle(record)
    assert ["trace_id" in each for each in client.records] == [False, True]


@pytest.mark.parametrize("extra", [{"shop": "north"}, {"shop": "north", "order": 4711}])
@pytest.mark.parametrize(
    "removed", ["module", "process", "taskName", "threadName", "exc_info", "exc_text", "stack_info"]
)
def test_a_record_that_a_filter_has_shortened(
    logger: logging.Logger, client: Recorder, extra: dict[str, Any], removed: str
) -> None:
    """Some remove `taskName`, so that formatters of JSON do not show it."""
    logger.addFilter(lambda record: record.__dict__.pop(removed, True) or True)
    logger.info("placed %d", 1, extra=extra)
    assert {"message": "placed 1", **extra}.items() <= client.records[0].items()
    assert "logging_error" not in client.records[0]


@pytest.mark.parametrize("removed", ["name", "msg", "args", "levelname"])
def test_a_record_that_a_filter_has_made_unusable(
    logger: logging.Logger, client: Recorder, removed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other handlers say it on stderr and go on; the rest of the record is shipped."""
    logger.addFilter(lambda record: record.__dict__.pop(removed, True) or True)
    logger.info("placed %d", 1)
    (record,) = client.records
    expected = {"message": "placed %d", "arguments": (1,), "level": "INFO", "logger": "app.part"}
    missing = {"name": "logger", "msg": "message", "args": "arguments", "levelname": "level"}
    assert expected | {missing[removed]: None} == {name: record[name] for name in expected}
    assert "AttributeError" in capsys.readouterr().err


def test_uvicorns_coloured_message_is_left_out(logger: logging.Logger, client: Recorder) -> None:
    """It is the message once more, with escape codes, for uvicorn's own formatter."""
    coloured = {"color_message": "Started \x1b[36m%d\x1b[0m", "user": 7}
    logger.info("Started %d", 1, extra=coloured)
    assert client.records[0]["message"] == "Started 1"
    assert client.records[0]["user"] == 7
    assert "color_message" not in client.records[0]


@pytest.mark.parametrize("names", [("level", "extra_level"), ("extra_level", "level")])
def test_extra_fields_never_displace_another(
    logger: logging.Logger, client: Recorder, names: tuple[str, str]
) -> None:
    logger.info("hi", extra={name: f"value of {name}" for name in names})
    (record,) = client.records
    assert record["level"] == "INFO"
    assert {"value of level", "value of extra_level"} <= set(record.values())


def test_a_formatter_makes_the_message(
    logger: logging.Logger, handler: Handler, client: Recorder
) -> None:
    handler.setFormatter(logging.Formatter("<%(levelname)s %(message)s>"))
    try:
        raise KeyError("nope")
    except KeyError:
        logger.exception("hi")
    assert client.records[0]["message"].startswith("<ERROR hi>\nTraceback")
    assert "exception" not in client.records[0]


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")


class Endless:
    """A stand-in for lists that are nested deeper than `repr` can follow."""

    def __str__(self) -> str:
        return str(self)

    __repr__ = __str__


@pytest.mark.parametrize("arguments", [("many",), (Unspeakable(),), (Endless(),)])
@pytest.mark.parametrize("formatter", [None, logging.Formatter("%(message)s")])
def test_bad_arguments_cost_nothing_else_of_the_record(
    logger: logging.Logger,
    handler: Handler,
    client: Recorder,
    formatter: logging.Formatter | None,
    arguments: tuple[Any, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    handler.setFormatter(formatter)
    try:
        raise KeyError("nope")
    except KeyError:
        logger.exception("%d orders", *arguments, extra={"shop": "north"}, stack_info=True)
    (record,) = client.records
    assert (record["message"], record["arguments"]) == ("%d orders", arguments)
    assert record["exception"].endswith("KeyError: 'nope'")
    assert "test_bad_arguments" in record["stack"]
    assert (record["level"], record["logger"], record["shop"]) == ("ERROR", "app.part", "north")
    assert "Logging error" in capsys.readouterr().err, "as every handler says it"


def test_a_record_made_by_hand_with_a_broken_exception(handler: Handler, client: Recorder) -> None:
    handler.handle(logging.makeLogRecord({"msg": "hi", "exc_info": True}))
    assert client.records[0]["message"] == "hi"


class Unwritable(io.StringIO):
    def write(self, text: str) -> int:
        raise RuntimeError(f"no place for {text}")


@pytest.mark.parametrize("stderr", ["closed", "missing", "no stream", "the application's"])
def test_bad_arguments_cost_no_record_where_stderr_fails(
    logger: logging.Logger, client: Recorder, monkeypatch: pytest.MonkeyPatch, stderr: str
) -> None:
    closed = io.StringIO()
    closed.close()
    instead = {"closed": closed, "no stream": object(), "the application's": Unwritable()}
    monkeypatch.setattr(sys, "stderr", instead.get(stderr))
    if stderr == "missing":
        monkeypatch.delattr(sys, "stderr")
    logger.info(*["%s and %d", "only one"])
    assert client.records[0]["arguments"] == ("only one",)


def test_a_record_made_by_hand_with_a_broken_time(handler: Handler, client: Recorder) -> None:
    for created in ("soon", None, float("nan"), float("inf")):
        handler.handle(logging.makeLogRecord({"msg": "hi", "created": created}))
    without = logging.makeLogRecord({"msg": "hi"})
    del without.created
    handler.handle(without)
    assert [record["message"] for record in client.records] == ["hi"] * 5


def test_a_thread_without_a_name_is_not_named(
    logger: logging.Logger, client: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "logThreads", False)
    logger.info("hi")
    assert "thread" not in client.records[0]


def test_filters_decide(logger: logging.Logger, handler: Handler, client: Recorder) -> None:
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    logger.info("a secret")
    logger.info("a word")
    assert [record["message"] for record in client.records] == ["a word"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters replace records since 3.12")
def test_a_filter_may_replace_the_record(
    logger: logging.Logger, handler: Handler, client: Recorder
) -> None:
    def replace(_: logging.LogRecord) -> Any:
        return logging.makeLogRecord({"msg": "another"})

    handler.addFilter(replace)
    logger.info("one")
    assert client.records[0]["message"] == "another"
