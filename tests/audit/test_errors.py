"""Errors of `logship audit`: each has the exit code 2, because 1 means that records are lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logship._audit.audit import Audit
from logship._audit.watch import Watch
from tests.audit.asking import audit
from tests.audit.lines import plain, record
from tests.audit.stores import Loki
from tests.audit.test_watch_command import Program
from tests.support.commands import ran


@pytest.fixture(autouse=True)
def out_log(in_a_directory_of_its_own: None) -> None:
    Path("out.log").write_bytes(plain(record(1)) + b"\n")


@pytest.mark.parametrize(("error", "code"), [(MemoryError, 2), (KeyboardInterrupt, 130)])
def test_an_end_before_the_verdict_is_no_verdict(
    error: type[BaseException], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Audit, "verdict", failing)
    assert audit("out.log").exit_code == code


@pytest.mark.parametrize("option", [[], ["--watch"]])
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("kafka://127.0.0.1:1/logs?sasl.password=secret&a.b=c", "No such configuration property"),
        ("opensearch+http://a:secret@[1/web", "cannot read opensearch+http://…: Invalid IPv6 URL"),
        ("loki+http://a:secret@127.0.0.1:1?query=a&query=b", "give ?query="),
        ("s3://logs/app", "Invalid endpoint: nowhere"),
    ],
)
def test_an_address_of_nothing_is_one_clear_error(
    address: str, message: str, option: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme = address.partition(":")[0]
    pytest.importorskip({"kafka": "confluent_kafka", "s3": "boto3"}.get(scheme, "json"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    result = audit(*option, address, code=2)
    assert message in result.output
    assert "secret" not in result.output


def test_a_file_that_may_not_be_looked_up_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", forbidden)
    result = audit("out.log", code=2)
    assert "cannot read out.log: Permission denied" in result.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [("- <&-", 2, "Error: cannot read standard input: it is closed\n"), ("out.log >&-", 3, "")],
)
def test_a_closed_input_or_output_is_no_verdict(words: str, code: int, said: str) -> None:
    ended = ran("sh", "-c", f'exec "$0" -m logship audit {words}', sys.executable, code=code)
    assert ended.stderr == said


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("out.log >/dev/full 2>&1", 3),
        ("missing.log 2>/dev/full", 2),
        ("2>/dev/full", 2),
    ],
)
def test_a_full_disk_is_no_verdict(words: str, code: int) -> None:
    """With 1, which Python gives to an error, a cron job would tell of a loss."""
    ran("sh", "-c", f'exec "$0" -m logship audit {words}', sys.executable, code=code)


def test_an_answer_with_half_a_surrogate_pair_is_read() -> None:
    loki = Loki()
    loki.put("web", 1_900_000_000_000_000_000, plain(record(1)).decode()[:-1] + ',"half":"\ud800"}')
    with loki.running():
        audit(f'loki+http://{loki.host}?query={{service_name="web"}}', code=3)


def _rename() -> None:
    """One file would be read twice and another one never."""
    Path("out.log").rename("out.log.1")
    Path("out.log").touch()


def _copy_and_truncate() -> None:
    shutil.copy("out.log", "out.log.1")
    os.truncate("out.log", 0)


@pytest.mark.skipif(os.name == "nt", reason="no FIFO there")
@pytest.mark.parametrize(
    ("rotate", "what"),
    [(_rename, b"is another file by now"), (_copy_and_truncate, b"was cut meanwhile")],
)
def test_a_rotation_in_the_middle_is_no_loss(rotate: Callable[[], None], what: bytes) -> None:
    os.mkfifo("first")
    words = [sys.executable, "-m", "logship", "audit", "first", "out.log"]
    program = subprocess.Popen(words, stderr=subprocess.PIPE)
    with Path("first").open("wb"):  # it has seen all that are named, and reads the first
        rotate()
    _, said = program.communicate()
    assert program.returncode == 2
    assert b"cannot read out.log: it " + what + b"; was it rotated meanwhile?" in said


@pytest.mark.skipif(os.name == "nt", reason="no SIGTERM there")
def test_a_watch_ends_at_once_in_the_middle_of_a_look() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        with Program(f"opensearch+http://{host}:{port}/web", "--state", "state.json") as program:
            asking, _ = silent.accept()
            with asking:
                assert program.end(signal.SIGTERM) == 0
    assert not Path("state.json").exists()


def test_a_watch_ends_by_a_signal_that_comes_in_a_destructor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = []

    def look(*_: Any) -> None:
        looks.append("a look")
        assert len(looks) == 1
        with contextlib.suppress(SystemExit):  # as the interpreter does there
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Watch, "look", look)
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert audit("--watch", "--interval", "0.001", "out.log").exit_code == 0
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
