"""Shows that `run` names the ECS task of its command's output, and warns for all of them."""

from __future__ import annotations

from tests.run.conftest import Runs
from tests.support.task_metadata import TASK_ARN, TaskMetadata, container
from tests.support.waiting import wait_until

PRINTS = "print('one', flush=True); from application import wait_for; wait_for('end'); print('two')"
LOGS = """
    import logship
    logship.install(level="INFO")
    log()
    print("one", flush=True)
    wait_for("end")
"""


def told(runs: Runs) -> list[str]:
    """Return the streams that name their task."""
    found = [each for each in runs.records if each.get("ecs_task_arn") == TASK_ARN]
    return [each["logship_id"].partition(":")[0] for each in found]


def test_the_stream_of_the_output_is_told_its_task(runs: Runs) -> None:
    with TaskMetadata(container("app", mode="blocking")) as metadata:
        program = runs.start(PRINTS, environ=metadata.environ)
        wait_until(lambda: len(told(runs)) == 1, "the task has been named")
        ended = program.finish("end")
    assert runs.messages == ["one", "logship: the task of this stream", "two"]
    assert len(set(told(runs))) == 1
    assert "drops in silence" not in ended.stderr


def test_a_client_inside_names_its_own_stream_and_leaves_the_warning_to_run(runs: Runs) -> None:
    with TaskMetadata(container("app", mode="non-blocking")) as metadata:
        program = runs.start(LOGS, environ=metadata.environ)
        wait_until(lambda: len(set(told(runs))) == 2, "both streams have named their task")
        ended = program.finish("end")
    assert (ended.stderr + " ".join(runs.messages)).count("drops in silence") == 1
    ended.verdict.assert_all_delivered()


def test_a_command_that_prints_nothing_has_no_stream_to_tell(runs: Runs) -> None:
    with TaskMetadata(container("app", mode="blocking")) as metadata:
        program = runs.start(
            "from application import ready, wait_for; ready(); wait_for('end')",
            environ=metadata.environ,
        )
        assert metadata.was_asked.wait(30)
        program.until_ready()
        ended = program.finish("end")
    assert ended.stderr == ""
    assert runs.records == []
