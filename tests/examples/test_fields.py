"""Shows that what other logging libraries add to a record arrives as fields of the record."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.examples.frameworks import EXAMPLES, environ, missing, script
from tests.process.conftest import Sidecar
from tests.support.programs import Ended, Programs


def run(programs: Programs, sidecar: Sidecar, name: str, *needs: str) -> tuple[Ended, list[Any]]:
    """Run an example; return how it ended and the records that arrived, in order."""
    if why := missing(needs):
        pytest.skip(why)
    words = [word.format(examples=EXAMPLES) for word in script(name)]
    ended = programs.start_command(words, environ=environ()).end()
    assert ended.returncode == 0, ended.stderr
    verdict = sidecar.output.verdict(ended)
    verdict.assert_delivered_once()
    records = [line["record"] for line in verdict.lines if "logship_end" not in line["record"]]
    return ended, [record | {"message": _without_marker(record)} for record in records]


def _without_marker(record: dict[str, Any]) -> str:
    return str(record["message"]).partition(" ")[2]


@pytest.mark.parametrize(
    ("name", "module", "level"),
    [
        pytest.param("structlog_app.py", "structlog", "INFO", id="structlog"),
        pytest.param("loguru_app.py", "loguru", "SUCCESS", id="loguru"),
        pytest.param("json_logger.py", "pythonjsonlogger", "INFO", id="python-json-logger"),
    ],
)
def test_extra_fields_arrive_as_fields(
    programs: Programs, sidecar: Sidecar, name: str, module: str, level: str
) -> None:
    _, (placed, failed) = run(programs, sidecar, name, module)
    assert placed["message"] == "order placed"
    assert placed["level"] == level
    assert placed["shop"] == "north"
    assert placed["order"] == 4711
    assert placed["items"] == ["tea", "cup"]
    assert failed["message"] == "order failed"
    assert failed["level"] == "ERROR"
    assert failed["order"] == 4712
    assert failed["exception"].endswith("ValueError: out of tea")


def test_the_console_shows_the_fields_that_are_shipped(
    programs: Programs, sidecar: Sidecar
) -> None:
    """python-json-logger formats what goes to the console; logship needs no formatter."""
    ended, (placed, _) = run(programs, sidecar, "json_logger.py", "pythonjsonlogger")
    shown = json.loads(ended.stdout.splitlines()[0])
    for name in ("shop", "order", "items"):
        assert shown[name] == placed[name]


def test_records_in_a_span_carry_its_ids(programs: Programs, sidecar: Sidecar) -> None:
    _, (order, payment, outside) = run(programs, sidecar, "tracing.py", "opentelemetry.sdk")
    assert re.fullmatch("[0-9a-f]{32}", order["trace_id"])
    assert re.fullmatch("[0-9a-f]{16}", order["span_id"])
    assert payment["trace_id"] == order["trace_id"]
    assert payment["span_id"] != order["span_id"]
    assert not {"trace_id", "span_id"} & outside.keys()
