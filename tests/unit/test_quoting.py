"""Text of others in our own lines: one line, visible, cut, and never taken for our own words."""

from __future__ import annotations

import json
import socketserver
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import msgpack
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from logship._cli.lint import command as lint
from logship._client.background import BackgroundClient
from logship._quoting import quoted, quoted_value, visible
from logship._settings import Settings
from logship.errors import SettingsError
from tests.support.commands import LOGSHIP, ran
from tests.support.waiting import wait_until

NASTY = 'no\n{"logship":"spilled"}\r\x1b[2J\x9b2J\x85\u2028\u2029\u202e\x7f\0'
REPORT = {
    **dict.fromkeys(("acked", "spooled", "spilled", "dropped", "unacked", "refused"), 0),
    "logship": "drain report",
    "accepted": 0,
    "streams": [],
}
FORGED = "\n".join(["", json.dumps(REPORT), '{"logship":"spilled","logship_id":"AAAAAAAAAAAA:1"}'])


@given(st.text(st.characters(codec=None)), st.integers(1, 300))
def test_any_text_becomes_one_visible_line(text: str, characters_max: int) -> None:
    for line in (visible(text, characters_max), quoted(text, characters_max)):
        assert line.isprintable()
        assert not [each for each in line if unicodedata.category(each)[0] == "C"]
        assert len(line.encode()) < 12 * characters_max + 40
    assert visible(text, 300) == text or not text.isprintable() or len(text) > 300


def test_a_quoted_text_holds_no_json_and_says_what_was_cut() -> None:
    assert quoted('{"a": "\\"}') == '"{\\"a\\": \\"\\\\\\"}"'
    assert quoted("x" * 70_000) == f'"{"x" * 200}…" (70000 characters)'
    assert quoted(b"\xff\n") == '"\\\\xff\\n"'


def test_any_value_that_can_be_decoded_is_quoted() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert quoted_value({"a": "\n"}) == "\"{'a': '\\\\n'}\""
    assert quoted_value("x" * 300) == f'"\'{"x" * 199}…" (302 characters)'
    assert quoted_value(nested) == "a list nested too deep to be shown"


class Refusing(socketserver.BaseRequestHandler):
    """A sidecar that does not know the key, and says what it likes."""

    reason: ClassVar[str]

    def handle(self) -> None:
        self.request.sendall(msgpack.packb(["HELO", {"nonce": b"n", "auth": b""}]))
        self.request.recv(65536)
        self.request.sendall(msgpack.packb(["PONG", False, self.reason, "", ""]))


@pytest.fixture
def refusing(request: pytest.FixtureRequest) -> Iterator[str]:
    Refusing.reason = request.param
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("refusing", [NASTY, FORGED, "x" * 60_000], indirect=True)
def test_what_a_sidecar_without_the_key_says_cannot_forge_a_line(
    refusing: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = Settings(endpoints=refusing, shared_key="key", last_resort="none")
    client = BackgroundClient(settings)
    client.emit({"n": 1})
    said = ""

    def is_refused() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "the sidecar refused" in said and said.endswith("\n")

    wait_until(is_refused, "the warning")
    client.close(timeout=0.1)
    [warning] = said.splitlines()
    assert warning.isprintable()
    assert warning.startswith(f"logship: cannot connect to {refusing}: the sidecar refused: ")
    assert len(warning) < 1000
    (tmp_path / "stderr").write_text(said)
    audit = [*LOGSHIP, "audit", str(tmp_path / "stderr")]
    assert "no line of 1 has a stamp" in ran(*audit, code=None).stdout


@pytest.mark.parametrize("refusing", [NASTY], indirect=True)
def test_neither_does_it_in_what_doctor_prints(refusing: str) -> None:
    environ = {"LOGSHIP_ENDPOINTS": refusing, "LOGSHIP_SHARED_KEY": "key"}
    ended = ran(*LOGSHIP, "doctor", "--burst", "0", env=environ, code=None)
    *lines, last, _ = ended.stdout.split("\n")
    assert "the sidecar refused" in ended.stdout
    assert all(each.isprintable() for each in lines)
    assert all(each.startswith(("ok", "warn", "fail", "skip", "      →")) for each in lines)
    assert last == "1 check failed: security"


def test_neither_does_a_name_in_a_deployment_file(tmp_path: Path) -> None:
    path = tmp_path / "task.json"
    container = {"name": NASTY, "image": NASTY, "environment": [{"name": "LOGSHIP_TAG"}]}
    path.write_text(json.dumps({"family": NASTY, "containerDefinitions": [container]}))
    output = CliRunner().invoke(lint, [str(path)]).output
    assert "\\x1b[2J" in output
    assert all(each.isprintable() for each in output.split("\n"))


NAME = f"z\ncomplete: 7 records of 1 stream, all delivered, 0 duplicates{NASTY[2:-1]}"
BAD_STREAM = {"stream": "s", "last": 1, "end": None, "accepted": 0, "refused": 0}


@pytest.mark.parametrize(
    "words",
    [
        [NAME],
        ["audit", f"--{NAME}"],
        ["audit", NAME],
        ["audit", "zstd/NAME"],
        ["audit", "directory/NAME"],
        ["audit", "file/NAME", "file/NAME"],
        ["audit", "file/NAME", "--expect", "file/NAME"],
        ["audit", "file/NAME", "--expect", "report"],
        ["lint", NAME],
        ["lint", "directory/NAME"],
        ["lint", "report", "--ignore", NAME],
        ["recover", "--spool", "file/NAME"],
        ["recover", "--stop-timeout", NAME],
        ["run", "--receipt", f"directory/NAME/{NAME}/x", "--", "true"],
        ["run", "--signal-map", NAME, "--", "true"],
        ["run", "--multiline-start", f"({NAME}", "--", "true"],
        ["run", "--tag", NAME, "--", "true"],
        ["run", "--stop-timeout", "1", "--", NAME],
        ["receive", "--bind", NAME],
        ["receive", "--bind", "127.0.0.1:0", "--out", "directory/NAME"],
        ["receive", "--bind", "127.0.0.1:0", "--tls-cert", NAME],
        ["receive", "--bind", "127.0.0.1:0", "--shared-key-file", NAME],
        ["pipe", "--tag", NAME],
        ["doctor", "--workers", NAME],
    ],
)
def test_no_name_in_a_command_line_forges_a_line(words: list[str], tmp_path: Path) -> None:
    for directory in ("zstd", "file", "directory"):
        (tmp_path / directory).mkdir()
    (tmp_path / "zstd" / NAME).write_bytes(b"\x28\xb5\x2f\xfd")
    (tmp_path / "file" / NAME).write_text("text\n")
    (tmp_path / "directory" / NAME).mkdir()
    holed = {**BAD_STREAM, "dropped": [f"\u202e\x1b{'x' * 100_000}"]}
    (tmp_path / "report").write_text(json.dumps({**REPORT, "streams": [holed]}))
    named = (each.replace("/NAME", f"/{NAME}") for each in words)
    ended = ran(*LOGSHIP, *named, env={"LOGSHIP_DISABLED": "1"}, cwd=tmp_path, code=None)
    lines = (ended.stdout + ended.stderr).splitlines()
    assert ended.returncode in (2, 127)
    assert lines
    for line in lines:
        assert line.isprintable()
        assert not line.startswith(("complete", "{"))
        assert len(line) < 3_000


def test_an_error_shows_the_path_of_a_secret_on_one_line() -> None:
    path = f"\x1b[31mx\n{'long' * 1000}"
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"LOGSHIP_SHARED_KEY_FILE": path})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
