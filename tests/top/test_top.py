"""`logship top` beside real processes that log through a real receiver."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logship._cli import main
from logship._metrics.pages import Pages
from logship._metrics.sums import zeros
from logship._top.sources import SourceError, read_directory
from tests.support.commands import LOGSHIP, ran
from tests.support.receiver_process import ReceiverProcess
from tests.support.servers import ReservedPort
from tests.support.waiting import wait_until

TOP = (*LOGSHIP, "top")

PROGRAM = textwrap.dedent("""
    import logging, sys, time
    import logship

    logship.install(level="INFO", linger_seconds=0.05, console=False)
    for number in range(100):
        logging.info("line %d", number)
    print("logged", flush=True)
    sys.stdin.read()
""")


class Workers:
    """Processes that have logged 100 records each and wait, and what they have in common."""

    def __init__(self, directory: Path, port: int, endpoint: str) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{port}/metrics"
        self._environ = os.environ | {
            "LOGSHIP_METRICS_DIR": str(directory),
            "LOGSHIP_METRICS_PORT": str(port),
            "LOGSHIP_ENDPOINTS": endpoint,
        }
        self.processes = [self._start() for _ in range(2)]
        for each in self.processes:
            assert each.stdout
            assert each.stdout.readline() == b"logged\n"

    def _start(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", PROGRAM]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, env=self._environ, stdin=pipe, stdout=pipe, bufsize=0)

    def top(self, *options: str) -> str:
        """Return what the command prints."""
        return ran(*TOP, "--interval", "0.2", *options, env=self._environ).stdout

    def shown(self, *options: str) -> Any:
        return json.loads(self.top("--json", *options))

    def until_all_is_acked(self) -> Any:
        wait_until(lambda: acked(self.shown()), "all records are acked and on the pages", 30)
        return self.shown()

    def end(self) -> None:
        for each in self.processes:
            each.kill()
            each.communicate()


def acked(shown: dict[str, Any]) -> bool:
    processes = shown["processes"]
    return len(processes) == 2 and all(
        each["clients"] and not each["waiting"] for each in processes
    )


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with ExitStack() as stack:
        port = ReservedPort()
        stack.callback(port.close)
        receiver = stack.enter_context(ReceiverProcess.start(tmp_path / "out.jsonl"))
        made = Workers(tmp_path / "pages", port.number, receiver.endpoint)
        stack.callback(made.end)
        yield made


def test_processes_that_log_are_shown_in_every_way_and_so_is_what_a_dead_one_left(
    workers: Workers,
) -> None:
    shown = workers.until_all_is_acked()
    assert {each["pid"] for each in shown["processes"]} == {p.pid for p in workers.processes}
    assert all(each["connected"] == 1 for each in shown["processes"])
    assert all(sys.executable in each["command"] for each in shown["processes"])

    without_terminal = workers.top()
    row = rf"(?m)^ *{workers.processes[0].pid} .* {Path(sys.executable).name} "
    assert re.search(row, without_terminal)
    assert re.search(r"(?m)^ *all .* 2 of 2$", without_terminal)
    assert_a_low_terminal_is_drawn_again_until_ctrl_c_and_shows_the_row_of_all(workers.directory)
    assert_a_terminal_without_a_cursor_shows_the_view_once(workers.directory)

    wait_until(lambda: workers.shown("--metrics", workers.url)["total"]["clients"] == 2, "both", 30)
    of_endpoint = workers.top("--once", "--metrics", workers.url)
    assert of_endpoint.startswith(f"logship top: 2 clients, from {workers.url}\n")
    assert "only the sum" in of_endpoint
    assert "\x1b" not in of_endpoint

    workers.processes[0].kill()
    workers.processes[0].wait()
    pages = sorted(workers.directory.glob("page-*"))
    shown = workers.shown()
    assert [each["pid"] for each in shown["processes"]] == [workers.processes[1].pid]
    assert (shown["processes_ended"], shown["processes_killed"]) == (1, 1)
    assert sorted(workers.directory.glob("page-*")) == pages, "a reader changes nothing"


def test_a_lock_on_another_volume_does_not_give_a_page_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of two volumes may have one inode number, as those of pages and of a spool on tmpfs."""
    pages = Pages(tmp_path)
    pages.write(zeros(), is_done=True)
    (page,) = tmp_path.glob("page-*")
    other = f"1: FLOCK  ADVISORY  WRITE 1 fe:fe:{page.stat().st_ino} 0 EOF\n"
    really_read = Path.read_text

    def read(path: Path, *more: Any, **named: Any) -> str:
        text = really_read(path, *more, **named)
        return other + text + other if path == Path("/proc/locks") else text

    monkeypatch.setattr(Path, "read_text", read)
    processes = read_directory(tmp_path)().processes
    assert processes is not None
    assert [each.pid for each in processes.values()] == [os.getpid()]
    pages.close()


def assert_a_low_terminal_is_drawn_again_until_ctrl_c_and_shows_the_row_of_all(
    directory: Path,
) -> None:
    terminal, side = pty.openpty()
    words = [*TOP, "--interval", "0.2", "--metrics-dir", str(directory)]
    env = {**os.environ, "TERM": "xterm", "LINES": "5", "COLUMNS": "200"}
    watching = subprocess.Popen(words, stdout=side, stderr=side, stdin=side, env=env)
    os.close(side)
    drawn = b""
    while drawn.count(b"\x1b[H\x1b[J") < 3:
        drawn += os.read(terminal, 65536)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(20) == 0
    os.close(terminal)
    rows = drawn.split(b"\x1b[H\x1b[J")[1].splitlines()
    assert len(rows) == 4
    assert b"logship top:" in rows[0]
    assert rows[-1].split()[0] == b"all"


def assert_a_terminal_without_a_cursor_shows_the_view_once(directory: Path) -> None:
    terminal, side = pty.openpty()
    words = [*TOP, "--interval", "0.2", "--metrics-dir", str(directory)]
    ended = subprocess.run(
        words, stdout=side, stdin=side, env={**os.environ, "TERM": "dumb"}, timeout=60, check=False
    )
    os.close(side)
    shown = os.read(terminal, 65536)
    os.close(terminal)
    assert ended.returncode == 0
    assert shown.startswith(b"logship top:")
    assert b"\x1b" not in shown


@pytest.mark.parametrize("value", ["+Inf", "NaN", "1e300"])
def test_a_value_that_counts_nothing_is_left_out(value: str) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            lines = ("accepted_total 5.0", f"acked_total {value}", f"spilled_total {value}")
            self.wfile.write("".join(f"logship_records_{each}\n" for each in lines).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        ended = CliRunner().invoke(main, ["top", "--interval", "0.2", "--json", "--metrics", url])
        server.shutdown()
    assert json.loads(ended.stdout)["total"]["spilled"] == 0


def test_a_closed_standard_output_is_no_terminal(tmp_path: Path) -> None:
    words = (*TOP, "--interval", "0.2", "--metrics-dir", str(tmp_path))
    assert ran("sh", "-c", 'exec "$@" >&-', "sh", *words).stderr == ""


def test_it_ends_with_its_terminal_also_where_a_hang_up_is_ignored(tmp_path: Path) -> None:
    terminal, side = pty.openpty()
    ignoring = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    watching = subprocess.Popen(
        [*ignoring, *TOP, "--interval", "0.2", "--metrics-dir", str(tmp_path)],
        stdin=side,
        stdout=side,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(side)
    drawn = b""
    while b"\x1b[H\x1b[J" not in drawn:
        drawn += os.read(terminal, 65536)
    os.close(terminal)
    try:
        _, said = watching.communicate(timeout=20)
    finally:
        watching.kill()
    assert (watching.returncode, b"Traceback" in said) == (0, False)


def test_a_directory_that_is_made_again_is_read_again(tmp_path: Path) -> None:
    directory = tmp_path / "pages"
    directory.mkdir(mode=0o700)
    read = read_directory(directory)
    assert read().processes == {}
    directory.rmdir()
    with pytest.raises(SourceError):
        read()
    directory.mkdir(mode=0o700)
    pages = Pages(directory)
    pages.write(zeros(), is_done=True)
    assert len(read().processes or {}) == 1
    pages.close()


def test_a_directory_that_cannot_be_read_now_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_directory(tmp_path)

    def refuse(*_: object) -> list[str]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(SourceError, match=os.strerror(errno.EMFILE)):
        read()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "Start the application with LOGSHIP_METRICS_PORT=9100"),
        (["--metrics-dir", ""], 2, "the environment does not say where the numbers are"),
        (["--metrics", "127.0.0.1:9100"], 2, "is not the URL of metrics, such as http://"),
        (["--metrics", "http://127.0.0.1:1/metrics"], 1, "1/metrics: Connection refused"),
        (["--metrics-dir", "/nowhere"], 1, "/nowhere is not a directory; no process has published"),
        (["--metrics-dir", "/" + "x" * 300], 1, "Error: "),
        (["--metrics-dir", "/", "--metrics", "http://x"], 2, "give --metrics or --metrics-dir"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(
    options: list[str], code: int, message: str
) -> None:
    ended = CliRunner().invoke(main, ["top", *options])
    assert (ended.exit_code, ended.stdout) == (code, "")
    assert isinstance(ended.exception, SystemExit)
    assert message in ended.stderr
    assert options or "--metrics URL (also under `logship run`)" in ended.stderr
