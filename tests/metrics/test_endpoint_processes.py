"""Shows which process serves, what keeps one from it, and that each is counted, however it ends."""

from __future__ import annotations

import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.metrics.reading import metrics_in
from tests.metrics.scraping import (
    DRAINED,
    KILLED,
    LOG_UNTIL_TOLD,
    Scraper,
    as_another_user,
    port_said_by,
    wait_for_samples,
)
from tests.process.conftest import Sidecar
from tests.support.programs import Program, Programs
from tests.support.waiting import wait_until


def test_a_port_that_is_taken_is_one_warning(programs: Programs, sidecar: Sidecar) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = {"LOGSHIP_METRICS_PORT": str(port), "TMPDIR": str(programs.directory)}
        program = programs.start(LOG_UNTIL_TOLD, environ=environ)
        program.until_ready()
        program.until_true(lambda: "LOGSHIP_METRICS_DIR" in program.stderr, "a warning")
        ended = program.finish("end")
    (warning,) = ended.warnings
    assert f"127.0.0.1:{port}" in warning
    sidecar.output.verdict(ended).assert_all_delivered()


def test_a_port_that_comes_free_is_taken_after_all(
    programs: Programs, port: int, environ: dict[str, str]
) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        program = programs.start(LOG_UNTIL_TOLD, environ=environ)
        program.until_true(lambda: "cannot be served" in program.stderr, "a warning")
    wait_for_samples(port, "logship_records_acked_total", 100)


@pytest.mark.parametrize("host", ["not a host", "203.0.113.1", "a" * 300])
def test_a_host_that_cannot_be_is_one_warning(programs: Programs, host: str) -> None:
    environ = {"LOGSHIP_METRICS_PORT": "0", "LOGSHIP_METRICS_HOST": host[:255]}
    program = programs.start(LOG_UNTIL_TOLD, environ=environ)
    program.until_true(lambda: "cannot be served" in program.stderr, "a warning")
    program.finish("end")


@pytest.mark.parametrize("directory", ["{a file}", "/sys"], ids=["no directory", "not writable"])
def test_pages_that_cannot_be_kept_are_one_warning(
    programs: Programs, tmp_path: Path, directory: str
) -> None:
    """Then each process exports its own numbers."""
    (tmp_path / "file").touch()
    directory = directory.replace("{a file}", str(tmp_path / "file"))
    environ = {"LOGSHIP_METRICS_PORT": "0", "LOGSHIP_METRICS_DIR": directory}
    program = programs.start(LOG_UNTIL_TOLD, environ=environ)
    program.until_ready()
    wait_for_samples(port_said_by(program), "logship_records_acked_total", 100)
    program.let_go("end")
    (warning,) = [line for line in program.end().warnings if "are served on" not in line]
    assert "metrics show each process alone" in warning
    assert directory in warning


def test_a_container_without_a_place_for_temporary_files_is_one_warning(
    programs: Programs, port: int
) -> None:
    nowhere = """
    import tempfile
    def gettempdir():
        raise FileNotFoundError("no usable temporary directory found")
    tempfile.gettempdir = gettempdir
    """
    environ = {"LOGSHIP_METRICS_PORT": str(port)}
    program = programs.start(nowhere, LOG_UNTIL_TOLD, environ=environ)
    wait_for_samples(port, "logship_records_acked_total", 100)
    program.let_go("end")
    (warning,) = program.end().warnings
    assert "metrics show each process alone" in warning
    assert "LOGSHIP_METRICS_DIR" in warning


def test_removed_pages_are_made_again(
    programs: Programs, pages: Path, port: int, scraper: Scraper, environ: dict[str, str]
) -> None:
    program = programs.start(LOG_UNTIL_TOLD, environ=environ)
    program.until_ready()
    wait_for_samples(port, "logship_records_acked_total", 100)
    shutil.rmtree(pages)
    wait_until(lambda: len(list(pages.glob("page-*"))) == 1, "a page is there again")
    wait_for_samples(port, "logship_records_acked_total", 100)
    assert scraper.went_down == []


def test_pages_are_made_when_the_volume_comes_that_they_are_to_be_on(
    programs: Programs, tmp_path: Path
) -> None:
    """It may be mounted late; or what holds them is a spool that another program removed."""
    volume = tmp_path / "volume"
    environ = {"LOGSHIP_METRICS_PORT": "0", "LOGSHIP_METRICS_DIR": str(volume / "pages")}
    program = programs.start(LOG_UNTIL_TOLD, environ=environ)
    program.until_true(lambda: "metrics show each process alone" in program.stderr, "a warning")
    volume.mkdir()
    wait_until(lambda: len(list(volume.glob("pages/page-*"))) == 1, "a page is there")
    (warning,) = [each for each in program.finish("end").warnings if "served on" not in each]
    assert str(volume) in warning


def test_when_the_one_that_serves_dies_another_takes_over(
    programs: Programs, scraper: Scraper, environ: dict[str, str]
) -> None:
    """By SIGKILL, each in turn; the last one still knows of all, and no counter went down."""
    started: list[Program] = []
    for number in range(1, 5):
        program = programs.start(LOG_UNTIL_TOLD, environ=environ)
        program.until_ready()
        started.append(program)
        scraper.until_shown("logship_records_acked_total", 100 * number)
    for number, program in enumerate(started[:-1], 1):
        program.signal(signal.SIGKILL)
        program.end()
        scraper.until_shown(KILLED, number)
        assert scraper.value("logship_clients") == 4 - number
        assert scraper.value("logship_records_accepted_total") == 400
    assert scraper.went_down == []
    for program in started:
        assert program.stderr == "", "only the process that serves tries to"


@pytest.mark.parametrize(
    "begin_to_serve", ["pass", "late_imports.late = lambda name: wait_for('end')"]
)
def test_a_program_that_is_killed_in_its_first_second_was_not_drained(
    programs: Programs, pages: Path, begin_to_serve: str
) -> None:
    """Its page is written when it begins to log; here no other time comes.

    It is written then, even if the import of prometheus_client has not come to an end.
    """
    program = programs.start(
        """
        from logship._hooks import late_imports
        from logship._metrics import outlet
        outlet.WRITE_SECONDS = 3600.0
        {begin_to_serve}
        logship.install(level="INFO")
        ready()
        wait_for("begin")
        log()
        wait_for("end")
        """.replace("{begin_to_serve}", begin_to_serve),
        environ={"LOGSHIP_METRICS_PORT": "0", "LOGSHIP_METRICS_DIR": str(pages)},
    )
    program.until_ready()
    wait_until(pages.is_dir, "there are pages")
    wait_until(
        lambda: metrics_in(pages)["logship_buffer_bytes_max"] > 0, "an idle process has a page"
    )
    assert metrics_in(pages)["logship_records_accepted_total"] == 0
    program.let_go("begin")
    wait_until(
        lambda: metrics_in(pages)["logship_records_accepted_total"] == 1, "the page is written"
    )
    program.signal(signal.SIGKILL)
    program.end()
    samples = metrics_in(pages)
    assert (samples[KILLED], samples[DRAINED]) == (1, 0)


def test_what_a_flush_has_seen_acked_is_acked_on_the_page_of_a_program_that_leaves(
    programs: Programs, pages: Path
) -> None:
    """The guarantees ask for a flush before `os._exit`; here no other time comes."""
    programs.start(
        """
        from logship._metrics import outlet
        outlet.WRITE_SECONDS = 3600.0
        client = logship.install(level="INFO")
        log(times=50)
        assert client.flush(20).all_acked
        os._exit(0)
        """,
        environ={"LOGSHIP_METRICS_PORT": "0", "LOGSHIP_METRICS_DIR": str(pages)},
    ).end(returncode=0)
    samples = metrics_in(pages)
    assert samples["logship_records_acked_total"] == 50
    assert samples["logship_records_unacked_total"] == 0


def test_a_forked_child_that_never_logs_holds_neither_page_nor_port(
    programs: Programs, port: int, environ: dict[str, str]
) -> None:
    """Its parent is killed; locks and a listening socket live as long as one descriptor does."""
    parent = programs.start(
        """
        client = logship.install(level="INFO")
        log(times=100)
        client.flush(20)
        wait_for("fork")
        if os.fork() == 0:
            wait_for("end")
            os._exit(0)
        ready()
        wait_for("end")
        """,
        environ=environ,
    )
    wait_for_samples(port, "logship_records_acked_total", 100)
    parent.let_go("fork")
    parent.stop(signal.SIGKILL)
    parent.end()
    try:
        other = programs.start(LOG_UNTIL_TOLD, environ=environ)
        samples = wait_for_samples(port, "logship_records_acked_total", 200)
        assert samples[KILLED] == 1
        assert samples["logship_clients"] == 1
        assert other.stderr == ""
    finally:
        parent.let_go("end")


@pytest.mark.parametrize("step", ["prometheus.Endpoint", "late_imports.without_fork"])
def test_a_child_that_is_forked_while_the_port_is_opened_does_not_hold_it(
    programs: Programs, port: int, environ: dict[str, str], step: str
) -> None:
    parent = programs.start(
        """
        from wsgiref.simple_server import WSGIServer
        from logship._hooks import late_imports
        from logship._metrics import prometheus

        opened, forked = threading.Event(), threading.Event()

        def slowed(real):
            def slow(*arguments):
                result = real(*arguments)
                if isinstance(result, WSGIServer):
                    opened.set()
                    forked.wait(0.5)  # in vain, if the fork waits for this
                return result
            return slow

        {step} = slowed({step})
        logship.install(level="INFO")
        opened.wait(30)
        if os.fork() == 0:
            wait_for("end")
            os._exit(0)
        forked.set()
        ready()
        wait_for("end")
        """.replace("{step}", step),
        environ=environ,
    )
    parent.stop(signal.SIGKILL)
    parent.end()
    try:
        other = programs.start(LOG_UNTIL_TOLD, environ=environ)
        wait_for_samples(port, "logship_records_acked_total", 100)
        assert other.stderr == ""
    finally:
        parent.let_go("end")


@as_another_user
@pytest.mark.parametrize("umask", ["0o022", "0o077"])
def test_a_worker_of_another_user_is_counted(
    programs: Programs, port: int, scraper: Scraper, open_directory: Path, umask: str
) -> None:
    """As under gunicorn with --preload and --user; the lock of the port is root's."""
    program = programs.start(
        """
        os.umask({umask})
        client = logship.install(level="INFO", linger_seconds=0.05)
        log()
        client.flush(20)
        wait_for("fork")
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            log()
            signal.pause()
        wait_for("end")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        """.replace("{umask}", umask),
        environ={"LOGSHIP_METRICS_PORT": str(port), "LOGSHIP_METRICS_DIR": str(open_directory)},
    )
    wait_for_samples(port, "logship_records_acked_total", 1)
    program.let_go("fork")
    samples = wait_for_samples(port, "logship_records_accepted_total", 2)
    assert samples["logship_clients"] == 2
    assert samples["logship_metrics_pages_refused"] == 0
    program.let_go("end")
    assert program.end().warnings == []
    assert scraper.went_down == []


@as_another_user
def test_a_lock_that_another_user_left_does_not_hinder(
    programs: Programs, port: int, open_directory: Path
) -> None:
    """As where root migrates a database before the application starts as another user."""
    program = programs.start(
        """
        log()
        ready()
        if os.fork() == 0:
            logship.install(level="INFO", linger_seconds=0.05)
            log()
            directory = pathlib.Path(os.environ["LOGSHIP_METRICS_DIR"])
            while not [*directory.glob("endpoint-*")]:
                pass
            os._exit(0)
        os.wait()
        os.setuid(65534)
        logship.install(level="INFO", linger_seconds=0.05)
        log()
        signal.pause()
        """,
        environ={"LOGSHIP_METRICS_PORT": str(port), "LOGSHIP_METRICS_DIR": str(open_directory)},
    )
    program.until_ready()
    wait_for_samples(port, "logship_records_accepted_total", 1)
    program.signal(signal.SIGTERM)
    assert program.end().warnings == []


def test_a_program_that_was_never_scraped_leaves_its_numbers(
    programs: Programs, pages: Path
) -> None:
    """A batch of a second; the process that is scraped next counts it."""
    batch = 'logship.install(level="INFO"); log(times=10)'
    for _ in range(3):
        programs.start(batch, environ={"LOGSHIP_METRICS_DIR": str(pages)}).end(returncode=0)
    samples = metrics_in(pages)
    assert samples["logship_records_acked_total"] == 30
    assert (samples[KILLED], samples[DRAINED]) == (0, 3)
