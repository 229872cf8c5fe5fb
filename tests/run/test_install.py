"""Shows that `run --install` gives Python programs `install()`, and does them no harm."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from logship._run import installing
from logship._settings import Settings
from logship.errors import SettingsError
from tests.run.conftest import Runs
from tests.support.programs import REPOSITORY


def told(runs: Runs) -> list[tuple[str, str]]:
    """Return level, or else the source, and message of what arrived, sorted by message."""
    found = [(each.get("level") or each["source"], each["message"]) for each in runs.records]
    return sorted(found, key=lambda each: each[1])


MANY = """
import logging, multiprocessing, os, subprocess, sys

def work(how):
    logging.info("2 %s child", how)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    start(multiprocessing.get_context("fork"))
    logging.info("1 program")
    start(multiprocessing.get_context("spawn"))
    start(multiprocessing.get_context("forkserver"))
    if os.fork() == 0:
        logging.info("3 forked child")
        os._exit(0)
    subprocess.run([sys.executable, "-c", "import logging; logging.info('4 another program')"])
    print("5 line")
"""

START = """
def start(context):
    child = context.Process(target=work, args=(context.get_start_method(),))
    child.start()
    child.join()
    assert child.exitcode == 0
"""


def test_a_program_and_its_children_ship_records_and_not_their_lines_too(
    runs: Runs, tmp_path: Path
) -> None:
    """A child of multiprocessing drains at its end, also where its parent has not logged yet."""
    program = tmp_path / "program.py"
    program.write_text(START + MANY)
    words = (sys.executable, "-W", "ignore", str(program))  # it forks while it has threads
    ended = runs.command(*words, options=("--install", "--tag", "T"))
    assert ended.returncode == 0, ended.stderr
    assert told(runs) == [
        ("INFO", "1 program"),
        ("INFO", "2 fork child"),
        ("INFO", "2 forkserver child"),
        ("INFO", "2 spawn child"),
        ("INFO", "3 forked child"),
        ("INFO", "4 another program"),
        ("stdout", "5 line"),
    ]
    assert {each["tag"] for each in runs.receiver.records()} == {"T"}
    ends = [each["record"].get("logship_end") for each in runs.receiver.records()]
    assert ends.count("recovered") == 1  # of the child that left by os._exit


@pytest.mark.parametrize(
    "configuration",
    [
        "logging.basicConfig(level='ERROR')",
        "logging.config.dictConfig({'version': 1, 'root': {'level': 'ERROR', 'handlers': ['h']},"
        " 'handlers': {'h': {'class': 'logging.StreamHandler'}}})",
    ],
)
def test_a_program_behind_a_server_that_logs_first_is_configured_before_the_installation(
    runs: Runs, configuration: str
) -> None:
    """As behind gunicorn, which logs its start and loads the program after that."""
    ended = runs.installed(f"""
        import logging.config
        server = logging.getLogger('server')
        server.propagate = False
        server.setLevel('INFO')
        server.info('starts')
        {configuration}
        logging.warning('a')
        logging.error('b')
    """)
    assert told(runs) == [("ERROR", "b")]
    assert ended.stderr == b""


def test_records_of_a_logger_that_keeps_them_are_shipped_if_loggers_names_it(runs: Runs) -> None:
    source = """
        import logging
        server = logging.getLogger('server')
        server.propagate = False
        server.warning('starts')
    """
    runs.installed(source, LOGSHIP_LOGGERS="server")
    assert told(runs) == [("WARNING", "starts")]


def test_run_alone_tells_of_variables_that_no_program_reads(runs: Runs) -> None:
    ended = runs.installed("import logging; logging.info('a')", LOGSHIP_TAGG="x")
    told = b"logship run: these variables have no effect: LOGSHIP_TAGG (did you mean LOGSHIP_TAG?)"
    assert ended.stderr.splitlines() == [told]
    assert runs.messages == ["a"]


def test_records_of_all_threads_arrive_that_log_first_at_the_same_time(runs: Runs) -> None:
    runs.installed("""
        import logging, threading
        barrier = threading.Barrier(20)
        def log(n):
            barrier.wait()
            logging.info('%d', n)
        for n in range(20):
            threading.Thread(target=log, args=(n,)).start()
    """)
    assert sorted(runs.messages, key=int) == [str(n) for n in range(20)]


def test_a_record_that_is_logged_with_the_lock_of_logging_held_does_not_wait_for_ever(
    runs: Runs,
) -> None:
    """The thread with the first record needs that lock for `install()`."""
    runs.installed("""
        import logging, logging.config, sys, threading
        def calls_of(thread):
            frame = sys._current_frames().get(thread.ident)
            while frame is not None:
                yield frame.f_code.co_name
                frame = frame.f_back
        class Talks(logging.Handler):
            def __init__(self):
                super().__init__()
                logging.getLogger('a').warning('made')
        first = threading.Thread(target=logging.getLogger('b').warning, args=('first',))
        first.start()
        while first.is_alive() and '_install_once' not in calls_of(first): pass
        logging.config.dictConfig({'version': 1, 'handlers': {'talks': {'()': Talks}}})
        first.join()
        print('over')
    """)
    assert runs.messages[-1] == "over"


def test_a_program_that_logs_nothing_has_no_client(runs: Runs) -> None:
    runs.installed("""
        import logging, os, sys, threading
        logging.getLogger().debug('not a record')
        print(os.listdir(os.environ['LOGSHIP_SPOOL_DIR']), threading.active_count())
        print('logship._client' in sys.modules, logging.root.handlers)
    """)
    assert told(runs) == [("stdout", "False []"), ("stdout", "[] 1")]


def test_a_signal_handler_may_raise_in_the_middle_of_the_first_record(runs: Runs) -> None:
    ended = runs.installed("""
        import logging, signal
        def time_is_up(number, frame):
            raise TimeoutError
        def add(handler):
            del logging.root.addHandler
            signal.raise_signal(signal.SIGALRM)
        signal.signal(signal.SIGALRM, time_is_up)
        logging.root.addHandler = add
        log = logging.getLogger('application')
        try:
            log.info('interrupted')
        except TimeoutError:
            log.info('time is up')
    """)
    assert ended.returncode == 0, ended.stderr
    assert told(runs) == [("INFO", "time is up")]


def test_options_hold_for_the_programs_too(runs: Runs) -> None:
    options = ("--install", "--fields", "service=web", "--redact", "default")
    runs.command(
        *(sys.executable, "-c", "import logging; logging.info('password=hunter2')"), options=options
    )
    (record,) = runs.records
    assert record["service"] == "web"
    assert record["level"] == "INFO"
    assert "hunter2" not in str(record)


def test_a_program_that_installs_itself_is_left_to_it(runs: Runs) -> None:
    source = (
        "import logging, logship; logship.install(level='DEBUG', tag='own'); logging.debug('x')"
    )
    assert runs.installed(source).returncode == 0
    assert told(runs) == [("DEBUG", "x")]
    assert "own" in {each["tag"] for each in runs.receiver.records()}


def test_a_configuration_without_the_root_logger_keeps_its_consoles(runs: Runs) -> None:
    """What does not propagate is a line, and once; a console of the root logger is not needed."""
    runs.installed("""
        import logging, logging.config
        console = {'class': 'logging.StreamHandler'}
        own = {'handlers': ['console'], 'propagate': False}
        logging.config.dictConfig({'version': 1, 'handlers': {'console': console},
            'loggers': {'own': own}, 'root': {'handlers': ['console'], 'level': 'INFO'}})
        logging.getLogger('own').warning('1')
        logging.warning('2')
    """)
    assert told(runs) == [("stderr", "1"), ("WARNING", "2")]


def test_another_sitecustomize_is_imported_as_without_us(runs: Runs, tmp_path: Path) -> None:
    theirs = tmp_path / "sitecustomize.py"
    theirs.write_text("LOADED = True")
    source = "import logging, sitecustomize; print(sitecustomize.__file__, sitecustomize.LOADED)"
    path = f"{REPOSITORY}:{tmp_path}"
    runs.installed(f"{source}; logging.info('x')", PYTHONPATH=path)
    assert told(runs)[0] == ("stdout", f"{theirs} True")
    assert ("INFO", "x") in told(runs)
    theirs.write_text("raise LookupError('theirs')")
    runs.installed("import logging; logging.info('y')", PYTHONPATH=path)
    assert ("stderr", "LookupError: theirs") in told(runs)
    assert ("INFO", "y") in told(runs)


BROKEN = {
    "raises": "raise LookupError('broken')",
    "exits": "import sys; sys.exit('broken')",
    "is another project's": "broken = 1",
}


def test_a_logship_that_is_broken_is_one_line_and_the_program_goes_on(
    runs: Runs, tmp_path: Path
) -> None:
    for how, text in BROKEN.items():
        (tmp_path / "broken" / how).mkdir(parents=True)
        (tmp_path / "broken" / how / "logship.py").write_text(text)
    source = "import logging; logging.warning('x'); print('y')"
    script = f"""
        for each in "{tmp_path}"/broken/*; do
            PYTHONPATH="$each:$PYTHONPATH" "$1" -c "{source}" || echo failed
        done
    """
    runs.shell(script, sys.executable, options=("--install",), returncode=0)
    assert runs.messages.count("WARNING:root:x") == runs.messages.count("y") == len(BROKEN)
    lines = [each for each in runs.messages if "--install" in each]
    assert len(lines) == len(BROKEN)
    for line in lines:
        assert "only the lines of this program are shipped" in line
        assert sys.executable in line
    assert len(runs.messages) == 3 * len(BROKEN)


def test_a_logship_without_its_dependencies_is_one_line_and_the_program_goes_on(
    runs: Runs, tmp_path: Path
) -> None:
    """As where it was installed with `--no-deps`, or msgpack is built for another Python."""
    (tmp_path / "msgpack.py").write_text("raise ImportError('no msgpack here')")
    source = "import logging; logging.warning('x'); logging.warning('y')"
    script = f'PYTHONPATH="$PYTHONPATH:{tmp_path}" exec "$1" -c "{source}"'
    runs.shell(script, sys.executable, options=("--install",), returncode=0)
    (line,) = [each for each in runs.messages if "--install" in each]
    assert "only the lines of this program are shipped: no msgpack here" in line
    assert sorted(runs.messages) == sorted([line, "WARNING:root:x", "WARNING:root:y"])


def test_where_install_refuses_the_lines_are_shipped(runs: Runs) -> None:
    source = """
import logging, os, sys, types
if sys.argv[1] == 'setting':
    os.environ['LOGSHIP_LINGER_SECONDS'] = 'x'
else:
    monkey = sys.modules['gevent.monkey'] = types.ModuleType('gevent.monkey')
    monkey.is_module_patched = lambda name: True
logging.warning('x')
print('y')
"""
    script = '"$1" -c "$2" setting && "$1" -c "$2" gevent'
    runs.shell(script, sys.executable, source, options=("--install",), returncode=0)
    one, other = [each for each in runs.messages if "--install" in each]
    assert "LOGSHIP_LINGER_SECONDS" in one
    assert "gevent has patched this program" in other
    assert sorted(runs.messages) == sorted(
        [*("WARNING:root:x", "y", one), *("WARNING:root:x", "y", other)]
    )


def test_a_python_that_does_not_look_at_us_is_as_without(runs: Runs) -> None:
    script = """for option in -I -E -S; do "$1" $option -c "$2" || exit; done"""
    source = "import logging; logging.warning('x')"
    runs.shell(script, sys.executable, source, options=("--install",), returncode=0)
    assert told(runs) == [("stderr", "WARNING:root:x")] * 3


def test_a_disabled_program_keeps_its_console(runs: Runs) -> None:
    source = (
        "import os; os.environ['LOGSHIP_DISABLED'] = '1'\n"
        "import logging; logging.basicConfig(); logging.warning('x')"
    )
    runs.installed(source)
    assert told(runs) == [("stderr", "WARNING:root:x")]


def test_a_command_that_is_not_there_is_told_of_as_ever(runs: Runs) -> None:
    ended = runs.command("no-such-command", options=("--install",), returncode=127)
    assert b"it is not on PATH" in ended.stderr


def test_a_logship_without_python_files_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installing, "_AT_START", tmp_path)
    with pytest.raises(SettingsError, match="install the package logship-forward"):
        installing.environment_with_install({}, Settings(), {})
