"""Shows what the one line in an entrypoint does, and what it leaves alone."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.conftest import Sidecar
from tests.support.programs import Programs
from tests.support.programs_gate import Gate


def test_disabled_is_a_no_op(programs: Programs, gate: Gate) -> None:
    ended = programs.start(
        """
        hooks = sys.excepthook, threading.excepthook
        handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        import logship
        client = logship.install(level="INFO")
        assert logging.getLogger().handlers == []
        assert threading.enumerate() == [threading.main_thread()]
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
        assert (sys.excepthook, threading.excepthook) == hooks
        logging.getLogger().warning("only on stderr, as without logship")
        client.emit({"message": "nowhere"})
        alone = logging.getLogger("alone")
        alone.propagate = False
        alone.addHandler(logship.installed_handler())
        alone.warning("nowhere")
        client.flush(timeout=30)
        client.close(timeout=30)
        logship.stopping()
        sys.exit(3)
        """,
        endpoint=gate.endpoint,
        environ={"LOGSHIP_DISABLED": "1", "LOGSHIP_REPORT": "1"},
    ).end()
    assert ended.stderr == "only on stderr, as without logship\n"
    assert ended.returncode == 3


def test_a_signal_that_the_program_blocks_waits(programs: Programs) -> None:
    programs.start("""
        logship.install(level="INFO")
        log("before")
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        log("in a critical section")
        assert signal.sigpending() == {signal.SIGUSR1, signal.SIGTERM}
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        while True:
            signal.pause()
    """).end(returncode=-signal.SIGTERM).verdict.assert_all_delivered(2)


@pytest.mark.parametrize(
    ("module", "question", "patched"),
    [
        ("gevent.monkey", "is_module_patched", True),
        ("gevent.monkey", "is_module_patched", False),
        ("eventlet.patcher", "is_monkey_patched", True),
    ],
)
def test_green_threads_are_refused_where_they_patched_the_program(
    programs: Programs, module: str, question: str, patched: bool
) -> None:
    """Neither library is installed here: a module with their function stands in for each."""
    package, _, name = module.partition(".")
    ended = programs.start(f"""
        {package}, child = types.ModuleType("{package}"), types.ModuleType("{module}")
        child.{question} = lambda name: {patched}
        {package}.{name} = child
        sys.modules.update({{"{package}": {package}, "{module}": child}})
        import logship
        from application import log
        try:
            logship.install(level="INFO")
        except logship.LogshipError as error:
            print(error)
        else:
            log()
    """).end(returncode=0)
    assert ended.stderr == ""
    if patched:
        assert package in ended.stdout
        assert "logship run" in ended.stdout
    else:
        assert ended.stdout == ""
        ended.verdict.assert_all_delivered()


def test_a_child_that_green_threads_patched_after_the_fork_says_what_it_may_lose(
    programs: Programs,
) -> None:
    """So does gunicorn's gevent worker with `--preload`."""
    ended = programs.start("""
        import types
        logship.install(level="INFO")
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            sys.modules["gevent.monkey"] = monkey = types.ModuleType("gevent.monkey")
            monkey.is_module_patched = lambda name: True
            log("in the child")
    """).end(returncode=0)
    (warning,) = ended.warnings
    assert "records may be lost at the end: gevent has patched this program" in warning
    assert "logship run" in warning
    ended.verdict.assert_all_delivered(1)


def test_a_thread_whose_program_was_patched_meanwhile_ends_in_silence(programs: Programs) -> None:
    """In gunicorn's gevent worker with `--preload`, if "Booting worker" is shipped."""
    ended = programs.start("""
        import threading
        client = logship.BackgroundClient()
        client.send({"message": new_marker()})
        shipper, = (each for each in threading.enumerate() if each.name == "logship-shipper")
        del threading._active[shipper.ident]
        client.close()
    """).end(returncode=0)
    assert ended.stderr == ""


def test_install_twice_with_the_same_settings_is_the_same_client(programs: Programs) -> None:
    """Also in a child that imports the main module, whose name is the default tag."""
    ended = programs.start("""
        first = logship.install(level="INFO", linger_seconds=0.1)
        second = logship.install(level="INFO", linger_seconds=0.1)
        sys.argv[0] = "another"
        third = logship.install(level="INFO", linger_seconds=0.1)
        assert first is second is third
        assert sum(isinstance(each, logship.Handler) for each in logging.getLogger().handlers) == 1
        log()
    """).end(returncode=0)
    assert ended.stderr == ""
    ended.verdict.assert_delivered_once()


def test_a_level_of_a_second_install_is_the_root_loggers(
    programs: Programs, sidecar: Sidecar
) -> None:
    ended = programs.start("""
        logship.install(tag="levels.second")
        logging.debug("hidden")
        logship.install(level="DEBUG", tag="levels.second")
        logging.debug("shown")
        logship.install(tag="levels.second")
        logging.debug("still shown")
        for level in ("LOUD", "debug"):
            try:
                logship.install(level=level, tag="levels.second")
            except logship.SettingsError as error:
                print(error)
    """).end(returncode=0)
    assert ended.stdout.splitlines() == [
        "level: 'LOUD' is not allowed; give a number, or a name such as INFO",
        "level: 'debug' is not allowed; did you mean DEBUG?",
    ]
    lines = [json.loads(line) for line in sidecar.output.path.read_text().splitlines()]
    records = [each["record"] for each in lines if each["tag"] == "levels.second"]
    assert [each["message"] for each in records if "level" in each] == ["shown", "still shown"]


def test_install_twice_with_different_settings_is_an_error(programs: Programs) -> None:
    ended = programs.start("""
        logship.install(level="INFO", tag="shop")
        for other in ({"tag": "another"}, {"tag": "shop", "disabled": True}):
            try:
                logship.install(level="INFO", **other)
            except logship.SettingsError as error:
                print(error)
        log("the first goes on")
    """).end(returncode=0)
    assert ["tag" in line for line in ended.stdout.splitlines()] == [True, False]
    assert "disabled" in ended.stdout
    ended.verdict.assert_all_delivered()


def test_a_refused_install_leaves_nothing_behind(programs: Programs) -> None:
    """The error can be handled: the next, right one works as if it were the first."""
    ended = programs.start("""
        for wrong in ({"linger_seconds": -1}, {"level": "LOUD"}, {"bogus": 1}):
            try:
                logship.install(**wrong)
            except logship.SettingsError as error:
                print(error)
        assert logging.getLogger().handlers == []
        assert threading.enumerate() == [threading.main_thread()]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        logship.install(level="INFO")
        log()
    """).end(returncode=0)
    assert len(ended.stdout.splitlines()) == 3
    for word in ("linger_seconds", "LOUD", "bogus"):
        assert word in ended.stdout
    ended.verdict.assert_all_delivered()


def test_an_install_that_is_interrupted_leaves_nothing_half_done(programs: Programs) -> None:
    """Each function that it calls is interrupted in turn, as by a signal handler that raises."""
    programs.start("""
        from logship._installation.installation import __file__ as interrupted_file

        class TimeIsUp(Exception):
            pass

        def interrupt(frame, event, _):
            global calls_left
            if frame.f_code.co_filename == interrupted_file:
                calls_left -= 1
                if calls_left == 0:
                    raise TimeIsUp

        hook = sys.excepthook
        for calls in range(1, 1000):
            calls_left = calls
            sys.settrace(interrupt)
            try:
                logship.install(level="INFO")
            except TimeIsUp:
                assert logging.getLogger().handlers == []
                assert sys.excepthook is hook
            else:
                break
            finally:
                sys.settrace(None)
        assert calls > 10
        assert len(logging.getLogger().handlers) == 1
        assert sys.excepthook is not hook
        assert [each.name for each in threading.enumerate()].count("logship-watchdog") == 1
        log()
    """).end(returncode=0).verdict.assert_delivered_once()


def test_a_fork_waits_for_an_install_in_another_thread(programs: Programs) -> None:
    """Else the child's own `install()` waits for a thread that the child does not have."""
    ended = programs.start(
        """
        root = logging.getLogger()
        is_in_the_middle, is_forked = threading.Event(), threading.Event()

        def add(handler):
            del root.addHandler
            is_in_the_middle.set()
            is_forked.wait(0.5)  # in vain, if the fork waits for `install()`
            root.addHandler(handler)

        root.addHandler = add
        thread = threading.Thread(target=logship.install, args=("INFO",))
        thread.start()
        is_in_the_middle.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            logship.install("INFO")
            log()
            sys.exit(4)
        is_forked.set()
        thread.join()
        log()
        end_of(child)
        """,
        python=("-W", "ignore::DeprecationWarning"),
    ).end(returncode=0)
    assert ended.progress == ("child 4",)
    ended.verdict.assert_delivered_once()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A pseudo-terminal: the end a person sees, and the end a program writes to."""
    person, program = pty.openpty()
    yield person, program
    os.close(person)
    os.close(program)


LOG_A_WORD = """
    logship.install(level="INFO", console={console})
    log("on the console?")
"""


@pytest.mark.parametrize(
    ("is_terminal", "console", "shown"),
    [(True, "None", True), (True, "False", False), (False, "True", True)],
)
def test_the_console_is_stderr_if_that_is_a_terminal_or_if_told_so(
    programs: Programs, terminal: tuple[int, int], is_terminal: bool, console: str, shown: bool
) -> None:
    person, program = terminal
    stderr = program if is_terminal else None
    ended = programs.start(LOG_A_WORD.format(console=console), stderr=stderr).end(returncode=0)
    text = ended.stderr
    os.set_blocking(person, False)
    with contextlib.suppress(BlockingIOError):
        text += os.read(person, 65536).decode()
    assert ("on the console?" in text) == shown
    ended.verdict.assert_all_delivered()


@pytest.mark.parametrize("redact", ["'default'", "by_function"])
def test_the_console_shows_what_is_shipped(programs: Programs, redact: str) -> None:
    """Where records are redacted, by rules or by a function, under whatever name of the message."""
    ended = programs.start(f"""
        def by_function(record):
            if "withheld" in record["text"]:
                return None
            return {{name: str(value).replace("hunter2", "***") for name, value in record.items()}}

        logship.install(console=True, redact={redact}, rename={{"message": "text"}})
        log = logging.getLogger("shop")
        log.warning("login password=%s of %s", "hunter2", "ann")
        log.warning("password=%s in %d s", "hunter2", "soon")
        log.warning("withheld password=hunter2")
        try:
            raise ValueError("token=hunter2")
        except ValueError:
            log.exception("failed", stack_info=True)
    """).end(returncode=0)
    assert "hunter2" not in ended.stderr
    hidden = "[redacted]" if redact == "'default'" else "***"
    assert f" WARNING shop: login password={hidden} of ann\n" in ended.stderr
    assert "ERROR shop: failed\nTraceback" in ended.stderr
    assert f"\nValueError: token={hidden}\nStack (most recent call last)" in ended.stderr
    assert ("withheld password" in ended.stderr) == (redact == "'default'")


def test_the_shippers_own_threads_never_log_through_logging(programs: Programs, gate: Gate) -> None:
    """A record of our own would be shipped, fail, be logged, be shipped; asyncio has a logger."""
    program = programs.start(
        """
        logship.install(level=1, backoff_seconds_base=0.01, backoff_seconds_max=0.02)
        log()
        progress("logged")
        wait_for("end")
        log()
        """,
        python=("-X", "dev"),
        endpoint=gate.endpoint,
    )
    gate.answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    program.until("logged")
    program.until_true(lambda: gate.connections_taken >= 3, "3 connections")
    gate.open()
    program.let_go("end")
    verdict = program.end().verdict
    verdict.assert_all_delivered()
    assert {line["record"].get("logger", "application") for line in verdict.lines} == {
        "application"
    }


def test_loggers_and_handlers_that_raise_end_no_watchdog(
    programs: Programs, tmp_path: Path
) -> None:
    (tmp_path / "levels").write_text("application=DEBUG")
    program = programs.start(
        """
        class Odd(logging.Logger):
            def setLevel(self, level):
                raise LookupError("no levels here")
        logging.getLogger("application").__class__ = Odd
        class OddHandler(logging.NullHandler):
            def __eq__(self, other):
                raise LookupError("nothing is like this one")
        import logship
        from application import log, wait_for
        logship.install(level="INFO")
        logging.getLogger().handlers.insert(0, OddHandler())
        wait_for("end")
        assert any("watchdog" in each.name for each in threading.enumerate())
        log()
        """,
        environ={"LOGSHIP_LEVELS_FILE": str(tmp_path / "levels")},
    )
    program.until_true(lambda: "a look at the loggers" in program.stderr, "the error")
    program.finish("end").verdict.assert_all_delivered()


def test_uncaught_exceptions_become_records_and_are_printed(programs: Programs) -> None:
    ended = programs.start("""
        logship.install(level="INFO", severity_key="severity_number")
        log()

        def fail():
            raise LookupError("100% gone")

        thread = threading.Thread(target=fail, name="sorter")
        thread.start()
        thread.join()
        log()
        fail()
    """).end(returncode=1)
    assert "Exception in thread sorter" in ended.stderr
    assert ended.stderr.count("Traceback") == 2
    assert ended.stderr.rstrip().endswith("LookupError: 100% gone")
    ended.verdict.assert_all_delivered(2)
    told = [
        line["record"]
        for line in ended.verdict.lines
        if line["record"].get("logger") == "logship.uncaught"
    ]
    assert [each["message"] for each in told] == ["uncaught LookupError: 100% gone"] * 2
    assert [each["level"] for each in told] == ["CRITICAL"] * 2
    assert [each["severity_number"] for each in told] == [21] * 2
    assert [each.get("thread") for each in told] == ["sorter", None]
    assert all("program.py" in each["exception"] for each in told), "the traceback is in it"


@pytest.mark.parametrize(
    "kept_out_by", ["addFilter(lambda record: False)", "setLevel(logging.CRITICAL + 1)"]
)
def test_the_handler_may_keep_uncaught_exceptions_out(programs: Programs, kept_out_by: str) -> None:
    """As any record: a filter may be there to hide a secret."""
    ended = programs.start(f"""
        logship.install(level="INFO")
        log()
        logging.getLogger().handlers[-1].{kept_out_by}
        raise LookupError("a secret")
    """).end(returncode=1)
    assert ended.stderr.rstrip().endswith("LookupError: a secret")
    assert not [each for each in ended.verdict.lines if "secret" in str(each)]


def test_loggers_that_do_not_propagate_are_shipped_if_they_are_named(programs: Programs) -> None:
    programs.start("""
        logging.getLogger("early").propagate = False
        logship.install(level="INFO", loggers="early,late")
        log(logger="early.child")
        logging.getLogger("late").propagate = False
        while not logging.getLogger("late").handlers:
            time.sleep(0.01)
        log(logger="late")
    """).end(returncode=0).verdict.assert_delivered_once()
