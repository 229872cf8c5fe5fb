"""The benchmark in containers: its verdict, and, where Docker and the images are, one real run."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from benchmarks.compose import command, task
from benchmarks.compose.chart import chart_of, compose_chart
from benchmarks.compose.command import CourseRow
from benchmarks.compose.course import FAULTS, WAYS, Course, Result
from benchmarks.compose.task import EXEC_ATTEMPTS
from benchmarks.errors import BenchmarkError
from benchmarks.judge import Verdict
from benchmarks.table import write_json
from tests.benchmarks.running import REPOSITORY, benchmarks
from tests.sidecar.deployed import run, why_no_compose
from tests.support.waiting import wait_until

IMAGES = ("fluent/fluentd:v1.19-debian-1", "python:3.13-slim")
SLOW = REPOSITORY / "benchmarks" / "results" / "compose-slow.json"
SLEEP_AT_STOP = REPOSITORY / "benchmarks" / "compose" / "sleep_at_stop.sh"


def compose(directory: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return benchmarks(directory, "compose", *words, **environ)


def why_no_images() -> str:
    if why := why_no_compose():
        return why
    found, _ = run("docker", "image", "inspect", *IMAGES)
    return "" if found == 0 else f"no Docker daemon, or not the images {', '.join(IMAGES)}"


def test_without_docker_it_says_what_to_install(tmp_path: Path) -> None:
    ended = compose(tmp_path, PATH=str(tmp_path))
    assert ended.returncode == 2
    assert "there is no docker on PATH: install Docker Engine" in ended.stderr


@pytest.mark.skipif(bool(why_no_compose()), reason=why_no_compose())
def test_without_a_daemon_it_says_what_to_start(tmp_path: Path) -> None:
    ended = compose(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/nobody.sock")
    assert ended.returncode == 2
    assert (
        "the Docker daemon does not answer" in ended.stderr or "no compose plugin" in ended.stderr
    )


def row(way: str, fault: str, **figures: int) -> CourseRow:
    counts = dict.fromkeys(Verdict.__dataclass_fields__, 0) | figures | {"lost_examples": ()}
    result = Result(Verdict(**counts), 300.0, 1.0, 143, None, Path())  # type: ignore[arg-type]
    return CourseRow(Course(way, fault), (result,))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", WAYS)
def test_what_logship_lost_breaks_its_promise_and_what_others_lose_does_not(
    way: str, fault: str
) -> None:
    ours = way.startswith("logship")
    assert row(way, fault, written=10, delivered=10).kept_the_promise
    assert row(way, fault, written=10, delivered=9, lost=1).kept_the_promise is not ours


@pytest.mark.parametrize("fault", FAULTS)
def test_with_a_sidecar_that_lives_all_must_be_delivered(fault: str) -> None:
    """With a spool, in any case: the recoverer outlives every fault."""
    lives = fault in {"none", "sidecar-slow", "sidecar-restart"}
    assert row("logship", fault, written=10, delivered=9, spilled=1).kept_the_promise is not lives
    assert not row("logship-spool", fault, written=10, delivered=9, spilled=1).kept_the_promise


def test_sleep_at_stop_passes_the_signal_on_and_keeps_the_exit_code(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "pathlib.Path('ready').touch()\n"
        "signal.pause()\n"
    )
    process = subprocess.Popen(
        ["sh", str(SLEEP_AT_STOP), sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"SLEEP_AT_STOP_SECONDS": "0"},
    )
    try:
        wait_until((tmp_path / "ready").exists, "the program runs")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 7
    finally:
        process.kill()


MOODY_DOCKER = """#!/bin/sh
echo "$@" >> {attempts}
[ $(wc -l < {attempts}) -gt {failures} ] || { echo "exec failed: try again" >&2; exit 1; }
echo "12 /fluentd/log"
"""
"""A command in Docker's place that fails at first, as `docker compose exec` does under load."""


@pytest.mark.parametrize("failures", [0, 1, EXEC_ATTEMPTS - 1, EXEC_ATTEMPTS])
def test_an_exec_that_fails_is_tried_again_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    attempts = tmp_path / "attempts"
    text = MOODY_DOCKER.replace("{attempts}", str(attempts)).replace("{failures}", str(failures))
    (tmp_path / "docker").write_text(text)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(task, "EXEC_PAUSE_SECONDS", 0.0)
    tried = task.Task("moody", {}, tmp_path)
    if failures < EXEC_ATTEMPTS:
        assert tried.output_state() == "12 /fluentd/log\n"
    else:
        with pytest.raises(BenchmarkError, match="exec failed: try again"):
            tried.output_state()
    assert len(attempts.read_text().splitlines()) == min(failures + 1, EXEC_ATTEMPTS)


def test_rows_that_are_finished_survive_an_error_in_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker fails in the second row."""
    answers: Iterator[Result] = iter(row("logship", "none", written=9, delivered=9).outcomes)

    def run_or_fail(course: Course, place: Path) -> Result:
        for answer in answers:
            return answer
        raise BenchmarkError("docker compose up: no space left on device")

    monkeypatch.setattr(command, "run", run_or_fail)
    monkeypatch.setattr(command, "check_docker", lambda: None)
    monkeypatch.chdir(tmp_path)
    words = ["--no-build", "--json", "rows.json", "--way", "logship", "--stop-timeout", "2"]
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ended = CliRunner().invoke(command.compose, [*words, "--stop-timeout", "10"])
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert ended.exit_code == 2
    assert "no space left on device" in ended.output
    (kept,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert kept["course"]["stop_timeout"] == 2


def test_each_image_is_built_for_one_service_alone() -> None:
    """Compose labels an image with its service: with a second one, `up` starts both anew."""
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    built = [each["image"] for each in services.values() if "build" in each]
    assert sorted(built) == sorted(set(built)) == ["logship-application", "logship-sidecar"]
    users = [each for each in services.values() if each.get("image") == "logship-application"]
    assert len(users) == 6
    assert all(each.get("pull_policy") == "never" or "build" in each for each in users)


@pytest.mark.skipif(bool(why_no_images()), reason=why_no_images())
def test_a_real_task_delivers_every_line(tmp_path: Path) -> None:
    """Builds the images, brings up the task, stops the application, and judges."""
    written = tmp_path / "compose.json"
    ended = compose(
        tmp_path,
        *("--way", "logship-spool", "--way", "firelens", "--seconds", "2"),
        *("--fault", "none", "--tail", "0"),
        *("--stop-timeout", "10", "--json", str(written)),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    ours, firelens = json.loads(written.read_text())["rows"]
    (found,) = ours["runs"]
    assert found["written"] == found["delivered"] > 300
    assert found["LOST"] == found["duplicated"] == found["spilled"] == 0
    assert found["exit_code"] == 0
    assert found["report"]["acked"] >= found["written"]
    assert firelens["runs"][0]["written"] > 300
    for override in tmp_path.rglob("override.json"):
        project = json.loads(override.read_text())["name"]
        label = f"label=com.docker.compose.project={project}"
        assert run("docker", "ps", "--all", "--quiet", "--filter", label) == (0, "")
        assert run("docker", "volume", "ls", "--quiet", "--filter", label) == (0, "")


def test_the_chart_of_the_repository_shows_the_results_of_the_repository() -> None:
    files = sorted((REPOSITORY / "benchmarks" / "results").glob("compose-*.json"))
    rows = [row for each in files for row in json.loads(each.read_text())["rows"]]
    assert chart_of(rows) == (REPOSITORY / "docs" / "images" / "loss.svg").read_text()
    told = re.findall(r"[\d,]+ of [\d,]+", (REPOSITORY / "README.md").read_text())
    assert told == [lost_of(rows, way) for way in ("firelens", "logship")]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nowhere.json", "--svg", "x.svg"], "cannot read nowhere.json: No such file"),
        (["text.json", "--svg", "x.svg"], "holds no results of `compose --json`"),
        (["empty.json", "--svg", "x.svg"], "holds no results of `compose --json`"),
        ([str(SLOW), "--svg", "text.json/x.svg"], "cannot write text.json/x.svg: "),
    ],
)
def test_a_chart_that_cannot_be_drawn_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.json").write_text("text")
    (tmp_path / "empty.json").write_text('{"rows": []}')
    ended = CliRunner().invoke(compose_chart, words)
    assert ended.exit_code == 2
    assert complaint in ended.output


def lost_of(rows: list[dict[str, Any]], way: str) -> str:
    found = [row for row in rows if (row["course"]["way"], row["course"]["tail"]) == (way, 100_000)]
    lost, written = (int(found[0]["summary"][name]["median"]) for name in ("LOST", "written"))
    return f"{lost:,} of {written:,}"


def test_the_chart_shows_what_each_way_lost(tmp_path: Path) -> None:
    """One file a command; others above logship; the median of several runs."""
    burst = Course("logship", "sidecar-slow", tail=100)
    lost = [row("firelens", "", written=200, lost=count).outcomes[0] for count in (50, 150, 100)]
    written = [
        [CourseRow(burst, row("", "", written=200, delivered=190, spilled=10).outcomes)],
        [CourseRow(replace(burst, way="firelens"), tuple(lost))],
    ]
    for number, rows in enumerate(written):
        write_json(tmp_path / f"{number}.json", {}, rows)
    ended = benchmarks(tmp_path, "compose-chart", "0.json", "1.json", "--svg", "chart.svg")
    assert ended.returncode == 0, ended.stderr
    svg = html.unescape((tmp_path / "chart.svg").read_text())
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert [each for each in texts if not each.endswith(" %")] == [
        "Log lines lost at the end of a task, per cent of those logged",
        "Fluentd at a quarter of a CPU; 100 lines logged after SIGTERM",
        *("Docker's fluentd driver", "100 of 200"),
        *("logship", "0 of 200, 10 on stderr"),
    ]
    assert svg.count('width="0.0"') == 1  # the bar of logship
