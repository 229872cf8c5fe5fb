"""The levels of loggers under `install()`: of the root logger, and of a file that changes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.process.conftest import Sidecar
from tests.support.programs import Programs


def test_the_level_is_that_of_the_root_logger(programs: Programs) -> None:
    ended = programs.start("""
        logship.install(level=logging.ERROR)
        for word in ("debug", "info", "error"):
            log(word, level=getattr(logging, word.upper()))
    """).end(returncode=0)
    lines = ended.verdict.lines
    words = {line["record"]["message"].rpartition(" ")[2] for line in lines}
    assert words & {"debug", "info", "error"} == {"error"}


def test_a_level_that_the_application_chose_is_kept(programs: Programs) -> None:
    programs.start("""
        logging.getLogger().setLevel(logging.DEBUG)
        import logship
        from application import log
        logship.install()
        assert logging.getLogger().level == logging.DEBUG
        log(level=logging.DEBUG)
    """).end(returncode=0).verdict.assert_all_delivered()


def test_a_file_changes_levels_while_the_program_runs(
    programs: Programs, sidecar: Sidecar, tmp_path: Path
) -> None:
    programs.start(
        """
        from pathlib import Path
        logship.install(level="INFO", tag="levels")
        log()
        Path(os.environ["LOGSHIP_LEVELS_FILE"]).write_text("application=DEBUG")
        while not logging.getLogger("application").isEnabledFor(logging.DEBUG):
            time.sleep(0.01)
        log(level=logging.DEBUG)
        """,
        environ={"LOGSHIP_LEVELS_FILE": str(tmp_path / "levels"), "LOGSHIP_FIELDS": "run=levels"},
    ).end(returncode=0).verdict.assert_all_delivered()
    records = [json.loads(line)["record"] for line in sidecar.output.path.read_text().splitlines()]
    (told,) = [each for each in records if each.get("run") == "levels" and "levels" in each]
    assert told["levels"] == {"application": "DEBUG"}


def test_the_levels_of_a_file_hold_for_the_first_record(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "levels").write_text("root=DEBUG\nquiet DEBUG")
    ended = programs.start(
        """
        logship.install(level="INFO", tag="levels")
        log(level=logging.DEBUG)
        """,
        environ={"LOGSHIP_LEVELS_FILE": str(tmp_path / "levels")},
    ).end(returncode=0)
    ended.verdict.assert_all_delivered()
    assert "write LOGGER=LEVEL, for the logger quiet DEBUG" in ended.stderr


def test_a_configuration_of_logging_that_takes_long_does_not_hold_a_stop_up(
    programs: Programs,
) -> None:
    """It holds the lock of `logging`, as where a handler waits for a server."""
    programs.start("""
        import logging, logging.config
        logship.install(level="INFO", loggers="*")
        log()

        class Waiting(logging.Handler):
            def __init__(self):
                super().__init__()
                logging.getLogger("no handler yet").propagate = False
                ready()
                forever()

        handlers = {"logship": {"()": "logship.installed_handler"}, "waiting": {"()": Waiting}}
        root = {"handlers": ["logship", "waiting"], "level": "INFO"}
        logging.config.dictConfig({"version": 1, "handlers": handlers, "root": root})
    """).stopped(returncode=-signal.SIGTERM).verdict.assert_all_delivered()


def test_a_file_of_levels_on_a_file_system_that_hangs_holds_up_neither_forks_nor_loggers(
    programs: Programs,
) -> None:
    """Both need the lock of `logging`."""
    ended = programs.start("""
        logship.install(level="INFO", levels_file="levels")
        log()
        stat, is_asked = pathlib.Path.stat, threading.Event()

        def hang(path, **options):
            if path.name == "levels":
                is_asked.set()
                forever()
            return stat(path, **options)

        def get_logger_and_fork():
            logging.getLogger("fresh")
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)

        pathlib.Path.stat = hang
        is_asked.wait()
        thread = threading.Thread(target=get_logger_and_fork, daemon=True)
        thread.start()
        thread.join(10)
        progress(f"waits {thread.is_alive()}")
        pathlib.Path.stat = stat
    """).end()
    assert ended.progress == ("waits False",)
    ended.verdict.assert_all_delivered()
