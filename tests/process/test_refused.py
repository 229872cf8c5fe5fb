"""What was logged is accepted or refused, and all accounts say the same number of each.

An independent ledger counts what the application logged. The drain report with its correction, the
end record, the metrics page, stderr and the verdict of `logship audit` must agree with it, number
for number. A refused record of a logging call has a line on stderr, because the call returns
nothing; `emit` returns False.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logship._cli import main
from tests.metrics.reading import metrics_in
from tests.process.conftest import Sidecar
from tests.support.commands import LOGSHIP
from tests.support.programs import Ended, Program, Programs, json_lines
from tests.support.programs_gate import Gate

SLOW_BYTES_PER_SECOND = 20_000

LOGS_ON_AFTER_ITS_REPORT = """
    stop = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    import logship
    client = logship.install(level="INFO", console=False)
    log("x" * 400, times=100)
    ready()
    while not stop:
        time.sleep(0.02)
    while client.report is None:
        log("x" * 400)
        time.sleep(0.0005)
    log("after the report", times=50)
    sys.exit(143)
"""
EMITS_ON_AFTER_ITS_REPORT = """
    client = logship.BackgroundClient()

    def emit():
        marker = new_marker()
        if client.emit({"message": marker + " " + "x" * 400}):
            write_down(marker)
        else:
            progress("told " + marker)

    for _ in range(300):
        emit()
    client.close(timeout=2.0)
    for _ in range(50):
        emit()
    ready()
"""
MOODS: dict[str, Callable[[Gate], None]] = {
    "healthy": Gate.open,
    "slow": lambda gate: gate.slow(SLOW_BYTES_PER_SECOND),
    "dead": lambda gate: None,
}


@dataclass(frozen=True)
class Accounts:
    """What each source says of one program.

    Attributes:
        ended: The program.
        directory: Has its metrics pages.
        out: The sidecar's output.
    """

    ended: Ended
    directory: Path
    out: Path

    @property
    def last_report(self) -> dict[str, Any]:
        """The drain report, or its last correction."""
        kinds = ("drain report", "report correction")
        return [each for each in json_lines(self.ended.stderr) if each["logship"] in kinds][-1]

    def assert_accepted(self, records: int) -> None:
        """The report, the metrics page and the end record count so many records."""
        report = self.last_report
        (stream,) = report["streams"]
        metrics = metrics_in(self.directory / "pages")
        assert report["accepted"] == stream["accepted"] == records
        assert metrics["logship_records_accepted_total"] == records
        for line in self.own_output():
            record = json.loads(line)["record"]
            if "logship_end" in record:
                assert record["logship_accepted"] == records
                assert record["logship_refused"] <= report["refused"], "it was written before"

    def assert_refused(self, *, untold: int, told: int) -> None:
        """All sources count so many records that were refused, with and without a line."""
        report, life = self.last_report, self.last_report["refused_id"]
        metrics = metrics_in(self.directory / "pages")
        assert (report["refused"], report["refused_lines"]) == (untold + told, untold)
        assert report["refused_unwritten"] == 0
        assert metrics["logship_records_refused_total"] == untold + told
        assert [stream["refused"] for stream in report["streams"]] == [untold + told]
        numbers = [f"{life}:{number:010d}" for number in range(1, untold + 1)]
        assert [line["logship_refused"] for line in self.ended.refused] == numbers
        assert {line["tag"] for line in self.ended.refused} <= {report["streams"][0]["tag"]}
        judged = {"refused_id": life, "lost": [], "unwritten": 0, "told": told}
        copies = [[1, untold]] if untold else []
        expected = self.audit("--expect")
        assert expected["refusals"] == [{**judged, "copies": [], "declared": untold}]
        assert self.audit()["refusals"] == [{**judged, "copies": copies, "declared": 0}]
        if untold:
            assert expected["exit_code"] == 3

    def own_output(self) -> list[str]:
        """Return the sidecar's lines of this program's streams; other programs use it too."""
        streams = [stream["stream"] for stream in self.last_report["streams"]]
        lines = self.out.read_text().splitlines(keepends=True)
        return [line for line in lines if any(each in line for each in streams)]

    def audit(self, *options: str) -> dict[str, Any]:
        """Return the verdict on the sidecar's output and the program's stderr."""
        out, stderr = self.directory / "out", self.directory / "stderr"
        stderr.write_text(self.ended.stderr)
        out.write_text("".join(self.own_output()))
        done = CliRunner().invoke(main, ["audit", "--json", str(out), *options, str(stderr)])
        assert done.exit_code in (0, 3), done.output
        return dict(json.loads(done.output))


@pytest.fixture
def start(programs: Programs, gate: Gate, tmp_path: Path) -> Callable[..., Program]:
    """Return what starts a program that keeps a metrics page, with a sidecar in some mood."""

    def start(text: str, mood: str, **environ: str) -> Program:
        MOODS[mood](gate)
        return programs.start(
            text,
            endpoint=gate.endpoint,
            environ={
                "LOGSHIP_REPORT": "1",
                "LOGSHIP_STOP_TIMEOUT_SECONDS": "1.5",
                "LOGSHIP_METRICS_DIR": str(tmp_path / "pages"),
                **environ,
            },
        )

    return start


@pytest.mark.parametrize(("mood", "spool"), [("healthy", False), ("slow", True), ("dead", True)])
def test_all_agree_on_what_a_logging_call_could_not_ship(
    start: Callable[..., Program], sidecar: Sidecar, tmp_path: Path, mood: str, spool: bool
) -> None:
    environ = {"LOGSHIP_SPOOL_DIR": str(tmp_path / "spool")} if spool else {}
    ended = start(LOGS_ON_AFTER_ITS_REPORT, mood, **environ).stopped(returncode=143)
    ended.verdict.assert_nothing_lost()
    accounts = Accounts(ended, tmp_path, sidecar.output.path)
    untold = len(ended.refused)
    assert untold >= 50
    accounts.assert_accepted(len(ended.ledger) - untold)
    accounts.assert_refused(untold=untold, told=0)
    (report,) = ended.reports
    assert report["final"] is False
    assert report["refused"] <= untold - 50, "these came after it"


@pytest.mark.parametrize("mood", ["healthy", "dead"])
def test_all_agree_on_what_emit_said_that_it_refused(
    start: Callable[..., Program], sidecar: Sidecar, tmp_path: Path, mood: str
) -> None:
    program = start(EMITS_ON_AFTER_ITS_REPORT, mood)
    program.until_ready()
    ended = program.end()
    told = [word for word in ended.progress if word.startswith("told ")]
    accounts = Accounts(ended, tmp_path, sidecar.output.path)
    assert len(told) == 50
    accounts.assert_accepted(len(ended.ledger))
    accounts.assert_refused(untold=0, told=len(told))
    is_complete = accounts.audit("--expect")["outcome"] == "complete"
    assert is_complete == (mood == "healthy")


@pytest.mark.parametrize("mood", ["slow", "dead"])
def test_all_agree_on_the_lines_of_a_command_under_run(
    programs: Programs, gate: Gate, sidecar: Sidecar, tmp_path: Path, mood: str
) -> None:
    MOODS[mood](gate)
    lines = "import application as a; [print(a.new_marker(), 'x' * 400) for _ in range(300)]"
    ended = programs.start_command(
        [*LOGSHIP, "run", "--", sys.executable, "-c", lines],
        environ={
            "LOGSHIP_ENDPOINTS": gate.endpoint,
            "LOGSHIP_REPORT": "1",
            "LOGSHIP_METRICS_DIR": str(tmp_path / "pages"),
            "LOGSHIP_EXIT_DRAIN_SECONDS_MAX": "1",
        },
    ).end()
    accounts = Accounts(ended, tmp_path, sidecar.output.path)
    accounts.assert_accepted(300)
    accounts.assert_refused(untold=0, told=0)


IN_AN_OLDER_HOOK = """
    atexit.register(lambda: [log("late") for _ in range(5)])
    import logship
    logship.install(level="INFO", console=False)
    log("in time")
    ready()
"""
HELD_BACK_UNTIL_LOGGING_ENDS = """
    import logging.handlers
    logship.install(level="INFO", console=False)
    log("in time")
    root = logging.getLogger()
    held_back = logging.handlers.MemoryHandler(100, target=logship.installed_handler())
    root.handlers[:] = [held_back]
    log("late", times=5)
    ready()
"""


@pytest.mark.parametrize("text", [IN_AN_OLDER_HOOK, HELD_BACK_UNTIL_LOGGING_ENDS])
def test_all_agree_on_what_is_logged_behind_the_exit_hook(
    start: Callable[..., Program], sidecar: Sidecar, tmp_path: Path, text: str
) -> None:
    """`logging.shutdown` closes logship's handler later still."""
    accounts = Accounts(start(text, "healthy").end(), tmp_path, sidecar.output.path)
    accounts.assert_accepted(1)
    accounts.assert_refused(untold=5, told=0)


def test_a_line_that_is_refused_behind_all_reports_counts_itself(
    start: Callable[..., Program], sidecar: Sidecar, tmp_path: Path
) -> None:
    """A hook that is older than that of `logging` runs last: no correction can follow."""
    ended = start(
        """
        atexit.unregister(logging.shutdown)
        atexit.register(lambda: [log("late") for _ in range(5)])
        atexit.register(logging.shutdown)
        import logship
        logship.install(level="INFO", console=False)
        log("in time")
        ready()
        """,
        "healthy",
    ).end()
    accounts = Accounts(ended, tmp_path, sidecar.output.path)
    assert accounts.last_report["refused"] == 0
    (refusals,) = accounts.audit("--expect")["refusals"]
    assert refusals["declared"] == len(ended.refused) == 5
    assert accounts.audit("--expect")["exit_code"] == 3


def test_a_process_that_logship_ends_has_a_final_report(
    start: Callable[..., Program], sidecar: Sidecar, tmp_path: Path
) -> None:
    program = start(
        """
        logship.install(level="INFO", console=False)
        ready()
        while True:
            log("x" * 100)
        """,
        "healthy",
    )
    program.until_logged(200)
    program.signal(signal.SIGTERM)
    ended = program.end()
    (report,) = ended.reports
    assert report["final"] is True
    assert report["refused_lines"] == len(ended.refused) == 0
    accounts = Accounts(ended, tmp_path, sidecar.output.path)
    assert accounts.audit("--expect")["outcome"] == "complete"
