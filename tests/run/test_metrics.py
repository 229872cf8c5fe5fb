"""Shows that one endpoint answers for `run` and for all clients below it, also killed ones.

The clients are told nothing: whatever they are, their numbers are in one sum, and it is right.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.metrics.conftest import open_directory
from tests.metrics.scraping import KILLED, SERVED_ON, Scraper, as_another_user, port_said_by
from tests.run.conftest import Runs
from tests.run.test_clients import NOWHERE
from tests.support.programs import Program

__all__ = ["open_directory"]

PRINTED = 40
LOGGED = 70

FAMILY = """
    import os, signal
    import logship
    for ships in {ships}:
        if os.fork() == 0:
            if {quiet} or not ships:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # its warnings would be records
            {more}
            logship.install(level="INFO", **({{}} if ships else {{"endpoints": "{nowhere}"}}))
            for _ in range({logged}):
                log()
            progress(f"child {{os.getpid()}} {{int(ships)}}")
            while True:
                signal.pause()
    for _ in range({printed}):
        print_marker()
    ready()
    wait_for("end")
"""


def family(*ships: bool, more: str = "pass", quiet: bool = False) -> str:
    """Return a program that prints, and has a child for each of `ships`, which logs.

    Args:
        ships: Whether that child reaches the sidecar; where not, its records are on its spool.
        more: A statement that the children begin with.
        quiet: Whether the warnings of all children are discarded.
    """
    return FAMILY.format(
        ships=ships, nowhere=NOWHERE, logged=LOGGED, printed=PRINTED, more=more, quiet=quiet
    )


def children(program: Program) -> list[tuple[int, bool]]:
    """Return the children that have logged all: their pids, and whether they reach a sidecar."""
    told = [each.split()[1:] for each in program.progress if each.startswith("child ")]
    return [(int(pid), ships == "1") for pid, ships in told]


def kill_children(program: Program) -> None:
    for pid, _ in children(program):
        os.kill(pid, signal.SIGKILL)


def test_the_sums_are_right_though_children_are_killed(runs: Runs, port: int) -> None:
    program = runs.start(
        family(True, True, False, False), environ={"LOGSHIP_METRICS_PORT": str(port)}
    )
    with Scraper(port) as scraper:
        program.until_ready()
        program.until_true(lambda: len(children(program)) == 4, "all children have logged")
        written = PRINTED + 4 * LOGGED
        assert len(program.ledger) == written
        scraper.until_shown("logship_records_accepted_total", written)
        scraper.until_shown("logship_records_acked_total", PRINTED + 2 * LOGGED)
        kill_children(program)
        scraper.until_shown("logship_recovery_records_acked_total", 2 * LOGGED)
        scraper.until_shown(KILLED, 4)
        assert scraper.value("logship_records_acked_total") == PRINTED + 2 * LOGGED
        assert scraper.value("logship_records_accepted_total") == written
        assert scraper.value("logship_records_left_spooled_total") == 2 * LOGGED
        assert scraper.value("logship_records_unacked_total") == 0
        assert scraper.value("logship_metrics_pages_refused") == 0
        assert scraper.went_down == []
        ended = program.finish("end")
    ended.verdict.assert_all_delivered()
    assert "metrics" not in ended.stderr


@as_another_user
@pytest.mark.parametrize("has_spool", [False, True])
def test_clients_of_another_user_are_in_the_sum(
    runs: Runs, port: int, open_directory: Path, has_spool: bool
) -> None:
    """As the workers of a server that root has started."""
    environ = {"TMPDIR": str(open_directory)}  # a test's own lets no other user in
    if has_spool:
        environ["LOGSHIP_SPOOL_DIR"] = str(open_directory)
    program = runs.start(
        family(True, True, more="os.setuid(65534)", quiet=has_spool),
        options=("--metrics-port", str(port)),
        environ=environ,
    )
    with Scraper(port) as scraper:
        written = PRINTED + 2 * LOGGED
        scraper.until_shown("logship_records_accepted_total", written)
        assert scraper.value("logship_metrics_pages_refused") == 0
        kill_children(program)
        scraper.until_shown(KILLED, 2)
        assert scraper.value("logship_records_accepted_total") >= written
        assert scraper.went_down == []
    program.finish("end")


def test_any_free_port_is_one_for_all_and_told_once(runs: Runs) -> None:
    program = runs.start(family(True, True), options=("--metrics-port", "0"))
    program.until_ready()
    with Scraper(port_said_by(program)) as scraper:
        scraper.until_shown("logship_records_acked_total", PRINTED + 2 * LOGGED)
    kill_children(program)
    program.let_go("end")
    assert len(SERVED_ON.findall(program.end().stderr)) == 1


def test_no_pages_and_no_endpoint_unless_asked_for(runs: Runs) -> None:
    ended = runs.shell('echo "${LOGSHIP_METRICS_DIR-none} ${LOGSHIP_METRICS_PORT-none}"')
    assert ended.stderr == b""
    assert runs.messages == ["none none"]
