"""Shows that records logged before the task is known wait for the tag that FireLens routes.

The stand-in of the metadata endpoint says nothing until the test lets it, so that everything that
happens before cannot have waited for it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import LOGSHIP, ran
from tests.support.programs import Ended, Program, Programs
from tests.support.programs_judge import Output
from tests.support.receiver_process import ReceiverProcess
from tests.support.task_metadata import TASK_ID, TaskMetadata, container
from tests.support.threads import Later

TAG = f"app-firelens-{TASK_ID}"

LOGS_AT_ONCE = """
    logship.install(level="INFO")
    log(times=200)
    ready()
    wait_for("end")
    log()
"""

LOGS_BESIDE = """
    client = logship.install(level="INFO")
    log(times=200)
    client.emit({"message": "this one does not wait"}, "web")
    ready()
    wait_for("end")
    log()
"""

ENDS_AT_ONCE = """
    logship.install(level="INFO")
    atexit.register(progress, "exit")
    log()
"""

FORKS_AT_ONCE = """
    logship.install(level="INFO")
    log()
    child = os.fork()
    log()
    if child:
        ready()
    wait_for("end")
    log()
    if child:
        os.waitpid(child, 0)
"""

IS_KILLED = """
    logship.install(level="INFO")
    log(times=100)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass
class Task:
    """A container under FireLens, and what its sidecar got.

    Attributes:
        metadata: The stand-in, which does not answer yet.
        receiver: The sidecar.
        programs: What starts programs.
    """

    metadata: TaskMetadata
    receiver: ReceiverProcess
    programs: Programs

    def start(self, source: str, *, before: tuple[str, ...] = (), **environ: str) -> Program:
        """Start a program in this container, without a configured tag."""
        return self.programs.start(source, before=before, environ={**self.environ, **environ})

    @property
    def environ(self) -> dict[str, str]:
        """What ECS sets, and nothing else that says where the sidecar is."""
        port = str(self.receiver.port)
        return {**self.metadata.firelens_environ, "FLUENT_PORT": port, "LOGSHIP_ENDPOINTS": ""}

    @property
    def tags(self) -> set[str]:
        """The tags of all that arrived, logship's own records too."""
        return {line["tag"] for line in self.receiver.records()}

    def assert_complete(self, ended: Ended) -> None:
        """Fail unless each record arrived once, and `logship audit` says that it is all."""
        Output(self.receiver.out).verdict(ended).assert_delivered_once()
        ran(*LOGSHIP, "audit", self.receiver.out)


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceiverProcess]:
    out = tmp_path_factory.mktemp("receiver") / "out.jsonl"
    with ReceiverProcess.start(out) as receiver:
        yield receiver


@pytest.fixture
def task(tmp_path: Path, receiver: ReceiverProcess) -> Iterator[Task]:
    receiver.begin_anew()
    with TaskMetadata(container("app", "awsfirelens")) as metadata:
        metadata.may_answer.clear()
        programs = Programs(tmp_path, "")
        yield Task(metadata, receiver, programs)
        programs.kill_all()


def spooled(is_spooled: bool, path: Path) -> dict[str, Any]:
    (path / "spool").mkdir()
    return {"LOGSHIP_SPOOL_DIR": str(path / "spool")} if is_spooled else {}


@pytest.mark.parametrize("is_spooled", [False, True], ids=["memory", "spool"])
def test_records_of_before_go_by_the_right_tag(
    task: Task, tmp_path: Path, is_spooled: bool
) -> None:
    program = task.start(LOGS_BESIDE, **spooled(is_spooled, tmp_path))
    program.until_ready()
    # It was logged last, and has lingered and come: what it did not come with waits.
    (first,) = task.receiver.wait_for_records(1)
    assert first["tag"] == "web"
    task.metadata.may_answer.set()
    task.receiver.wait_for_records(201)
    ended = program.finish("end")
    assert task.tags == {TAG, "web"}
    assert [each for each in ended.warnings if "tag" in each] == []
    task.assert_complete(ended)


def test_a_program_that_ends_at_once_waits_for_its_tag_with_its_last_records(task: Task) -> None:
    program = task.start(ENDS_AT_ONCE)
    program.until("exit")
    task.metadata.may_answer.set()
    ended = program.end()
    assert task.tags == {TAG}
    task.assert_complete(ended)


def test_metadata_that_never_come_and_sigterm(task: Task) -> None:
    program = task.start(LOGS_AT_ONCE, LOGSHIP_STOP_TIMEOUT_SECONDS="4")
    ended = program.stopped(returncode=-signal.SIGTERM)
    assert task.tags == {"program"}
    (warning,) = ended.warnings
    assert warning.startswith("logship: the ECS task metadata do not answer")
    assert "set LOGSHIP_TAG=<container>-firelens-" in warning
    assert ended.reports == []
    task.assert_complete(ended)


def test_metadata_that_never_come_and_a_program_that_goes_on(task: Task) -> None:
    program = task.start(LOGS_AT_ONCE)
    program.until_ready()
    task.receiver.wait_for_records(200, seconds=60)
    ended = program.finish("end")
    assert task.tags == {"program"}
    assert len(ended.warnings) == 1
    task.assert_complete(ended)


def test_a_child_that_is_forked_meanwhile_waits_for_itself(task: Task) -> None:
    program = task.start(FORKS_AT_ONCE)
    program.until_ready()
    task.metadata.may_answer.set()
    program.until_logged(3)
    ended = program.finish("end")
    assert task.tags == {TAG}
    task.assert_complete(ended)
    Output(task.receiver.out).verdict(ended).assert_a_stream_each()


def test_what_was_killed_before_it_knew_its_tag_is_shipped_by_it(
    task: Task, tmp_path: Path
) -> None:
    spool = spooled(True, tmp_path)
    killed = task.start(IS_KILLED, **spool).end(returncode=-signal.SIGKILL)
    assert task.receiver.records() == []
    task.metadata.may_answer.set()
    recover = (*LOGSHIP, "recover", "--spool", spool["LOGSHIP_SPOOL_DIR"])
    ran(*recover, env={**task.environ, "LOGSHIP_TAG": "recoverer"})
    assert task.tags == {TAG}
    task.assert_complete(killed)


def test_the_output_of_a_command_under_run(task: Task) -> None:
    program = task.start("print('one')", before=(*LOGSHIP, "run", "--"))
    assert task.metadata.was_asked.wait(30)
    task.metadata.may_answer.set()
    program.end(returncode=0)
    assert task.tags == {TAG}
    assert "one" in {line["record"].get("message") for line in task.receiver.records()}


def test_a_client_inside_that_was_killed_under_run(task: Task) -> None:
    program = task.start(IS_KILLED, before=(*LOGSHIP, "run", "--"))
    program.until_logged(100)
    task.metadata.may_answer.set()
    ended = program.end(returncode=128 + signal.SIGKILL)
    assert task.tags == {TAG}
    task.assert_complete(ended)


def test_the_lines_of_a_pipe(task: Task) -> None:
    pipe = Later(lambda: ran(*LOGSHIP, "pipe", env=task.environ, input="one\n"))
    assert task.metadata.was_asked.wait(30)
    task.metadata.may_answer.set()
    assert pipe.join().returncode == 0
    assert task.tags == {TAG}
