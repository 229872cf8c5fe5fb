"""Shows what the fixtures of the pytest plugin give to the tests of an application."""

from __future__ import annotations

import os
import socket
import tomllib
from pathlib import Path

import pytest

from tests.support.commands import ran_python
from tests.support.programs import PATHS, REPOSITORY
from tests.testkit.runs import ASYNCIO, PLUGIN, assert_passed, run_pytest


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"logship": PLUGIN}
    assert not [each for each in project["dependencies"] if each.startswith("pytest")]


def test_a_run_without_the_fixtures_imports_no_client(tmp_path: Path) -> None:
    source = """
        import sys

        def test_modules():
            assert "logship.testing.plugin" in sys.modules
            client = ("logship._client", "logship._delivery", "logship._receiver", "msgpack")
            assert not [each for each in sys.modules if each.startswith(client)]
        """
    assert_passed(run_pytest(tmp_path, files={"test_it.py": source}), 1)


RECORDS = """
import asyncio, logging, socket
import logship
import pytest

log = logging.getLogger("shop")

@pytest.fixture(autouse=True)
def no_connections(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", None, raising=False)

def test_an_application_that_never_calls_install(logship_records):
    assert logship_records == []
    log.info("order %d placed", 7, extra={"shop": "north"})
    (placed,) = logship_records
    assert placed.record["message"] == "order 7 placed"
    assert placed.record["shop"] == "north"
    assert placed == logship_records[0] == logship_records[-1:][0]
    assert logship_records == [placed]
    assert "order 7 placed" in repr(logship_records)

def test_an_application_with_settings_of_its_own(logship_records):
    log.info("before")
    client = logship.install(tag="shop", endpoints="tcp://collector:24224", level="DEBUG")
    assert logship.install(
        tag="shop", endpoints="tcp://collector:24224", level="DEBUG"
    ) is client
    log.debug("after")
    assert [each.tag for each in logship_records][1:] == ["shop"]
    assert [each.record["message"] for each in logship_records] == ["before", "after"]
    with pytest.raises(logship.SettingsError):
        logship.install(tag="another")

def test_an_application_that_ships_nothing(logship_records):
    logship.install(disabled=True)
    log.info("nowhere")
    assert not logship_records

def test_an_application_that_ends_its_client(logship_records):
    log.info("a last record")
    logship.install().close()
    log.info("a late one")
    assert [each.record["message"] for each in logship_records] == ["a last record"]

def test_an_application_that_was_asked_to_stop(logship_records):
    logship.install(stop_timeout_seconds=40)
    logship.stopping()
    log.info("while it stops")
    assert len(logship_records) == 1

def test_a_running_loop(logship_records):
    async def log_and_look():
        log.info("on a loop")
        return len(logship_records)

    assert asyncio.run(log_and_look()) == 1
"""
ASYNC_RECORDS = """
async def test_an_async_test(logship_records):
    log.info("on the test's loop")
    assert len(logship_records) == 1
"""
SIDECAR = """
import asyncio, logging, multiprocessing, subprocess, sys
import logship
import pytest

log = logging.getLogger("shop")
PROGRAM = "import logging, logship; logship.install(); logging.info('in a program')"

def test_install_finds_it(logship_sidecar):
    logship.install(tag="shop")
    log.info("here")
    (here,) = logship_sidecar.wait_for(1)
    assert (here.tag, here.record["message"]) == ("shop", "here")

def test_programs_find_it(logship_sidecar):
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
    (one,) = logship_sidecar.records
    assert one.record["message"] == "in a program"

def test_each_test_has_its_own(logship_sidecar):
    assert logship_sidecar.connects == 0
    with pytest.raises(AssertionError, match="connections: 0; records: 0"):
        logship_sidecar.wait_for(1, timeout_seconds=0.01)

def test_a_forked_child_finds_it(logship_sidecar):
    logship.install()
    child = multiprocessing.get_context("fork").Process(target=log.info, args=("child",))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert logship_sidecar.wait_for(1)[0].record["message"] == "child"

def test_the_asyncio_client(logship_sidecar):
    async def main():
        async with logship.Client() as client:
            await client.send({"message": "on a loop"})
            return await asyncio.to_thread(logship_sidecar.wait_for, 1)

    assert asyncio.run(main())[0].record["message"] == "on a loop"
"""
ASYNC_SIDECAR = """
async def test_an_async_test(logship_sidecar):
    async with logship.Client() as client:
        await client.send({"message": "on the test's loop"})
        await asyncio.to_thread(logship_sidecar.wait_for, 1)
"""


@pytest.mark.parametrize(
    "plugins", [(PLUGIN,), (PLUGIN, ASYNCIO)], ids=["alone", "with-pytest-asyncio"]
)
def test_records_come_without_a_socket_and_a_sidecar_does_what_the_test_says(
    tmp_path: Path, plugins: tuple[str, ...]
) -> None:
    """Of records, a socket of the client would be refused; one that is left open is an error."""
    sources = (RECORDS, SIDECAR)
    if ASYNCIO in plugins:
        sources = (RECORDS + ASYNC_RECORDS, SIDECAR + ASYNC_SIDECAR)
    files = dict(zip(("test_records.py", "test_sidecar.py"), sources, strict=True))
    forks_with_threads = ("-W", "ignore:This process:DeprecationWarning")
    ran = run_pytest(tmp_path, *forks_with_threads, files=files, plugins=plugins)
    assert_passed(ran, 11 + 2 * (ASYNCIO in plugins))


def test_a_test_leaves_nothing_behind(tmp_path: Path) -> None:
    """The first test notes what the process is like, and between the others it is like that."""
    source = """
        import logging, os, signal, sys, threading
        import logship
        import pytest
        from logship._hooks.dispositions import get_handler, set_wakeup_descriptor
        from logship._installation import installation, parts
        from tests.support.waiting import wait_until

        LOGGERS = [logging.getLogger(name) for name in (None, "uvicorn", "shop")]
        SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)
        LOGGERS[1].propagate = False
        BEFORE = {}

        def like():
            wait_until(no_resolver_runs, "the thread that resolves names has ended")
            descriptor = set_wakeup_descriptor(-1)
            set_wakeup_descriptor(descriptor)
            return {
                "handlers": [list(each.handlers) for each in LOGGERS],
                "levels": [each.level for each in LOGGERS],
                "signals": [get_handler(number) for number in SIGNALS],
                "wakeup": descriptor,
                "hooks": (sys.excepthook, threading.excepthook),
                "functions": (logging.basicConfig, signal.signal, signal.getsignal),
                "wakeup function": signal.set_wakeup_fd,
                "threads": threading.enumerate(),
                "descriptors": len(os.listdir("/proc/self/fd")),
                "environ": {**os.environ, "PYTEST_CURRENT_TEST": ""},
                "installed": installation._installation,
                "parts_for": parts.parts_for,
            }

        def no_resolver_runs():
            return installation.installed_client() or "resolver" not in str(threading.enumerate())

        def use(tmp_path):
            levels = tmp_path / "levels"
            levels.write_text("shop=ERROR")
            logship.install(
                level="DEBUG", console=True, loggers="uvicorn", levels_file=str(levels),
                stop_signals="TERM,INT,QUIT,HUP,USR1", stop_timeout_seconds=40,
            )
            installation._installation._check()  # what the watchdog does each second
            logging.error("a record")
            now = like()
            unchanged = [name for name in now if now[name] == BEFORE[name]]
            assert unchanged in ([], ["environ"])

        @pytest.fixture(scope="session", autouse=True)
        def import_all():
            import asyncio.selector_events

        def test_before():
            BEFORE.update(like())

        def test_records(logship_records, tmp_path):
            use(tmp_path)

        def test_between():
            assert like() == BEFORE

        def test_sidecar(logship_sidecar, tmp_path):
            use(tmp_path)
            logship_sidecar.wait_for(1)

        def test_between_again():
            assert like() == BEFORE

        def test_both(logship_sidecar, logship_records, tmp_path):
            use(tmp_path)
            assert len(logship_records) >= 1
            assert not logship_sidecar.records

        def test_after():
            assert like() == BEFORE
        """
    assert_passed(run_pytest(tmp_path, files={"test_it.py": source}), 7)


SPOOLED = "logging.info('in production'); os.kill(os.getpid(), 9)"
TESTS = """
def test_records(logship_records):
    logging.warning("a")
    assert len(logship_records) == 1

def test_sidecar(logship_sidecar):
    logship.install()
    logging.warning("a")
    assert len(logship_sidecar.wait_for(1)) == 1

def test_without():
    logging.warning("a")
    assert logship.install().flush(10).all_acked
"""


@pytest.mark.parametrize("is_installed", [True, False], ids=["at-import", "in-the-test"])
def test_records_on_the_spool_of_production_stay_there(tmp_path: Path, is_installed: bool) -> None:
    spool = tmp_path / "spool"
    environ = {"LOGSHIP_SPOOL_DIR": str(spool), "LOGSHIP_ENDPOINTS": "tcp://127.0.0.1:1"}
    ran_python(
        f"import logging, logship, os; logship.install(); {SPOOLED}",
        code=-9,
        env={**os.environ, **environ, "PYTHONPATH": os.pathsep.join(PATHS)},
    )
    left = _content(spool)
    assert left
    install = "logship.install()\n" if is_installed else ""
    files = {"test_it.py": f"import logging, logship\n{install}{TESTS}"}
    ran = run_pytest(tmp_path, files=files, environ={"LOGSHIP_SPOOL_DIR": str(spool)})
    assert_passed(ran, 3)
    assert _content(spool).items() >= left.items()


def _content(directory: Path) -> dict[Path, bytes]:
    return {each: each.read_bytes() for each in directory.rglob("*") if each.is_file()}


def test_an_application_that_installs_at_import_and_in_the_test(tmp_path: Path) -> None:
    """As one whose tests make it anew: it gets the settings that it asks for in the test."""
    source = """
        import logging, logship

        def make(tag):
            return logship.install(tag=tag, spool_dir="spool")

        AT_IMPORT = make("shop")

        def test_the_same_settings(logship_records):
            logging.warning("before")
            assert make("shop") is make("shop") is not AT_IMPORT
            logging.warning("after")
            assert [each.record["message"] for each in logship_records] == ["before", "after"]

        def test_settings_of_the_environment(logship_records, monkeypatch):
            monkeypatch.setenv("LOGSHIP_REDACT", "default")
            make("shop")
            logging.warning("token=0123456789abcdef")
            assert "0123456789abcdef" not in logship_records[0].record["message"]

        def test_after():
            assert make("shop") is AT_IMPORT
        """
    assert_passed(run_pytest(tmp_path, files={"test_it.py": source}), 3)


@pytest.mark.parametrize("at_import", ["", "logship.install(tag='shop')"], ids=["not", "at-import"])
def test_an_application_that_installs_in_a_test_with_both_fixtures(
    tmp_path: Path, at_import: str
) -> None:
    source = f"""
        import logging, logship
        {at_import}

        def test_the_sidecar_comes_later(logship_records, logship_sidecar):
            logging.warning("before")
            logship.install(tag="orders")
            logging.warning("after")
            records = logship_sidecar.wait_for(2)
            assert [each.record["message"] for each in records] == ["before", "after"]
            assert records[-1].tag == "orders"
            assert len(logship_records) == 0

        def test_the_records_come_later(logship_sidecar, logship_records):
            logging.warning("before")
            logship.install(tag="orders")
            logging.warning("after")
            assert [each.record["message"] for each in logship_records] == ["before", "after"]
            assert logship_records[-1].tag == "orders"
            assert not logship_sidecar.records
        """
    assert_passed(run_pytest(tmp_path, files={"test_it.py": source}), 2)


def test_an_application_with_keys_and_certificates_of_its_own(tmp_path: Path) -> None:
    """Its own sidecar takes the connection and says nothing, so the client waits."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = f"""
            import logging, logship

            logship.install(endpoints="tls://127.0.0.1:{silent.getsockname()[1]}",
                            tls_server_name="collector",
                            shared_key="k" * 16, username="u", password="p" * 16)

            def test_it(logship_sidecar):
                logging.warning("a")
                logship.install()
                logging.warning("b")
                assert len(logship_sidecar.wait_for(2)) == 2
            """
        environ = {"LOGSHIP_SHARED_KEY": "k" * 16, "LOGSHIP_TLS_SERVER_NAME": "collector"}
        ran = run_pytest(tmp_path, files={"test_it.py": source}, environ=environ)
    assert_passed(ran, 1)


def test_other_fixtures_beside_those_of_the_kit(tmp_path: Path) -> None:
    """`caplog` finds and leaves the level; a run of pytest inside a test leaves the fixture alone.

    `monkeypatch` is undone after the fixture, and found logship's function.
    """
    of_caplog = """
        import logging

        def test_a(caplog, {}):
            caplog.set_level("DEBUG")

        def test_b():
            assert logging.getLogger().level == logging.WARNING
        """
    of_monkeypatch = """
        import os, signal

        def test_a(logship_records, monkeypatch):
            monkeypatch.setattr(signal, "signal", print)

        def test_b():
            handled = []
            signal.signal(signal.SIGTERM, lambda *_: handled.append(1))
            os.kill(os.getpid(), signal.SIGTERM)
            assert signal.signal(signal.SIGTERM, signal.SIG_DFL) and handled
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        """
    of_pytester = f"""
        import logging, logship

        def test_outer(pytester, logship_records):
            pytester.makepyfile(test_inner="def test_it(): pass")
            pytester.runpytest_inprocess("-p", "{PLUGIN}").assert_outcomes(passed=1)
            logship.install(tag="shop")
            logging.warning("after the inner run")
            assert [each.tag for each in logship_records] == ["shop"]
        """
    fixtures = ("logship_records", "logship_sidecar", "logship_sidecar, logship_records")
    levels = {f"test_{number}.py": of_caplog.format(each) for number, each in enumerate(fixtures)}
    files = {**levels, "test_monkeypatch.py": of_monkeypatch, "test_pytester.py": of_pytester}
    ran = run_pytest(tmp_path, files=files, plugins=(PLUGIN, "pytester"))
    assert_passed(ran, 9)
