"""Short real runs: a sidecar, an application, a signal, and figures that are known beforehand."""

from __future__ import annotations

import shlex
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.demo import missing_by_hand
from benchmarks.loss import loss as loss_command
from tests.benchmarks.running import loss_in
from tests.support.commands import ran


class Loss:
    """Runs `python -m benchmarks loss` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, *words: str, seconds: float = 2) -> tuple[int, dict[str, Any], str]:
        """Return exit code, the JSON of the only row, and all that was printed."""
        times = ("--seconds", str(seconds), "--settle-seconds", "1")
        return loss_in(self._directory, *words, *times)


@pytest.fixture
def loss(tmp_path: Path) -> Loss:
    return Loss(tmp_path)


def only_run(row: dict[str, Any]) -> dict[str, Any]:
    (run,) = row["runs"]
    assert isinstance(run, dict)
    return run


def test_a_healthy_sidecar_gets_every_line(loss: Loss) -> None:
    code, row, printed = loss()
    run = only_run(row)
    assert code == 0, printed
    assert run["written"] == run["delivered"] > 500
    assert run["LOST"] == run["duplicated"] == run["spilled"] == run["damaged"] == 0
    assert run["exit_code"] == -15
    assert not run["killed"]


@pytest.mark.parametrize("app", ["asyncio", "threads", "batch"])
def test_each_kind_of_application_logs_its_tail(loss: Loss, app: str) -> None:
    code, row, printed = loss("--app", app, "--tail", "3001", seconds=1)
    run = only_run(row)
    assert code == 0, printed
    assert run["written"] == run["delivered"] > 3001 + 200
    assert run["exit_code"] == 0  # it handles SIGTERM, or could not log a tail


def test_a_sidecar_that_stays_down_shows_what_is_spilled(loss: Loss) -> None:
    code, row, printed = loss("--fault", "sidecar-down", "--stop-timeout", "2")
    run = only_run(row)
    assert code == 0, printed
    assert run["spilled"] > 100
    assert run["delivered"] + run["spilled"] == run["written"]
    assert run["report"]["reason"]


def test_a_peers_loss_is_shown_and_fails_nothing(loss: Loss) -> None:
    """The asynchronous sender drops what it holds when the sidecar is down at `close()`."""
    code, row, _ = loss("--shipper", "fluent-logger-async", "--fault", "sidecar-down")
    run = only_run(row)
    assert run["LOST"] > 100
    assert run["lost_examples"]
    assert code == 0


def test_an_application_that_ignores_the_peers_readme_is_possible(
    loss: Loss, tmp_path: Path
) -> None:
    """Python's default SIGTERM: the process is gone before atexit could close the handler.

    And the command that `make demo` prints names one line that is cut out of the output.
    """
    _, row, _ = loss("--shipper", "fluent-logger", "--on-sigterm", "default", seconds=1)
    assert only_run(row)["exit_code"] == -15
    (output,) = tmp_path.rglob("output.jsonl")
    lines = output.read_text().splitlines(keepends=True)
    output.write_text("".join(lines[:50] + lines[51:]))
    search = ran("bash", "-c", missing_by_hand(["output.jsonl"]), code=None, cwd=output.parent)
    (named,) = search.stdout.split()
    assert named in lines[50]


def forgetful(tmp_path: Path, port: int) -> list[str]:
    """Return the options for a sidecar that acknowledges every record and forgets one in ten."""
    output, address = tmp_path / "forgetful.jsonl", f"127.0.0.1:{port}"
    receive = shlex.join([sys.executable, "-m", "logship", "receive", "--bind", address])
    forget = "awk 'NR % 10 { print; fflush() }'"
    command = shlex.join(["sh", "-c", f"{receive} | {forget} > {output}"])
    return ["--server", address, "--output", str(output), "--server-command", command]


def test_a_line_that_logship_lost_is_exit_code_1(loss: Loss, tmp_path: Path, port: int) -> None:
    """The sidecar acknowledges and forgets: logship's own report says all is well."""
    code, row, _ = loss(*forgetful(tmp_path, port), seconds=1)
    run = only_run(row)
    assert run["report"]["unacked"] == 0
    assert run["LOST"] > 20
    assert code == 1


def test_a_program_that_has_the_sidecars_port_is_not_taken_for_it(
    loss: Loss, tmp_path: Path
) -> None:
    """The sidecar itself could not start, so the fault would happen to nothing."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, _, printed = loss(*forgetful(tmp_path, other.getsockname()[1]))
    assert code == 2
    assert "another program listens" in " ".join(printed.split())


def test_a_file_is_replayed_and_repeated_runs_show_their_spread(loss: Loss, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b'{"json": "line"}\n%s %d\n\xff\xfe\n\n')
    words = ("--lines", str(path), "--repeat", "2", "--shipper", "fluent-logger")
    code, row, printed = loss(*words, seconds=1)
    assert code == 0, printed
    assert [run["exit_code"] for run in row["runs"]] == [0, 0]
    assert all(run["written"] == run["delivered"] > 200 for run in row["runs"])
    assert row["summary"]["LOST"] == {"min": 0, "median": 0, "max": 0}
    assert all(word in printed for word in ("2 runs", "min", "median", "max"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--server", "nonsense"], "say embedded, fluentd, fluent-bit or HOST:PORT"),
        (["--server", "127.0.0.1:9"], "needs --output GLOB, its files"),
        (["--server", "127.0.0.1:9", "--output", "x"], "no sidecar listens on 127.0.0.1:9"),
        (
            ["--server", "127.0.0.1:9", "--output", "x", "--fault", "sidecar-down"],
            "needs --server-command",
        ),
        (["--server", "fluentd:no-such-fluentd"], "no-such-fluentd: no such program on PATH"),
        (["--stop-timeout", "1"], "2<=x<=120"),
        (["--fault", "sidecar-restart"], "needs --seconds 5 or more"),
        (["--lines", "empty"], "has no lines"),
    ],
)
def test_a_run_that_cannot_be_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    ended = CliRunner().invoke(loss_command, [*words, "--seconds", "2"])
    assert ended.exit_code == 2
    assert complaint in " ".join(ended.output.split())
