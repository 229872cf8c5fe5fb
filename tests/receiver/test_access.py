"""Which clients `logship receive` takes: no key is empty, `ps` shows none, all can be replaced."""

from __future__ import annotations

import functools
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest

from logship._client.background import BackgroundClient
from logship._receiver.access import Access, AccessOptions
from logship._settings import Settings
from logship.errors import SettingsError
from tests.contract.certificates import Certificates, make_certificates
from tests.receiver.test_limits import receiving
from tests.support.commands import ran_python
from tests.support.receiver_process import ReceiverProcess
from tests.support.waiting import wait_until

CLOSE_SECONDS = 20.0


def ships(receiver: ReceiverProcess, seconds: float = CLOSE_SECONDS, **settings: Any) -> bool:
    """Send one record; tell whether it was acknowledged."""
    chosen = Settings(endpoints=receiver.endpoint, last_resort="none", **settings)
    client = BackgroundClient(chosen)
    client.emit({"message": "hello"})
    return client.close(timeout=seconds).all_acked


def reload(receiver: ReceiverProcess, says: str) -> None:
    said = receiver.stderr().count(says)
    receiver.process.send_signal(signal.SIGHUP)
    wait_until(lambda: receiver.stderr().count(says) > said, says)


EMPTY = """
from click.testing import CliRunner
from logship._cli import main
for options, environ in (
    (["--shared-key", ""], {}),
    ([], {"LOGSHIP_SHARED_KEY": ""}),
    ([], {"LOGSHIP_SHARED_KEY_FILE": ""}),
    (["--shared-key-file", "/dev/null"], {}),
    (["--shared-key", "key", "--users-file", "/dev/null"], {}),
    (["--users-file", "/dev/null"], {}),
    (["--shared-key", "key", "--user", "name:"], {}),
):
    words = ["receive", "--bind", "127.0.0.1:0", *options]
    ended = CliRunner().invoke(main, words, env=environ)
    assert (ended.exit_code, "listening" in ended.output) == (2, False), (options, ended)
"""


def test_an_empty_key_or_password_is_refused() -> None:
    """An unset variable in a script must not open the receiver to every client."""
    ran_python(EMPTY)


@pytest.mark.parametrize("users", [(), ("ann:secret",)])
def test_a_file_of_users_that_names_none_is_refused(tmp_path: Path, users: tuple[str, ...]) -> None:
    """It must not switch off the check of users."""
    blank = tmp_path / "users"
    blank.write_text(" \n\t\n \n")
    options = AccessOptions(shared_key="key", users=users, users_file=str(blank))
    with pytest.raises(SettingsError, match="--users-file: it names no user"):
        Access(options)


def test_key_and_users_come_from_files_and_are_replaced_by_a_reload(tmp_path: Path) -> None:
    key, users = tmp_path / "key", tmp_path / "users"
    key.write_text("first key\n")
    users.write_text("ann:secret one\n\nbob:secret two\n")
    options = ("--shared-key-file", str(key), "--users-file", str(users))
    with receiving(tmp_path, *options) as receiver:
        bob = functools.partial(ships, receiver, username="bob")
        assert bob(shared_key="first key", password="secret two")
        assert not bob(shared_key="first key", password="wrong", seconds=1.0)
        key.write_text("")
        reload(receiver, "key, users and certificates stay as they were")
        assert bob(shared_key="first key", password="secret two")
        key.write_text("first key\n")
        users.write_text(" \n \n")
        reload(receiver, "--users-file: it names no user; key, users and certificates stay")
        assert not bob(shared_key="first key", password="wrong", seconds=1.0)
        key.write_text("second key\n")
        users.write_text("bob:secret three\n")
        reload(receiver, "read again, for new connections: the key, the users")
        assert not bob(shared_key="first key", password="secret three", seconds=1.0)
        assert bob(shared_key="second key", password="secret three")
        command_line = Path(f"/proc/{receiver.process.pid}/cmdline").read_text()
        shown = command_line + receiver.stderr()
        assert not [word for word in ("second key", "secret two", "secret three") if word in shown]


def test_a_client_reads_its_key_again_at_each_connect(tmp_path: Path) -> None:
    key, own = tmp_path / "key", tmp_path / "own"
    key.write_text("first key")
    own.write_text("first key")
    with receiving(tmp_path, "--shared-key-file", str(key)) as receiver:
        environ = {"LOGSHIP_ENDPOINTS": receiver.endpoint, "LOGSHIP_SHARED_KEY_FILE": str(own)}
        with BackgroundClient(Settings.from_env(environ)) as client:
            client.emit({"n": 1})
            assert client.flush(timeout=CLOSE_SECONDS).all_acked
            for each in (key, own):
                each.write_text("second key")
            receiver.kill()
            receiver.restart()
            client.emit({"n": 2})
            assert client.flush(timeout=CLOSE_SECONDS).all_acked
            own.unlink()  # as it may be while it is being replaced: the last key stays in force
            receiver.kill()
            receiver.restart()
            client.emit({"n": 3})
            assert client.flush(timeout=CLOSE_SECONDS).all_acked


def test_certificates_are_replaced_on_both_sides_without_a_restart(tmp_path: Path) -> None:
    first, second = certificates(tmp_path / "first"), certificates(tmp_path / "second")
    names = ("certificate", "key", "ca", "client")
    paths = {name: tmp_path / f"{name}.pem" for name in names}

    def install(made: Certificates) -> None:
        sources = (made.good.certificate, made.good.key, made.ca, made.client)
        for name, source in zip(names, sources, strict=True):
            paths[name].write_bytes(source.read_bytes())

    install(first)
    options = ("--tls-cert", "certificate", "--tls-key", "key", "--tls-client-ca", "ca")
    with receiving(tmp_path, *(str(paths.get(each, each)) for each in options)) as receiver:
        endpoint = receiver.endpoint
        assert endpoint.startswith("tls://")
        own: dict[str, Any] = {"tls_ca": str(paths["ca"]), "tls_cert": str(paths["client"])}
        with BackgroundClient(endpoints=endpoint, **own) as client:
            client.emit({"n": 1})
            assert client.flush(timeout=CLOSE_SECONDS).all_acked
            install(second)
            reload(receiver, "read again, for new connections: the certificates")
            with pytest.raises(ssl.SSLCertVerificationError):
                ssl.get_server_certificate(("127.0.0.1", receiver.port), ca_certs=str(first.ca))
            receiver.kill()
            receiver.restart()
            client.emit({"n": 2})
            assert client.flush(timeout=CLOSE_SECONDS).all_acked


def certificates(directory: Path) -> Certificates:
    directory.mkdir()
    return make_certificates(directory)


@pytest.mark.parametrize(
    ("bind", "has_key", "says"),
    [
        ("0.0.0.0:0", False, ["can write records; give --shared-key-file", "not encrypted"]),
        ("0.0.0.0:0", True, ["not encrypted"]),
        ("127.0.0.1:0", False, []),
    ],
)
def test_an_open_door_is_told(tmp_path: Path, bind: str, has_key: bool, says: list[str]) -> None:
    (tmp_path / "key").write_text("key")
    options = ["--shared-key-file", str(tmp_path / "key")] if has_key else []
    with receiving(tmp_path, *options, bind=bind) as receiver:
        warnings = [line for line in receiver.stderr().splitlines() if "give --" in line]
        assert len(warnings) == len(says)
        assert all(word in line for word, line in zip(says, warnings, strict=True))


def test_a_key_on_the_command_line_is_told(tmp_path: Path) -> None:
    with receiving(tmp_path, "--shared-key", "key") as receiver:
        assert "ps shows the key to all users of this machine" in receiver.stderr()
