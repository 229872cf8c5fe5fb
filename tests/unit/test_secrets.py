"""Secrets in settings: never empty, never shown, and read again from their files."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from logship._receiver.access import AccessOptions
from logship._settings import Endpoint, Settings, secrecy
from logship._settings.secrecy import Secret
from logship.errors import SettingsError
from tests.support.threads import Later

KEY = "not to be shown"


def refused(says: str, **variables: str) -> str:
    """Return the error that these variables are, which shows no secret."""
    with pytest.raises(SettingsError, match=says) as caught:
        Settings.from_env({f"LOGSHIP_{name}": value for name, value in variables.items()})
    assert KEY not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["shared_key", "password"])
@pytest.mark.parametrize("variable", ["{}", "{}_FILE"])
def test_an_empty_variable_is_an_error(name: str, variable: str) -> None:
    """Elsewhere it counts as not set; here it would switch authentication off."""
    refused(name.upper(), **{variable.format(name.upper()): ""})


@pytest.mark.parametrize("text", [b"", b"\n", b"\r\n", b"\xff" + KEY.encode(), b"x" * 70_000])
def test_a_file_that_holds_no_secret_is_an_error(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "key").write_bytes(text)
    refused("LOGSHIP_SHARED_KEY_FILE", SHARED_KEY_FILE=str(tmp_path / "key"))


def test_the_text_of_a_file_that_holds_no_username_is_not_shown(tmp_path: Path) -> None:
    """It may be the file of another secret."""
    (tmp_path / "user").write_text(f"-----BEGIN PRIVATE KEY-----\n{KEY}\n")
    error = refused("printable", USERNAME_FILE=str(tmp_path / "user"))
    assert error.startswith("LOGSHIP_USERNAME_FILE: ")


@pytest.mark.parametrize("value", ["", Secret(""), f"{KEY}\udc80", Secret(f"{KEY}\udc80"), 5])
def test_what_cannot_be_a_secret_is_an_error_that_does_not_show_it(value: Any) -> None:
    with pytest.raises(SettingsError, match="shared_key") as caught:
        Settings(shared_key=value)
    assert KEY not in str(caught.value)


def test_a_file_is_read_again_whenever_its_secret_is_used(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("first\n")
    settings = Settings.from_env({"LOGSHIP_SHARED_KEY_FILE": str(path)})
    same = Settings.from_env({"LOGSHIP_SHARED_KEY_FILE": str(path)})
    assert settings.shared_key is not None
    assert settings.shared_key.reveal() == "first"
    path.write_text("second\n")
    assert settings.shared_key.reveal() == "second"
    assert settings == same
    for gone in ("", None):
        path.write_text("") if gone == "" else path.unlink()
        assert settings.shared_key.reveal() == "second", "a file that is being replaced"


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """As of `LOGSHIP_SHARED_KEY_FILE=<(command)`; a second read would wait for a writer."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = Later(lambda: path.write_text("key\n"))
    settings = Settings.from_env({"LOGSHIP_SHARED_KEY_FILE": str(path)})
    writer.join()
    assert settings.shared_key is not None
    assert settings.shared_key.reveal() == "key"


@pytest.mark.parametrize("writes", [b"", b"ke"])
def test_a_pipe_that_does_not_end_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: bytes
) -> None:
    """It kept `doctor` and the program from their start for ever."""
    monkeypatch.setattr(secrecy, "_PIPE_SECONDS_MAX", 0.1)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR) if writes else None
    if writer is not None:
        os.write(writer, writes)
    with pytest.raises(SettingsError, match=r"PASSWORD_FILE: cannot read .*pipe: no end within"):
        Settings.from_env({"LOGSHIP_PASSWORD_FILE": str(path)})
    if writer is not None:
        os.close(writer)


def test_neither_repr_nor_copies_nor_pickles_show_a_secret(tmp_path: Path) -> None:
    settings = Settings(shared_key=KEY)
    assert copy.deepcopy(settings) == settings
    assert KEY not in repr(settings)
    with pytest.raises(TypeError, match="LOGSHIP_SHARED_KEY_FILE"):
        pickle.dumps(settings)
    (tmp_path / "key").write_text(KEY)
    in_file = Settings.from_env({"LOGSHIP_SHARED_KEY_FILE": str(tmp_path / "key")})
    pickled = pickle.dumps(in_file)
    assert KEY.encode() not in pickled
    assert pickle.loads(pickled) == in_file


@pytest.mark.parametrize(
    "endpoints",
    [
        "tcp://ann:hidden@host:24224",
        "tcp://hidden@host:24224",
        "tls://good:1,tcp://ann:hid,hidden/@host:24224",
        ["tcp://ann:hidden@host:24224"],
        [Endpoint("tcp", "ann:hidden@host", 24224, "")],
        "tcp://ann:hidden%40host:24224",
        "tcp://ann:hidden%2540[::1]:24224",
        "tls://good:1,tcp://ann:hid,hidden%40host:24224",
    ],
)
def test_a_password_inside_an_endpoint_is_refused_and_not_shown(endpoints: Any) -> None:
    """Endpoints are in warnings, in metrics and in what doctor prints."""
    with pytest.raises(SettingsError, match="username and password") as caught:
        Settings(endpoints=endpoints)
    assert "hid" not in str(caught.value)
    assert Settings(endpoints="unix:///run/a@b").endpoints[0].path == "/run/a@b"


@pytest.mark.parametrize(
    "key", [f"-----BEGIN PRIVATE KEY-----{end}{KEY}{end}" for end in ("\n", " ")] + [KEY * 30]
)
def test_a_key_in_place_of_its_file_is_refused_and_not_shown(key: str) -> None:
    refused("the path of a file", TLS_KEY=key)


@pytest.mark.parametrize("name", ["SHARED_KEY", "USERNAME", "PASSWORD"])
def test_a_secret_in_place_of_its_file_is_not_shown(name: str) -> None:
    refused(f"LOGSHIP_{name}_FILE: cannot read", **{f"{name}_FILE": KEY})


def test_settings_that_do_not_go_together_are_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(username=KEY, tls_key=KEY)
    names = [each.partition(" ")[0] for each in caught.value.mistakes]
    assert names == ["username", "username", "tls_key", "tls_key"]
    assert KEY not in str(caught.value)


def test_what_the_receiver_was_given_is_not_shown() -> None:
    options = AccessOptions(shared_key=KEY, users=(f"ann:{KEY}",))
    assert KEY not in repr(options)


def test_a_long_value_is_cut() -> None:
    for name in ("TAG", "ENDPOINTS", "BUFFER_BYTES_MAX"):
        assert len(refused(name, **{name: "t" * 100_000})) < 500


def test_firelens_host_with_a_password_is_not_shown_either() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"FLUENT_HOST": "ann:hidden@host"})
    assert "hidden" not in str(caught.value)
