"""Shows what a program tells of its ECS task, and that it never waits for the metadata."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

import pytest

from tests.process.conftest import Sidecar
from tests.support.programs import Ended, Program, Programs
from tests.support.programs_judge import stream_of
from tests.support.task_metadata import TASK_ARN, TASK_ID, TaskMetadata, container
from tests.support.waiting import wait_until

OWN = container("app", mode="blocking")

LOGS_UNTIL_TOLD = """
logship.install(level="INFO")
log()
ready()
wait_for("end")
log()
"""

FORKS = """
logship.install(level="INFO")
log()
wait_for("fork")
child = os.fork()
log()
wait_for("end")
if child:
    os.waitpid(child, 0)
"""


def told(ended: Ended) -> list[dict[str, Any]]:
    """Return the records of the program that name its task."""
    records = [line["record"] for line in ended.verdict.lines]
    return [each for each in records if each.get("logger") == "logship.ecs"]


def end(program: Program) -> Ended:
    """Let the program go on to its end once it has logged."""
    program.until_ready()
    program.let_go("end")
    return program.end()


def until_told(sidecar: Sidecar, name: str, times: int = 1) -> None:
    """Wait until so many records that name the container are with the sidecar."""
    path = sidecar.output.path
    wait_until(lambda: path.read_text().count(f'"{name}"') >= times, f"{times} records of {name}")


def test_one_record_of_the_stream_names_task_and_container(
    programs: Programs, sidecar: Sidecar
) -> None:
    name = f"app-{token_hex(4)}"
    with TaskMetadata(container(name, mode="blocking")) as metadata:
        program = programs.start(LOGS_UNTIL_TOLD, environ=metadata.environ)
        program.until_ready()
        until_told(sidecar, name)
        ended = end(program)
    (record,) = told(ended)
    assert record["ecs_task_arn"] == TASK_ARN
    assert record["container_name"] == name
    assert record["ecs_task_definition"] == "web:7"
    ended.verdict.assert_delivered_once()
    assert ended.warnings == []


def test_each_process_of_a_program_tells_its_own_stream(
    programs: Programs, sidecar: Sidecar
) -> None:
    name = f"app-{token_hex(4)}"
    with TaskMetadata(container(name, mode="non-blocking")) as metadata:
        program = programs.start(FORKS, environ=metadata.environ)
        until_told(sidecar, name)
        program.let_go("fork")
        until_told(sidecar, name, times=2)
        ended = program.finish("end")
    parents, childs = (stream_of(record) for record in told(ended))
    assert parents != childs
    ended.verdict.assert_all_delivered()
    assert len(ended.warnings) == 1, "the child repeats the warning"


def test_it_can_be_left_out(programs: Programs) -> None:
    with TaskMetadata(container("app", mode="non-blocking")) as metadata:
        environ = {**metadata.environ, "LOGSHIP_ECS_FIELDS": "off"}
        program = programs.start(LOGS_UNTIL_TOLD, environ=environ)
        program.until_true(lambda: "drops in silence" in program.stderr, "the warning")
        ended = end(program)
    assert told(ended) == []


@pytest.mark.parametrize(
    ("driver", "options", "text"),
    [
        ("awsfirelens", {}, "the log driver awsfirelens sends stderr back to the same sidecar"),
        ("awslogs", {}, "the log driver awslogs is non-blocking (the default on ECS)"),
    ],
)
def test_it_warns_once_where_stderr_is_not_safe(
    programs: Programs, driver: str, options: dict[str, str], text: str
) -> None:
    with TaskMetadata(container("app", driver, **options)) as metadata:
        environ = {**metadata.environ, "LOGSHIP_TAG": "web"}
        program = programs.start(LOGS_UNTIL_TOLD, environ=environ)
        program.until_true(lambda: text in program.stderr, "the warning")
        ended = end(program)
    (warning,) = ended.warnings
    assert warning.startswith("logship: stderr, the last resort, is not safe here: ")


def test_it_does_not_where_stderr_is_not_the_last_resort(programs: Programs) -> None:
    with TaskMetadata(container("app", "awsfirelens")) as metadata:
        environ = {**metadata.environ, "LOGSHIP_LAST_RESORT": "none"}
        program = programs.start(LOGS_UNTIL_TOLD, environ=environ)
        program.until_true(lambda: "LOGSHIP_TAG=" in program.stderr, "the other warning")
        ended = end(program)
    (warning,) = ended.warnings
    assert f"set LOGSHIP_TAG=app-firelens-{TASK_ID}" in warning


@pytest.mark.parametrize("kind", ["silent", "garbage"])
def test_metadata_that_do_not_come_change_nothing(programs: Programs, kind: str) -> None:
    """The silent endpoint is closed only after the program has ended: it did not wait."""
    with TaskMetadata(OWN) as metadata:
        environ = dict(metadata.environ)
        if kind == "silent":
            metadata.is_silent = True
        else:
            metadata.answers["/v4/id"] = b"<html>"
        program = programs.start(LOGS_UNTIL_TOLD, environ=environ)
        assert metadata.was_asked.wait(30)
        ended = end(program)
    assert told(ended) == []
    assert ended.stderr == ""
    assert ended.returncode == 0
    ended.verdict.assert_all_delivered()
