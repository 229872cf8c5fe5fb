"""The container's part: settings, tag, limits, spool, stderr."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logship._cli.doctor import command
from logship._deployment.doctor.examination import describe_descriptor
from logship._deployment.doctor.spooling import check_spool
from logship._deployment.doctor.surroundings import (
    check_memory,
    check_nofile,
    check_package,
    check_stderr,
    check_stop_timeout,
    check_tag,
)
from logship._ecs.task import Task, TaskContainer
from logship._settings import MIB, Settings
from tests.doctor.conftest import ask
from tests.support.commands import ran
from tests.support.servers import EmbeddedReceiver
from tests.support.task_metadata import TASK_ID, TaskMetadata, container


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("overflow", "drop"),
        ("endpoints", "nowhere"),
        ("shared_key_file", "/none/there"),
        ("tls_ca", "/none/there"),
    ],
)
def test_wrong_settings_are_one_failed_check(name: str, value: str) -> None:
    """Nothing else can be looked at without them."""
    told = ask(**{name: value})
    assert told.exit_code == 1
    assert [each["check"] for each in told.checks] == ["package", "settings"]
    assert name.removesuffix("_file") in told.output.lower()


def test_a_certificate_file_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    told = ask(endpoints="tls://127.0.0.1:1", tls_ca=str(tmp_path / "ca.pem"))
    assert (told.exit_code, told.outcome("settings")) == (1, "fail")


@pytest.mark.parametrize("options", [["--workers", "0"], ["--burst", "-1"], ["--tag", ""], ["x"]])
def test_usage_is_2(options: list[str]) -> None:
    assert CliRunner().invoke(command, options).exit_code == 2


@pytest.mark.parametrize(
    ("other", "is_replaced", "outcome"),
    [
        (None, False, "ok"),
        ("logship-0.0.1.dist-info", False, "warn"),
        ("logship-0.0.1.dist-info", True, "fail"),
        (None, True, "fail"),
    ],
)
def test_a_package_of_the_same_name(other: str | None, is_replaced: bool, outcome: str) -> None:
    result = check_package(other, is_replaced=is_replaced)
    assert result.outcome.value == outcome
    assert ("pip uninstall logship" in result.advice) is (outcome != "ok")


@pytest.mark.parametrize(
    ("soft", "outcome"), [(256, "fail"), (1024, "warn"), (4096, "ok"), (65535, "ok"), (-1, "ok")]
)
def test_nofile(soft: int, outcome: str) -> None:
    assert check_nofile(soft).outcome.value == outcome


@pytest.mark.parametrize(
    ("limit_mib", "workers", "outcome"),
    [(None, 1000, "ok"), (512, 1, "ok"), (512, 3, "warn"), (512, 4, "warn"), (512, 5, "fail")],
)
def test_memory_against_the_buffers_of_all_workers(
    limit_mib: int | None, workers: int, outcome: str
) -> None:
    settings = Settings(buffer_bytes_max=64 * MIB)
    limit = None if limit_mib is None else limit_mib * MIB
    result = check_memory(settings, limit, workers)
    assert result.outcome.value == outcome
    assert ("LOGSHIP_BUFFER_BYTES_MAX=" in result.advice) is (outcome != "ok")


@pytest.mark.parametrize(
    ("mib_per_second", "workers", "more", "outcome"),
    [
        (None, 1, {}, "skip"),
        (100.0, 1, {}, "ok"),
        (100.0, 100, {}, "warn"),
        (3.0, 1, {"last_resort": "none"}, "warn"),
        (3.0, 2, {"last_resort": "none"}, "fail"),
        (3.0, 2, {}, "warn"),
        (3.0, 2, {"last_resort": "none", "spool_dir": "/spool"}, "warn"),
        (0.001, 1, {"last_resort": "none"}, "fail"),
    ],
)
def test_stop_timeout_against_the_drain(
    mib_per_second: float | None, workers: int, more: dict[str, Any], outcome: str
) -> None:
    """64 MiB in 30 s less margin and reserve; what is left is spooled, spilled, or lost."""
    settings = Settings(buffer_bytes_max=64 * MIB, stop_timeout_seconds=30, **more)
    rate = None if mib_per_second is None else mib_per_second * MIB
    assert check_stop_timeout(settings, rate, workers).outcome.value == outcome


APP = TaskContainer("app", log_driver="awsfirelens")


OTHER = TaskContainer("other", log_driver="awsfirelens")
LOGS = TaskContainer("app", log_driver="awslogs")
HOST = {"FLUENT_HOST": "127.0.0.1"}
IN_TASK = HOST | {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4"}


@pytest.mark.parametrize(
    ("tag", "environ", "task", "outcome"),
    [
        ("web", {}, None, "ok"),
        ("web", HOST, None, "ok"),
        ("web", IN_TASK, None, "warn"),
        ("app-firelens-1", IN_TASK, None, "warn"),
        ("app-firelens-1", IN_TASK, Task(APP), "ok"),
        ("web-firelens-1", {}, Task(APP), "warn"),
        ("web", {}, Task(LOGS), "ok"),
        ("web", IN_TASK, Task(LOGS), "ok"),
        ("web", IN_TASK, Task(LOGS, (OTHER,)), "warn"),
        ("app-firelens-1", IN_TASK, Task(LOGS, (OTHER,)), "warn"),
        ("other-firelens-1", IN_TASK, Task(LOGS, (OTHER,)), "ok"),
        ("web", IN_TASK, Task(TaskContainer("app")), "warn"),
    ],
)
def test_tag_under_firelens(
    tag: str, environ: dict[str, str], task: Task | None, outcome: str
) -> None:
    """`FLUENT_HOST` names a sidecar of any kind where no container has FireLens' driver.

    Nothing shows whether FireLens has a configuration of its own with an output for the tag.
    """
    assert check_tag(tag, environ, task).outcome.value == outcome


def test_the_tag_to_set_is_one_that_firelens_routes() -> None:
    advice = check_tag("web", IN_TASK, Task(LOGS, (OTHER,))).advice
    assert advice.startswith("LOGSHIP_TAG=other-firelens-logship,")


@pytest.mark.parametrize(
    ("options", "environment", "outcome"),
    [
        ([], {}, "warn"),
        ([], {"LOGSHIP_TAG": ""}, "warn"),
        ([], {"LOGSHIP_TAG": "logship"}, "ok"),
        (["--tag", "web"], {}, "ok"),
    ],
)
def test_a_tag_that_is_the_name_of_another_program(
    options: list[str], environment: dict[str, str], outcome: str
) -> None:
    told = ask("--no-send", *options, endpoints="unix:///none", **environment)
    assert told.outcome("tag") == outcome
    assert ("--tag" in told["tag"]["advice"]) is (outcome == "warn")


@pytest.mark.parametrize(
    ("driver", "mode", "outcome", "said"),
    [
        ("awsfirelens", None, "fail", "same sidecar"),
        ("none", None, "fail", "no log driver"),
        (None, None, "fail", "no log driver"),
        ("awslogs", None, "warn", "non-blocking (the default on ECS)"),
        ("awslogs", "non-blocking", "warn", "drops in silence"),
        ("awslogs", "blocking", "ok", ""),
    ],
)
def test_stderr_by_log_driver(
    driver: str | None, mode: str | None, outcome: str, said: str
) -> None:
    own = TaskContainer("app", log_driver=driver, log_options={"mode": mode} if mode else {})
    result = check_stderr(Settings(), own, "pipe")
    assert result.outcome.value == outcome
    assert said in result.text


@pytest.mark.parametrize(
    ("descriptor", "last_resort", "outcome"),
    [
        ("pipe", "stderr", "ok"),
        ("", "stderr", "fail"),
        ("/dev/null", "stderr", "fail"),
        ("pipe", "none", "warn"),
    ],
)
def test_stderr_outside_of_ecs(descriptor: str, last_resort: Any, outcome: str) -> None:
    settings = Settings(last_resort=last_resort)
    assert check_stderr(settings, None, descriptor).outcome.value == outcome


def test_descriptors_are_described(tmp_path: Path) -> None:
    with (tmp_path / "err").open("w") as file:
        assert describe_descriptor(file.fileno()) == str(tmp_path / "err")
    with Path("/dev/null").open() as null:
        assert describe_descriptor(null.fileno()) == "/dev/null"
    assert describe_descriptor(9999) == ""


def test_a_closed_stderr_is_closed_although_another_file_has_its_descriptor() -> None:
    words = (sys.executable, "-m", "logship", "doctor", "--json", "--no-send")
    told = ran("sh", "-c", 'exec "$@" 2>&-', "sh", *words, code=None)
    (stderr,) = [each for each in json.loads(told.stdout)["checks"] if each["check"] == "stderr"]
    assert stderr["outcome"] == "fail"
    assert "stderr is closed" in stderr["text"]


# -- the spool -------------------------------------------------------------------------------------


def spool_outcomes(path: Path, **settings: Any) -> list[str]:
    chosen = Settings(spool_dir=str(path), **settings)
    return [each.outcome.value for each in check_spool(chosen, 1)]


def test_a_spool_that_is_well_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    assert spool_outcomes(tmp_path, spool_bytes_max=16 * MIB)[0] == "ok"
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


def test_a_spool_that_the_application_will_make_is_tried_and_removed(tmp_path: Path) -> None:
    assert spool_outcomes(tmp_path / "spool", spool_bytes_max=16 * MIB)[0] == "ok"
    assert list(tmp_path.iterdir()) == []


def test_no_spool_is_no_failure() -> None:
    assert [each.outcome.value for each in check_spool(Settings(), 1)] == ["skip"]


def test_a_spool_that_may_outgrow_its_volume_is_a_warning(tmp_path: Path) -> None:
    assert spool_outcomes(tmp_path, spool_bytes_max=1 << 60)[0] == "warn"


def test_spools_that_cannot_be_used(tmp_path: Path) -> None:
    """One whose parent is missing, a file, a link: named, with what to do."""
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("missing/spool", "file", "link"):
        told = ask("--no-send", spool_dir=str(tmp_path / name), endpoints="unix:///none")
        assert told.exit_code == 1
        assert told.outcome("spool") == "fail"
        assert str(tmp_path / name) in told["spool"]["text"]
        assert "VOLUME" in told["spool"]["advice"]


def test_a_spool_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root gives the directory to another user; any other user can only pretend to be another."""
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, 12345)
    else:
        another = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: another)
    assert spool_outcomes(tmp_path) == ["fail"]
    assert not list(tmp_path.iterdir())


def test_a_filesystem_whose_locks_exclude_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recoverers would ship what living processes still write; and nothing is left behind."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert spool_outcomes(tmp_path)[0] == "fail"
    assert not list(tmp_path.iterdir())


# -- task metadata ---------------------------------------------------------------------------------


def test_the_log_driver_is_that_of_the_task_metadata() -> None:
    with TaskMetadata(container("app", mode="blocking")) as metadata:
        told = ask("--no-send", endpoints="unix:///none", **metadata.environ)
    assert told["stderr"]["text"] == "the log driver awslogs is blocking"


def test_the_json_says_what_the_exit_code_says() -> None:
    result = CliRunner().invoke(command, ["--json", "--no-send"], env={"LOGSHIP_TAG": "\n"})
    assert result.exit_code == 1
    assert json.loads(result.output)["healthy"] is False


def test_variables_that_no_program_reads_are_a_warning(sidecar: EmbeddedReceiver) -> None:
    told = ask("--no-send", endpoints=sidecar.endpoint, tagg="hidden")
    assert told.exit_code == 0
    assert told.outcome("variables") == "warn"
    assert "LOGSHIP_TAGG (did you mean LOGSHIP_TAG?)" in told["variables"]["text"]
    assert "hidden" not in told.output
    assert ask("--no-send", endpoints=sidecar.endpoint).outcome("variables") is None


@pytest.mark.parametrize(("driver", "outcome"), [("awsfirelens", "ok"), (None, "warn")])
def test_the_default_tag_is_the_one_that_the_application_will_have(
    sidecar: EmbeddedReceiver, driver: str | None, outcome: str
) -> None:
    tag = f"app-firelens-{TASK_ID}"
    environ = {"LOGSHIP_TAG": "", "FLUENT_HOST": "127.0.0.1", "endpoints": sidecar.endpoint}
    with TaskMetadata(container("app", driver)) as metadata:
        if driver is None:
            metadata.status = 500
        told = ask("--burst", "0", **environ, **metadata.environ)
    assert told.outcome("tag") == outcome
    assert (tag in told["settings"]["text"]) is (driver is not None)
    assert (f"tag {tag!r}, acked" in told["record"]["text"]) is (driver is not None)
