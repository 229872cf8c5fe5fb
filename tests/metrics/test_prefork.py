"""Correct numbers under real prefork servers: each record of any worker is counted once.

The server recycles workers all the time by its own rules, and the test scrapes many times a second.
The ledger has the number of records; no counter may ever go down.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import urllib.request
from pathlib import Path
from typing import Self

import pytest

from tests.metrics.scraping import DRAINED, KILLED, Scraper, parsed
from tests.process.conftest import Sidecar
from tests.support.programs import Program, Programs
from tests.support.servers import ReservedPort
from tests.support.waiting import wait_until


def missing(module: str) -> pytest.MarkDecorator:
    """Skip where a server is not installed."""
    found = importlib.util.find_spec(module) is not None
    return pytest.mark.skipif(not found, reason=f"{module} is not installed")


GUNICORN = """
    if __name__ == "__main__":
        import sys
        from gunicorn.app.wsgiapp import run
        sys.argv = ["gunicorn", "program:app", *{options!r}]
        run()

    import logship
    from application import log

    logship.install(level="INFO", linger_seconds=0.05)

    def app(environ, start_response):
        log(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]
"""


def assert_sum_is_the_ledger(scraper: Scraper, program: Program) -> None:
    """Wait until all is acked, and hold it against the ledger."""
    records = len(program.ledger)
    try:
        scraper.until_shown("logship_records_acked_total", records)
    finally:
        shown = {name: value for name, value in scraper.last.items() if "records" in name}
        assert scraper.value("logship_records_acked_total") == records, shown
    assert scraper.value("logship_records_accepted_total") == records
    assert scraper.value("logship_records_unacked_total") == 0
    assert scraper.went_down == []


class Site:
    """A gunicorn with two workers."""

    def __init__(self, programs: Programs, pages: Path, metrics_port: int, *options: str) -> None:
        self.port = ReservedPort()
        words = ["--bind", f"127.0.0.1:{self.port.number}", "--workers", "2", *options]
        self.program = programs.start(
            GUNICORN.replace("{options!r}", repr(words)),
            environ={
                "LOGSHIP_METRICS_PORT": str(metrics_port),
                "LOGSHIP_METRICS_DIR": str(pages),
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.port.close()

    def visit(self, times: int) -> None:
        """Send so many requests; one that meets a worker's end is sent again."""
        for number in range(times):
            self.program.until_true(lambda number=number: self._is_answered(number), "an answer")  # type: ignore[misc]

    def _is_answered(self, number: int) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port.number}/{number}"
            with urllib.request.urlopen(url, timeout=20) as answer:
                return bool(answer.read() == b"ok")
        except OSError:
            return False


@missing("gunicorn")
@pytest.mark.parametrize("preload", [False, True])
def test_gunicorns_workers_are_summed_while_they_come_and_go(
    programs: Programs, sidecar: Sidecar, pages: Path, port: int, scraper: Scraper, preload: bool
) -> None:
    options = ["--max-requests", "10", *(["--preload"] if preload else [])]
    with Site(programs, pages, port, *options) as site:
        for _ in range(8):
            scraped = scraper.scrapes
            site.visit(10)
            wait_until(lambda scraped=scraped: scraper.scrapes > scraped, "a scrape")  # type: ignore[misc]
        wait_until(lambda: scraper.value(DRAINED) >= 6, "six workers have ended", 60)
        assert_sum_is_the_ledger(scraper, site.program)
        assert scraper.value(KILLED) == 0
        assert len(site.program.ledger) >= 80
        assert len(list(pages.glob("page-*"))) <= 8
        site.program.process.terminate()
        ended = site.program.end()
    sidecar.output.verdict(ended).assert_all_delivered()


@missing("gunicorn")
def test_a_worker_that_is_killed_is_counted_as_that(
    programs: Programs, pages: Path, port: int, scraper: Scraper
) -> None:
    """What it had counted until a second before stays in the sum; gunicorn makes another."""
    with Site(programs, pages, port) as site:
        site.visit(20)
        assert_sum_is_the_ledger(scraper, site.program)
        worker = int(site.program.ledger[0].split("-")[1])
        assert worker != site.program.process.pid
        os.kill(worker, signal.SIGKILL)
        scraper.until_shown(KILLED, 1)
        site.visit(20)
        assert_sum_is_the_ledger(scraper, site.program)


CELERY = """
    from celery import Celery
    from celery.signals import worker_process_init, worker_process_shutdown, worker_ready

    app = Celery("program")
    folder = os.environ["TEST_DIRECTORY"] + "/queue"
    os.makedirs(folder, exist_ok=True)
    app.conf.update(
        broker_url="filesystem://",
        broker_transport_options={
            "data_folder_in": folder,
            "data_folder_out": folder,
            "control_folder": folder + "-control",
        },
        worker_hijack_root_logger=False,
        worker_max_tasks_per_child=5,
        broker_connection_retry_on_startup=True,
        task_ignore_result=True,
    )

    @app.task(name="work")
    def work(number):
        log(f"task {number}")

    @worker_process_init.connect
    def begin(**_):
        global client
        client = logship.install(level="INFO", linger_seconds=0.05)

    @worker_process_shutdown.connect
    def end(**_):
        client.close(timeout=20)

    @worker_ready.connect
    def fill(**_):
        for number in range(30):
            work.delay(number)

    if __name__ == "__main__":
        app.worker_main(
            ["worker", "--pool", "prefork", "--concurrency", "2", "--loglevel", "ERROR",
             "--without-gossip", "--without-mingle", "--without-heartbeat"]
        )
"""


@missing("celery")
def test_celerys_workers_are_summed_while_they_come_and_go(
    programs: Programs, sidecar: Sidecar, scraper: Scraper, environ: dict[str, str]
) -> None:
    """Children that leave by `os._exit`, without atexit: the integration's hook closes."""
    program = programs.start(CELERY, environ=environ)
    program.until_logged(30)
    assert_sum_is_the_ledger(scraper, program)
    wait_until(lambda: scraper.value(DRAINED) >= 4, "four workers have ended", 60)
    assert len(program.ledger) == 30
    assert scraper.value("logship_records_accepted_total") == 30
    program.process.terminate()
    ended = program.end()
    sidecar.output.verdict(ended).assert_all_delivered()


FORKS = """
    import os
    {before}
    import logship
    from application import *

    client = logship.install(level="INFO", linger_seconds=0.05)
    log(times=10)
    ready()
    for _ in range(6):
        client.flush(20)
        child = os.fork()
        if child == 0:
            log("in the child")
            client.close(timeout=20)
            {leave}
        os.waitpid(child, 0)
    log("in the parent")
    client.flush(20)
    wait_for("end")
"""


def test_two_first_records_of_a_forked_child_leave_one_client(programs: Programs) -> None:
    """The second one comes while the shipper for the first one is made, as from a handler."""
    ended = programs.start("""
        from prometheus_client import CollectorRegistry, generate_latest
        from logship.metrics import LogshipCollector

        interruptions = []

        def clock():
            if interruptions:
                interruptions.pop()()
            return time.monotonic()

        settings = logship.Settings.from_env(os.environ)
        client = logship.BackgroundClient(settings, parts={"monotonic": clock})
        child = os.fork()
        if child == 0:
            interruptions.append(lambda: client.emit({"message": "in between"}))
            client.emit({"message": "first"})
            assert not interruptions
            gc.collect()
            registry = CollectorRegistry()
            registry.register(LogshipCollector())
            print(generate_latest(registry).decode(), flush=True)
            client.close(timeout=20)
            os._exit(0)
        os.waitpid(child, 0)
        client.close(timeout=20)
    """).end(returncode=0)
    samples = parsed(ended.stdout)
    assert samples["logship_clients"] == 1
    assert samples["logship_records_accepted_total"] == 2


def test_two_first_clients_at_once_are_counted_once(programs: Programs, pages: Path) -> None:
    programs.start(
        """
        from logship._metrics.outlet import Outlet

        both_begin = threading.Barrier(2)
        real = Outlet.__init__

        def slow(*parts):
            both_begin.wait(20)
            real(*parts)

        Outlet.__init__ = slow
        settings = logship.Settings.from_env(os.environ)
        make = threading.Thread(target=logship.BackgroundClient, args=(settings,))
        make.start()
        logship.BackgroundClient(settings)
        make.join()
        names = [each.name for each in threading.enumerate()]
        assert names.count("logship-metrics") == 1, names
        """,
        environ={"LOGSHIP_METRICS_DIR": str(pages)},
    ).end(returncode=0)


@pytest.mark.parametrize(
    ("before", "leave"),
    [
        ("", "os._exit(0)"),
        ("", "sys.exit(0)"),
        ("", "os.execv('/bin/true', ['true'])"),
        ("os.register_at_fork = lambda **hooks: None", "os._exit(0)"),
    ],
    ids=["os._exit", "sys.exit", "os.execv", "no hooks"],
)
def test_forked_children_begin_at_zero(
    programs: Programs,
    port: int,
    scraper: Scraper,
    before: str,
    leave: str,
    environ: dict[str, str],
) -> None:
    """Children do not take the parent's numbers or port, even if no fork hook runs."""
    source = FORKS.replace("{before}", before).replace("{leave}", leave)
    program = programs.start(source, environ=environ)
    wait_until(
        lambda: scraper.value(DRAINED) + scraper.value(KILLED) == 6, "all ends are shown", 60
    )
    assert scraper.value(KILLED) == 0
    scraper.until_shown("logship_records_accepted_total", 17)
    assert_sum_is_the_ledger(scraper, program)
    assert scraper.value("logship_clients") == 1
    program.finish("end")


def test_a_signal_handler_may_have_the_page_written_in_the_middle_of_that(
    programs: Programs, pages: Path
) -> None:
    """As one that closes a client; it comes at each line of the call in turn."""
    programs.start(
        """
        from logship._metrics.process import HERE

        logship.install(level="INFO")

        def is_interrupted_at(event_number):
            left = event_number

            def count(frame, event, argument):
                nonlocal left
                left -= 1
                if left == 0:
                    sys.settrace(None)
                    HERE.write_last()
                return count

            sys.settrace(count)
            HERE.write_last()
            sys.settrace(None)
            return left <= 0

        number = 1
        while is_interrupted_at(number):
            number += 1
        assert number > 5
        """,
        environ={"LOGSHIP_METRICS_DIR": str(pages)},
    ).end(returncode=0)
